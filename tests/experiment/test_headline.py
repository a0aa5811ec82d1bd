"""YOLO9000's headline experiment on stand-ins of COCO, ImageNet and DET, with their layouts and numbers of classes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wordtree import WordTree, load_tree
from wordtree.labels import coco_classes
from yolo9000 import evaluate
from yolo9000.datasets.imagenet_det import ImageNetDetSource
from yolo9000.inference.model import describe_model
from yolo9000.models import BoxCoding, Detector, DetectorConfig, RegionSpec, TreeClasses
from yolo9000.runtime.checkpoint import save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
WNIDS = [line.split()[0] for line in (ROOT / "scripts/imagenet_det.wnids").read_text().splitlines()]
SHARED = ROOT / "scripts" / "imagenet_det_shared.json"
TRAIN = "--width 0.05 --stride 32 --size 64 --no-multi-scale --classification-size 32 --batch 4 --ratio 1:1 --burn-in 1"
TRAIN += " --classification-steps 1 --steps 2 --optimizer adamw --schedule cosine --val-images 4 --log-every 1"
TRAIN += " --device cpu --threads 1 --precision float32"


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8)).save(path)


def write_det(root: Path, images: int = 100, each: int = 4) -> Path:
    """Every one of the 200 classes in two images, four in each."""
    for number in range(images):
        name = f"ILSVRC2012_val_{number + 1:08}"
        write_image(root / "Data/DET/val" / f"{name}.JPEG", number)
        objects = "".join(
            f"<object><name>{WNIDS[(number * each + k) % len(WNIDS)]}</name><bndbox><xmin>{k * 16}</xmin>"
            f"<ymin>8</ymin><xmax>{k * 16 + 15}</xmax><ymax>39</ymax></bndbox></object>"
            for k in range(each)
        )
        file = root / "Annotations/DET/val" / f"{name}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"<annotation><size><width>64</width><height>48</height></size>{objects}</annotation>")
    return root


def write_coco(root: Path) -> Path:
    """Each of the 80 categories once to train on."""
    categories = [{"id": number, "name": name} for number, name in enumerate(coco_classes(), 1)]
    for split, count in (("train2017", 20), ("val2017", 2)):
        boxes = [
            {"id": 4 * i + k + 1, "image_id": i, "category_id": 4 * i + k + 1, "bbox": [k * 16, 8, 15, 30]}
            for i in range(count)
            for k in range(4)
        ]
        images = [{"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 48} for i in range(count)]
        for i in range(count):
            write_image(root / split / f"{i}.jpg", i)
        (root / "annotations").mkdir(exist_ok=True)
        content = {"images": images, "annotations": boxes, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def write_imagenet(root: Path) -> Path:
    """A class of DET's of every five, and two that only ImageNet has."""
    for split, count in (("train", 2), ("val", 1)):
        for wnid in [*WNIDS[::5], "n02094114", "n02123394"]:
            for i in range(count):
                write_image(root / split / wnid / f"{wnid}_{i}.JPEG", i)
    return root


def check(report: dict[str, object]) -> None:
    counts = {name: report[name]["classes"] for name in ("map", "boxed", "never_boxed")}  # type: ignore[index]
    assert counts == {"map": 200, "boxed": 44, "never_boxed": 156}
    of_voc = {name: scores["classes"] for name, scores in report["voc"].items()}  # type: ignore[attr-defined]
    assert of_voc == {"all": 200, "boxed": 44, "never_boxed": 156}


def test_44_and_156() -> None:
    shared = json.loads(SHARED.read_text())["boxed"]
    assert (len(shared), len(set(shared)), len(set(WNIDS))) == (44, 44, 200)
    assert set(shared) < set(WNIDS)
    maps = load_tree("yolo9000").label_maps
    assert list(maps["imagenet_det"]) == WNIDS
    at_a_node_of_cocos = {wnid for wnid, node in maps["imagenet_det"].items() if node in maps["coco"].values()}
    assert len(at_a_node_of_cocos) == 38
    assert at_a_node_of_cocos < set(shared)


def test_a_run_over_the_original_tree_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    det = write_det(tmp_path / "ILSVRC", images=50)
    assert len(ImageNetDetSource(det, dict.fromkeys(WNIDS, 0))) == 50
    tree: WordTree = load_tree("yolo9000")
    region = RegionSpec(coding=BoxCoding(((1.0, 1.0),)), classes=TreeClasses(tree))
    net = Detector(DetectorConfig(width=0.05, stride=32), region)
    had_boxes = tuple(sorted(tree.label_maps["coco"].values()))
    content = {
        **describe_model(net, size=64, boxed=had_boxes),
        "position": {"step": 5},
        "net": net.description,
        "average": None,
        "model": net.state_dict(),
        "image_labels": {},
    }
    save_checkpoint(tmp_path / "run.pt", content)
    command = [str(tmp_path / "run.pt"), "--imagenet-det", str(det), "--split", "val", "--device", "cpu"]
    out = tmp_path / "e.json"
    assert evaluate.main([*command, "--map", "inet9k.map", "--boxed", str(SHARED), "--out", str(out)]) == 0
    check(json.loads(out.read_text()))
    assert "all of inet9k.map                200" in capsys.readouterr().out
    assert evaluate.main([*command, "--map", "inet9k.map", "--out", str(out), "--overwrite"]) == 0
    assert json.loads(out.read_text())["boxed"]["classes"] == 38  # at their own node
    (tmp_path / "other.json").write_text('{"boxed": ["n00000001"]}')
    assert evaluate.main([*command, "--map", "inet9k.map", "--boxed", str(tmp_path / "other.json")]) == 2
    assert "the data have no n00000001" in capsys.readouterr().err


@pytest.mark.slow
def test_the_script_needs_three_folders(tmp_path: Path) -> None:
    folders = [write_coco(tmp_path / "coco"), write_imagenet(tmp_path / "imagenet"), write_det(tmp_path / "ILSVRC")]
    run = tmp_path / "runs" / "headline"
    environment = os.environ | {"PYTHON": sys.executable, "TRAIN_OPTIONS": TRAIN, "EVALUATE_OPTIONS": "--device cpu"}
    command = ["bash", str(ROOT / "scripts" / "yolo9000_headline.sh"), *map(str, folders), str(run)]
    for _ in range(2):  # the second time the run is there and whole
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        check(json.loads((run / "imagenet_det.json").read_text()))
    assert "all of imagenet_det              200" in done.stdout
    assert json.loads((run / "evaluation.json").read_text())["boxed"]["classes"]  # COCO's own
    assert subprocess.run(command[:3], capture_output=True, text=True).returncode == 2
