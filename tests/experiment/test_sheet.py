"""The sheet of held-out pictures: a column for the labels and one for each evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from wordtree import WordTree
from yolo9000.experiment.sheet import ValidationSheet, _thinned
from yolo9000.models import BoxCoding, Detector, DetectorConfig, RegionSpec, TreeClasses
from yolo9000.runtime.run_folder import RunFolder
from yolo9000.training.callbacks import Moment

NAMES = ("animal", "vehicle", "dog", "cat", "car")
CLASSES = TreeClasses(WordTree(NAMES, NAMES, (-1, -1, 0, 0, 1)))


def test_a_column_for_each_evaluation(tmp_path: Path, squares: type[Any]) -> None:
    torch.manual_seed(0)
    detector = Detector(
        DetectorConfig(width=0.05, stride=32), RegionSpec(coding=BoxCoding(((1.0, 1.0),)), classes=CLASSES)
    ).eval()
    sheet = ValidationSheet(squares(), CLASSES, 64, images=3)
    run = RunFolder(tmp_path)
    sheet.on_evaluation(Moment(run, 5, 100, "classification"), {}, nn.Identity())
    assert not run.sheet.exists()  # a classifier finds nothing
    widths = []
    for step in (10, 20):
        sheet.on_evaluation(Moment(run, step, 100, "joint"), {}, detector)
        with Image.open(run.sheet) as picture:
            widths.append(picture.width)
            rows = picture.height
    assert widths == [2 * 244 + 4, 3 * 244 + 4]
    assert rows == 22 + 3 * 244


def test_the_first_and_the_last_stay() -> None:
    columns: list[tuple[int, list[Image.Image]]] = []
    kept = []
    for step in range(1, 10):
        columns = _thinned([*columns, (step, [])])
        kept = [number for number, _ in columns]
        assert (kept[0], kept[-1], len(kept)) == (1, step, min(step, 5))
    assert kept == [1, 3, 5, 7, 9]
