"""The Python of the README and of docs/python.md runs as it stands, block after block."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from yolo9000.api import model as api
from yolo9000.training.loop import TrainResult

ROOT = Path(__file__).resolve().parents[2]


def blocks(file: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / file).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("file", ["README.md", "docs/python.md"])
def test_every_block_runs(
    file: str, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(workplace, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    trained: list[Path] = []

    def train_run(config: Any, folder: Path, *, resume: bool = False, override: bool = False) -> TrainResult:
        """What is asked for was checked before; the runs are there already."""
        trained.append(folder)
        return TrainResult(step=5, interrupted=False)

    monkeypatch.setattr(api, "train_run", train_run)
    monkeypatch.setattr("yolo9000.api.keywords.begin_with", _not_resumed)
    found = blocks(file)
    assert len(found) >= (1 if file == "README.md" else 8)
    names: dict[str, Any] = {}
    for number, block in enumerate(found):
        exec(compile(block, f"{file}, block {number + 1}", "exec"), names)
    printed = capsys.readouterr().out
    assert "photo.jpg (64 x 48)\n  0  terrier  score 0." in printed
    assert "Pr(Norfolk terrier|terrier)=" in printed
    assert (tmp_path / "out.jpg").exists()
    if trained:
        assert [path.as_posix() for path in trained] == ["runs/mine", "runs/further", "runs/further"]


def _not_resumed(*sets: Any, **options: Any) -> Any:
    """A run that is resumed would need the configuration of a real one."""
    from yolo9000.experiment.beginning import begin_with

    return begin_with(*sets, **{**options, "resume": None})
