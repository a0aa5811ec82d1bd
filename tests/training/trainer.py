"""A program for the tests: it trains what it is asked for, each time in a process of its own, and may be killed there.

It imports torch once and forks for each training, so that a start costs no import. Standard input has a JSON object a
line, see `train` and `small_steps`; for each it prints {"pids"} when its processes have started, and {"status"} when
all have ended. What they say goes to the file "log". With "ranks" a training has several processes, and one that fails
has the others told to end, as torchrun does it; "restarts" is how often it says that each of them was restarted, and
"folders" what each takes for the run's.
"""

from __future__ import annotations

import ctypes
import errno
import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process that is forked must not find threads of its parent's

import numpy as np
import pycocotools.cocoeval  # noqa: F401
import torch
import torch._dynamo  # an optimiser imports it; here, so that it is done once
from torch import nn

from wordtree import WordTree
from yolo9000.datasets import loader
from yolo9000.datasets.box_table import CsvSource
from yolo9000.datasets.box_tars import BoxTars
from yolo9000.datasets.imagenet import ImageNetSource
from yolo9000.datasets.label_tars import LabelTars
from yolo9000.datasets.mixed import MixedDataset
from yolo9000.datasets.sample import Record, Unreadable
from yolo9000.experiment import assemble, plan, run
from yolo9000.experiment.beginning import Asked, train_asked
from yolo9000.experiment.config import DataConfig, Joint, NetConfig, PlanConfig, RunConfig
from yolo9000.experiment.config_file import override
from yolo9000.experiment.data import Data
from yolo9000.models.config import DetectorConfig
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.runtime import checkpoint, kept
from yolo9000.runtime.config import MachineConfig
from yolo9000.runtime.logs import ResultsFile
from yolo9000.runtime.mistakes import run as run_command
from yolo9000.runtime.run_folder import RunFolder
from yolo9000.training import loop
from yolo9000.training.callbacks import Callback
from yolo9000.training.config import OptimiserConfig, TrainConfig
from yolo9000.training.phases import Phase

CONFIG = RunConfig(
    data=DataConfig(scenes=64),
    plan=PlanConfig(
        classification_steps=3,
        classification_size=32,
        steps=6,
        size=64,
        multi_scale=True,
        joint=Joint(boxes_first=2),
    ),
    net=NetConfig(detector=DetectorConfig(width=0.03, stride=32), priors=((1.0, 1.0), (2.0, 2.0))),
    optimiser=OptimiserConfig(burn_in=2, learning_rate=1e-3),
    train=TrainConfig(
        batch_size=4, precision="float32", ema_decay=0.9, log_every=3, evaluate_every=4, save_every=2, keep=2
    ),
    machine=MachineConfig(device="cpu", threads=1, workers=1),
)
"""Three phases, both kinds of data, several sizes, an average, a worker."""

TREE = WordTree(("n1", "n2", "n3", "n4", "n5"), ("animal", "vehicle", "dog", "cat", "car"), (-1, -1, 0, 0, 1))


class Squares:
    """A coloured square on grey: red is a cat (3), green a car (4).

    `faulty` is "memory" or "files" for what reading an image does not let go, "other labels", or "gone FILE": nothing
    can be read while there is that file.
    """

    labelled_nodes = None

    def __init__(self, kind: str, length: int, faulty: str | None = None) -> None:
        self.kind, self.length, self.faulty = kind, length, faulty
        self.name = f"{kind} squares of {length}"
        self.kept: list[Any] = []
        self.labels = np.arange(length) % 2 + 3 + (faulty == "other labels")

    def __len__(self) -> int:
        return self.length

    def read(self, index: int) -> Record:
        if self.faulty == "memory":
            self.kept.append(np.random.default_rng(index).bytes(2_000))
        elif self.faulty == "files" and index % 32 == 0 and len(self.kept) < 500:  # it may open some thousand
            self.kept.append(os.open(os.devnull, os.O_RDONLY))
        elif self.faulty and self.faulty.startswith("gone ") and os.path.exists(self.faulty[5:]):
            raise Unreadable(f"{index}.jpg", "No such file or directory")
        rng = np.random.default_rng(index)
        image = np.full((64, 64, 3), 127, np.uint8)
        x, y = rng.integers(0, 32, 2)
        image[y : y + 32, x : x + 32, index % 2] = 255
        if self.kind == "classification":
            return Record(image, f"{index}", image_label=3 + index % 2)
        boxes = np.array([[x, y, x + 32, y + 32]], np.float32)
        return Record(image, f"{index}", boxes, np.array([3 + index % 2], np.int64))


