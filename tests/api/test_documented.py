"""The Python of the README and of docs/python.md runs as it stands, block after block."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wordtree import load_tree, save_tree
from yolo9000.api import model as api
from yolo9000.inference.model import describe_model
from yolo9000.models import BoxCoding, Detector, DetectorConfig, RegionSpec, TreeClasses
from yolo9000.runtime.checkpoint import save_checkpoint
from yolo9000.training.loop import TrainResult

ROOT = Path(__file__).resolve().parents[2]


def blocks(file: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / file).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the documents speak of: a run over YOLO9000's tree that is sure of its boxes, photographs, data sets."""
    root = tmp_path_factory.mktemp("workplace")
    tree = load_tree("yolo9000")
    torch.manual_seed(0)
    region = RegionSpec(coding=BoxCoding(((1.0, 1.0),)), classes=TreeClasses(tree))
    net = Detector(DetectorConfig(width=0.05, stride=32), region)
    with torch.no_grad():
        net.head.class_bias[list(tree.path("terrier"))] = 12.0
        net.head.box_bias[4] = 2.0
    content = {
        **describe_model(net, size=64, boxed=(tree.node("dog"),)),
        "image_labels": {},
        "position": {"step": 5},
        "net": net.description,
        "average": None,
        "model": net.state_dict(),
    }
    for run in ("joint", "boxes", "mine", "further"):
        (root / "runs" / run).mkdir(parents=True)
        save_checkpoint(root / "runs" / run / "last.pt", content)
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    (root / "photos").mkdir()
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.jpg"):
        Image.fromarray(pixels).save(root / name)
    golden = ROOT / "tests" / "golden" / "net_yolov2tiny_voc20"
    shutil.copy(golden.with_suffix(".cfg"), root / "tiny.cfg")
    shutil.copy(golden.with_suffix(".weights"), root / "tiny.weights")
    save_tree(tree, root / "wordtree.json")
    (root / "COCO_DIR" / "val2017").mkdir(parents=True)
    (root / "COCO_DIR" / "annotations").mkdir()
    Image.fromarray(pixels).save(root / "COCO_DIR" / "val2017" / "1.jpg")
    annotations = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 64, "height": 48}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 18, "bbox": [4, 5, 30, 20], "iscrowd": 0}],
        "categories": [{"id": 18, "name": "dog"}],
    }
    (root / "COCO_DIR" / "annotations" / "instances_val2017.json").write_text(json.dumps(annotations))
    return root


@pytest.mark.parametrize("file", ["README.md", "docs/python.md"])
def test_every_block_runs(
    file: str, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(workplace, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    trained: list[Path] = []

    def train_run(config: Any, folder: Path, *, resume: bool = False) -> TrainResult:
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
