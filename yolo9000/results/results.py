"""`Results`: what was found in one image, and what can be asked of it.

N boxes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wordtree import WordTree
from yolo9000.models.classes import Classes
from yolo9000.results.kept import KeptBoxes


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


@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """What was found in one image: N boxes, best score first.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
        RGB, upright.
    path : str
        The name of the image: its file, or what stands for it.
    boxes : Boxes
        Places and numbers.
    nodes : (N,) int64 array
        The label of each box: a node of the tree, or a class of a net without one.
    paths : tuple of Path
        For each box the way down the tree to its label, with the probability of each node.
    classes : Classes
        What the labels mean.
    never_boxed : frozenset of int
        Labels that had no box in training.
    kept : KeptBoxes, optional
        What answers for other labels; without it only what `paths` hold can be asked.
    """

    image: NDArray[np.uint8]
    path: str
    boxes: Boxes
    nodes: NDArray[np.int64]
    paths: tuple[Path, ...]
    classes: Classes
    never_boxed: frozenset[int] = frozenset()
    kept: KeptBoxes | None = None

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, rows: int | slice | Sequence[int] | Sequence[bool] | NDArray[Any]) -> Results:
        """Some of the boxes: a number, a slice, several numbers, or a mask."""
        which = rows if isinstance(rows, int | slice) else np.asarray(rows)
        if isinstance(which, np.ndarray) and not which.size:
            which = which.astype(np.int64)  # of an empty list NumPy makes floats
        chosen = np.atleast_1d(np.arange(len(self))[which])
        boxes = {name: getattr(self.boxes, name)[chosen] for name in ("xyxy", "objectness", "probability", "score")}
        return dataclasses.replace(
            self,
            boxes=Boxes(**boxes),
            nodes=self.nodes[chosen],
            paths=tuple(self.paths[row] for row in chosen),
            kept=None if self.kept is None else self.kept[chosen],
        )

    def __iter__(self) -> Iterator[Results]:
        return (self[row] for row in range(len(self)))

    @property
    def tree(self) -> WordTree | None:
        """The tree of the labels; None for a net without one."""
        return self.classes.tree

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image in pixels."""
        return self.image.shape[1], self.image.shape[0]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The name of each box's label."""
        return tuple(self.classes.name(int(node)) for node in self.nodes)
