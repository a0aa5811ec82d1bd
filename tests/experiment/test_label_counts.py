"""How many labels each class was trained with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wordtree import WordTree
from yolo9000.datasets.errors import DatasetError
from yolo9000.experiment.label_counts import training_counts
from yolo9000.models import TreeClasses

MAPS = {"instances_farm": {"dog": 1, "cat": 2}, "imagenet": {"n1": 1, "n3": 3}}
TREE = WordTree(("n0", "n1", "n2", "n3"), ("animal", "dog", "cat", "poodle"), (-1, 0, 0, 1), label_maps=MAPS)


def write_farm(folder: Path) -> str:
    """Two images: three dogs on the first, a cat on the second."""
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(folder / name)
    content = {
        "images": [
            {"id": i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(("a.png", "b.png"))
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, "bbox": [4 + i, 4, 20, 20]}
            for i, (image, category) in enumerate([(0, 1), (0, 1), (1, 2), (0, 1)])
        ],
    }
    (folder / "instances_farm.json").write_text(json.dumps(content))
    return str(folder / "instances_farm.json")


def test_boxes_and_images_are_counted_apart(tmp_path: Path) -> None:
    images = tmp_path / "images"
    for wnid, number in (("n1", 2), ("n3", 3)):
        (images / "train" / wnid).mkdir(parents=True)
        for i in range(number):
            Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(images / "train" / wnid / f"{i}.jpg")
    data = {"sets": [["coco", write_farm(tmp_path)], ["imagenet", str(images)]]}
    assert training_counts(data, TreeClasses(TREE)) == {1: (3, 2), 2: (1, 0), 3: (0, 3)}


def test_what_cannot_be_counted() -> None:
    classes = TreeClasses(TREE)
    assert training_counts(None, classes) is None
    assert training_counts({"sets": []}, classes) is None  # scenes, drawn as they are read
    with pytest.raises(DatasetError, match="gone"):
        training_counts({"sets": [["coco", "/gone"]]}, classes)
