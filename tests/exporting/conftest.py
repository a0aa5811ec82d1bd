"""A small detector with something to find, and its exports, each of which is made once."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from wordtree import WordTree
from yolo9000.detection.config import DecodeConfig
from yolo9000.exporting.config import Form, Format
from yolo9000.exporting.folder import ExportedFolder
from yolo9000.exporting.writing import export_model
from yolo9000.inference.model import TrainedModel
from yolo9000.models import BoxCoding, Detector, DetectorConfig, RegionSpec, TreeClasses

# animal (dog (poodle, pug), cat), vehicle (car); an only child has a rest alternative
TREE = WordTree(
    ("n1", "n2", "n3", "n4", "n5", "n6", "n7"),
    ("animal", "vehicle", "dog", "cat", "car", "poodle", "pug"),
    (-1, -1, 0, 0, 1, 2, 2),
    rest="only_child",
)
NEEDS: dict[Format, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
    "torchscript": (),
    "safetensors": (),
    "darknet": (),
}
DECODE = DecodeConfig(threshold=0.5, tree_threshold=0.4)

Exports = Callable[..., ExportedFolder]


@pytest.fixture(scope="session")
def trained() -> TrainedModel:
    """A detector of two priors whose numbers differ from box to box, as those of a trained one do."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        region = RegionSpec(coding=BoxCoding(((1.0, 1.0), (2.0, 1.5))), classes=TreeClasses(TREE))
        net = Detector(DetectorConfig(width=0.05, passthrough=True), region)
        for weight, bias in net.head.dense_rows():
            torch.nn.init.normal_(weight, std=0.5)
            torch.nn.init.normal_(bias)
    content = {
        "data": {
            "sets": [["coco", "/home/somebody/coco"]],
            "tree": "/home/somebody/tree.json",
            "keep_scenes": "/home/somebody/kept",
        },
        "batch_size": 8,
        "phases": [["joint", 40]],
        "position": {"step": 40, "images_seen": 320},
    }
    return TrainedModel(net.eval(), 96, (3, 4), (5, 6), 40, content, Path("runs/pets/last.pt"))


@pytest.fixture(scope="session")
def exports(trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """Format and form -> the folder, whose files a test leaves as they are."""

    @cache
    def make(format: Format, form: Form | None) -> ExportedFolder:
        out = tmp_path_factory.mktemp("exports") / f"{format}-{form}"
        return export_model(trained, out, format, form=form, decode=DECODE)

    def export(format: Format, form: Form | None = None) -> ExportedFolder:
        skip_without(format)
        return make(format, form)

    return export


@pytest.fixture(scope="session")
def needs() -> Callable[[Format], None]:
    """Skip a test whose engine is not installed."""
    return skip_without


def skip_without(format: Format) -> None:
    """Skip where a format cannot be written or run."""
    pytest.importorskip("safetensors", reason="needs the extra export")
    if absent := [name for name in NEEDS[format] if importlib.util.find_spec(name) is None]:
        pytest.skip(f"needs {', '.join(absent)}")
