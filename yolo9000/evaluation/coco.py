"""COCO's average precision and recall, at the cost of the boxes: classes and images that never meet are free.

It is one file because its steps, from boxes to a summary, share one table of candidates.

The rules are those of pycocotools' ``COCOeval``, down to which of two equal boxes is taken; its cost is images times
classes, which at the nodes of a tree is out of reach.

Legend: ``M`` boxes of the truth, ``N`` detections, ``K`` classes, ``A`` area ranges, ``T`` IoU thresholds, ``D``
limits on the number of detections, ``C`` candidates: a detection and a box of the same image and class that overlap
enough for the lowest threshold. ``boxes_xywh`` are left, top, width and height, in one unit for all of an image's
boxes; areas are in the square of the unit that the area ranges have (COCO: pixels of the image). A *positive* is a box
that is to be found; a crowd, or a box outside the area range, is *ignored*: found or not, it does not count.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo9000.evaluation.ranges import (
    check_classes,
    chunks,
    largest_from_here,
    levels_reached,
    right_ones,
    rows_between,
)

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""T = 10. By linspace, as COCO's: arange and decimal literals differ from it in the last bit, which ties would feel."""
RECALL_LEVELS = np.linspace(0.0, 1.0, 101)
"""The levels of recall at which precision is read and averaged."""
AREA_RANGES = ((0.0, 1e5**2), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e5**2))
"""COCO's all, small, medium and large, in pixels of the image; both ends belong to a range."""
MAX_DETECTIONS = (1, 10, 100)
"""COCO's limits: so many of an image and class, the best first."""


@dataclass(frozen=True, eq=False)
class TruthBoxes:
    """The boxes of all images, in a row.

    Parameters
    ----------
    images : NDArray of int64 (M,)
        Number of the image, from 0.
    classes : NDArray of int64 (M,)
        0 to K - 1.
    boxes_xywh : NDArray of float64 (M, 4)
        Left, top, width and height.
    areas : NDArray of float64 (M,)
        COCO's areas are those of the outline and smaller than their box.
    crowd : NDArray of bool (M,)
        Boxes around several objects, which may be found any number of times, or not.

    Raises
    ------
    ValueError
        The arrays do not fit together.
    """

    images: NDArray[np.int64]
    classes: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]

    def __post_init__(self) -> None:
        _check_rows(self)

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class FoundBoxes:
    """The detections of all images, in a row; equal scores keep their order.

    Parameters
    ----------
    images : NDArray of int64 (N,)
        Number of the image, from 0.
    classes : NDArray of int64 (N,)
        0 to K - 1.
    boxes_xywh : NDArray of float64 (N, 4)
        Left, top, width and height.
    scores : NDArray of float64 (N,)
        How sure each detection is; only their order counts.

    Raises
    ------
    ValueError
        The arrays do not fit together.
    """

    images: NDArray[np.int64]
    classes: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __post_init__(self) -> None:
        _check_rows(self)

    def __len__(self) -> int:
        return len(self.images)


class CocoSummary(NamedTuple):
    """The twelve numbers of COCO, in its order; NaN where it prints -1, because there is nothing to be found.

    `ap` is the mean over IoU .5 to .95, `ap50` and `ap75` are at one threshold, and these are of at most 100 detections
    of an image and class; ``ar_1`` is the mean recall with at most one.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar_1: float
    ar_10: float
    ar_100: float
    ar_small: float
    ar_medium: float
    ar_large: float


@dataclass(frozen=True, eq=False)
class BoxEvaluation:
    """What `evaluate_boxes` finds, class by class; NaN for a class without a positive.

    Parameters
    ----------
    precision : NDArray of float64 (A, T, K)
        Average precision with as many detections as the last limit allows.
    recall : NDArray of float64 (A, D, T, K)
        The share of the positives that is found.
    positives : NDArray of int64 (A, K)
        How many boxes are to be found.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    positives: NDArray[np.int64]


