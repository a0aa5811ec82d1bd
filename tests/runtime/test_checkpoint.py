"""Checkpoints: whole or not there, nothing executed, every fault told apart."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from yolo9000.runtime import checkpoint
from yolo9000.runtime.checkpoint import CheckpointError, content_sha256, load_checkpoint, save_checkpoint

CONTENT = {
    "step": 7,
    "name": "é",
    "rates": (0.5, 1e-300),
    "nothing": None,
    "flag": True,
    "state": {0: {"momentum": torch.tensor([[1.0, -2.0]])}, "half": torch.ones(3, dtype=torch.bfloat16)},
    "scalar": torch.tensor(5),
    "empty": torch.zeros(0, 4),
}


def test_content_comes_back_with_tuples_as_lists(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", CONTENT)
    back = load_checkpoint(tmp_path / "a.pt")
    assert list(back) == list(CONTENT)
    assert (back["step"], back["name"], back["rates"], back["nothing"], back["flag"]) == (
        7,
        "é",
        [0.5, 1e-300],
        None,
        True,
    )
    assert torch.equal(back["state"][0]["momentum"], torch.tensor([[1.0, -2.0]]))
    assert back["state"]["half"].dtype == torch.bfloat16
    assert back["scalar"].shape == ()
    assert back["empty"].shape == (0, 4)
    assert os.listdir(tmp_path) == ["a.pt"]


def test_numpy_numbers_become_plain(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", {"ap": np.float64(0.25)})
    assert type(load_checkpoint(tmp_path / "a.pt")["ap"]) is float


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({"x": torch.zeros(2)}, {"x": torch.zeros(2, dtype=torch.int32)}),
        ({"x": torch.zeros(2, 3)}, {"x": torch.zeros(3, 2)}),
        ({"x": 1}, {"x": 1.0}),
        ({"x": True}, {"x": 1}),
        ({"x": "1"}, {"x": 1}),
        ({"x": ["a", "b"]}, {"x": ["ab"]}),
        ({"x": {"y": 1}, "z": 2}, {"x": {"y": 1, "z": 2}}),
        ({"x": torch.tensor([0.0])}, {"x": torch.tensor([-0.0])}),
    ],
)
def test_checksum_tells_contents_apart(a: dict[str, object], b: dict[str, object]) -> None:
    assert content_sha256(a) != content_sha256(b)


def test_objects_are_refused_when_writing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not PosixPath|not WindowsPath"):
        save_checkpoint(tmp_path / "a.pt", {"path": Path("x")})
    assert os.listdir(tmp_path) == []


def test_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, CONTENT)
    whole = path.read_bytes()
    for keep in (0, 10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:keep])
        with pytest.raises(CheckpointError, match=r"a\.pt: .*(empty|truncated|not a checkpoint)"):
            load_checkpoint(path)


def test_a_last_line_of_thousands_of_digits(tmp_path: Path) -> None:
    """They make torch look for the end of the archive in front of the beginning of the file."""
    path = tmp_path / "long.pt"
    save_checkpoint(path, {"step": 1})
    whole = path.read_bytes()
    path.write_bytes(whole[:-10] + b"9" * 5_000 + whole[-10:])
    with pytest.raises(CheckpointError, match=r"long\.pt: truncated, damaged or not a checkpoint \(OSError"):
        load_checkpoint(path)


def test_changed_number_does_not_pass(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    outer = {"format": checkpoint.FORMAT, "version": 1, "sha256": content_sha256({"w": torch.zeros(2)})}
    torch.save({**outer, "content": {"w": torch.tensor([0.0, 1e-8])}}, path)
    with pytest.raises(CheckpointError, match="checksum"):
        load_checkpoint(path)


def test_other_version(tmp_path: Path) -> None:
    torch.save({"format": checkpoint.FORMAT, "version": 99, "sha256": "", "content": {}}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="version 99.*reads version 1"):
        load_checkpoint(tmp_path / "a.pt")


def test_other_files(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "torch.pt")
    (tmp_path / "text.pt").write_text("no checkpoint")
    for name in ("torch.pt", "text.pt"):
        with pytest.raises(CheckpointError, match="not a checkpoint"):
            load_checkpoint(tmp_path / name)
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(tmp_path / "absent.pt")
    with pytest.raises(CheckpointError, match="a folder"):
        load_checkpoint(tmp_path)


class _Attack:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("executed",)


def test_nothing_in_the_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": checkpoint.FORMAT, "version": 1, "content": _Attack()}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(_Attack()))
    for name, message in (("a.pt", "refused"), ("b.pt", "not a checkpoint")):
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "executed").exists()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path / "a.pt", {"step": 1})

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(tmp_path / "a.pt", {"step": 2})
    assert load_checkpoint(tmp_path / "a.pt") == {"step": 1}
    assert os.listdir(tmp_path) == ["a.pt"]


@pytest.mark.slow
def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    code = (
        "import sys, torch; from yolo9000.runtime.checkpoint import save_checkpoint\n"
        "step = 0\n"
        "while True:\n"
        "    step += 1\n"
        "    save_checkpoint(sys.argv[1], {'step': step, 'w': torch.full((500_000,), float(step))})\n"
        "    print(step, flush=True)\n"
    )
    path = tmp_path / "a.pt"
    for wait in (1, 2, 3):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(wait):
                writer.stdout.readline()
            writer.kill()
        content = load_checkpoint(path)
        assert float(content["w"].min()) == float(content["w"].max()) == content["step"]
