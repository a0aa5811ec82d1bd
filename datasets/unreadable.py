"""How many unreadable images a run puts up with."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from yolo9000.datasets.box_index import listed
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.joined import JoinedSource, labelled_by
from yolo9000.datasets.sample import Record, Replacement, Source, Unreadable

log = logging.getLogger(__name__)

MOST, FRACTION = 10, 0.01
"""A source may have up to ``MOST`` unreadable images, or up to this fraction of its images if that is more."""


class TooManyUnreadable(DatasetError):
    """More than one in a hundred images of a source, and more than ten, cannot be read."""


def tolerated(images: int) -> int:
    """Return how many unreadable images a source of so many images may have.

    Examples
    --------
    >>> tolerated(200), tolerated(5000)
    (10, 50)
    """
    return max(MOST, int(images * FRACTION))


class UnreadableCounter:
    """Names each unreadable image in the log, once, and stops the run when there are too many of a source.

    It belongs to the process that takes the batches: worker processes each see a part only, and cannot write to the
    run's log. With several ranks, each counts what it gets itself.

    Parameters
    ----------
    images
        Source name -> number of its images.

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
        """Count what was replaced in a batch.

        Raises
        ------
        TooManyUnreadable
            If a source now has too many.
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
    """Return image ``index`` of a source, or the first readable one after it, and what was passed over.

    In a joined source an image is replaced by the next of its own set, and counted there.

    Raises
    ------
    TooManyUnreadable
        If more images in a row cannot be read than the whole source may have.
    """
    if isinstance(source, JoinedSource):  # a small set that is all rubbish must not hide behind a large one
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
