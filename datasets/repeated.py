"""A source of which some images come more often than others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.sample import Kind, Record, Source


class RepeatedSource:
    """Another source's images, each so many times in a pass: a :class:`~yolo9000.datasets.sample.Source`.

    Each time it is augmented anew, and none comes more often than asked for, as it would with random draws.

    Parameters
    ----------
    source
        Where the images are.
    times
        ``(len(source),)``: how often each comes; 0 leaves it out.

    Raises
    ------
    ValueError
        If the numbers are not one for each image, or negative, or all 0.

    Examples
    --------
    >>> import numpy as np
    >>> from yolo9000.datasets.scenes import SceneConfig, SceneSource
    >>> scenes = SceneSource(SceneConfig(), length=3)
    >>> twice = RepeatedSource(scenes, np.array([1, 2, 0]))
    >>> len(twice), twice.read(2).key == scenes.read(1).key
    (3, True)
    """

    def __init__(self, source: Source, times: NDArray[np.int64]) -> None:
        if times.shape != (len(source),) or (times < 0).any() or not times.any():
            raise ValueError(f"RepeatedSource: {len(source)} numbers are needed, none below 0 and one above")
        self.source = source
        self.name = source.name
        self.kind: Kind = source.kind
        self.labelled_nodes = source.labelled_nodes
        self.places = np.repeat(np.arange(len(times)), times)
        """``(N,)``: the image of ``source`` that comes at each place."""

    def __len__(self) -> int:
        return len(self.places)

    def read(self, index: int) -> Record:
        """Return image ``index``, counting repetitions."""
        return self.source.read(int(self.places[index]))
