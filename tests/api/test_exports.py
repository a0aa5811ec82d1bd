"""Exported folders from Python: written, opened, and asked as the net that they were made of."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wordtree import TreeMismatch, WordTree
from yolo9000 import YOLO9000
from yolo9000.experiment.keywords import WrongKeyword
from yolo9000.exporting.errors import ExportError
from yolo9000.runtime.checkpoint import CheckpointError
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.run_folder import RunFolder

PIXELS: Any = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
needs_safetensors = pytest.mark.skipif(
    importlib.util.find_spec("safetensors") is None, reason="safetensors is not installed"
)


@pytest.fixture
def model(run: RunFolder) -> YOLO9000:
    return YOLO9000.load(run.path, device="cpu", precision="float32")


def same(one: YOLO9000, other: YOLO9000, **options: Any) -> bool:
    first, second = (each.predict(PIXELS, **{"threshold": 0.001, **options})[0] for each in (one, other))
    assert len(first) > 0
    np.testing.assert_allclose(first.boxes.score, second.boxes.score, atol=1e-4)
    np.testing.assert_allclose(first.boxes.xyxy, second.boxes.xyxy, atol=1e-2)
    return first.labels == second.labels


@needs_safetensors
def test_a_folder_of_the_hub_is_written_and_opened(model: YOLO9000, tmp_path: Path) -> None:
    folder = model.save_pretrained(tmp_path / "mine", license="cc-by-4.0")
    assert {file.name for file in folder.iterdir()} >= {"model.safetensors", "config.json", "tree.json", "README.md"}
    for again in (YOLO9000.load(folder, device="cpu"), YOLO9000.from_pretrained(folder, device="cpu")):
        assert same(model, again)
        assert again.predict(PIXELS, threshold=0.001)[0].prob("dog").shape[0] > 0


@needs_safetensors
def test_a_restricted_net_keeps_its_choice(model: YOLO9000, tmp_path: Path) -> None:
    model.restrict(["dog", "car"])
    again = YOLO9000.load(model.save_pretrained(tmp_path / "mine"), device="cpu")
    assert again.classes.kept == model.classes.kept
    assert same(model, again)
    for options in ({"format": "darknet"}, {"format": "onnx", "decoded": True}):
        with pytest.raises(ExportError, match="a restricted net, whose choice"):
            model.export(**{"out": tmp_path / "other", **options})


def test_darknets_files_are_written(model: YOLO9000, tmp_path: Path) -> None:
    folder = model.export("darknet", out=tmp_path / "darknet")
    assert any(file.suffix == ".weights" for file in folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("form", ["features", "raw", "decoded"])
def test_what_onnxruntime_runs_answers_the_same(model: YOLO9000, tmp_path: Path, form: str) -> None:
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    options: dict[str, Any] = {} if form == "features" else {form: True}
    if form == "decoded":
        options["threshold"] = 0.001
    folder = model.export("onnx", out=tmp_path / "onnx", **options)
    again = YOLO9000.load(folder, device="cpu")
    assert same(model, again)
    found = again.predict(PIXELS, **({} if form == "decoded" else {"threshold": 0.001}))[0]
    assert found.boxes.score.min() > 0.001
    if form == "decoded":  # which takes its own thresholds unless others are asked for, and has none
        with pytest.raises(Mistake, match="`threshold` 0.5: the exported net decodes inside"):
            again.predict(PIXELS, threshold=0.5)
        with pytest.raises(Mistake, match="the net decodes inside"):
            found.prob("poodle")
    else:
        np.testing.assert_allclose(
            found.prob("poodle"), model.predict(PIXELS, threshold=0.001)[0].prob("poodle"), atol=1e-5
        )
        assert set(again.restrict("car").predict(PIXELS, threshold=0.0001)[0].labels) == {"car"}
    with pytest.raises(Mistake, match="is an export already"):
        again.save(tmp_path / "copy.pt")


def test_options_of_an_export_are_checked(model: YOLO9000, tmp_path: Path) -> None:
    for options, error, message in [
        ({"format": "onxx"}, Mistake, "`format` onxx: did you mean onnx"),
        ({"decode": True}, WrongKeyword, "export: decode: did you mean decoded"),
        ({"raw": True, "decoded": True}, Mistake, "raw and decoded: a file answers with one of them"),
        ({"check": ["a.jpg"]}, WrongKeyword, "check: is for the command alone"),
    ]:
        with pytest.raises(error, match=message):
            model.export(**{"out": tmp_path / "never", **options})
    assert not (tmp_path / "never").exists()
    with pytest.raises(ExportError):
        YOLO9000.from_pretrained("no such folder")


@needs_safetensors
def test_what_does_not_apply_to_a_folder_of_the_hub_is_refused(
    model: YOLO9000, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model.save_pretrained(tmp_path / "mine")
    for options, error, message in [
        ({"cfg": "x.cfg"}, CheckpointError, "`cfg` x.cfg: .* is an export, which knows its net"),
        ({"best": True}, CheckpointError, "`best`: .* is an export, which has the weights of one step"),
        ({"size": 50}, Mistake, "`size` 50: .* cells of 32 pixels"),
        ({"names": ["cat"]}, CheckpointError, "`names`: the classes are the nodes of a tree"),
        ({"tree": WordTree(("x",), ("thing",), (-1,))}, TreeMismatch, "trained on a tree of 6 nodes"),
        ({"revision": "v1"}, ExportError, "`revision` v1: .*mine is a folder"),
    ]:
        with pytest.raises(error, match=message):
            YOLO9000.from_pretrained(folder, **options)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="`best`"):
        YOLO9000.load(folder, best=True)
    (tmp_path / "none").mkdir()
    with pytest.raises(ExportError, match="config.json: is absent, or not of an export"):
        YOLO9000.from_pretrained(tmp_path / "none")
