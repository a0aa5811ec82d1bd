"""Clusters of box shapes: typed by hand, against a twin of plain loops, and what holds of any boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from yolo9000.detection.priors import Distance, cluster_priors, in_cells, mean_best_iou, refine_priors
from yolo9000.runtime.mistakes import Mistake

Rows = list[tuple[float, float]]
sides = st.floats(0.01, 1)
some_boxes = st.lists(st.tuples(sides, sides), min_size=1, max_size=20)


def array(rows: Rows) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def test_two_groups_typed_by_hand() -> None:
    boxes = array([(1, 1), (1, 3), (10, 8), (12, 8)])
    for distance in ("iou", "euclidean"):
        priors, mean_iou = cluster_priors(boxes, 2, distance=distance, restarts=5)
        np.testing.assert_allclose(priors, [(1, 2), (11, 8)])
        np.testing.assert_allclose(mean_iou, (1 / 2 + 2 / 3 + 80 / 88 + 88 / 96) / 4)


def test_the_two_distances_put_a_box_elsewhere() -> None:
    """(4, 4) has IoU 1/16 with (1, 1) and 16/100 with (10, 10), but is nearer to (1, 1) as a point: 18 to 72."""
    boxes, centres = array([(1, 1), (4, 4), (10, 10)]), array([(1, 1), (10, 10)])
    np.testing.assert_array_equal(refine_priors(boxes, centres, max_iterations=1), [(1, 1), (7, 7)])
    by_size = refine_priors(boxes, centres, distance="euclidean", max_iterations=1)
    np.testing.assert_array_equal(by_size, [(2.5, 2.5), (10, 10)])


def test_euclidean_clusters_neglect_small_boxes() -> None:
    """Why the paper clusters by IoU: squared sizes are those of the large boxes."""
    small = [(1, 3), (3, 1)] * 10
    boxes = array([*small, (60, 80), (80, 60)])
    by_iou, fit = cluster_priors(boxes, 3, restarts=10)
    by_size, fit_by_size = cluster_priors(boxes, 3, distance="euclidean", restarts=10)
    np.testing.assert_array_equal(by_size[0], (2, 2))  # one for both kinds of small ones, two for the two large boxes
    np.testing.assert_array_equal(sorted(by_iou.tolist()), [[1, 3], [3, 1], [70, 70]])
    np.testing.assert_allclose(fit_by_size, (20 * 2 / 5 + 2) / 22)
    np.testing.assert_allclose(fit, (20 + 2 * 4200 / 5500) / 22)


def test_an_empty_cluster_begins_again_at_the_box_that_is_worst_served() -> None:
    boxes = array([(2, 2), (2, 4), (1, 12), (9, 9)])
    centres = array([(2, 3), (9, 9), (900, 0.001)])  # no box is nearest to the third
    # the first gets all but (9, 9) and moves to their mean (5/3, 6): its IoU is (10/3) / (32/3) = .31 with (2, 2),
    # (20/3) / (34/3) = .59 with (2, 4), 6/16 = .38 with (1, 12); so (2, 2) is served worst
    moved = refine_priors(boxes, centres, max_iterations=1)
    np.testing.assert_allclose(moved, [(5 / 3, 6), (9, 9), (2, 2)])
    np.testing.assert_allclose(refine_priors(boxes, centres), [(1, 12), (9, 9), (2, 3)])


def test_two_empty_clusters_begin_again_at_two_boxes() -> None:
    boxes = array([(4, 4), (4, 4), (1, 1), (20, 20)])
    centres = array([(4, 4), (900, 0.001), (0.001, 900)])
    # all boxes are in the first cluster, whose mean is (29/4, 29/4): (1, 1) has IoU .019 with it, (20, 20) .13
    moved = refine_priors(boxes, centres, max_iterations=1)
    np.testing.assert_allclose(moved, [(7.25, 7.25), (1, 1), (20, 20)])
    np.testing.assert_allclose(refine_priors(boxes, centres), [(4, 4), (1, 1), (20, 20)])


def test_clusters_that_empty_on_the_way_from_boxes() -> None:
    """With seed 0 a cluster of these empties; a centre that stayed where it was left a mean IoU of .690."""
    priors, mean_iou = cluster_priors(array([(4, 11), (8, 11), (5, 11), (3, 4), (2, 4), (9, 2)]), 4, seed=0)
    np.testing.assert_allclose(priors, [(2.5, 4), (9, 2), (4.5, 11), (8, 11)])
    np.testing.assert_allclose(mean_iou, (8 / 9 + 9 / 10 + 10 / 12 + 8 / 10 + 1 + 1) / 6)


def overlap(a: tuple[float, float], b: tuple[float, float]) -> float:
    shared = min(a[0], b[0]) * min(a[1], b[1])
    return shared / (a[0] * a[1] + b[0] * b[1] - shared)


def refine_by_loops(boxes: Rows, centres: Rows, iterations: int) -> Rows:
    """The slow twin of `refine_priors`."""
    centres = list(centres)
    before: list[int] = []
    for _ in range(iterations):
        nearest = []
        for box in boxes:
            best = 0
            for number, centre in enumerate(centres):
                if overlap(box, centre) > overlap(box, centres[best]):
                    best = number
            nearest.append(best)
        if nearest == before:
            break
        before = nearest
        members = [[box for box, own in zip(boxes, nearest, strict=True) if own == i] for i in range(len(centres))]
        served: dict[int, tuple[float, float]] = {}
        for number, boxes_of_it in enumerate(members):
            if boxes_of_it:
                width = sum(box[0] for box in boxes_of_it) / len(boxes_of_it)
                served[number] = (width, sum(box[1] for box in boxes_of_it) / len(boxes_of_it))
        for number, boxes_of_it in enumerate(members):
            if not boxes_of_it:
                worst, least = boxes[0], 2.0
                for box in boxes:
                    fit = max(overlap(box, centre) for centre in served.values())
                    if fit < least:
                        worst, least = box, fit
                served[number] = worst
        centres = [served[number] for number in range(len(centres))]
    return centres


@pytest.mark.parametrize("seed", range(20))
def test_equal_to_plain_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(0.01, 1, (60, 2))
    # sizes far from all boxes: some clusters are empty
    centres = np.concatenate([rng.uniform(0.01, 1, (4, 2)), rng.uniform(0.00001, 0.0001, (seed % 3, 2))])
    for iterations in (1, 2, 100):
        rows = [[(float(w), float(h)) for w, h in part] for part in (boxes, centres)]
        slow = array(refine_by_loops(rows[0], rows[1], iterations))
        np.testing.assert_allclose(refine_priors(boxes, centres, max_iterations=iterations), slow, rtol=1e-12)


@given(some_boxes, st.integers(1, 4), st.integers(0, 3), st.sampled_from(["iou", "euclidean"]))
def test_what_holds_of_any_boxes(rows: Rows, k: int, seed: int, distance: Distance) -> None:
    boxes = array(rows)
    if len(np.unique(boxes, axis=0)) < k:
        with pytest.raises(Mistake, match="boxes of different shape"):
            cluster_priors(boxes, k)
        return
    priors, mean_iou = cluster_priors(boxes, k, distance=distance, seed=seed)
    again, _ = cluster_priors(boxes, k, distance=distance, seed=seed)
    np.testing.assert_array_equal(priors, again)
    assert priors.shape == (k, 2)
    assert (np.diff(priors.prod(axis=1)) >= 0).all()
    # means of boxes lie among the boxes
    assert (priors >= boxes.min(axis=0) * (1 - 1e-12)).all()
    assert (priors <= boxes.max(axis=0) * (1 + 1e-12)).all()
    assert 0 < mean_iou <= 1 + 1e-12
    # one prior more, whichever it is, never fits worse
    assert mean_best_iou(boxes, np.concatenate([priors, boxes[:1]])) >= mean_iou
    # another unit, by a power of two, changes no bit
    scaled, same = cluster_priors(boxes * 1024, k, distance=distance, seed=seed)
    np.testing.assert_array_equal(scaled, priors * 1024)
    assert same == mean_iou


@given(some_boxes, st.integers(1, 3))
def test_more_starts_never_fit_worse(rows: Rows, k: int) -> None:
    boxes = array(rows)
    k = min(k, len(np.unique(boxes, axis=0)))
    fits = [cluster_priors(boxes, k, restarts=restarts)[1] for restarts in (1, 2, 5)]
    assert fits == sorted(fits)


@given(some_boxes)
def test_as_many_priors_as_shapes_fit_them_all(rows: Rows) -> None:
    boxes = array([(round(w, 2), round(h, 2)) for w, h in rows])
    k = len(np.unique(boxes, axis=0))
    np.testing.assert_allclose(cluster_priors(boxes, k)[1], 1)


@pytest.mark.parametrize("distance", ["iou", "euclidean"])
def test_boxes_that_differ_by_rounding_are_clustered(distance: Distance) -> None:
    one = 1.0 if distance == "iou" else 1e-150  # there the square of a difference is 0, and that of a side is not
    more = np.nextafter(one, 2)
    priors, mean_iou = cluster_priors(array([(one, one), (one, more), (more, one)]), 3, distance=distance)
    assert priors.shape == (3, 2)
    assert mean_iou == pytest.approx(1)


def test_priors_in_cells_by_hand() -> None:
    relative = array([(0.1, 0.5), (1 / 3, 1)])
    assert in_cells(relative, size=416, stride=32) == ((1.3, 6.5), (4.33333, 13.0))
    assert in_cells(relative, size=96, stride=16) == ((0.6, 3.0), (2.0, 6.0))
    with pytest.raises(Mistake, match="`stride` 0"):
        in_cells(relative, size=416, stride=0)


@pytest.mark.parametrize("options", [{"k": 0}, {"k": 1, "restarts": 0}])
def test_no_prior_and_no_start_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(Mistake, match="at least 1 is needed"):
        cluster_priors(array([(1, 1)]), **options)