def evaluate_boxes(
    truth: TruthBoxes,
    found: FoundBoxes,
    num_classes: int,
    *,
    area_ranges: Sequence[tuple[float, float]] = AREA_RANGES,
    max_detections: Sequence[int] = MAX_DETECTIONS,
) -> BoxEvaluation:
    """Average precision and recall of every class, by COCO's rules.

    Time and memory follow the boxes and detections, and the overlapping ones among them; classes cost a few numbers
    each, images nothing.

    Parameters
    ----------
    truth : TruthBoxes
    found : FoundBoxes
    num_classes : int
        K.
    area_ranges : sequence of pairs of float
        Least and greatest area. A box outside is ignored, and so is a detection outside that finds nothing.
    max_detections : sequence of int
        Rising limits on the detections of an image and class.

    Returns
    -------
    BoxEvaluation

    Raises
    ------
    ValueError
        A class is not below `num_classes`, or the limits do not rise.

    Examples
    --------
    Two boxes, of which the surer detection finds one and the other is elsewhere: precision 1 up to recall 1/2, which is
    51 of the 101 levels.

    >>> truth = TruthBoxes(np.array([0, 0]), np.array([0, 0]), np.array([[0.0, 0, 9, 9], [20, 0, 9, 9]]),
    ...                    np.array([81.0, 81]), np.array([False, False]))
    >>> found = FoundBoxes(np.array([0, 0]), np.array([0, 0]), np.array([[0.0, 0, 9, 9], [50, 0, 9, 9]]),
    ...                    np.array([0.9, 0.8]))
    >>> summary = coco_summary(evaluate_boxes(truth, found, 1))
    >>> round(summary.ap50 * 101), summary.ar_1, summary.ap_large
    (51, 0.5, nan)
    """
    limits = list(max_detections)
    if not limits or limits[0] < 1 or any(a >= b for a, b in pairwise(limits)):
        raise ValueError(f"max_detections {tuple(limits)}: rising numbers from 1 on are needed")
    check_classes(num_classes, truth=truth.classes, found=found.classes)
    truth, truth_pair = _by_pair(truth, num_classes)
    found, found_pair, rank = _best_of_pairs(found, num_classes, limits[-1])
    candidates = _candidates(truth, truth_pair, found, found_pair)
    # Within a class the best score first; the sort is stable, so equal scores go by image, then by their order in it.
    order = np.lexsort((-found.scores, found.classes))
    classes, rank = found.classes[order], rank[order]
    found_areas = (found.boxes_xywh[:, 2] * found.boxes_xywh[:, 3])[order]
    thresholds, ranges = len(IOU_THRESHOLDS), len(area_ranges)
    precision = np.full((ranges, thresholds, num_classes), np.nan)
    recall = np.full((ranges, len(limits), thresholds, num_classes), np.nan)
    positives = np.zeros((ranges, num_classes), np.int64)
    for a, (least, greatest) in enumerate(area_ranges):
        ignored = truth.crowd | (truth.areas < least) | (truth.areas > greatest)
        positives[a] = np.bincount(truth.classes[~ignored], minlength=num_classes)
        known = positives[a] > 0
        right, excused = (hits[:, order] for hits in _match(candidates, ignored, truth.crowd, len(found)))
        outside = (found_areas < least) | (found_areas > greatest)
        for t in range(thresholds):
            counts = right[t] | ~(excused[t] | outside)
            precision[a, t, known] = _average_precision(right[t], counts, classes, positives[a])[known]
            for d, limit in enumerate(limits):
                hits = np.bincount(classes[right[t] & (rank < limit)], minlength=num_classes)
                recall[a, d, t, known] = hits[known] / positives[a, known]
    return BoxEvaluation(precision, recall, positives)


def coco_summary(evaluation: BoxEvaluation, classes: Collection[int] | None = None) -> CocoSummary:
    """COCO's twelve numbers out of an evaluation with COCO's area ranges and limits, which are the default.

    Parameters
    ----------
    evaluation : BoxEvaluation
    classes : collection of int, optional
        Those that enter the means; all by default.

    Raises
    ------
    ValueError
        The evaluation had other area ranges or limits, or has no such class.
    """
    ranges, limits = evaluation.recall.shape[:2]
    if (ranges, limits) != (len(AREA_RANGES), len(MAX_DETECTIONS)):
        raise ValueError(f"coco_summary: an evaluation of 4 area ranges and 3 limits is needed, not {ranges}, {limits}")
    among = np.arange(evaluation.positives.shape[1]) if classes is None else np.array(sorted(classes), np.int64)
    check_classes(evaluation.positives.shape[1], coco_summary=among)
    precision, recall = evaluation.precision[..., among], evaluation.recall[..., among]
    means = [_mean(precision[0]), _mean(precision[0, 0]), _mean(precision[0, 5])]
    means += [_mean(precision[a]) for a in (1, 2, 3)]
    means += [_mean(recall[0, d]) for d in (0, 1, 2)]
    means += [_mean(recall[a, 2]) for a in (1, 2, 3)]
    return CocoSummary(*means)


