"""What average precision by COCO's and by VOC's rules is computed with: ranges of rows, and steps of recall.

Legend: ``N`` detections, sorted by class and the best first; ``R`` those of them that are right; ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 20
"""Pairs of a detection and a box that are compared at once: some 100 MB."""


def check_classes(num_classes: int, **tables: NDArray[np.int64]) -> None:
    """Raise a ValueError if a class of a table is not one of `num_classes`.

    Examples
    --------
    >>> check_classes(3, found=np.array([0, 3]))
    Traceback (most recent call last):
    ValueError: found: classes from 0 to 3, but num_classes 3
    """
    for what, classes in tables.items():
        if len(classes) and (classes.min() < 0 or classes.max() >= num_classes):
            raise ValueError(f"{what}: classes from {classes.min()} to {classes.max()}, but num_classes {num_classes}")


def rows_between(first: NDArray[np.int64], last: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Write out ranges: for each number of each range, which range it is from, and the number.

    Parameters
    ----------
    first, last : NDArray of int64 (n,)
        The first number of each range, and the one after its last.

    Examples
    --------
    >>> rows_between(np.array([4, 7, 0]), np.array([6, 7, 1]))
    (array([0, 0, 2]), array([4, 5, 0]))
    """
    lengths = last - first
    ranges = np.repeat(np.arange(len(lengths)), lengths)
    before = np.cumsum(lengths) - lengths
    return ranges, np.arange(len(ranges)) - (before - first)[ranges]


def chunks(rows: NDArray[np.int64], sizes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut rows into pieces of about `_CHUNK` in total size, at least one row each."""
    piece = np.cumsum(sizes) // _CHUNK
    yield from np.split(rows, np.flatnonzero(np.diff(piece)) + 1) if len(rows) else ()


def largest_from_here(values: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Largest of the values from each on to the end of its group; groups rise. All (n,).

    Examples
    --------
    >>> largest_from_here(np.array([1.0, 0.5, 0.75, 0.25]), np.array([0, 0, 0, 2]))
    array([1.  , 0.75, 0.75, 0.25])
    """
    distinct, ranks = np.unique(values, return_inverse=True)
    # Ranks instead of values, so that shifting each group above those after it loses no digit.
    shift = groups * len(distinct)
    largest = np.maximum.accumulate((ranks - shift)[::-1])[::-1] + shift
    return np.asarray(distinct[largest], np.float64)


def right_ones(
    right: NDArray[np.bool_], counts: NDArray[np.bool_], classes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The right detections, which alone need a look: recall and the best precision from there on change nowhere else.

    Parameters
    ----------
    right : NDArray of bool (N,)
        Detections that found something.
    counts : NDArray of bool (N,)
        Detections that are right or wrong, and not ignored.
    classes : NDArray of int64 (N,)
        The class of each detection.

    Returns
    -------
    of_class, number, so_far : NDArray of int64 (R,)
        The class of each, how many of its class are right up to it, and how many count; both with itself.

    Examples
    --------
    >>> right, counts = np.array([True, False, True, True]), np.array([True, True, True, True])
    >>> right_ones(right, counts, np.array([0, 0, 0, 1]))
    (array([0, 0, 1]), array([1, 2, 1]), array([1, 3, 1]))
    """
    rows = np.flatnonzero(right)
    of_class = classes[rows]
    number = np.arange(1, len(rows) + 1) - np.searchsorted(of_class, of_class, side="left")
    counted = np.concatenate([[0], np.cumsum(counts)])
    return of_class, number, counted[rows + 1] - counted[np.searchsorted(classes, of_class, side="left")]


def levels_reached(
    levels: NDArray[np.float64], number: NDArray[np.int64], positives: NDArray[np.int64]
) -> NDArray[np.int64]:
    """How many levels of recall each right detection reaches that those before it did not; the first also has level 0.

    Parameters
    ----------
    levels : NDArray of float64
        Rising from 0.
    number, positives : NDArray of int64 (R,)
        How many of its class are right up to it, and how many there are to be found.

    Examples
    --------
    >>> levels_reached(np.array([0.0, 0.25, 0.5, 0.75, 1.0]), np.array([1, 2]), np.array([2, 2])).tolist()
    [3, 2]
    """
    reached, before = number / positives, (number - 1) / positives
    return np.searchsorted(levels, reached, side="right") - np.where(
        number > 1, np.searchsorted(levels, before, side="right"), 0
    )
