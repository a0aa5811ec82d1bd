"""A source of somebody's own: a class and a line of `LAYOUTS` are all that a run needs of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from wordtree import WordTree
from wordtree.sources import LabelSource
from yolo9000.datasets.sample import Kind, LabelledSource, Record
from yolo9000.experiment.config import DataConfig
from yolo9000.experiment.data import box_shapes, load_data
from yolo9000.experiment.layouts import LAYOUTS, Layout
from yolo9000.models import TreeClasses

NAMES = ("animal", "vehicle", "dog", "cat", "car")
TREE = WordTree(NAMES, NAMES, (-1, -1, 0, 0, 1), label_maps={"halves": {"cat": 3, "car": 4}})


class Halves:
    """Images of 32 x 16 pixels whose left half is a cat and whose right half is a car."""

    kind: Kind = "detection"
    labelled_nodes: NDArray[np.int64] | None = None

    def __init__(self, label_map: Mapping[str, int], name: str) -> None:
        self.name = name
        self.labels = np.array([label_map["cat"], label_map["car"]] * 3, np.int64)

    def __len__(self) -> int:
        return 3

    def read(self, index: int) -> Record:
        boxes = np.array([[0, 0, 16, 16], [16, 0, 32, 16]], np.float32)
        return Record(np.zeros((16, 32, 3), np.uint8), f"{index}", boxes, self.labels[:2])


def open_halves(path: str, label_map: Mapping[str, int], split: str, name: str) -> LabelledSource:
    assert path == "somewhere"
    return Halves(label_map, name)


def test_it_needs_no_index_of_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(
        teaches="boxes",
        help="halves",
        open=open_halves,
        labels=lambda path, split: LabelSource("halves", {}),
        options=lambda path, split: "--halves",
        maps=lambda path, split: ["halves"],
    )
    monkeypatch.setitem(LAYOUTS, "halves", layout)
    data = load_data(DataConfig(sets=(("halves", "somewhere"),)), TreeClasses(TREE))
    assert data.detection is not None
    assert data.detection.name == "halves (train)"
    assert (data.boxed, data.never_boxed, data.evaluated) == ((3, 4), (), (3, 4))
    assert data.detection.labelled_nodes is not None
    assert data.detection.labelled_nodes.tolist() == [3, 4]
    assert data.val_detection is not None
    assert box_shapes(data.detection).tolist() == [[0.5, 0.5]] * 6