class _Candidates(NamedTuple):
    """(C,) each: which detection and which box, how much they overlap, and when the detection's turn is.

    Detections of an image and class take their turns by score; those of other pairs are independent of each other.
    """

    found: NDArray[np.int64]
    truth: NDArray[np.int64]
    ious: NDArray[np.float64]
    turns: NDArray[np.int64]


def _check_rows(table: TruthBoxes | FoundBoxes) -> None:
    shapes = {column.name: getattr(table, column.name).shape for column in fields(table)}
    rows = shapes["images"][:1]
    if any(shape != ((*rows, 4) if name == "boxes_xywh" else rows) for name, shape in shapes.items()):
        raise ValueError(f"{type(table).__name__}: the columns differ in length: {shapes}")
    if rows[0] and table.images.min() < 0:
        raise ValueError(f"{type(table).__name__}: images are numbered from 0, not {table.images.min()}")


def _pair_numbers(table: TruthBoxes | FoundBoxes, num_classes: int) -> NDArray[np.int64]:
    """One number for image and class of each row; of COCO's image ids it does not fit into the int32 they may be."""
    return table.images.astype(np.int64) * num_classes + table.classes


def _by_pair(truth: TruthBoxes, num_classes: int) -> tuple[TruthBoxes, NDArray[np.int64]]:
    """Sort by image and class, keeping the order within; also the number of each box's pair, (M,)."""
    pairs = _pair_numbers(truth, num_classes)
    order = np.argsort(pairs, kind="stable")
    sorted_truth = TruthBoxes(*(getattr(truth, column.name)[order] for column in fields(truth)))
    return sorted_truth, pairs[order]


def _best_of_pairs(
    found: FoundBoxes, num_classes: int, limit: int
) -> tuple[FoundBoxes, NDArray[np.int64], NDArray[np.int64]]:
    """Sort by image and class, then score, and keep the best; also each one's pair, (N,), and its rank in it, (N,)."""
    pairs = _pair_numbers(found, num_classes)
    order = np.lexsort((-found.scores, pairs))
    pairs = pairs[order]
    rank = np.arange(len(pairs)) - np.searchsorted(pairs, pairs, side="left")
    keep = rank < limit
    order = order[keep]
    best = FoundBoxes(*(getattr(found, column.name)[order] for column in fields(found)))
    return best, pairs[keep], rank[keep]


def _candidates(
    truth: TruthBoxes, truth_pair: NDArray[np.int64], found: FoundBoxes, found_pair: NDArray[np.int64]
) -> _Candidates:
    """Compare all of a pair's detections with all of its boxes, and keep what could match."""
    first = np.searchsorted(truth_pair, found_pair, side="left")
    last = np.searchsorted(truth_pair, found_pair, side="right")
    rows = np.flatnonzero(last > first)
    lowest = _required_overlaps()[0]
    parts = []
    for some in chunks(rows, (last - first)[rows]):
        which, boxes = rows_between(first[some], last[some])
        detections = some[which]
        ious = _overlaps(found.boxes_xywh[detections], truth.boxes_xywh[boxes], truth.crowd[boxes])
        keep = ious >= lowest
        parts.append((detections[keep], boxes[keep], ious[keep]))
    detections = np.concatenate([part[0] for part in parts]) if parts else np.zeros(0, np.int64)
    boxes = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0, np.int64)
    ious = np.concatenate([part[2] for part in parts]) if parts else np.zeros(0)
    # Turns count only the detections that have a candidate: with one box a pair, most pairs are done after the first.
    taking, which = np.unique(detections, return_inverse=True)
    pairs = found_pair[taking]
    turns = np.arange(len(taking)) - np.searchsorted(pairs, pairs, side="left")
    return _Candidates(detections, boxes, ious, turns[which])


