"""What the class channels of a net mean: nodes of a tree, or flat classes under a softmax, sigmoids or nothing.

This is the one place that knows. Losses, decoding, evaluation and drawing ask a `Classes` and never what kind it is;
so a net without a tree is a value like any other.

N boxes or images, K class channels (nodes or classes), D levels (1 for flat classes), B images, M truths of the fullest
image, V truths of the batch, T labelled areas, U columns that are read, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordtree import WordTree
from wordtree.softmax import PathColumns
from wordtree.tables import TreeTables
from yolo9000.models.output import DetectorOutput
from yolo9000.runtime.mistakes import Mistake

Over = Literal["tree", "softmax", "sigmoid", "linear"]

LabelReader = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Flat indices of some boxes (n,), a row among them (R,) and the place of a label (R,) -> log P of it there (R,)."""


class LabelColumns(NamedTuple):
    """What the labels of a batch read of the classes.

    Attributes
    ----------
    columns : Tensor (U,), optional
        The columns that they read, ascending; None for all.
    truths, areas : PathColumns (V, ...) and (T, ...), optional
        The paths of both; their columns are places in `columns`. None for flat classes.
    """

    columns: Tensor | None = None
    truths: PathColumns | None = None
    areas: PathColumns | None = None


class Outside(NamedTuple):
    """The highest nodes that neither contain nor lie under what some sources label.

    Attributes
    ----------
    columns : Tensor (U,), optional
        The columns whose logits determine their probabilities; None for all.
    tables : TreeTables, optional
        Those of the tree of these columns; None for flat classes.
    nodes : Tensor (rows, U) bool
    row_of_source : list of int
        Which row is that of each source.
    host_columns : Tensor (U,), optional
        The columns once more, on the host; None if it does not know them.
    """

    columns: Tensor | None
    tables: TreeTables | None
    nodes: Tensor
    row_of_source: list[int]
    host_columns: Tensor | None = None


class BestLabels(NamedTuple):
    """The label of each of N boxes.

    Attributes
    ----------
    nodes : Tensor (N,)
    probabilities : Tensor (N,)
        P(label), given that there is a thing.
    path_probabilities : (N, D) array, optional
        P of the node on each level of the path to the label; None for flat classes.
    depths : (N,) array, optional
        The level of each label.
    """

    nodes: Tensor
    probabilities: Tensor
    path_probabilities: NDArray[np.float32] | None = None
    depths: NDArray[np.integer] | None = None

    def paths(self, rows: Sequence[int] | NDArray[np.intp]) -> tuple[tuple[float, ...], ...] | None:
        """P of each node on the path of some labels, from the top; None for flat classes."""
        if self.path_probabilities is None or self.depths is None:
            return None
        return tuple(tuple(self.path_probabilities[row, : self.depths[row] + 1].tolist()) for row in rows)


