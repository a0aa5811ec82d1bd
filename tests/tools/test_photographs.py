"""The data and the script of the experiment on photographs, on a few made ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import photographs, photographs_data
from wordtree import load_tree

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "photographs.sh"
WNIDS = {
    "person": "n00007846",
    "dog": "n02084071",
    "sheep": "n02411705",
    "cat": "n02121620",
    "horse": "n02374451",
    "cow": "n02402425",
    "chair": "n03001627",
    "car": "n02958343",
    "bottle": "n02876657",
    "pottedplant": "n11536230",
    "diningtable": "n03201208",
    "sofa": "n04256520",
    "tvmonitor": "n03211117",
    "bird": "n01503061",
}
"""The strong classes, and a weak one, which is trained on and not scored."""
PERSON, DOG, SHEEP, CAT, BIRD = 1, 2, 3, 4, 14
SHOWN = {  # photograph -> categories of its boxes
    "a": (DOG,),
    "b": (DOG, PERSON),
    "c": (CAT, CAT),
    "d": (BIRD,),
    "e": (SHEEP, DOG),
    "f": (),
    "g": tuple(range(1, 15)),
}


def _picture(path: Path, side: int = 48) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    photos, tiles = tmp_path / "some photos", tmp_path / "some tiles"
    categories = [{"id": i, "name": name, "wnid": wnid} for i, (name, wnid) in enumerate(WNIDS.items(), 1)]
    (photos / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        images, boxes = [], []
        for number, (name, shown) in enumerate(SHOWN.items()):
            _picture(photos / "images" / split / f"{name}.jpg")
            images.append({"id": number, "file_name": f"{name}.jpg", "width": 48, "height": 48})
            for place, category in enumerate(shown):
                box = {"image_id": number, "category_id": category, "bbox": [place, place, 30, 30], "iscrowd": 0}
                boxes.append({**box, "area": 900, "id": len(boxes)})
        coco = {"images": images, "annotations": boxes, "categories": categories}
        (photos / "annotations" / f"{split}.json").write_text(json.dumps(coco))
        for wnid in ("n02099601", "n02206856"):  # golden retriever, bee
            _picture(tiles / "loose.JPEG")
            (tiles / split).mkdir(exist_ok=True)
            with tarfile.open(tiles / split / f"{wnid}.tar", "w") as tar:
                tar.add(tiles / "loose.JPEG", f"{wnid}_0.JPEG")
    _picture(photos / "labels" / WNIDS["dog"] / "web.JPEG")
    return photos, tiles


def test_nothing_of_a_never_boxed_class_has_a_box(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert photographs_data.main([*map(str, folders), str(out)]) == 0
    train = json.loads((out / "boxes" / "A" / "annotations" / "instances_train.json").read_text())
    held_out = json.loads((out / "boxes" / "A" / "annotations" / "instances_val.json").read_text())
    # a shows dogs alone, e sheep and a dog, f nothing: they are not among the photographs with boxes
    assert [image["file_name"] for image in train["images"]] == ["b.jpg", "c.jpg", "d.jpg", "g.jpg"]
    names = {category["id"]: category["name"] for category in train["categories"]}
    assert set(names.values()) == set(WNIDS) - {"dog", "sheep", "car"}
    assert len(train["annotations"]) == 1 + 2 + 1 + 11
    assert [image["file_name"] for image in held_out["images"]] == [f"{name}.jpg" for name in SHOWN]
    assert {category["name"] for category in held_out["categories"]} == set(photographs_data.STRONG)
    assert len(held_out["annotations"]) == 1 + 2 + 2 + 0 + 2 + 13  # without birds
    # of the training photographs every sixth is held out for choices: a and g
    part = json.loads((out / "boxes" / "all-tuning" / "annotations" / "instances_val.json").read_text())
    assert [image["file_name"] for image in part["images"]] == ["a.jpg", "g.jpg"]
    assert (out / "boxes" / "all-tuning" / "val").resolve().name == "train"


def test_labels_of_all_photographs_and_the_tiles_below_them(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert photographs_data.main([*map(str, folders), str(out)]) == 0
    assert photographs_data.main([*map(str, folders), str(out)]) == 0  # again, over what is there
    dogs = sorted(path.name for path in (out / "labels" / "joint" / "train" / WNIDS["dog"]).iterdir())
    assert dogs == [f"{time}_{name}" for time in "01" for name in ("a.jpg", "b.jpg", "e.jpg", "g.jpg", "web.JPEG")]
    assert {path.name for path in (out / "labels").glob("*/train/*.tar")} == {"n02099601.tar", "n02206856.tar"}
    assert [path.name for path in (out / "labels" / "joint" / "train").glob("*.tar")] == ["n02099601.tar"]
    tree = load_tree(str(out / "wordtree.json"))
    assert tree.parents[tree.node("n02099601")] == tree.node(WNIDS["dog"])


def test_what_is_no_annotation_file_is_named(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[0] / "annotations" / "train.json").write_text('{"categories": [{"id": 1, "name": "dog"}]}')
    assert photographs_data.main([*map(str, folders), str(tmp_path / "data")]) == 2
    assert "train.json" in capsys.readouterr().err


def test_without_arguments_it_says_what_it_needs() -> None:
    said = subprocess.run(["sh", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "scripts/photographs.sh PHOTOS_DIR TILES_DIR [RUNS_DIR] [SEED ...]" in said.stderr


@pytest.mark.slow
def test_every_run_ends_and_none_is_repeated(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], hours: bool
) -> None:
    """With all parts, or those of the table that is printed first."""
    runs = tmp_path / "some runs"
    few = {
        "START": "1",
        "STEPS": "4",
        "CHOICES": "all A",
        "PARTS": "leading single boxes_alone rival_mosaic exhaustive" if hours else "leading single",
    }
    few |= {"PYTHON": sys.executable, "OPTIONS": "--size 64 --classification-size 32 --batch 4 --priors 1"}
    command = ["sh", str(SCRIPT), *map(str, folders), str(runs), "0"]
    first = subprocess.run(command, env=os.environ | few, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    ended = {"best", "best_single", "paper_boxes_first"}
    if hours:
        ended |= {"paper_boxes_first_mosaic", "best_exhaustive", "detection_only"}
    assert {path.parent.name for path in runs.glob("A/seed0/*/evaluation.json")} == ended
    report = json.loads((runs / "A" / "seed0" / "best" / "evaluation.json").read_text())
    assert (report["boxed"]["classes"], report["never_boxed"]["classes"]) == (10, 3)
    again = subprocess.run(command, env=os.environ | few, capture_output=True, text=True, check=True)
    assert again.stdout == ""
    assert photographs.main([str(runs)]) == 0
    said = capsys.readouterr().out
    assert "A: never boxed are dog, sheep, car" in said
    assert "| all_boxes | 0 |" in said
