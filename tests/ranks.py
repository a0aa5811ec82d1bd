"""Run a function of a file in several processes that know each other, as torchrun would start them.

``python tests/ranks.py FILE FUNCTION FOLDER WORLD_SIZES ARGUMENTS``: for each number of processes the function is
called in so many of them with ``processes=`` and the arguments (JSON), and what it returns is saved as
``FOLDER/WORLD_SIZE.RANK.pt``. The processes are forked here, so that torch is imported once for all of them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import torch._dynamo  # torch's DistributedDataParallel imports it, which takes as long as all else

from yolo9000.runtime.distributed import start_processes, stop_processes


def load(file: str) -> Any:
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for it
    spec.loader.exec_module(module)
    return module


def start(rank: int, world_size: int, port: int, function: Any, folder: Path, arguments: dict[str, Any]) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world_size), "LOCAL_RANK": str(rank)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        processes = start_processes(torch.device("cpu"), 60)
        torch.save(function(processes=processes, **arguments), folder / f"{world_size}.{rank}.pt")
        stop_processes(processes)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main(file: str, name: str, folder: str, world_sizes: str, arguments: str) -> int:
    torch.set_num_threads(1)
    function = getattr(load(file), name)
    for world_size in json.loads(world_sizes):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children = [
            start(rank, world_size, port, function, Path(folder), json.loads(arguments)) for rank in range(world_size)
        ]
        statuses = [os.waitpid(child, 0)[1] for child in children]
        if any(statuses):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
