"""Images of a source for an evaluation, in which none that cannot be read ends it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.joined import JoinedSource, single_sources
from yolo9000.datasets.sample import Kind, Record, Replacement, Source
from yolo9000.datasets.unreadable import UnreadableCounter, read_or_next


@dataclass(frozen=True)
class Excerpt:
    """`length` images of another source at equal distances, or all if it has fewer.

    Images with a label lie class by class, so the first few hundred would be of few classes. An image that cannot be
    read is named in the log and replaced by the next: it shall not end a training at its first evaluation.

    Parameters
    ----------
    source : Source
        The images.
    length : int
        How many of them, at most.

    Attributes
    ----------
    unreadable : UnreadableCounter
        It counts the images that were replaced, in the process that takes the batches (`BatchLoader`).

    Examples
    --------
    >>> from yolo9000.datasets.scenes import SceneConfig, SceneSource
    >>> some = Excerpt(SceneSource(SceneConfig(), length=10), 3)
    >>> [some.read(index).key for index in range(len(some))]
    ['detection-train-0-0', 'detection-train-0-3', 'detection-train-0-6']
    """

    source: Source
    length: int
    unreadable: UnreadableCounter = field(init=False, compare=False)

    def __post_init__(self) -> None:
        images = {source.name: len(source) for source in single_sources([self.source])}
        object.__setattr__(self, "unreadable", UnreadableCounter(images))

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def kind(self) -> Kind:
        return self.source.kind

    @property
    def labelled_nodes(self) -> NDArray[np.int64] | None:
        return self.source.labelled_nodes

    def __len__(self) -> int:
        return min(self.length, len(self.source))

    def read(self, index: int) -> Record:
        """Return image `index`, or the next one that can be read."""
        return self.read_or_next(index)[0]

    def read_or_next(self, index: int) -> tuple[Record, tuple[Replacement, ...], bool]:
        """Return image `index`, or the next one that can be read.

        Parameters
        ----------
        index : int
            The image index, from 0.

        Returns
        -------
        record : Record
        replaced : tuple of Replacement
            The unreadable images that it replaces.
        comes_again : bool
            Whether it has another index of its own, or replaces the image of one that comes later.

        Raises
        ------
        TooManyUnreadable
            If more images in a row cannot be read than the whole source may have.
        """
        place = self._place(index)
        record, replaced = read_or_next(self.source, place)
        return record, replaced, self._comes_again(place, len(replaced))

    def _place(self, index: int) -> int:
        return index * len(self.source) // len(self)

    def _comes_again(self, place: int, passed_over: int) -> bool:
        # It follows from the numbers alone, so that it is the same for any number of workers and ranks.
        first, part = 0, self.source
        while isinstance(part, JoinedSource):  # where the next image is one of the same part
            part, within = part.part_of(place - first)
            first = place - within
        steps = range(1, passed_over + 1)
        return any(self._holds(first + (place - first + step) % len(part)) for step in steps)

    def _holds(self, place: int) -> bool:
        index = -(-place * len(self) // len(self.source))  # the first whose place is not before it
        return index < len(self) and self._place(index) == place
