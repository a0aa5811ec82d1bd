"""VOC's rules: typed by hand, and a plain loop over the devkit's steps as the slow twin."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo9000.datasets.sample import Placement
from yolo9000.datasets.voc import VocTruth
from yolo9000.detection.results import Detections
from yolo9000.evaluation import ranges
from yolo9000.evaluation.coco import FoundBoxes, TruthBoxes
from yolo9000.evaluation.detections import voc_numbers
from yolo9000.evaluation.voc import voc_average_precision

Box = tuple[float, float, float, float]  # left, top, width, height
Truth = tuple[int, int, Box, bool]  # image, class, box, difficult
Found = tuple[int, int, Box, float]  # image, class, box, score
HERE: Box = (0, 0, 10, 10)
THERE: Box = (50, 50, 10, 10)


def score(
    truths: list[Truth], found: list[Found], classes: int = 1, *, inclusive: bool = False
) -> tuple[list[float], list[float]]:
    boxes = np.array([row[2] for row in truths], np.float64).reshape(-1, 4)
    truth = TruthBoxes(
        np.array([row[0] for row in truths], np.int64),
        np.array([row[1] for row in truths], np.int64),
        boxes,
        boxes[:, 2] * boxes[:, 3],
        np.array([row[3] for row in truths], bool),
    )
    boxes_found = FoundBoxes(
        np.array([row[0] for row in found], np.int64),
        np.array([row[1] for row in found], np.int64),
        np.array([row[2] for row in found], np.float64).reshape(-1, 4),
        np.array([row[3] for row in found], np.float64),
    )
    voc07, voc10, _ = voc_average_precision(truth, boxes_found, classes, inclusive=inclusive)
    return voc07.tolist(), voc10.tolist()


def twin(truths: list[Truth], found: list[Found], label: int, *, inclusive: bool) -> tuple[float, float]:
    """One class, one detection after another."""
    pixel = 1.0 if inclusive else 0.0
    mine = [row for row in truths if row[1] == label]
    asked = sum(not row[3] for row in mine)
    if not asked:
        return math.nan, math.nan
    taken = [False] * len(mine)
    right: list[int] = []
    wrong: list[int] = []
    for image, _, (left, top, width, height), _ in sorted(
        (row for row in found if row[1] == label), key=lambda r: -r[3]
    ):
        largest, best = -math.inf, -1
        for number, (of_image, _, (x, y, w, h), _) in enumerate(mine):
            if of_image != image:
                continue
            common_w = min(left + width, x + w) - max(left, x) + pixel
            common_h = min(top + height, y + h) - max(top, y) + pixel
            if common_w > 0 and common_h > 0:
                common = common_w * common_h
                overlap = common / ((width + pixel) * (height + pixel) + (w + pixel) * (h + pixel) - common)
                if overlap > largest:
                    largest, best = overlap, number
        hit = largest >= 0.5
        counts = not (hit and mine[best][3])
        new = hit and counts and not taken[best]
        if new:
            taken[best] = True
        right.append(int(new))
        wrong.append(int(counts and not new))
    recall, precision = [], []
    for end in range(1, len(right) + 1):
        r, w_ = sum(right[:end]), sum(wrong[:end])
        recall.append(r / asked)
        precision.append(r / (r + w_) if r + w_ else 0.0)
    voc07 = 0.0
    for level in np.arange(0.0, 1.1, 0.1):
        voc07 += max((p for p, r in zip(precision, recall, strict=True) if r >= level), default=0.0) / 11
    recalls, precisions = [0.0, *recall, 1.0], [0.0, *precision, 0.0]
    for i in range(len(precisions) - 2, -1, -1):
        precisions[i] = max(precisions[i], precisions[i + 1])
    voc10 = sum((recalls[i] - recalls[i - 1]) * precisions[i] for i in range(1, len(recalls)))
    return voc07, voc10


def test_a_second_hit_is_wrong_even_if_another_truth_is_near_enough() -> None:
    # both detections overlap the first truth most; the second also overlaps the other truth by 6/14 .. 8/12
    near: Box = (3, 0, 10, 10)
    truths: list[Truth] = [(0, 0, HERE, False), (0, 0, near, False)]
    found: list[Found] = [(0, 0, HERE, 0.9), (0, 0, (1, 0, 10, 10), 0.8)]  # 9/11 with the first, 8/12 with the other
    voc07, voc10 = score(truths, found)
    assert voc10 == [0.5]  # COCO's rules would give both
    assert voc07 == [pytest.approx(6 / 11)]


def test_difficult_objects_are_neither_asked_for_nor_wrong() -> None:
    truths: list[Truth] = [(0, 0, HERE, True), (0, 0, THERE, False)]
    found: list[Found] = [(0, 0, HERE, 0.9), (0, 0, HERE, 0.8), (0, 0, THERE, 0.7)]
    assert score(truths, found) == ([1.0], [1.0])
    assert score(truths, found[:1]) == ([0.0], [0.0])  # nothing right, nothing wrong
    only_difficult = score(truths[:1], found[:1])
    assert [math.isnan(value) for values in only_difficult for value in values] == [True, True]


def test_an_overlap_of_one_half_is_enough() -> None:
    half: Box = (0, 0, 10, 5)
    assert score([(0, 0, HERE, False)], [(0, 0, half, 0.9)]) == ([1.0], [1.0])
    assert score([(0, 0, HERE, False)], [(0, 0, (0, 0, 10, 4.99), 0.9)]) == ([0.0], [0.0])
    # numbers of pixels: 10 x 10 is 11 x 11, and 10 x 5 is 11 x 6 of it: 66 / 121; 10 x 4.5: 60.5 / 121
    assert score([(0, 0, HERE, False)], [(0, 0, (0, 0, 10, 4.5), 0.9)], inclusive=True) == ([1.0], [1.0])


def test_eleven_points_and_the_area_by_hand() -> None:
    """Four objects; right, wrong, right, wrong, wrong, right: precision 1, 2/3, 1/2 from recall 1/4, 1/2, 3/4 on."""
    truths: list[Truth] = [(image, 0, HERE, False) for image in range(4)]
    places = [HERE, THERE, HERE, THERE, THERE, HERE]
    images = [0, 0, 1, 1, 1, 2]
    found: list[Found] = [(i, 0, box, 0.9 - 0.1 * n) for n, (i, box) in enumerate(zip(images, places, strict=True))]
    voc07, voc10 = score(truths, found)
    # levels 0, .1, .2 | .3, .4, .5 | .6, .7
    assert voc07 == [pytest.approx((3 * 1 + 3 * 2 / 3 + 2 / 2) / 11)]
    assert voc10 == [pytest.approx((1 + 2 / 3 + 1 / 2) / 4)]


def test_classes_and_images_are_apart() -> None:
    truths: list[Truth] = [(0, 1, HERE, False), (7, 0, HERE, False)]
    found: list[Found] = [(0, 0, HERE, 0.9), (0, 1, HERE, 0.1), (3, 1, HERE, 0.05)]
    voc07, voc10 = score(truths, found, classes=3)
    assert voc10[:2] == voc07[:2] == [0.0, 1.0]
    assert math.isnan(voc10[2])
    assert [math.isnan(value) for (value,) in score([], [])] == [True, True]
    with pytest.raises(ValueError, match="found: classes from 0 to 1, but num_classes 1"):
        score([], found[:2])


coordinates = st.integers(0, 12)
sides = st.integers(1, 12)
boxes = st.tuples(coordinates, coordinates, sides, sides)
truth_rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), boxes, st.booleans()), max_size=12)
found_rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 1), boxes, st.integers(1, 8).map(lambda tenth: tenth / 10)), max_size=25
)


@settings(max_examples=3 * settings.default.max_examples)
@given(truths=truth_rows, found=found_rows, inclusive=st.booleans(), chunk=st.sampled_from([1, 1 << 20]))
def test_against_the_slow_twin(truths: list[Truth], found: list[Found], inclusive: bool, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "_CHUNK", chunk)
        ours = score(truths, found, classes=2, inclusive=inclusive)
    twins = [twin(truths, found, label, inclusive=inclusive) for label in (0, 1)]
    assert ours[0] == pytest.approx([each[0] for each in twins], nan_ok=True, abs=1e-12)
    assert ours[1] == pytest.approx([each[1] for each in twins], nan_ok=True, abs=1e-12)


@given(truths=truth_rows, found=found_rows)
def test_scores_are_bounded_and_only_their_order_counts(truths: list[Truth], found: list[Found]) -> None:
    ours = score(truths, found, classes=2)
    assert all(math.isnan(value) or 0 <= value <= 1 for values in ours for value in values)
    squared = [(image, label, box, surety**2) for image, label, box, surety in found]
    for found_now, before in zip(score(truths, squared, classes=2), ours, strict=True):
        assert found_now == pytest.approx(before, nan_ok=True)


@given(truths=truth_rows)
def test_the_truth_itself_scores_one_if_no_two_of_its_boxes_are_alike(truths: list[Truth]) -> None:
    alone = list({row[:2]: row for row in truths}.values())  # one of an image and class
    voc07, voc10 = score(alone, [(*row[:3], 0.5) for row in alone], classes=2)
    assert all(math.isnan(value) or value == pytest.approx(1) for value in (*voc07, *voc10))


def test_numbers_of_detections_are_in_pixels_of_the_image() -> None:
    # a 200 x 100 image in an input of 100: half size, from row 25 on
    images = {"b.jpg": (0, Placement(200, 100, 0.5, 0.5, 0.0, 25.0, 100))}
    voc = VocTruth(
        names=("unseen.jpg", "b.jpg"),
        images=np.array([0, 1, 1, 1]),
        labels=np.array([3, 3, 4, 4]),
        boxes_xyxy=np.array([[0, 0, 9, 9], [20, 8, 120, 100], [0, 0, 50, 50], [100, 0, 150, 50.0]]),
        difficult=np.array([False, False, True, False]),
    )
    ones = torch.ones(4)
    found = Detections(
        boxes_cxcywh=torch.tensor([[0.35, 0.52, 0.5, 0.46], [0.125, 0.375, 0.25, 0.25], [0.625, 0.375, 0.25, 0.25]])[
            [0, 1, 2, 2]
        ],
        scores=torch.tensor([0.9, 0.8, 0.7, 0.6]),
        nodes=torch.tensor([3, 4, 4, 9]),  # 9 is not asked
        objectness=ones,
        probabilities=ones,
    )
    voc07, voc10, positives = voc_numbers([found], images, voc, [3, 4])
    assert (voc07.tolist(), voc10.tolist(), positives.tolist()) == ([1, 1], [1, 1], [1, 1])
    assert np.isnan(voc_numbers([], {}, voc, [3, 4]).voc10).all()
