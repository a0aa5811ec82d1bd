"""Checkpoints while the disk fails at any point, and bytes that have changed."""

from __future__ import annotations

import errno
import io
import os
import random
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from yolo9000.runtime.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from yolo9000.runtime.kept import read_last, save_last
from yolo9000.runtime.run_folder import RunFolder, remove_unfinished

CALLS = ("open", "fsync", "fchmod", "link", "replace", "unlink")
"""What a save asks of the system, besides the bytes that it writes."""


class Fault:
    """What happens at one call of all that a save makes."""

    def __init__(self, at: int, action: Callable[[str], Any]) -> None:
        self.calls, self.at, self.action = 0, at, action

    def __call__(self, name: str) -> Any:
        self.calls += 1
        return self.action(name) if self.calls == self.at else None


class FaultyFile(io.FileIO):
    fault: Fault

    def write(self, data: Any) -> int:
        wanted = self.fault("write")
        return super().write(bytes(data)[: wanted or None])


@contextmanager
def faulty(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def opened(descriptor: int, mode: str) -> io.BufferedWriter:
        file = FaultyFile(descriptor, mode)
        file.fault = fault
        return io.BufferedWriter(file, 2048)

    with monkeypatch.context() as patched:
        for name in CALLS:
            real = getattr(os, name)
            patched.setattr(os, name, lambda *a, _real=real, _name=name, **k: (fault(_name), _real(*a, **k))[1])
        patched.setattr(os, "fdopen", opened)
        yield


def content(step: int) -> dict[str, Any]:
    return {"step": step, "weight": torch.full((1500,), float(step))}


def three_saves(run: RunFolder, done: Callable[[int], None]) -> None:
    for step in (1, 2, 3):
        save_last(run, content(step), before=step - 1 or None, keep=2)
        done(step)


def note(log: Path, step: int) -> None:
    log.write_text(str(step))


def number_of_calls(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    folder.mkdir()
    with faulty(nowhere := Fault(-1, lambda name: None), monkeypatch):
        three_saves(RunFolder(folder), lambda step: None)
    return nowhere.calls


def assert_usable(run: RunFolder, last: int) -> None:
    """A whole checkpoint that is no older than the last that was saved; if it was the first, there may be none."""
    if last == 0 and not run.last.exists():
        return
    found = read_last(run).content
    assert found["step"] >= last
    assert torch.equal(found["weight"], content(found["step"])["weight"])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
def test_a_disk_that_fails_at_any_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(name: str) -> None:
        raise OSError(code, os.strerror(code))

    calls = number_of_calls(tmp_path / "whole", monkeypatch)
    assert calls > 30
    told = 0
    for at in range(1, calls + 1):
        run, saved = RunFolder(tmp_path / f"{at}"), [0]
        run.path.mkdir()
        with faulty(Fault(at, fail), monkeypatch):
            try:
                three_saves(run, saved.append)
            except OSError as error:
                told += 1
                assert str(error.filename).startswith(str(run.path)), error  # noqa: PT017
                assert os.strerror(code) in str(error)  # noqa: PT017
        assert_usable(run, saved[-1])
        assert not [name for name in os.listdir(run.path) if name.startswith(".")]
        assert len(os.listdir(run.path)) <= 3
    assert told > calls / 2  # the others went another way: a link that fails is a copy


def test_a_write_that_takes_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = number_of_calls(tmp_path / "whole", monkeypatch)
    for at in range(1, calls + 1):
        run = RunFolder(tmp_path / f"{at}")
        run.path.mkdir()
        with faulty(Fault(at, lambda name: 7), monkeypatch):
            three_saves(run, lambda step: None)
        assert [load_checkpoint(path)["step"] for path in (run.last, *run.earlier)] == [3, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_is_killed_at_any_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = number_of_calls(tmp_path / "whole", monkeypatch)
    unfinished = 0
    for at in range(1, calls + 1):
        run, log = RunFolder(tmp_path / f"{at}"), tmp_path / f"{at}.log"
        run.path.mkdir()
        pid = os.fork()
        if pid == 0:
            try:
                with faulty(Fault(at, lambda name: os.kill(os.getpid(), signal.SIGKILL)), monkeypatch):
                    three_saves(run, partial(note, log))
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        assert_usable(run, int(log.read_text()) if log.exists() else 0)
        unfinished += any(name.startswith(".") for name in os.listdir(run.path))
        remove_unfinished(run)
        assert not [name for name in os.listdir(run.path) if name.startswith(".")]
    assert unfinished < calls / 3  # a file has a name for the blink between link and rename


def flips(path: Path, number: int) -> int:
    """How many of so many one-bit flips are accepted; whatever is raised besides the one error comes through."""
    whole, rng, accepted = path.read_bytes(), random.Random(0), 0
    for _ in range(number):
        bit = rng.randrange(8 * len(whole))
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            load_checkpoint(path)
            accepted += 1
        except CheckpointError:
            pass
    path.write_bytes(whole)
    return accepted


def a_checkpoint(path: Path) -> Path:
    state = {0: {"momentum_buffer": torch.randn(30, 3)}, 1: {"momentum_buffer": None}}
    groups = [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0, 1]}]
    save_checkpoint(path, {"optimizer": {"state": state, "param_groups": groups}, "name": "é", "size": 64})
    return path


def test_bits_that_flip(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert flips(a_checkpoint(tmp_path / "a.pt"), 500) == 0


@pytest.mark.slow
def test_10_000_bits_that_flip(tmp_path: Path) -> None:
    assert flips(a_checkpoint(tmp_path / "a.pt"), 10_000) == 0


def test_bits_that_flip_in_a_file_without_a_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As older releases wrote it: one that torch does not read changes nothing, others are found by the SHA-256."""
    path = a_checkpoint(tmp_path / "a.pt")
    outer = torch.load(path, weights_only=True)
    del outer["sealed"]
    torch.save(outer, path)
    before = load_checkpoint(path)
    whole, rng = path.read_bytes(), random.Random(1)
    for _ in range(150):
        bit = rng.randrange(8 * len(whole))
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            found = load_checkpoint(path)
        except CheckpointError:
            continue
        assert str(found) == str(before)


def test_a_seal_that_is_cut_off(tmp_path: Path) -> None:
    path = a_checkpoint(tmp_path / "a.pt")
    path.write_bytes(path.read_bytes().rpartition(b"\n")[0])
    with pytest.raises(CheckpointError, match="its last line is missing"):
        load_checkpoint(path)


def test_all_checkpoints_are_damaged(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    three_saves(run, lambda step: None)
    for path in (run.last, *run.earlier):
        path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"last\.pt: truncated.*; neither can the 1 before it be used"):
        read_last(run)