def _overlaps(
    found_xywh: NDArray[np.float64], truth_xywh: NDArray[np.float64], crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """IoU of boxes side by side, (n, 4) and (n, 4) -> (n,); for a crowd, the share of the detection that is in it.

    In pycocotools' order of operations: an IoU of exactly .5 must be the same double.
    """
    fx, fy, fw, fh = found_xywh.T
    tx, ty, tw, th = truth_xywh.T
    with np.errstate(over="ignore", invalid="ignore"):  # an untrained net's boxes may be infinite: they match nothing
        width = np.minimum(fw + fx, tw + tx) - np.maximum(fx, tx)
        height = np.minimum(fh + fy, th + ty) - np.maximum(fy, ty)
        common = width * height
        area = fw * fh
        union = np.where(crowd, area, area + tw * th - common)
        ious = np.zeros(len(common))
        np.divide(common, union, out=ious, where=(width > 0) & (height > 0))
    return ious


def _required_overlaps() -> NDArray[np.float64]:
    """(T,): at a threshold of 1 COCO forgives a rounding error; ours are below, but a golden number is a number."""
    return np.minimum(IOU_THRESHOLDS, 1 - 1e-10)


def _match(
    candidates: _Candidates, ignored: NDArray[np.bool_], crowd: NDArray[np.bool_], detections: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Let the detections of each pair, the best first, take the box that they overlap most and that is still there.

    A positive is preferred to any ignored box, and of boxes with equal IoU the last is taken. A crowd stays.

    Parameters
    ----------
    candidates : _Candidates
        The candidates of all pairs.
    ignored, crowd : NDArray of bool (M,)
        Boxes that do not count in the area range, and those around several objects.
    detections : int
        N.

    Returns
    -------
    right, excused : NDArray of bool (T, N)
        Detections that took a positive, and those that took an ignored box.
    """
    required = _required_overlaps()[:, None]
    right, excused = (np.zeros((len(IOU_THRESHOLDS), detections), bool) for _ in range(2))
    taken = np.zeros((len(IOU_THRESHOLDS), len(ignored)), bool)
    # In the order of preference within a detection, so that the first candidate that can be had is the one.
    order = np.lexsort(
        (
            -candidates.truth,
            -candidates.ious,
            ignored[candidates.truth],
            candidates.found,
            candidates.turns,
        )
    )
    found, truth, ious = candidates.found[order], candidates.truth[order], candidates.ious[order]
    turns = candidates.turns[order]
    turn_starts = np.searchsorted(turns, np.arange(turns[-1] + 2)) if len(turns) else np.zeros(1, np.int64)
    # All pairs take their turns together: no two candidates of a turn are of the same pair and different detections.
    for begin, end in pairwise(turn_starts):
        boxes, who = truth[begin:end], found[begin:end]
        can_be_had = (ious[begin:end] >= required) & (crowd[boxes] | ~taken[:, boxes])
        starts = np.flatnonzero(np.diff(who, prepend=-1))
        places = np.where(can_be_had, np.arange(end - begin), end - begin)
        t, which = np.nonzero((first := np.minimum.reduceat(places, starts, axis=1)) < end - begin)
        box = boxes[first[t, which]]
        taken[t, box] = True
        right[t, who[starts[which]]] = ~ignored[box]
        excused[t, who[starts[which]]] = ignored[box]
    return right, excused


def _average_precision(
    right: NDArray[np.bool_],
    counts: NDArray[np.bool_],
    classes: NDArray[np.int64],
    positives: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Mean of the interpolated precision over the recall levels, of each class.

    A recall level is first reached at a right detection, and precision rises only there; so the largest precision from
    a level on is the largest of the right ones from there on.

    Parameters
    ----------
    right : NDArray of bool (N,)
        Detections that took a positive; sorted by class, the best first.
    counts : NDArray of bool (N,)
        Detections that are right or wrong, and not ignored.
    classes : NDArray of int64 (N,)
        The class of each detection.
    positives : NDArray of int64 (K,)
        How many boxes of each class are to be found.

    Returns
    -------
    NDArray of float64 (K,)
        0 for a class without a right one.
    """
    of_class, number, so_far = right_ones(right, counts, classes)
    best_from_here = largest_from_here(number / (so_far + np.spacing(1)), of_class)
    levels = levels_reached(RECALL_LEVELS, number, positives[of_class])
    return np.bincount(of_class, levels * best_from_here, minlength=len(positives)) / len(RECALL_LEVELS)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