class Classes(Protocol):
    """What K class channels mean; see `TreeClasses` and `FlatClasses`.

    Attributes
    ----------
    number : int
        K.
    over : {"tree", "softmax", "sigmoid", "linear"}
        What makes probabilities of them.
    map : tuple of int, optional
        Box label -> class, for the labels of boxes only (darknet's ``map=``).
    tree : WordTree, optional
        None for flat classes. Only what is about trees needs to ask.
    kept : tuple of int, optional
        The only classes that a box may be labelled with; in a tree also what lies below them. None for all.
    """

    @property
    def map(self) -> tuple[int, ...] | None: ...

    @property
    def number(self) -> int: ...

    @property
    def over(self) -> Over: ...

    @property
    def tree(self) -> WordTree | None: ...

    @property
    def kept(self) -> tuple[int, ...] | None: ...

    # -------------------------------------------------------------------------------------------------- probabilities

    def probabilities(self, logits: Tensor, tables: TreeTables | None = None) -> Tensor:
        """P(class), given that there is a thing: (..., K) -> (..., K).

        With the `tables` of a part of the tree, the logits are those of its nodes, see `Outside`.
        """

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """The logarithm of `probabilities`: (..., K) -> (..., K)."""

    def conditionals(self, logits: Tensor) -> Tensor:
        """What darknet's last layer gives: (..., K) -> (..., K); with a tree that is P(node | parent)."""

    # -------------------------------------------------------------------------------------------------------- labels

    def best_labels(self, output: DetectorOutput, boxes: Tensor, threshold: float) -> BestLabels:
        """The label of boxes (N,): the deepest node that is more probable than `threshold`, or the best flat class.

        Where some classes are `kept`, it is the best of these, however probable, or what lies below it.
        """

    def answers(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, K) -> P of every class (N, K), the path of the best child of the best child (N, D), and P along it.

        Backing off at any threshold ends on this path. It is padded with -1, P with 0. A flat class is its own path.
        """

    def label_reader(self, output: DetectorOutput, labels: Tensor) -> LabelReader:
        """How to read log P of some labels (L,), each at some boxes."""

    def related(self, nodes: Tensor) -> Tensor:
        """Pairs of labels that can be names of one object: (N,) -> (N, N) bool."""

    def part(self, nodes: tuple[int, ...]) -> tuple[tuple[int, ...] | None, Classes]:
        """The columns, ascending, that determine P of some nodes (None for all), and the classes that they are."""

    def paths(self, device: torch.device | str) -> Tensor:
        """The nodes from the top to each one: (K, D), padded with -1."""

    def levels(self, device: torch.device | str) -> Tensor:
        """The level of each node, 0 at the top: (K,)."""

    # -------------------------------------------------------------------------------------------------------- losses

    def label_columns(self, labels: Tensor, truths: Tensor, area_labels: Tensor, device: torch.device) -> LabelColumns:
        """What the labels (B, M) at the places `truths` (V,), and the labels of areas (T,), read of the classes."""

    def groups(self, labels: Tensor) -> Tensor | None:
        """The sibling groups on the path of each label: (...) -> (..., D), padded with -1; None for flat classes."""

    def outside(self, sources: Sequence[Tensor], device: torch.device) -> Outside:
        """What sources do not label; of each the nodes (L,) that it labels exhaustively."""

    def truth_loss(
        self,
        logits: Tensor,
        *,
        labels: Tensor,
        truths: Tensor,
        groups: Tensor | None,
        paths: PathColumns | None,
        later: Tensor,
        wins: Tensor,
    ) -> Tensor:
        """The summed cross-entropy of the boxes of truths.

        Where several truths share a box, a later one replaces what both would teach.

        Parameters
        ----------
        logits : Tensor (V, U)
            Those of the box of each truth, in the columns of `label_columns`.
        labels : Tensor (B, M)
        truths : Tensor (V,)
            Which of the B * M labels are truths.
        groups : Tensor (B, M, D), optional
            The sibling groups of the labels, as `groups` gives them; None for flat classes.
        paths : PathColumns (V, ...), optional
            The paths of the truths, as `label_columns` gives them; None for flat classes.
        later : Tensor (B, M, M) bool
            [b, m, n]: n is a later truth at the box of m.
        wins : Tensor (B, M) bool
            No later truth has the same box.
        """

    def image_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The summed -log P of one label for each image: (N, K) and (N,) -> ()."""

    # --------------------------------------------------------------------------------------------- names and values

    @property
    def label_maps(self) -> Mapping[str, Mapping[str, int]]:
        """For each source of labels: the name that it has for a class -> the class."""

    @property
    def ids(self) -> Mapping[str, int]:
        """Id of a class, which is a wnid in a tree -> the class. Empty if the classes have none."""

    def identity(self, node: int) -> dict[str, str]:
        """``{"id", "name"}`` of a class, as far as it has them, for JSON files."""

    def path(self, node: int) -> tuple[int, ...]:
        """The nodes from the top to this one; empty for a flat class."""

    def name(self, node: int) -> str:
        """What a person reads: the name, or the number of a class without one."""

    @property
    def description(self) -> dict[str, Any]:
        """Plain values that `classes_of` reads back."""


def check_map(classes: Classes) -> None:
    """Raise `Mistake` if the map of classes, or those that are kept, name what is none of them."""
    for name, nodes in (("map", classes.map), ("kept", classes.kept)):
        if outside := [node for node in nodes or () if not 0 <= node < classes.number]:
            raise Mistake(f"{name}: nodes {outside[:5]} are outside 0..{classes.number - 1}")
    if classes.kept == ():
        raise Mistake("kept: at least one class is needed")
