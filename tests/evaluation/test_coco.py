"""COCO's rules: pycocotools is the slow twin, number by number."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolo9000.evaluation import ranges
from yolo9000.evaluation.coco import (
    BoxEvaluation,
    FoundBoxes,
    TruthBoxes,
    coco_summary,
    evaluate_boxes,
)


def truth_of(*rows: tuple[int, int, tuple[float, float, float, float], float, bool]) -> TruthBoxes:
    """Image, class, box, area, crowd."""
    return TruthBoxes(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[3] for row in rows], np.float64),
        np.array([row[4] for row in rows], np.bool_),
    )


def found_of(*rows: tuple[int, int, tuple[float, float, float, float], float]) -> FoundBoxes:
    """Image, class, box, score."""
    return FoundBoxes(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[3] for row in rows], np.float64),
    )


def by_pycocotools(truth: TruthBoxes, found: FoundBoxes, images: int, num_classes: int) -> COCOeval:
    """The same evaluation by COCO's own code, which counts ids from 1."""
    annotations = [
        {"id": i + 1, "image_id": int(image), "category_id": int(k), "bbox": box, "area": area, "iscrowd": int(crowd)}
        for i, (image, k, box, area, crowd) in enumerate(
            zip(truth.images, truth.classes, truth.boxes_xywh.tolist(), truth.areas.tolist(), truth.crowd, strict=True)
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": image} for image in range(images)],
            "annotations": annotations,
            "categories": [{"id": k} for k in range(num_classes)],
        }
        coco.createIndex()
        if len(found):
            rows = np.column_stack([found.images, found.boxes_xywh, found.scores, found.classes])
            results = coco.loadRes(rows)
        else:  # which loadRes refuses
            results = COCO()
            results.dataset = {**coco.dataset, "annotations": []}
            results.createIndex()
        evaluation = COCOeval(coco, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def agree(ours: BoxEvaluation, theirs: COCOeval) -> None:
    """All twelve numbers, and each class, IoU and area on its own, to 1e-9."""
    absent = -1.0
    np.testing.assert_allclose(np.nan_to_num(coco_summary(ours), nan=absent), theirs.stats, rtol=0, atol=1e-9)
    precision = theirs.eval["precision"][..., -1].mean(axis=1)  # (T, K, A), at most 100 detections
    recall = theirs.eval["recall"]  # (T, K, A, D)
    np.testing.assert_allclose(
        np.nan_to_num(ours.precision, nan=absent), precision.transpose(2, 0, 1), rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(np.nan_to_num(ours.recall, nan=absent), recall.transpose(2, 3, 0, 1), rtol=0, atol=1e-9)


# Few places and few sizes, around COCO's limits of area: boxes meet, IoUs and scores tie, thresholds are hit.
coordinates = st.sampled_from([0.0, 4.0, 8.0, 10.0, 16.0, 40.0])
sides = st.sampled_from([1.0, 10.0, 20.0, 28.0, 32.0, 36.0, 90.0, 96.0, 100.0])
boxes = st.tuples(coordinates, coordinates, sides, sides)
anything = st.floats(0.1, 150.0)
free_boxes = st.tuples(anything, anything, anything, anything)
images, classes = st.integers(0, 2), st.integers(0, 2)
truths = st.lists(
    st.tuples(
        images, classes, boxes | free_boxes, st.sampled_from([50.0, 1024.0, 1025.0, 9216.0, 9217.0]), st.booleans()
    ),
    max_size=14,
)
scores = st.sampled_from([0.1, 0.5, 0.5000001, 0.9]) | st.floats(0, 1)
detections = st.lists(st.tuples(images, classes, boxes | free_boxes, scores), max_size=30)


@settings(max_examples=3 * settings.default.max_examples, deadline=None)
@given(truths, detections)
def test_the_same_as_pycocotools(
    truth: list[tuple[int, int, tuple[float, float, float, float], float, bool]],
    found: list[tuple[int, int, tuple[float, float, float, float], float]],
) -> None:
    # the third class and the third image may well be empty
    t, f = truth_of(*truth), found_of(*found)
    agree(evaluate_boxes(t, f, 3), by_pycocotools(t, f, 3, 3))


def crowded_scenes(
    seed: int, images: int, num_classes: int, truths: int, detections: int
) -> tuple[TruthBoxes, FoundBoxes]:
    """Many boxes of the same pairs, jittered into detections, with crowds, ties and areas unlike the boxes'."""
    rng = np.random.default_rng(seed)
    xywh = np.concatenate([rng.uniform(0, 200, (truths, 2)), rng.choice([20.0, 33, 60, 97, 150], (truths, 2))], axis=1)
    of_image, of_class = rng.integers(0, images, truths), rng.integers(0, num_classes, truths)
    truth = TruthBoxes(
        of_image, of_class, xywh, xywh.prod(1, where=[False, False, True, True]) * 0.7, rng.random(truths) < 0.1
    )
    which = rng.integers(0, truths, detections)
    jitter = rng.normal(0, 0.08, (detections, 4)) * np.tile(xywh[which, 2:], 2)
    shown = np.where(rng.random(detections) < 0.8, of_class[which], rng.integers(0, num_classes, detections))
    found = FoundBoxes(of_image[which], shown, np.abs(xywh[which] + jitter), rng.random(detections).round(2))
    return truth, found


@pytest.mark.parametrize("seed", range(3))
def test_more_detections_than_the_limit(seed: int) -> None:
    # 800 detections over 6 pairs: past the 100 of a pair, many on the same box, with equal scores
    truth, found = crowded_scenes(seed, images=3, num_classes=2, truths=60, detections=800)
    agree(evaluate_boxes(truth, found, 2), by_pycocotools(truth, found, 3, 2))


def test_pieces_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, found = crowded_scenes(0, images=4, num_classes=3, truths=60, detections=300)
    whole = evaluate_boxes(truth, found, 3)
    monkeypatch.setattr(ranges, "_CHUNK", 7)
    pieces = evaluate_boxes(truth, found, 3)
    np.testing.assert_array_equal(pieces.precision, whole.precision)
    np.testing.assert_array_equal(pieces.recall, whole.recall)


@pytest.mark.parametrize("split", ["train", "val"])
def test_coco_itself(shared: Path, split: str) -> None:
    """Its real boxes, areas and crowds; each box found up to three times, a bit off, some under another name."""
    data = json.loads((shared / "data/coco/annotations" / f"instances_{split}2017.json").read_text())
    image_of = {image["id"]: i for i, image in enumerate(sorted(data["images"], key=lambda image: int(image["id"])))}
    class_of = {c["id"]: k for k, c in enumerate(sorted(data["categories"], key=lambda c: int(c["id"])))}
    truth = truth_of(*(
        (image_of[a["image_id"]], class_of[a["category_id"]], tuple(a["bbox"]), a["area"], bool(a["iscrowd"]))
        for a in data["annotations"]
    ))  # fmt: skip
    assert len(class_of) == 80
    assert truth.crowd.any()
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(len(truth)), rng.integers(0, 4, len(truth)))
    jitter = rng.normal(0, 0.1, (len(which), 4)) * np.tile(truth.boxes_xywh[which, 2:], 2)
    confused = rng.random(len(which)) < 0.2
    found = FoundBoxes(
        truth.images[which],
        np.where(confused, rng.integers(0, 80, len(which)), truth.classes[which]),
        np.abs(truth.boxes_xywh[which] + jitter),
        (rng.random(len(which)) - np.abs(jitter).mean(1) / 50).round(3),
    )
    ours = evaluate_boxes(truth, found, 80)
    agree(ours, by_pycocotools(truth, found, len(image_of), 80))
    assert 0.1 < coco_summary(ours).ap < 0.9


BOX = (10.0, 10.0, 40.0, 40.0)
ASIDE = (300.0, 10.0, 40.0, 40.0)


def one_number(found: FoundBoxes, truth: TruthBoxes, name: str) -> float:
    return float(getattr(coco_summary(evaluate_boxes(truth, found, 1)), name))


def test_a_box_is_found_once_and_a_crowd_as_often_as_one_likes() -> None:
    twice = found_of((0, 0, BOX, 0.9), (0, 0, BOX, 0.8), (0, 0, ASIDE, 0.7))
    boxes = ((0, 0, BOX, 1600.0, False), (0, 0, ASIDE, 1600.0, False))
    # right, wrong, right: precision 1 at the 51 levels up to 1/2, 2/3 at the other 50
    assert one_number(twice, truth_of(*boxes), "ap") == pytest.approx((51 + 50 * 2 / 3) / 101)
    # BOX is a crowd: two ignored, one right
    crowd = truth_of((0, 0, BOX, 1600.0, True), boxes[1])
    assert one_number(twice, crowd, "ap") == pytest.approx(1)


def test_the_small_part_of_a_crowd_is_inside_it() -> None:
    # its IoU with the crowd would be 1/16; as a share of the detection it is 1
    found = found_of((0, 0, (20.0, 20.0, 10.0, 10.0), 0.9), (0, 0, ASIDE, 0.7))
    truth = truth_of((0, 0, BOX, 1600.0, True), (0, 0, ASIDE, 1600.0, False))
    assert one_number(found, truth, "ap") == pytest.approx(1)


def test_sizes() -> None:
    small, medium, large = (0.0, 0.0, 30.0, 30.0), (50.0, 0.0, 60.0, 60.0), (200.0, 0.0, 100.0, 100.0)
    truth = truth_of(*((0, 0, box, box[2] * box[3], False) for box in (small, medium, large)))
    found = found_of((0, 0, medium, 0.9), (0, 0, large, 0.8))
    summary = coco_summary(evaluate_boxes(truth, found, 1))
    assert (summary.ap_small, summary.ap_medium, summary.ap_large) == pytest.approx((0, 1, 1))
    assert (summary.ar_small, summary.ar_medium, summary.ar_large) == pytest.approx((0, 1, 1))
    assert (summary.ar_1, summary.ar_10, summary.ar_100) == pytest.approx((1 / 3, 2 / 3, 2 / 3))
    assert summary.ap == pytest.approx(67 / 101)  # the levels 0 to .66


def test_an_iou_of_exactly_a_threshold_is_enough() -> None:
    # 20 x 20 within 40 x 20
    truth = truth_of((0, 0, (0.0, 0.0, 40.0, 20.0), 800.0, False))
    found = found_of((0, 0, (0.0, 0.0, 20.0, 20.0), 0.9))
    assert one_number(found, truth, "ap50") == pytest.approx(1)
    assert one_number(found, truth, "ap") == pytest.approx(0.1)


def test_of_two_equally_overlapping_boxes_the_last_is_taken() -> None:
    # the surer detection lies between the boxes, IoU .6 with both; the other is the last box, which is gone
    truth = truth_of((0, 0, (0.0, 0.0, 40.0, 40.0), 1600.0, False), (0, 0, (20.0, 0.0, 40.0, 40.0), 1600.0, False))
    found = found_of((0, 0, (10.0, 0.0, 40.0, 40.0), 0.9), (0, 0, (20.0, 0.0, 40.0, 40.0), 0.8))
    assert one_number(found, truth, "ap50") == pytest.approx(51 / 101)
    agree(evaluate_boxes(truth, found, 1), by_pycocotools(truth, found, 1, 1))


def test_large_image_ids_do_not_wrap() -> None:
    # 2 ** 19 images times 2 ** 13 classes is 0 in 32 bits
    truth = truth_of((2**19, 0, BOX, 1600.0, False))
    truth = TruthBoxes(truth.images.astype(np.int32), truth.classes, truth.boxes_xywh, truth.areas, truth.crowd)
    assert coco_summary(evaluate_boxes(truth, found_of((0, 0, BOX, 0.9)), 2**13)).ap == 0
    assert coco_summary(evaluate_boxes(truth, found_of((2**19, 0, BOX, 0.9)), 2**13)).ap == pytest.approx(1)


def test_a_summary_of_some_classes() -> None:
    truth = truth_of((0, 0, BOX, 1600.0, False), (0, 2, BOX, 1600.0, False))
    evaluation = evaluate_boxes(truth, found_of((0, 2, BOX, 0.9)), 4)
    assert coco_summary(evaluation).ap == pytest.approx(0.5)
    assert coco_summary(evaluation, [2, 3]).ap == pytest.approx(1)
    assert math.isnan(coco_summary(evaluation, [1, 3]).ap)
    assert math.isnan(coco_summary(evaluation, []).ar_100)


def test_nothing_at_all() -> None:
    assert all(math.isnan(number) for number in coco_summary(evaluate_boxes(truth_of(), found_of(), 0)))
    assert all(math.isnan(number) for number in coco_summary(evaluate_boxes(truth_of(), found_of((0, 1, BOX, 1.0)), 2)))


def test_a_box_that_is_not_finite_finds_nothing() -> None:
    truth = truth_of((0, 0, BOX, 1600.0, False))
    for box in ((math.inf, 0.0, 1.0, 1.0), (math.nan, 0.0, 1.0, 1.0)):
        assert one_number(found_of((0, 0, box, 0.9), (0, 0, BOX, 0.8)), truth, "ap50") == pytest.approx(0.5)
    # larger than COCO's largest area, so it is not even wrong
    everything = found_of((0, 0, (0.0, 0.0, math.inf, math.inf), 0.9))
    assert one_number(everything, truth, "ar_100") == 0


def test_mistakes_have_a_name() -> None:
    truth, found = truth_of((0, 0, BOX, 1600.0, False)), found_of((0, 3, BOX, 0.9))
    with pytest.raises(ValueError, match="found: classes from 3 to 3, but num_classes 3"):
        evaluate_boxes(truth, found, 3)
    with pytest.raises(ValueError, match="max_detections .10, 1.: rising numbers"):
        evaluate_boxes(truth, found, 4, max_detections=(10, 1))
    with pytest.raises(ValueError, match="FoundBoxes: the columns differ in length"):
        FoundBoxes(found.images, found.classes, found.boxes_xywh, np.zeros(2))
    with pytest.raises(ValueError, match="FoundBoxes: images are numbered from 0, not -1"):
        found_of((-1, 0, BOX, 0.9))
    with pytest.raises(ValueError, match="4 area ranges and 3 limits"):
        coco_summary(evaluate_boxes(truth, found, 4, max_detections=(100,)))
    for classes, said in (([0, 5], "0 to 5"), ([-1, 0], "-1 to 0")):
        with pytest.raises(ValueError, match=f"^coco_summary: classes from {said}, but num_classes 4$"):
            coco_summary(evaluate_boxes(truth, found, 4), classes)
