"""Labels lie in the picture, beside each other as long as there is room, and at their boxes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolo9000.results.label_places import covered, gap, place_labels

Rectangle = tuple[int, int, int, int]


def rectangles(sizes: list[tuple[int, int]], places: np.ndarray) -> list[Rectangle]:
    return [(x, y, x + w, y + h) for (w, h), (x, y) in zip(sizes, places.tolist(), strict=True)]


def overlap(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((30, 40, 80, 90), [30, 30]),  # above the left corner
        ((30, 4, 80, 60), [30, 60]),  # no room above: below, where nothing of the box is hidden
        ((70, 40, 90, 90), [65, 30]),  # it would be cut on the right: moved left
        ((0, 0, 100, 100), [0, 0]),  # the box is the picture: inside
        ((-50, -50, 300, 300), [0, 0]),
    ],
)
def test_places_of_one_label(box: Rectangle, expected: list[int]) -> None:
    assert place_labels([(35, 10)], [box], (100, 100)).tolist() == [expected]


def test_no_label_is_placed_for_no_box() -> None:
    assert place_labels([], [], (10, 10)).shape == (0, 2)


@st.composite
def crowds(draw: st.DrawFn) -> tuple[tuple[int, int], list[tuple[int, int]], list[Rectangle]]:
    width, height = draw(st.integers(20, 60)), draw(st.integers(20, 60))
    number = draw(st.integers(1, 12))
    label_height = draw(st.integers(3, 8))
    sizes = [(draw(st.integers(5, 20)), label_height) for _ in range(number)]
    across, down = st.integers(-10, width + 10), st.integers(-10, height + 10)
    boxes = []
    for _ in range(number):
        x0, x1 = sorted((draw(across), draw(across)))
        y0, y1 = sorted((draw(down), draw(down)))
        boxes.append((x0, y0, x1, y1))
    return (width, height), sizes, boxes


@given(crowds())
@settings(max_examples=settings.default.max_examples)
def test_labels_lie_inside_and_cover_others_only_where_no_place_is_free(
    crowd: tuple[tuple[int, int], list[tuple[int, int]], list[Rectangle]],
) -> None:
    """The slow twin tries every place of the picture."""
    (width, height), sizes, boxes = crowd
    found = rectangles(sizes, place_labels(sizes, boxes, (width, height)))
    for number, (x0, y0, x1, y1) in enumerate(found):
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        earlier = found[:number]
        if any(overlap(found[number], other) for other in earlier):
            w, h = sizes[number]
            everywhere = itertools.product(range(width - w + 1), range(height - h + 1))
            assert not any(all(not overlap((x, y, x + w, y + h), other) for other in earlier) for x, y in everywhere)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_labels_of_a_quarter_of_the_picture_find_room(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes, total = [], 0
    while total < 0.25 * 400 * 300:
        sizes.append((int(rng.integers(30, 90)), 14))
        total += sizes[-1][0] * 14
    corners = rng.uniform((0, 0), (400, 300), (2, len(sizes), 2))
    boxes = np.concatenate([corners.min(axis=0), corners.max(axis=0)], axis=1)
    assert covered(sizes, place_labels(sizes, boxes, (400, 300))) == 0


def test_twenty_labels_of_one_box_stay_near_it() -> None:
    sizes = [(60, 12)] * 20
    places = place_labels(sizes, [(200, 150, 260, 190)] * 20, (640, 480))
    assert covered(sizes, places) == 0
    labels = np.array(rectangles(sizes, places))
    assert gap(labels, np.array([200, 150, 260, 190])).max() < 60


def test_a_small_box_is_not_hidden_by_the_label_of_a_large_one() -> None:
    # above its left corner the label of the large box would lie on the small one
    (label, _) = rectangles(
        [(40, 10), (10, 5)], place_labels([(40, 10), (10, 5)], [(20, 50, 90, 90), (22, 41, 40, 49)], (100, 100))
    )
    assert not overlap(label, (22, 41, 40, 49))
