"""The Python of the README, of docs/python.md, of docs/exports.md and of model cards runs as it stands."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from yolo9000 import YOLO9000
from yolo9000.api import model as api
from yolo9000.training.loop import TrainResult

ROOT = Path(__file__).resolve().parents[2]


def blocks(file: str | Path) -> list[str]:
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


def test_the_hub_of_the_page_of_exports_and_of_the_model_card(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("safetensors", reason="needs the extra export")
    shutil.copytree(workplace, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    sent: list[dict[str, Any]] = []
    hub = SimpleNamespace(
        create_repo=lambda **asked: f"https://hub.invalid/{asked['repo_id']}",
        upload_folder=lambda **asked: sent.append(asked),
        snapshot_download=lambda **asked: str(tmp_path / "pets"),
    )
    monkeypatch.setattr("yolo9000.exporting.hub.optional_module", lambda name: SimpleNamespace(HfApi=lambda: hub))
    _, code = blocks("docs/exports.md")
    exec(compile(code, "docs/exports.md", "exec"), {})
    assert [(asked["repo_id"], Path(asked["folder_path"]).name) for asked in sent] == [("OWNER/pets", "pets")]
    (code,) = blocks(tmp_path / "pets" / "README.md")
    capsys.readouterr()
    exec(compile(code, "the model card", "exec"), {})
    result = YOLO9000.load("runs/joint").predict("photo.jpg")[0]
    assert capsys.readouterr().out == f"{result.labels} {result.boxes.score}\n"


@pytest.mark.slow
def test_the_engines_of_the_page_of_exports(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module, reason="needs the extra export")
    shutil.copytree(workplace, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir(exist_ok=True)
    shutil.copy("photo.jpg", "photos")
    YOLO9000.load("runs/joint").export("onnx", out="joint-onnx")
    code, _ = blocks("docs/exports.md")
    if importlib.util.find_spec("openvino") is None:
        code = code.replace("openvino", "onnxruntime")
    names: dict[str, Any] = {}
    exec(compile(code, "docs/exports.md", "exec"), names)
    assert names["trained"].classes == YOLO9000.load("runs/joint").classes


def _not_resumed(*sets: Any, **options: Any) -> Any:
    """A run that is resumed would need the configuration of a real one."""
    from yolo9000.experiment.beginning import begin_with

    return begin_with(*sets, **{**options, "resume": None})
