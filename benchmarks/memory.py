"""The peak memory of a job, measured in a process of its own: ``python -m benchmarks.memory MODULE:JOB [ARGUMENTS]``.

A job is a function that is given `mark`, which it calls when everything that does not count is there (imports, data,
for a training step not yet the model), and plain arguments. It may answer a number of bytes that do not count either.
"""

from __future__ import annotations

import gc
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEBIBYTE = 2**20

Job = Callable[..., "int | None"]


def peak_megabytes(job: Job, *arguments: Any) -> float:
    """Run a job in a fresh process; the peak of its resident memory, less what it held at the mark, in MiB.

    Parameters
    ----------
    job : callable
        A function at the top level of a module that can be imported from the root of the repository.
    arguments : int, float, str, bool or None
        Plain values, as JSON has them.

    Raises
    ------
    RuntimeError
        If the job fails; the message ends with what it wrote.
    """
    command = [sys.executable, "-m", "benchmarks.memory", f"{job.__module__}:{job.__qualname__}", json.dumps(arguments)]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[2:])} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def _status(key: str) -> int:
    """Bytes that the kernel tells about this process: VmRSS (now) or VmHWM (the peak)."""
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


def measured(job: Job, *arguments: Any) -> float:
    """The job's peak in this very process, in MiB; for one job a process."""
    held = 0

    def mark() -> None:
        nonlocal held
        gc.collect()
        try:
            # 5 sets the peak back to what is held now (proc(5)): the imports' own peak is no one's business
            with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
        except OSError:
            pass  # then a peak before the mark would count, which is above what is held only by little
        held = _status("VmRSS")

    apart = job(mark, *arguments) or 0
    return (_status("VmHWM") - held - apart) / MEBIBYTE


def example_job(mark: Callable[[], None], before: int, after: int) -> None:
    """Hold `before` MiB at the mark and `after` MiB more for a moment: its peak is `after`."""
    kept = bytearray(b"x") * (before * MEBIBYTE)
    mark()
    passing = bytearray(b"x") * (after * MEBIBYTE)
    del passing, kept


def main(module_and_job: str, arguments: str = "[]") -> None:
    module, _, name = module_and_job.partition(":")
    print(measured(getattr(importlib.import_module(module), name), *json.loads(arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
