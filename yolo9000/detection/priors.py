"""Priors from the boxes of a data set: k-means with the distance 1 - IoU (YOLO9000 paper, section 2).

Shapes: N boxes, K priors; a row is (width, height).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from yolo9000.models.config import Priors
from yolo9000.runtime.mistakes import Mistake

Distance: TypeAlias = Literal["iou", "euclidean"]
"""How far a box is from a prior: 1 - IoU, or the squared difference of their sizes, with which large boxes err more."""


def shape_iou(a_wh: NDArray[np.float64], b_wh: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of boxes moved to one corner: (N, 2) and (K, 2) -> (N, K)."""
    # a row for each b, turned at the end: a million boxes beside each other, not five priors, are what numpy is fast at
    (a_width, a_height), (b_width, b_height) = a_wh.T, b_wh.T[..., None]
    shared = np.minimum(a_width, b_width) * np.minimum(a_height, b_height)
    overlap: NDArray[np.float64] = shared / (a_width * a_height + b_width * b_height - shared)
    return overlap.T


def mean_best_iou(boxes_wh: NDArray[np.float64], priors: NDArray[np.float64]) -> float:
    """Return the mean IoU of a box with its best prior.

    Parameters
    ----------
    boxes_wh : NDArray of float64 (N, 2)
        Width and height, positive.
    priors : NDArray of float64 (K, 2)
        Width and height in the same unit.

    Returns
    -------
    float

    Examples
    --------
    >>> mean_best_iou(np.array([[2.0, 2.0], [4.0, 2.0]]), np.array([[2.0, 2.0], [9.0, 9.0]]))
    0.75
    """
    return float(shape_iou(boxes_wh, priors).max(axis=1).mean())


def cluster_priors(
    boxes_wh: NDArray[np.floating],
    k: int,
    *,
    distance: Distance = "iou",
    seed: int = 0,
    restarts: int = 1,
    max_iterations: int = 300,
) -> tuple[NDArray[np.float64], float]:
    """Cluster box shapes.

    Parameters
    ----------
    boxes_wh : NDArray of floating (N, 2)
        Width and height, positive, in any unit.
    k : int
        Number of priors.
    distance : str
        "iou" for 1 - IoU (paper, section 2), or "euclidean", which the paper compares it with.
    seed : int
        The seed that draws the first centres (k-means++ with the same distance).
    restarts : int
        How often the clustering begins with other centres; the one with the smallest mean distance is kept.
    max_iterations : int
        How often the centres are moved at most.

    Returns
    -------
    priors : NDArray of float64 (k, 2)
        Width and height in the unit of the boxes, smallest area first.
    mean_iou : float
        The mean IoU of a box with its best prior, whichever the distance.

    Raises
    ------
    Mistake
        If no prior or no start is asked for, the seed is negative, or there are fewer different boxes than priors.
    ValueError
        If a size is not positive and finite.

    Examples
    --------
    >>> shapes = np.array([[1.0, 1.0]] * 5 + [[4.0, 2.0]] * 5)
    >>> priors, mean_iou = cluster_priors(shapes, 2)
    >>> priors.tolist(), mean_iou
    ([[1.0, 1.0], [4.0, 2.0]], 1.0)
    """
    shapes = np.asarray(boxes_wh, dtype=np.float64)
    if shapes.ndim != 2 or shapes.shape[1] != 2 or not np.isfinite(shapes).all() or (shapes <= 0).any():
        raise ValueError("boxes_wh: (N, 2) positive finite sizes are needed")
    if k < 1 or restarts < 1:
        raise Mistake(f"`priors` {k}, `restarts` {restarts}: at least 1 is needed of each")
    if seed < 0:
        raise Mistake(f"`seed` {seed}: at least 0 is needed")
    different = len(np.unique(shapes, axis=0))
    if different < k:
        raise Mistake(f"`priors` {k}: they need at least {k} boxes of different shape, there are {different}")
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(restarts):
        centres = _first_centres(shapes, k, distance, rng)
        found.append(refine_priors(shapes, centres, distance=distance, max_iterations=max_iterations))
    centres = min(found, key=lambda each: _distance_to_nearest(shapes, each, distance).mean())
    centres = centres[np.argsort(centres.prod(axis=1), kind="stable")]
    return centres, mean_best_iou(shapes, centres)


