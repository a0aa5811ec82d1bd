"""Several sets of images with boxes as one source, each with the labels that it has."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.sample import Kind, Record, Source, Target


class JoinedSource:
    """Sources one after another; each image says what its own source labels exhaustively.

    So a thing that only the other sets label is no background in the images of this one. A pass goes through every
    image of every source once: of two sets, one ten times as large as the other, the large one gives ten images of
    eleven. To see a small set more often, name it more often under other names, or make it larger.

    Parameters
    ----------
    sources : sequence of Source
        Sources of one kind, each with a name of its own.

    Attributes
    ----------
    sources : tuple of Source
    labelled_nodes : None
        There are none of the whole; each record has those of its source.

    Raises
    ------
    DatasetError
        If two sources have one name.
    ValueError
        If there is no source, or their kinds differ.

    Examples
    --------
    >>> from yolo9000.datasets.scenes import SceneConfig, SceneSource
    >>> parts = [SceneSource(SceneConfig(seed=seed), length=10) for seed in (0, 1)]
    >>> parts[1].name = "more scenes"
    >>> joined = JoinedSource(parts)
    >>> joined.name, len(joined), joined.read(12).key
    ('scenes (train) + more scenes', 20, 'detection-train-1-2')
    """

    labelled_nodes: NDArray[np.int64] | None = None

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        if not self.sources:
            raise ValueError("JoinedSource: no source to join")
        names = [source.name for source in self.sources]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DatasetError(f"several sources are called {', '.join(twice)}; give them different names")
        if len({source.kind for source in self.sources}) > 1:
            kinds = ", ".join(f"{source.name}: {source.kind}" for source in self.sources)
            raise ValueError(f"JoinedSource: sources of one kind are needed, not {kinds}")
        self.name = " + ".join(names)
        self.kind: Kind = self.sources[0].kind
        self._ends = list(accumulate(len(source) for source in self.sources))

    def __len__(self) -> int:
        return self._ends[-1]

    def part_of(self, index: int) -> tuple[Source, int]:
        """Return the source that image ``index`` is from, and its index there.

        Raises
        ------
        IndexError
            If there is no such image.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name}: image {index} of {len(self)}")
        number = bisect_right(self._ends, index)
        return self.sources[number], index - (self._ends[number - 1] if number else 0)

    def read(self, index: int) -> Record:
        """Return image ``index`` with its source's ``labelled_nodes``; raises ``Unreadable``."""
        source, place = self.part_of(index)
        return labelled_by(source, source.read(place))


def labelled_by(source: Source, record: Record) -> Record:
    """Return the record with what its source labels exhaustively, if it does not say so itself.

    Parameters
    ----------
    source : Source
    record : Record
        Read from it.
    """
    if record.labelled_nodes is not None or source.labelled_nodes is None:
        return record
    return replace(record, labelled_nodes=source.labelled_nodes)


def with_labelled_nodes(target: Target, nodes: NDArray[np.int64] | None) -> Target:
    """Return the target with the nodes that are labelled exhaustively in its image, in a tensor that images share.

    Parameters
    ----------
    target : Target
    nodes : ndarray of shape (L,), optional
        None means everything.

    Examples
    --------
    >>> targets = [with_labelled_nodes(Target.of_image(1), np.array([3, 4])) for _ in range(2)]
    >>> targets[0].labelled_nodes is targets[1].labelled_nodes  # so a batch carries it once
    True
    """
    if nodes is None:
        return target
    return replace(target, labelled_nodes=_shared_nodes(nodes.astype(np.int64, copy=False).tobytes()))


@lru_cache(maxsize=64)
def _shared_nodes(nodes: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(nodes, np.int64).copy())


def single_sources(sources: Iterable[Source | None]) -> list[Source]:
    """Return the sources that files or drawings come from: those that are joined in place of the joined one.

    Examples
    --------
    >>> single_sources([None])
    []
    """
    found: list[Source] = []
    for source in sources:
        if isinstance(source, JoinedSource):
            found += single_sources(source.sources)
        elif source is not None:
            found.append(source)
    return found
