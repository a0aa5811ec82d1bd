"""How often nodes are seen in training, counted on sources of a few images."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from wordtree import WordTree
from yolo9000.datasets.repeated import RepeatedSource
from yolo9000.datasets.sample import Kind, Record
from yolo9000.engine.label_frequency import RAREST, image_labels, labels_per_image, log_frequency

#        0 animal             1 tool
#   2 dog      3 cat          4 saw
# 5 pug 6 collie
NAMES = ("animal", "tool", "dog", "cat", "saw", "pug", "collie")
TREE = WordTree(NAMES, NAMES, (-1, -1, 0, 0, 1, 2, 2))


@dataclass
class Drawn:
    """Images whose labels only reading tells."""

    labels_of: list[list[int]]
    kind: Kind = "detection"
    name: str = "drawn"
    labelled_nodes: None = None
    read_at: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels_of)

    def read(self, index: int) -> Record:
        self.read_at.append(index)
        image, labels = np.zeros((2, 2, 3), np.uint8), self.labels_of[index]
        if self.kind == "classification":
            return Record(image, "x", image_label=labels[0])
        return Record(image, "x", np.zeros((len(labels), 4), np.float32), np.array(labels, np.int64))


def test_labels_per_image_of_boxes_and_of_image_labels() -> None:
    boxes = Drawn([[5, 5], [], [3], [6]])
    assert labels_per_image(boxes, 7).tolist() == [0, 0, 0, 0.25, 0, 0.5, 0.25]
    images = Drawn([[4], [5]], kind="classification")
    assert labels_per_image(images, 7).tolist() == [0, 0, 0, 0, 0.5, 0.5, 0]


def test_repeated_images_count_as_often_as_they_come() -> None:
    images = RepeatedSource(Drawn([[4], [5]], kind="classification"), np.array([3, 1]))
    assert image_labels(images).tolist() == [4, 4, 4, 5]
    assert labels_per_image(images, 7)[[4, 5]].tolist() == [0.75, 0.25]


def test_labels_that_are_known_are_not_read() -> None:
    images = Drawn([[4], [5]], kind="classification")
    images.labels = np.array([6, 6])  # type: ignore[attr-defined]
    assert labels_per_image(images, 7)[6] == 1
    assert not images.read_at


def test_frequencies_go_up_the_tree_and_are_shares_of_their_group() -> None:
    seen = np.array([0, 0, 2.0, 4.0, 12.0, 1.0, 5.0])  # dogs of no named breed: 2
    expected = [1.0, 1.0, 1.0, 0.5, 1.0, 0.2, 1.0]  # animal 12, tool 12; dog 8, cat 4; saw alone; pug 1, collie 5
    torch.testing.assert_close(log_frequency(seen, TREE).exp(), torch.tensor(expected))


def test_what_is_never_seen_is_not_pushed_without_bound() -> None:
    seen = np.array([0, 1.0, 0, 0, 0, 0, 0])
    found = log_frequency(seen, TREE).tolist()
    assert found[:2] == [pytest.approx(math.log(RAREST)), 0]
    assert found[2:] == [0] * 5  # no group below is seen at all


@pytest.mark.parametrize("times", [[1], [1, -1], [0, 0]])
def test_wrong_repetitions(times: list[int]) -> None:
    with pytest.raises(ValueError, match="2 numbers are needed"):
        RepeatedSource(Drawn([[4], [5]], kind="classification"), np.array(times))