def stored(kind: str, root: Path) -> tuple[Any, Any]:
    """Images with boxes and images with a label from the tars of a folder, or from its files."""
    nodes = {"cat": 3, "car": 4}
    if kind == "tars":
        boxes: Any = BoxTars(f"{root}/boxes/train-{{0..2}}.tar", nodes, name="boxes", cache=root / "cache")
        return boxes, LabelTars(f"{root}/labels/train-{{0..2}}.tar", nodes, name="labels", cache=root / "cache")
    boxes = CsvSource(root / "boxes.csv", nodes, name="boxes")
    return boxes, ImageNetSource(root / "labels", nodes, split=None, name="labels")


def data(config: DataConfig, classes: Any, faulty: str | None = None, images: tuple[Any, Any] | None = None) -> Data:
    boxes, labels = images or (
        Squares("detection", config.scenes, faulty),
        Squares("classification", config.scenes, faulty),
    )
    return Data(
        classes=classes or TreeClasses(TREE),
        detection=boxes,
        classification=labels,
        val_detection=Squares("detection", 3),
        val_classification=Squares("classification", 3),
        boxed=(3, 4),
        never_boxed=(),
        image_labels=(3, 4),
        evaluated=(3, 4),
    )


def at_call(function: Callable[..., Any], left: list[int], happens: Callable[[], None]) -> Callable[..., Any]:
    """The same function, before whose call of this number something happens."""

    def calling(*args: Any, **named: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            happens()
        return function(*args, **named)

    return calling


def send_myself(signals: list[int]) -> None:
    """Send signals to this process; negative ones as another process would send them to all that it has forked, too."""
    for number in signals:
        if number > 0:
            os.kill(os.getpid(), number)
        else:
            subprocess.run(["kill", str(number), "--", f"-{os.getpid()}"], start_new_session=True, check=True)


def refuse_writing(folder: str) -> None:
    """Have the calls of this process that would change a folder answer as if its disk could only be read."""
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def refusing(function: Callable[..., Any], changes: Callable[..., bool]) -> Callable[..., Any]:
        def calling(path: Any, *args: Any, **named: Any) -> Any:
            place = path if isinstance(path, str | Path) else ""  # and no handle
            if (str(place) + "/").startswith(folder + "/") and changes(*args, **named):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return function(path, *args, **named)

        return calling

    os.open = refusing(os.open, lambda flags, *_, **__: bool(flags & writes))
    io.open = refusing(io.open, lambda mode="r", *_, **__: bool(set(mode) & set("wax+")))
    for name in ("link", "replace", "rename", "unlink", "mkdir", "rmdir"):
        setattr(os, name, refusing(getattr(os, name), lambda *_, **__: True))


def mount_read_only(folder: str) -> None:
    """Have the kernel refuse this process, and only it, to change a folder."""
    libc, place = ctypes.CDLL(None, use_errno=True), folder.encode()
    namespace, read_only, remount, bind, recursive, private = 0x20000, 1, 32, 0x1000, 0x4000, 1 << 18
    for refused in (
        libc.unshare(namespace),
        libc.mount(b"none", b"/", None, recursive | private, None),
        libc.mount(place, place, None, bind, None),
        libc.mount(b"none", place, None, bind | remount | read_only, None),
    ):
        if refused:
            raise OSError(ctypes.get_errno(), "this process may not mount")


READ_ONLY = {"refused": refuse_writing, "mounted": mount_read_only}


MOMENTS: dict[str, list[tuple[Any, str]]] = {
    "beginning": [(run, "create_run_folder")],
    "assembling": [(run, "assemble")],
    "loading": [(plan, "make_loader"), (loader.BatchLoader, "__iter__"), (loop, "pixels")],
    "step": [(loop._Training, "_update")],
    "log": [(ResultsFile, "append")],
    "write": [(checkpoint._SealedFile, "write")],
    "around the write": [(os, "fsync"), (os, "link"), (os, "replace"), (os, "unlink"), (kept, "save_checkpoint")],
    "evaluation": [(plan, "evaluate_detector"), (plan.HeldOutLoss, "read"), (plan, "classification_top1")],
    "edge of a phase": [(loop._Training, "_start_phase"), (loop._Training, "_save")],
}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def train(asked: dict[str, Any]) -> int:
    """Train as the command does.

    "folder"; "resume"; "override"; "changes": fields of `CONFIG`; "at": a moment, the number of the call, and signals,
    or a word of `READ_ONLY` for a folder that cannot be written to from then on; "rank": where that happens, 0 unless
    it is said; "faulty": what is wrong with the data; "stored": the kind and the folder of the data, see `stored`;
    "largest": bytes that a file may have.
    """
    if asked.get("at") and asked.get("rank", 0) == int(os.environ.get("RANK", "0")):
        moment, count, what = asked["at"]
        happens = partial(READ_ONLY[what], asked["folder"]) if isinstance(what, str) else partial(send_myself, what)
        left = [count]
        for owner, name in MOMENTS[moment]:
            setattr(owner, name, at_call(getattr(owner, name), left, happens))
    if asked.get("largest"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["largest"], resource.RLIM_INFINITY))
    # no WordNet, no pictograms, no pictures
    images = stored(asked["stored"][0], Path(asked["stored"][1])) if asked.get("stored") else None
    assemble.load_data = lambda config, classes, size: data(config, classes, asked.get("faulty"), images)
    run._usual_callbacks = lambda config, assembly: []
    loop.draw_curves = lambda results, path: None
    config = override(CONFIG, {way: _tuples(value) for way, value in asked.get("changes", {}).items()})
    ask = Asked(config, Path(asked["folder"]), resume=asked["resume"], override=asked.get("override", False))
    return run_command(lambda: train_asked(ask), interrupted="interrupted; what was saved before is whole")


