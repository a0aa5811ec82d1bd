"""Torchvision's detectors from the command line: trained, scored, and in one table and plot with ours."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from wordtree import WordTree, save_tree
from yolo9000 import evaluate
from yolo9000.datasets.loader import make_evaluation_loader
from yolo9000.detection.results import Detections
from yolo9000.evaluation.detections import find_in_batches, score_detections
from yolo9000.models import FlatClasses

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
TINY = str(GOLDEN / "net_yolov2tiny_voc20.weights")
TREE = WordTree(("n1", "n2", "n3"), ("thing", "cat", "car"), (-1, 0, 0), label_maps={"coco": {"cat": 1, "car": 2}})
NET = "ssdlite320_mobilenet_v3_large"


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four images to train on and two held out, each with a cat or a car."""
    root = tmp_path_factory.mktemp("coco")
    for split, count in (("train", 4), ("val", 2)):
        (root / split).mkdir()
        (root / "annotations").mkdir(exist_ok=True)
        rng = np.random.default_rng(count)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)).save(root / split / f"{i}.png")
        content = {
            "images": [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 48} for i in range(count)],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "car"}],
            "annotations": [
                {"id": i + 1, "image_id": i, "category_id": 1 + i % 2, "bbox": [4, 4, 40, 30]} for i in range(count)
            ],
        }
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    save_tree(TREE, root / "tree.json")
    return str(root)


@pytest.fixture(scope="module")
def rival(coco: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of training."""
    out = tmp_path_factory.mktemp("runs") / "ssd"
    options = ["--tree", f"{coco}/tree.json", "--steps", "2", "--batch", "2", "--size", "64", "--device", "cpu"]
    assert tool("train_rival").main([NET, "--coco", coco, *options, "--out", str(out)]) == 0
    return out


def test_a_rival_is_trained_and_scored_as_ours(rival: Path, coco: str) -> None:
    assert evaluate.main([str(rival), "--device", "cpu"]) == 0
    report = json.loads((rival / "evaluation.json").read_text())
    assert report["boxed"]["classes"] == 2
    assert (report["images"], report["step"]) == (2, 2)
    assert [(row["node"], row["label"]) for row in report["classes"]] == [(1, "cat"), (2, "car")]
    assert "coco" in report
    assert not (rival / "reliability.png").exists()  # it has no probabilities apart from its scores


def test_weights_of_torchvisions_are_scored_by_names(coco: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = torchvision.models.get_model(NET, weights=None, weights_backbone=None, num_classes=4)
    torch.save(plain.state_dict(), tmp_path / "w.pth")
    (tmp_path / "names").write_text("dog\ncar\ncat\n")
    out = tmp_path / "e.json"
    options = ["--weights", str(tmp_path / "w.pth"), "--names", str(tmp_path / "names"), "--coco", coco]
    assert evaluate.main([f"torchvision:{NET}", *options, "--device", "cpu", "--out", str(out)]) == 0
    assert [(row["node"], row["name"]) for row in json.loads(out.read_text())["classes"]] == [(1, "car"), (2, "cat")]


def test_mistakes_are_said(rival: Path, coco: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def said(*words: str) -> str:
        assert evaluate.main([*words, "--device", "cpu"]) == 2
        return capsys.readouterr().err

    assert "there is no such detector; torchvision has" in said("torchvision:yolo", "--coco", coco)
    assert "--map coco: a detector of torchvision's takes none" in said(str(rival), "--map", "coco")
    assert "--weights w.pth: they are for `torchvision:NAME`" in said(TINY, "--weights", "w.pth")
    assert tool("train_rival").main([NET, "--steps", "0", "--out", str(tmp_path)]) == 2
    assert "--steps 0: at least 1 is needed" in capsys.readouterr().err


def test_the_plot_of_both(rival: Path, coco: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "speed.csv"
    options = ["--coco", coco, "--sizes", "64", "96", "--rounds", "2", "--device", "cpu", "--out", str(out)]
    cfg = str(GOLDEN / "net_yolov2tiny_voc20.cfg")
    assert tool("speed_accuracy").main([f"SSDlite={rival}", f"tiny={TINY}", "--cfg", cfg, *options]) == 0
    rows = [line.split(",") for line in out.read_text().splitlines()]
    assert rows[0][:4] == ["method", "size", "ap50", "images_per_second"]
    assert [row[:2] for row in rows[1:]] == [["SSDlite", "64"], ["tiny", "64"], ["tiny", "96"]]  # SSD has one size
    assert all(float(row[3]) > 0 for row in rows[1:])
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert tool("speed_accuracy").main([TINY, "--cfg", cfg, *options, "--sizes", "100"]) == 2
    assert f"--sizes 100: {TINY} has cells of 32 pixels; take a multiple" in capsys.readouterr().err
    assert tool("speed_accuracy").main([TINY, "--cfg", cfg, *options, "--rounds", "0"]) == 2
    assert "--rounds 0: at least 1 is needed" in capsys.readouterr().err


def test_detections_of_any_kind_are_scored(squares: type) -> None:
    """Half of the squares are found: by reading the pixels, which are red or green in a corner of grey."""

    def find(images: torch.Tensor) -> list[Detections]:
        found = []
        for image in images:
            rows, columns = (image[2] < 0.25).nonzero(as_tuple=True)
            box = torch.tensor([[columns.min() + 16, rows.min() + 16, 32, 32]]) / 64
            ones = torch.ones(1)
            found.append(
                Detections(boxes_cxcywh=box, scores=ones, nodes=torch.tensor([3]), objectness=ones, probabilities=ones)
            )
        return found

    loader = make_evaluation_loader(squares(), 64, batch_size=3)
    detections, targets, images = find_in_batches(find, loader, device=torch.device("cpu"))
    report = score_detections(detections, targets, images, FlatClasses(6), boxed=[3], never_boxed=[4])
    # all are called 3, of which four are; equal scores keep their order, in which the kinds alternate: 1, 2/3, 3/5, 4/7
    assert report["boxed"]["ap50"] == pytest.approx((26 + 25 * (2 / 3 + 3 / 5 + 4 / 7)) / 101)
    assert report["never_boxed"]["ap50"] == 0
