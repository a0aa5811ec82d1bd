"""Counting and replacing unreadable images: a few are replaced, too many stop the run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from yolo9000.datasets.box_index import listed
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.joined import JoinedSource, labelled_by
from yolo9000.datasets.sample import Record, Replacement, Source, Unreadable

log = logging.getLogger(__name__)

MOST, FRACTION = 10, 0.01
"""A source may have up to `MOST` unreadable images, or up to `FRACTION` of its images if that is more."""


class TooManyUnreadable(DatasetError):
    """More images of a source cannot be read than `tolerated` allows."""


def tolerated(images: int) -> int:
    """Return how many unreadable images a source of `images` images may have.

    Examples
    --------
    >>> tolerated(200), tolerated(5000)
    (10, 50)
    """
    return max(MOST, int(images * FRACTION))


class UnreadableCounter:
    """It logs each unreadable image once, and stops the run when a source has too many of them.

    It belongs to the process that takes the batches: each worker process sees only a part of them and cannot write to
    the run's log. With several ranks, each rank counts its own batches.

    Parameters
    ----------
    images : mapping of str to int
        The number of images of each source, by its name.

    Attributes
    ----------
    keys : dict of str to set of str
        The unreadable images so far, by the name of their source.

    Examples
    --------
    >>> counter = UnreadableCounter({"coco": 5000})
    >>> counter.add([Replacement("coco", "a.jpg", "truncated")])
    >>> counter.keys
    {'coco': {'a.jpg'}}
    """

    def __init__(self, images: Mapping[str, int]) -> None:
        self._images = dict(images)
        self.keys: dict[str, set[str]] = {}

    def add(self, replaced: Iterable[Replacement]) -> None:
        """Count the images that were replaced in a batch.

        Parameters
        ----------
        replaced : iterable of Replacement
            The replaced images.

        Raises
        ------
        TooManyUnreadable
            If a source now has too many unreadable images.
        """
        for each in replaced:
            keys = self.keys.setdefault(each.source, set())
            if each.key in keys:
                continue
            keys.add(each.key)
            reason = f" ({each.reason})" if each.reason else ""
            log.warning("%s: %s cannot be read%s; the next image is taken", each.source, each.key, reason)
            images = self._images[each.source]
            if len(keys) > tolerated(images):
                raise TooManyUnreadable(
                    f"{each.source}: {len(keys)} of {images} images cannot be read, more than {MOST} and more than "
                    f"{FRACTION:.0%}: {listed(sorted(keys))}. Repair or remove them"
                )


def read_or_next(source: Source, index: int) -> tuple[Record, tuple[Replacement, ...]]:
    """Return image `index` of a source, or the first readable image after it.

    In a joined source an image is replaced by the next one of its own set, and counted there.

    Parameters
    ----------
    source : Source
        The images.
    index : int
        The image index, from 0.

    Returns
    -------
    tuple of (Record, tuple of Replacement)
        The image, and the unreadable images that it replaces.

    Raises
    ------
    TooManyUnreadable
        If more images in a row cannot be read than the whole source may have.
    """
    if isinstance(source, JoinedSource):  # or a small set of unreadable images would go unnoticed beside a large one
        part, place = source.part_of(index)
        record, passed_over = read_or_next(part, place)
        return labelled_by(part, record), passed_over
    replaced: list[Replacement] = []
    for step in range(min(len(source), tolerated(len(source)) + 1)):
        try:
            return source.read((index + step) % len(source)), tuple(replaced)
        except Unreadable as error:
            replaced.append(Replacement(source.name, error.key, error.reason))
    raise TooManyUnreadable(
        f"{source.name}: {len(replaced)} images in a row cannot be read, of {len(source)}. "
        f"The first is {replaced[0].key}: {replaced[0].reason}"
    )
