"""VOC's average precision, by the rules of its devkit: eleven points (VOC 2007), and the area (VOC 2010 and later).

They differ from COCO's rules. A detection belongs to the truth that it overlaps most, whether that was found already
or not: a second detection of a truth is wrong, even where another truth is near enough. An object that is difficult is
not asked for, and what finds it is neither right nor wrong. The limit is an IoU of .5, which itself is enough. Of equal
scores the one that comes first is taken first, and of equal overlaps the first truth.

Legend: ``M`` boxes of the truth, ``N`` detections, ``K`` classes. ``boxes_xywh`` are left, top, width and height.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo9000.evaluation.coco import FoundBoxes, TruthBoxes
from yolo9000.evaluation.ranges import (
    check_classes,
    chunks,
    largest_from_here,
    levels_reached,
    right_ones,
    rows_between,
)

LEAST_IOU = 0.5
"""VOC's minimum overlap."""
RECALL_LEVELS = np.linspace(0.0, 1.0, 11)
"""The eleven points of VOC 2007. Level 3 is .30000000000000004, in the devkit as here: a recall of 3 / 10 is below."""


class VocEvaluation(NamedTuple):
    """Average precision of each class; NaN for a class without an object that is asked for.

    Attributes
    ----------
    voc07 : NDArray of float64 (K,)
        Mean of the best precision from each of eleven levels of recall on.
    voc10 : NDArray of float64 (K,)
        Area under the curve of the best precision from each recall on.
    positives : NDArray of int64 (K,)
        How many objects are asked for.
    """

    voc07: NDArray[np.float64]
    voc10: NDArray[np.float64]
    positives: NDArray[np.int64]


def voc_average_precision(
    truth: TruthBoxes, found: FoundBoxes, num_classes: int, *, inclusive: bool = False
) -> VocEvaluation:
    """VOC's average precision of every class; no limit on the detections of an image.

    Parameters
    ----------
    truth : TruthBoxes
        Its column `crowd` says which objects are difficult; areas are not looked at.
    found : FoundBoxes
    num_classes : int
        K.
    inclusive : bool
        Corners are numbers of pixels, and the last one belongs to the box, as in the devkit's files: a box is wider and
        higher by 1 than the difference of its corners. `yolo9000.datasets.voc.VocSource` has edges in place of them
        (``xmin - 1`` to ``xmax``), between which the same arithmetic is the plain one: the default.

    Returns
    -------
    VocEvaluation

    Raises
    ------
    ValueError
        A class is not below `num_classes`.

    Examples
    --------
    Two objects and three detections: one right, one a second time, and one right again.

    >>> truth = TruthBoxes(np.array([0, 0]), np.array([0, 0]), np.array([[0.0, 0, 9, 9], [20, 0, 9, 9]]),
    ...                    np.array([81.0, 81]), np.array([False, False]))
    >>> found = FoundBoxes(np.array([0, 0, 0]), np.array([0, 0, 0]),
    ...                    np.array([[0.0, 0, 9, 9], [1, 0, 9, 9], [20, 0, 9, 9]]), np.array([0.9, 0.8, 0.7]))
    >>> voc07, voc10, _ = voc_average_precision(truth, found, 1)
    >>> round(float(voc07[0]) * 11, 2), round(float(voc10[0]), 4)  # 6 x 1 + 5 x 2/3, and 1/2 + 1/2 x 2/3
    (9.33, 0.8333)
    """
    check_classes(num_classes, truth=truth.classes, found=found.classes)
    best, overlap = _best_truths(truth, found, num_classes, 1.0 if inclusive else 0.0)
    order = np.lexsort((-found.scores, found.classes))  # stable: equal scores keep their order
    classes, best = found.classes[order], best[order]
    hits = np.flatnonzero(overlap[order] >= LEAST_IOU)
    difficult = truth.crowd[best[hits]]
    right, excused = np.zeros(len(found), bool), np.zeros(len(found), bool)
    excused[hits[difficult]] = True
    asked = hits[~difficult]
    right[asked[np.unique(best[asked], return_index=True)[1]]] = True  # the surest one of each truth
    positives = np.bincount(truth.classes[~truth.crowd], minlength=num_classes)
    voc07, voc10 = _precision(right, ~excused, classes, positives)
    nothing = positives == 0
    return VocEvaluation(np.where(nothing, np.nan, voc07), np.where(nothing, np.nan, voc10), positives)


def _best_truths(
    truth: TruthBoxes, found: FoundBoxes, num_classes: int, pixel: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which truth of its image and class each detection overlaps most, and how much; 0 and 0.0 where there is none."""
    truth_pair, found_pair = (each.images.astype(np.int64) * num_classes + each.classes for each in (truth, found))
    order = np.argsort(truth_pair, kind="stable")
    truth_pair = truth_pair[order]
    first = np.searchsorted(truth_pair, found_pair, side="left")
    last = np.searchsorted(truth_pair, found_pair, side="right")
    best, overlap = np.zeros(len(found), np.int64), np.zeros(len(found))
    rows = np.flatnonzero(last > first)
    for some in chunks(rows, (last - first)[rows]):
        which, places = rows_between(first[some], last[some])
        ious = _overlaps(found.boxes_xywh[some[which]], truth.boxes_xywh[order[places]], pixel)
        starts = np.flatnonzero(np.diff(which, prepend=-1))
        largest = np.maximum.reduceat(ious, starts)
        is_largest = ious == largest[which]
        foremost = np.minimum.reduceat(np.where(is_largest, places, len(truth)), starts)
        best[some], overlap[some] = order[foremost], largest
    return best, overlap


def _overlaps(found_xywh: NDArray[np.float64], truth_xywh: NDArray[np.float64], pixel: float) -> NDArray[np.float64]:
    """IoU of boxes side by side, (n, 4) and (n, 4) -> (n,)."""
    fx, fy, fw, fh = found_xywh.T
    tx, ty, tw, th = truth_xywh.T
    with np.errstate(over="ignore", invalid="ignore"):  # an untrained net's boxes may be infinite: they match nothing
        width = np.minimum(fx + fw, tx + tw) - np.maximum(fx, tx) + pixel
        height = np.minimum(fy + fh, ty + th) - np.maximum(fy, ty) + pixel
        common = width * height
        union = (fw + pixel) * (fh + pixel) + (tw + pixel) * (th + pixel) - common
        ious = np.zeros(len(common))
        np.divide(common, union, out=ious, where=(width > 0) & (height > 0))
    return np.nan_to_num(ious, nan=0.0)


def _precision(
    right: NDArray[np.bool_],
    counts: NDArray[np.bool_],
    classes: NDArray[np.int64],
    positives: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both averages of each class, (K,) and (K,); 0 for a class without a right detection.

    Parameters
    ----------
    right : NDArray of bool (N,)
        Sorted by class, the best first.
    counts : NDArray of bool (N,)
        Detections that are right or wrong.
    classes : NDArray of int64 (N,)
    positives : NDArray of int64 (K,)
    """
    of_class, number, so_far = right_ones(right, counts, classes)
    best_from_here = largest_from_here(number / so_far, of_class)
    levels = levels_reached(RECALL_LEVELS, number, positives[of_class])
    voc07 = np.bincount(of_class, levels * best_from_here, minlength=len(positives)) / len(RECALL_LEVELS)
    voc10: NDArray[Any] = np.bincount(of_class, best_from_here / positives[of_class], minlength=len(positives))
    return voc07, voc10.astype(np.float64)