def refine_priors(
    shapes: NDArray[np.float64],
    centres: NDArray[np.float64],
    *,
    distance: Distance = "iou",
    max_iterations: int = 300,
) -> NDArray[np.float64]:
    """Move centres to the mean of the boxes that are nearest to them, until no box changes its centre.

    Parameters
    ----------
    shapes : NDArray of float64 (N, 2)
        Width and height of the boxes, positive.
    centres : NDArray of float64 (K, 2)
        Where the centres begin.
    distance : str
        As of `cluster_priors`.
    max_iterations : int
        How often the centres are moved at most. With 1 - IoU the mean of a cluster is not the prior that fits it best,
        so nothing says that the iterations end.

    Returns
    -------
    NDArray of float64 (K, 2)
        In the order of the centres given.

    Notes
    -----
    A centre that lost all its boxes would stay where it is and serve nobody, and the data would have one prior fewer.
    It begins again at the box that is farthest from all other centres: that box gains most, and no random number is
    drawn, so that the other starts of a seed stay what they are. (scikit-learn's KMeans does the same.)

    Examples
    --------
    >>> shapes = np.array([[1.0, 1.0], [3.0, 1.0], [8.0, 8.0]])
    >>> refine_priors(shapes, np.array([[2.0, 1.0], [0.1, 90.0]])).tolist()  # no box is nearer to the second
    [[8.0, 8.0], [2.0, 1.0]]
    """
    nearest = np.full(len(shapes), -1)
    for _ in range(max_iterations):
        now = _closeness(shapes, centres, distance).argmax(axis=1)
        if (now == nearest).all():
            break
        nearest = now
        centres = _moved(shapes, nearest, len(centres), distance)
    return centres


def in_cells(relative_wh: NDArray[np.float64], size: int, stride: int) -> Priors:
    """Priors relative to the side of the input -> grid cells of one input size, as a net takes them.

    Parameters
    ----------
    relative_wh : NDArray of float64 (K, 2)
        Width and height as parts of the input's side.
    size : int
        Side of the input in pixels.
    stride : int
        Pixels of a grid cell.

    Returns
    -------
    tuple of (float, float)
        Rounded to five places, as darknet's cfgs are.

    Examples
    --------
    >>> in_cells(np.array([[0.5, 0.25]]), size=416, stride=32)
    ((6.5, 3.25),)
    """
    if size < 1 or stride < 1:
        raise Mistake(f"`size` {size}, `stride` {stride}: both are numbers of pixels, at least 1")
    return tuple((round(float(w), 5), round(float(h), 5)) for w, h in relative_wh * size / stride)


def _closeness(shapes: NDArray[np.float64], centres: NDArray[np.float64], distance: Distance) -> NDArray[np.float64]:
    """(N, 2) and (K, 2) -> (N, K): 1 less the distance for "iou", 0 less the distance for "euclidean"."""
    if distance == "iou":
        return shape_iou(shapes, centres)
    (width, height), (widths, heights) = shapes.T, centres.T[..., None]
    closeness: NDArray[np.float64] = -((width - widths) ** 2 + (height - heights) ** 2)
    return closeness.T


def _distance_to_nearest(
    shapes: NDArray[np.float64], centres: NDArray[np.float64], distance: Distance
) -> NDArray[np.float64]:
    """(N, 2) and (K, 2) -> (N,)."""
    perfect = 1.0 if distance == "iou" else 0.0
    left: NDArray[np.float64] = perfect - _closeness(shapes, centres, distance).max(axis=1)
    np.maximum(left, 0, out=left)  # rounding may leave less than nothing
    return left


def _first_centres(
    shapes: NDArray[np.float64], k: int, distance: Distance, rng: np.random.Generator
) -> NDArray[np.float64]:
    """k-means++: boxes drawn one after another, those far from the centres before them the more often."""
    centres: NDArray[np.float64] = shapes[rng.integers(len(shapes))][None]
    while len(centres) < k:
        weight = _distance_to_nearest(shapes, centres, distance)
        if not weight.any():  # boxes that differ by less than the distance can tell
            weight = (shapes[:, None] != centres).any(axis=-1).all(axis=-1).astype(np.float64)
        centres = np.vstack([centres, shapes[rng.choice(len(shapes), p=weight / weight.sum())]])
    return centres


def _moved(shapes: NDArray[np.float64], nearest: NDArray[np.int64], k: int, distance: Distance) -> NDArray[np.float64]:
    """The mean of each cluster; for an empty one the box that is worst served by the others."""
    has_boxes = np.bincount(nearest, minlength=k) > 0
    centres = np.empty((k, 2))
    for i in np.flatnonzero(has_boxes):
        centres[i] = shapes[nearest == i].mean(axis=0)
    for i in np.flatnonzero(~has_boxes):
        centres[i] = shapes[_distance_to_nearest(shapes, centres[has_boxes], distance).argmax()]
        has_boxes[i] = True
    return centres
