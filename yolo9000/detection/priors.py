"""Priors from the boxes of a data set: k-means with the distance 1 - IoU (YOLO9000 paper, section 2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from yolo9000.runtime.mistakes import Mistake


def shape_iou(a_wh: NDArray[np.float64], b_wh: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of boxes moved to one corner: (N, 2) and (K, 2) -> (N, K)."""
    shared = np.minimum(a_wh[:, None], b_wh[None]).prod(axis=-1)
    overlap: NDArray[np.float64] = shared / (a_wh.prod(axis=-1)[:, None] + b_wh.prod(axis=-1)[None] - shared)
    return overlap


def cluster_priors(
    boxes_wh: NDArray[np.floating], k: int, *, seed: int = 0, max_iterations: int = 300
) -> tuple[NDArray[np.float64], float]:
    """Cluster box shapes.

    Parameters
    ----------
    boxes_wh : NDArray of floating (N, 2)
        Width and height, positive, in any unit.
    k : int
        Number of priors.
    seed : int
        The seed that draws the first centres (k-means++ with the same distance).
    max_iterations : int
        How often the centres are moved at most.

    Returns
    -------
    priors : NDArray of float64 (k, 2)
        Width and height in the unit of the boxes, smallest area first.
    mean_iou : float
        The mean IoU of a box with its best prior.

    Raises
    ------
    Mistake
        If there are fewer different boxes than priors.
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
    different = len(np.unique(shapes, axis=0))
    if different < k:
        raise Mistake(f"`priors` {k}: they need at least {k} boxes of different shape, there are {different}")
    rng = np.random.default_rng(seed)
    centres = shapes[rng.integers(len(shapes))][None]
    while len(centres) < k:
        distance = 1 - shape_iou(shapes, centres).max(axis=1)
        distance = np.maximum(distance, 0)
        centres = np.vstack([centres, shapes[rng.choice(len(shapes), p=distance / distance.sum())]])
    nearest = np.full(len(shapes), -1)
    for _ in range(max_iterations):
        now = shape_iou(shapes, centres).argmax(axis=1)
        if (now == nearest).all():
            break
        nearest = now
        # a centre that lost all its boxes stays where it is
        centres = np.array(
            [shapes[nearest == i].mean(axis=0) if (nearest == i).any() else centres[i] for i in range(k)]
        )
    centres = centres[np.argsort(centres.prod(axis=1), kind="stable")]
    return centres, float(shape_iou(shapes, centres).max(axis=1).mean())
