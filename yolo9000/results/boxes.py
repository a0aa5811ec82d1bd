"""The boxes of an image as arrays, and the ways down the tree to their labels.

N boxes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolo9000.models.classes import Classes


class Step(NamedTuple):
    """One node on the path to a label.

    Attributes
    ----------
    node : int
        The node of the tree; of a net without a tree the class.
    name : str
        Its display name.
    probability : float
        P(node), given that there is a thing.
    """

    node: int
    name: str
    probability: float

    def __str__(self) -> str:
        return f"{self.name} {self.probability:.2f}"


class Path(tuple[Step, ...]):
    """The way down the tree to a label, from the top; for a class without a tree it has one step.

    Examples
    --------
    >>> print(Path((Step(0, "animal", 0.98), Step(2, "dog", 0.71))))
    animal 0.98 > dog 0.71
    """

    __slots__ = ()

    def __str__(self) -> str:
        return " > ".join(map(str, self))


@dataclass(frozen=True, eq=False)
class Boxes:
    """The N boxes of an image and their numbers, as NumPy arrays.

    Parameters
    ----------
    xyxy : (N, 4) float32 array
        Corners in pixels of the upright image.
    objectness : (N,) float32 array
        How sure the net is that there is a thing.
    probability : (N,) float32 array
        P(label), given that there is a thing.
    score : (N,) float32 array
        Objectness times P(label): the number that `threshold` cuts, and that is drawn and saved.
    """

    xyxy: NDArray[np.float32]
    objectness: NDArray[np.float32]
    probability: NDArray[np.float32]
    score: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, rows: Any) -> Boxes:
        """Some of the boxes: a number, a slice, several numbers, or a mask."""
        chosen = np.atleast_1d(np.arange(len(self))[rows])
        return Boxes(self.xyxy[chosen], self.objectness[chosen], self.probability[chosen], self.score[chosen])

    @property
    def xywh(self) -> NDArray[np.float32]:
        """Centre, width and height in pixels: (N, 4)."""
        low, high = self.xyxy[:, :2], self.xyxy[:, 2:]
        return np.concatenate([(low + high) / 2, high - low], axis=1)


def paths_of(classes: Classes, nodes: Sequence[int], probabilities: Iterable[Sequence[float]]) -> tuple[Path, ...]:
    """The paths to some labels, with P of each node on them.

    Parameters
    ----------
    classes : Classes
    nodes : sequence of int
        The labels.
    probabilities : iterable of sequences of float
        For each label P of the nodes from the top to it.
    """
    return tuple(
        Path(
            Step(step, classes.name(step), probability)
            for step, probability in zip(classes.path(node) or (node,), along, strict=True)
        )
        for node, along in zip(nodes, probabilities, strict=True)
    )