def small_steps(asked: dict[str, Any]) -> int:
    """Train a net of a few numbers for many steps, and write down what the processes hold now and then.

    "folder"; "steps"; "every": steps between two rows; "faulty": what the source does not let go.
    """
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 2, 3, stride=4), nn.BatchNorm2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    source = Squares("classification", 256, asked.get("faulty"))
    dataset = MixedDataset(None, source, batch_size=2, sizes=(32,))

    class Watch(Callback):
        def on_step(self, at: Any, values: Any) -> None:
            if at.step % asked["every"] == 0:
                workers = [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
                row = [at.step, held(os.getpid()), *map(held, workers), len(os.listdir("/dev/shm"))]
                with Path(asked["rows"]).open("a") as file:
                    file.write(json.dumps(row) + "\n")

    def loss(output: Any, targets: Any, images_seen: int) -> dict[str, Any]:
        return {"square": (output - 1).square().sum()}

    phase = Phase(
        name="small",
        steps=asked["steps"],
        model=net,
        loss=loss,
        batches=lambda first: loader.make_loader(dataset, start=2 * first, workers=1),
        optimiser=OptimiserConfig(burn_in=0, learning_rate=1e-4),
    )
    loop.draw_curves = lambda results, path: None
    folder = RunFolder(Path(asked["folder"]))
    folder.path.mkdir()
    config = TrainConfig(batch_size=2, ema_decay=0.9, log_every=10, save_every=500)
    loop.train([phase], config, folder, device=torch.device("cpu"), callbacks=[Watch()])
    return 0


def held(pid: int) -> dict[str, int]:
    """Bytes of its own that a process holds, and open files."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    anonymous = next(line for line in lines if line.startswith("RssAnon"))
    return {"bytes": 1024 * int(anonymous.split()[1]), "files": len(os.listdir(f"/proc/{pid}/fd"))}


def begin(asked: dict[str, Any], rank: int, port: int) -> int:
    """Start one process of a training; its number."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    status = 1
    try:
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        torch.set_num_threads(1)
        if asked.get("folders"):  # another one for each process
            asked["folder"] = asked["folders"][rank]
        if asked.get("restarts"):
            os.environ["TORCHELASTIC_RESTART_COUNT"] = str(asked["restarts"][rank])
        if asked.get("ranks"):
            said = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": asked["ranks"], "MASTER_PORT": port}
            os.environ.update({name: str(value) for name, value in said.items()}, MASTER_ADDR="127.0.0.1")
        status = small_steps(asked) if "steps" in asked else train(asked)
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(status)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(pids: list[int]) -> int:
    """The status with which the first process that failed has ended; 0 if all are well."""
    running, first = set(pids), 0
    while running:
        pid, ended = os.waitpid(-1, 0)
        running.discard(pid)
        status = os.waitstatus_to_exitcode(ended)
        if status and not first:
            first = status
            for other in running:
                os.kill(other, signal.SIGTERM)
    return first


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        port = free_port() if asked.get("ranks") else 0
        pids = [begin(asked, rank, port) for rank in range(asked.get("ranks", 1))]
        print(json.dumps({"pids": pids}), flush=True)
        print(json.dumps({"status": wait_for(pids)}), flush=True)
    os._exit(0)  # torch takes its time to go


if __name__ == "__main__":
    main()
