"""Average precision on scenes small enough to work out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from wordtree import WordTree
from yolo9000.datasets.sample import Target
from yolo9000.detection.results import Detections
from yolo9000.engine.average_precision import (
    EvaluatedClass,
    average_precision,
    classes_at_labels,
    classes_at_parents,
    constant_box,
)

TREE = WordTree(
    ("a", "b", "c", "d", "e"), ("animal", "vehicle", "dog", "cat", "poodle"), parents=(-1, -1, 0, 0, 2), rest="all"
)


def target(*boxes: tuple[tuple[float, float, float, float], int], ignore: list[list[float]] | None = None) -> Target:
    return Target(
        torch.tensor([box for box, _ in boxes]).reshape(-1, 4),
        torch.tensor([label for _, label in boxes], dtype=torch.int64),
        ignore_boxes_cxcywh=None if ignore is None else torch.tensor(ignore),
    )


def found(*boxes: tuple[tuple[float, float, float, float], int, float]) -> Detections:
    scores = torch.tensor([score for _, _, score in boxes])
    return Detections(
        boxes_cxcywh=torch.tensor([box for box, _, _ in boxes]).reshape(-1, 4),
        scores=scores,
        nodes=torch.tensor([node for _, node, _ in boxes], dtype=torch.int64),
        objectness=scores,
        probabilities=torch.ones(len(boxes)),
    )


LEFT, RIGHT = (0.25, 0.5, 0.3, 0.4), (0.75, 0.5, 0.3, 0.4)


def test_a_perfect_answer() -> None:
    (score,) = average_precision([found((LEFT, 3, 0.9))], [target((LEFT, 3))], classes_at_labels([3]))
    assert (score.ap50, score.ap, score.boxes) == (pytest.approx(1), pytest.approx(1), 1)


def test_a_false_one_before_a_right_one() -> None:
    # precision is 1/2 at every recall level
    (score,) = average_precision([found((RIGHT, 3, 0.9), (LEFT, 3, 0.8))], [target((LEFT, 3))], classes_at_labels([3]))
    assert score.ap50 == pytest.approx(0.5)


def test_half_of_the_boxes_found() -> None:
    # precision 1 up to recall .5: 51 of COCO's 101 recall levels
    (score,) = average_precision([found((LEFT, 3, 0.9))], [target((LEFT, 3), (RIGHT, 3))], classes_at_labels([3]))
    assert score.ap50 == pytest.approx(51 / 101)


def test_a_shifted_box_counts_up_to_its_iou() -> None:
    # widths .3, shifted by .05: IoU .25 / .35 = .714, right at .5 to .7, five of ten levels
    shifted = (LEFT[0] + 0.05, *LEFT[1:])
    (score,) = average_precision([found((shifted, 3, 0.9))], [target((LEFT, 3))], classes_at_labels([3]))
    assert (score.ap50, score.ap) == (pytest.approx(1), pytest.approx(0.5))


def test_nothing_found_is_zero_and_a_class_without_boxes_is_not_a_number() -> None:
    scores = average_precision([found()], [target((LEFT, 3))], classes_at_labels([1, 3]))
    assert math.isnan(scores[0].ap50)
    assert scores[1].ap50 == 0
    scores = average_precision([found((LEFT, 1, 0.9))], [target((LEFT, 3))], classes_at_labels([1, 3]))
    assert math.isnan(scores[0].ap50)
    assert scores[1].ap50 == 0


def test_ignored_boxes_are_neither_wanted_nor_wrong() -> None:
    detections = [found((RIGHT, 3, 0.9), (LEFT, 3, 0.8))]
    (score,) = average_precision(detections, [target((LEFT, 3), ignore=[list(RIGHT)])], classes_at_labels([3]))
    assert score.ap50 == pytest.approx(1)


def test_other_images_are_other_images() -> None:
    (score,) = average_precision(
        [found(), found((LEFT, 3, 0.9))], [target((LEFT, 3)), target()], classes_at_labels([3])
    )
    assert score.ap50 == 0


def test_parents_of_labels() -> None:
    # cat -> animal, poodle -> dog; a poodle is an animal too, so it is also asked for as one
    assert classes_at_parents(TREE, {3, 4}) == [
        EvaluatedClass(0, frozenset({3, 4})),
        EvaluatedClass(2, frozenset({4})),
    ]
    # a label at the top stands for itself
    assert classes_at_parents(TREE, {1}) == [EvaluatedClass(1, frozenset({1}))]


def test_a_poodle_found_as_some_dog() -> None:
    detections = [found((LEFT, 2, 0.9), (RIGHT, 2, 0.8))]
    targets = [target((LEFT, 4), (RIGHT, 2))]
    # the boxed class "dog" itself stands right of the poodle: found or not, it does not count
    (dog,) = classes_at_parents(TREE, {4}, {2})
    (score,) = average_precision(detections, targets, [dog])
    assert (score.node, score.ap50, score.boxes) == (2, pytest.approx(1), 1)


def test_constant_box_is_told_the_labels() -> None:
    centred = (0.5, 0.5, 0.5, 0.5)
    targets = [target((centred, 3)), target((LEFT, 3)), target((LEFT, 2))]
    ap50, side = constant_box(targets, [2, 3], sides=(0.5, 1.0))
    # class 3: both images have a box, all scores equal, one right of two; class 2: none
    assert side == 0.5
    assert 0.1 < ap50 < 0.5
    assert math.isnan(constant_box(targets, [])[0])


def test_numbers_must_agree() -> None:
    with pytest.raises(ValueError, match="2 detections for 1 images"):
        average_precision([found(), found()], [target()], classes_at_labels([3]))
