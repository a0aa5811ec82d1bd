"""Where labels go in a picture: inside it, near their boxes, and not on top of each other as long as there is room.

N labels, P candidate places, R rectangles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]

_OVERLAP = 1000.0  # what one label that is covered altogether costs; nothing else comes near it
_DISTANCE = 0.6  # a label's height away from its box
_OWN, _OTHERS = 1.2, 0.8  # all of a box hidden


def place_labels(sizes: ArrayLike, boxes_xyxy: ArrayLike, picture: tuple[int, int]) -> Ints:
    """Choose a place for each label.

    The first label chooses first. It goes above the left corner of its box if that is free, or else to the place that
    is nearest, hides least of its own box and of smaller ones, and covers no label placed before. Only where no place
    in the whole picture is free does it cover one, as little as it can.

    Parameters
    ----------
    sizes : (N, 2) ints
        Width and height of each label in pixels, at most those of the picture.
    boxes_xyxy : (N, 4) floats
        The boxes in pixels of the picture; they may reach beyond it.
    picture : tuple of int
        Its width and height.

    Returns
    -------
    (N, 2) int64 array
        The left upper corner of each label, which lies in the picture altogether.

    Examples
    --------
    >>> place_labels([(20, 10), (20, 10)], [(30, 40, 80, 90), (32, 41, 82, 90)], (100, 100)).tolist()
    [[30, 30], [32, 90]]
    """
    wanted = np.asarray(sizes, np.int64).reshape(-1, 2)
    floats = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    boxes: Ints = floats.clip(0, np.array([*picture, *picture])).round().astype(np.int64)
    places = np.zeros((len(wanted), 2), np.int64)
    taken: Ints = np.zeros((0, 4), np.int64)
    for row, (size, box) in enumerate(zip(wanted, boxes, strict=True)):
        room = np.maximum(np.array(picture) - size, 0)
        candidates = _near(size, box).clip(0, room)
        costs, overlap = _costs(candidates, size, row, boxes, taken)
        if overlap[costs.argmin()] > 0:
            candidates = np.concatenate([candidates, _best_corners(size, box, taken, room)])
            costs, _ = _costs(candidates, size, row, boxes, taken)
        places[row] = candidates[costs.argmin()]
        taken = np.concatenate([taken, np.concatenate([places[row], places[row] + size])[None]])
    return places


def covered(sizes: ArrayLike, places: ArrayLike) -> int:
    """How many pairs of labels overlap.

    Examples
    --------
    >>> covered([(20, 10), (20, 10)], [(0, 0), (19, 9)]), covered([(20, 10), (20, 10)], [(0, 0), (20, 0)])
    (1, 0)
    """
    corner = np.asarray(places, np.int64).reshape(-1, 2)
    rectangles = np.concatenate([corner, corner + np.asarray(sizes, np.int64).reshape(-1, 2)], axis=1)
    return int(np.triu(_shared(rectangles, rectangles) > 0, 1).sum())


def gap(label: Ints, box: Ints) -> NDArray[np.float64]:
    """How far rectangles are from each other in pixels, 0 where they touch or overlap: (.., 4), (.., 4) -> (..)."""
    apart = np.maximum(np.maximum(box[..., :2] - label[..., 2:], label[..., :2] - box[..., 2:]), 0)
    return np.asarray(np.hypot(apart[..., 0], apart[..., 1]))


def _near(size: Ints, box: Ints) -> Ints:
    """Places at a box, the better ones first: (P, 2)."""
    (width, height), (x0, y0, x1, y1) = size.tolist(), box.tolist()
    right, bottom, middle = x1 - width, y1 - height, (x0 + x1 - width) // 2
    found = [(x0, y0 - height), (right, y0 - height), (x0, y0), (x0, y1), (right, y0), (x0, bottom), (right, y1)]
    found += [(right, bottom), (x1, y0), (x0 - width, y0), (x1, bottom), (x0 - width, bottom)]
    found += [(x, y) for y in (y0 - height, y1, y0, bottom) for x in (middle, x0 - width // 2, x1 - width // 2)]
    found += [(x, y) for x in (x1, x0 - width) for y in range(y0 - height, y1 + 1, max(1, height // 2))][:60]
    found += [(x, y) for y in range(y0, bottom + 1, max(1, height)) for x in (x0, right)][:40]
    return np.array(found, np.int64)


def _best_corners(size: Ints, box: Ints, taken: Ints, room: Ints) -> Ints:
    """Places that touch labels or the edge of the picture, those that cover least and are nearest to the box: (P, 2).

    If any place is free there is a free one among them: a free label can be pushed up and to the left until it touches.
    """
    across = np.unique(np.concatenate([[0, room[0], box[0]], taken[:, 2], taken[:, 0] - size[0]]).clip(0, room[0]))
    down = np.unique(
        np.concatenate([[0, room[1], box[1], box[1] - size[1]], taken[:, 3], taken[:, 1] - size[1]]).clip(0, room[1])
    )
    # the area that a place shares with all labels is a sum of products of what it shares with each across and down
    wide = _shared_length(across, size[0], taken[:, 0], taken[:, 2])
    high = _shared_length(down, size[1], taken[:, 1], taken[:, 3])
    overlap = (high @ wide.T).ravel()
    x, y = np.meshgrid(across, down)
    corners = np.stack([x.ravel(), y.ravel()], axis=1)
    least = overlap.min()
    corners = corners[overlap <= (least if least == 0 else 1.2 * least)]
    nearest = np.argsort(gap(np.concatenate([corners, corners + size], axis=1), box), kind="stable")[:100]
    return np.asarray(corners[nearest])


def _shared_length(starts: Ints, length: int, lower: Ints, upper: Ints) -> NDArray[np.float64]:
    """How much of each stretch each of R others covers: (P,), (), (R,), (R,) -> (P, R)."""
    shared = np.minimum(starts[:, None] + length, upper) - np.maximum(starts[:, None], lower)
    return np.asarray(np.maximum(shared, 0), np.float64)


def _costs(
    candidates: Ints, size: Ints, row: int, boxes: Ints, taken: Ints
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each candidate costs, and how much of other labels it covers: (P,), (P,)."""
    labels = np.concatenate([candidates, candidates + size], axis=1)
    overlap = _shared(labels, taken).sum(axis=1) / max(1, size.prod())
    areas = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1)
    hidden = _shared(labels, boxes) / areas
    own = hidden[:, row].copy()
    hidden[:, row] = 0
    order = np.arange(len(candidates)).clip(max=99) * 1e-3
    distance = gap(labels, boxes[row]) / max(1, size[1])
    return _OVERLAP * overlap + _OWN * own + _OTHERS * hidden.sum(axis=1) + _DISTANCE * distance + order, overlap


def _shared(labels: Ints, others: Ints) -> NDArray[np.int64]:
    """The area that each label shares with each rectangle: (P, 4), (R, 4) -> (P, R)."""
    lower = np.maximum(labels[:, None, :2], others[None, :, :2])
    upper = np.minimum(labels[:, None, 2:], others[None, :, 2:])
    return np.asarray(np.maximum(upper - lower, 0).prod(axis=2))
