"""Processes that are lost: who it was, at which step and why, and how fast the others know."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent

# Steps of .1 s in which all wait for all; a process may be told to fail in one. Each has forked another process, as one
# that loads images, which lives on for ten seconds.
PROGRAM = """
import os, sys, time, torch
sys.path.insert(0, {root!r})
import torch.distributed as dist
from yolo9000.runtime.interrupt import StopRequest
from yolo9000.runtime.mistakes import run
from yolo9000.runtime.watch import together

def work():
    with together(torch.device("cpu"), {patience}) as processes, StopRequest(quiet=True):
        if os.fork() == 0:
            os.closerange(1, 3)
            time.sleep(10)
            os._exit(0)
        print("ready", processes.rank, flush=True)
        for step in range(1, 300):
            processes.state["step"] = step
            if (processes.rank, step) == {fails}:
                raise {error}("the disk is full")
            time.sleep(0.1)
            dist.all_reduce(torch.ones(3))
    return 0

sys.exit(run(work))
"""


def start(
    tmp_path: Path, *, patience: float, fails: tuple[int, int] = (-1, -1), error: str = "RuntimeError"
) -> list[subprocess.Popen[str]]:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM.format(root=str(ROOT), patience=patience, fails=fails, error=error))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for rank in range(3):
        environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": "3", "OMP_NUM_THREADS": "1"}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
        ranks.append(
            subprocess.Popen(
                [sys.executable, file], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    for each in ranks:
        assert each.stdout is not None
        assert each.stdout.readline().startswith("ready"), each.communicate(timeout=60)[1]
    return ranks


@pytest.fixture
def killed_at_the_end() -> Iterator[list[subprocess.Popen[str]]]:
    ranks: list[subprocess.Popen[str]] = []
    yield ranks
    for each in ranks:
        each.kill()
        each.communicate()


def ends(ranks: list[subprocess.Popen[str]], which: list[int], seconds: float) -> tuple[str, float]:
    """What these ranks say as they end, and how long it takes until all have."""
    began = time.monotonic()
    said = "".join(ranks[rank].communicate(timeout=seconds + 30)[1] for rank in which)
    assert all(ranks[rank].returncode for rank in which)
    return said, time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 2])
def test_a_killed_rank_ends_all_within_five_seconds(
    tmp_path: Path, victim: int, killed_at_the_end: list[subprocess.Popen[str]]
) -> None:
    """The first one keeps the store that the others are told by; it is missed as well."""
    killed_at_the_end += (ranks := start(tmp_path, patience=60))
    time.sleep(2)
    ranks[victim].send_signal(signal.SIGKILL)
    said, seconds = ends(ranks, [rank for rank in range(3) if rank != victim], 5)
    assert re.search(
        rf"error: rank {victim}, last seen at step \d+, of 3 processes: its connection broke.*; `resume` goes on", said
    ), said
    assert seconds < 5


@pytest.mark.slow
def test_a_killed_rank_is_named_though_torchrun_ends_the_others(
    tmp_path: Path, killed_at_the_end: list[subprocess.Popen[str]]
) -> None:
    """It looks ten times a second, and sends SIGTERM to all others when one has died."""
    killed_at_the_end += (ranks := start(tmp_path, patience=60))
    time.sleep(1)
    ranks[1].send_signal(signal.SIGKILL)
    for _ in range(10):
        time.sleep(0.1)
        for rank in (0, 2):
            ranks[rank].send_signal(signal.SIGTERM)
    said, seconds = ends(ranks, [0, 2], 5)
    assert re.search(r"error: rank 1, last seen at step \d+, of 3 processes: its connection broke", said), said
    assert seconds < 5


@pytest.mark.slow
def test_a_rank_that_fails_says_why_to_all(tmp_path: Path, killed_at_the_end: list[subprocess.Popen[str]]) -> None:
    killed_at_the_end += (ranks := start(tmp_path, patience=60, fails=(1, 12)))
    said, seconds = ends(ranks, [0, 2], 8)
    assert "error: rank 1 of 3 processes failed at step 12: RuntimeError: the disk is full" in said
    assert seconds < 8  # with the twelve steps
    assert "the disk is full" in ranks[1].communicate()[1]


@pytest.mark.slow
def test_a_rank_that_is_interrupted_says_so(tmp_path: Path, killed_at_the_end: list[subprocess.Popen[str]]) -> None:
    killed_at_the_end += (ranks := start(tmp_path, patience=60, fails=(1, 12), error="KeyboardInterrupt"))
    said, seconds = ends(ranks, [0, 2], 8)
    assert "error: rank 1 of 3 processes failed at step 12: interrupted" in said
    assert seconds < 8


# A process that takes eight seconds to read its data, where torch waits for five
LATE = """
import sys, threading, time, torch
sys.path.insert(0, {root!r})
from yolo9000.runtime import distributed, signs_of_life
from yolo9000.runtime.watch import together

distributed.BEHIND_THE_WATCH, signs_of_life.BEAT = 0, 1.0
with together(torch.device("cpu"), 5) as processes:
    time.sleep(8 * (processes.rank == 1))
    distributed.wait_for_all(processes)
    found = distributed.gather_objects(processes.rank, processes)
print(found, threading.active_count())
"""


@pytest.mark.slow
def test_a_rank_that_is_late_is_waited_for(tmp_path: Path) -> None:
    """And it leaves with the main thread alone: another one may hold torch's group last, and end in SIGABRT."""
    file = tmp_path / "late.py"
    file.write_text(LATE.format(root=str(ROOT)))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3"]
    done = subprocess.run([*torchrun, file], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines() == ["[0, 1, 2] 1"] * 3, done.stderr


@pytest.mark.slow
def test_a_stopped_rank_ends_the_others_within_the_timeout(
    tmp_path: Path, killed_at_the_end: list[subprocess.Popen[str]]
) -> None:
    killed_at_the_end += (ranks := start(tmp_path, patience=6))
    time.sleep(2)
    ranks[1].send_signal(signal.SIGSTOP)
    said, seconds = ends(ranks, [0, 2], 6)
    assert (
        len(re.findall(r"error: rank 1, last seen at step \d+, of 3 processes: no sign of life for [67] s", said)) == 1
    ), said
    assert 5 < seconds < 9


@pytest.mark.slow
def test_a_rank_that_waits_inside_of_torch_hears_that_it_shall_end(
    tmp_path: Path, killed_at_the_end: list[subprocess.Popen[str]]
) -> None:
    """Where nothing breaks a connection (NCCL), torchrun's SIGTERM must be enough: here a stopped rank breaks none."""
    killed_at_the_end += (ranks := start(tmp_path, patience=60))
    time.sleep(2)
    ranks[1].send_signal(signal.SIGSTOP)
    time.sleep(1)
    for rank in (0, 2):
        ranks[rank].send_signal(signal.SIGTERM)
    _, seconds = ends(ranks, [0, 2], 5)
    assert seconds < 5
