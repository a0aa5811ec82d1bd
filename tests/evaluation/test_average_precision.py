"""Average precision on scenes small enough to work out by hand."""

from __future__ import annotations

import contextlib
import io
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from wordtree import WordTree
from yolo9000.datasets.sample import Target
from yolo9000.detection.results import Detections
from yolo9000.evaluation.average_precision import (
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


def by_pycocotools(
    detections: list[Detections], targets: list[Target], classes: list[EvaluatedClass], max_detections: int
) -> dict[int, tuple[float, float, int]]:
    """Node -> AP50, AP and number of boxes: every ignore box a crowd of every class, and COCO's own code."""
    annotations: list[dict[str, object]] = []

    def add(image: int, cxcywh: list[float], node: int, ignore: bool) -> None:
        x, y, w, h = (1000 * value for value in cxcywh)
        box = {"bbox": [x - w / 2, y - h / 2, w, h], "area": w * h, "iscrowd": int(ignore)}
        annotations.append({"id": len(annotations) + 1, "image_id": image, "category_id": node, **box})

    for image, each in enumerate(targets):
        for box, label in zip(each.boxes_cxcywh.double().tolist(), each.labels.tolist(), strict=True):
            for evaluated in classes:
                if label in evaluated.positives | evaluated.ignored:
                    add(image, box, evaluated.node, label in evaluated.ignored)
        for box in [] if each.ignore_boxes_cxcywh is None else each.ignore_boxes_cxcywh.double().tolist():
            for evaluated in classes:
                add(image, box, evaluated.node, True)
    rows = [
        {"image_id": image, "category_id": node, "score": score, "bbox": [x - w / 2, y - h / 2, w, h]}
        for image, each in enumerate(detections)
        for (x, y, w, h), node, score in zip(
            (each.boxes_cxcywh.double() * 1000).tolist(), each.nodes.tolist(), each.scores.tolist(), strict=True
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": image} for image in range(len(targets))],
            "categories": [{"id": evaluated.node} for evaluated in classes],
            "annotations": annotations,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(rows), "bbox")
        evaluation.params.maxDets = [max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 0]
    return {
        node: (
            precision[0, :, k].mean(),
            precision[:, :, k].mean(),
            sum(a["category_id"] == node and not a["iscrowd"] for a in annotations),
        )
        for k, node in enumerate(evaluation.params.catIds)
    }


places = st.sampled_from([0.2, 0.25, 0.3, 0.5])
boxes_cxcywh = st.tuples(places, places, places, places)
labels = st.integers(0, 4)
scene = st.tuples(
    st.lists(st.tuples(boxes_cxcywh, labels), max_size=4),
    st.none() | st.lists(boxes_cxcywh.map(list), min_size=1, max_size=2),
    st.lists(st.tuples(boxes_cxcywh, labels, st.sampled_from([0.25, 0.5, 0.75])), max_size=8),
)


@settings(max_examples=3 * settings.default.max_examples // 2, deadline=None)
@given(
    st.lists(scene, min_size=1, max_size=3), st.sets(labels, min_size=1), st.booleans(), st.sampled_from([1, 3, 100])
)
def test_the_same_as_pycocotools(scenes: list[Any], some: set[int], parents: bool, limit: int) -> None:
    targets = [target(*boxes, ignore=ignored) for boxes, ignored, _ in scenes]
    detections = [found((LEFT, 0, 0.1), *boxes) for _, _, boxes in scenes]
    classes = classes_at_parents(TREE, some, {0, 1, 2, 3, 4} - some) if parents else classes_at_labels(some)
    expected = by_pycocotools(detections, targets, classes, limit)
    for score in average_precision(detections, targets, classes, max_detections=limit):
        ap50, ap, boxes = expected[score.node]
        assert score.boxes == boxes
        if boxes:
            assert (score.ap50, score.ap) == pytest.approx((ap50, ap), abs=1e-9)
        else:
            assert math.isnan(score.ap50)
            assert math.isnan(score.ap)


def test_no_image_at_all() -> None:
    (score,) = average_precision([], [], classes_at_labels([3]))
    assert math.isnan(score.ap)
    assert score.boxes == 0
    assert average_precision([found((LEFT, 3, 0.9))], [target((LEFT, 3))], []) == []


def test_numbers_must_agree() -> None:
    with pytest.raises(ValueError, match="2 detections for 1 images"):
        average_precision([found(), found()], [target()], classes_at_labels([3]))
