"""Classes that a classifier is not trained on: a tree without them, and their images apart from the others."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.box_index import listed
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.imagenet import ImageNetSource
from yolo9000.datasets.label_tars import LabelTars
from yolo9000.datasets.names import NameTable
from yolo9000.datasets.packed_imagenet import PackedImageNet
from yolo9000.datasets.sample import Kind, Record
from yolo9000.models.classes import Classes
from yolo9000.models.tree_classes import TreeClasses

LEFT_OUT = "left out"
"""The label map of the classes that a classifier is not trained on: wnid -> the nearest ancestor that is left."""


def leave_out(classes: TreeClasses, wnids: Sequence[str]) -> TreeClasses:
    """A tree without some classes, and without what is only above them.

    Parameters
    ----------
    classes : TreeClasses
    wnids : sequence of str
        The classes. One that stands above others stays as their ancestor.

    Returns
    -------
    TreeClasses
        Its label map `LEFT_OUT` has the nearest ancestor of each.

    Raises
    ------
    DatasetError
        The tree has no such node, or nothing is left above one of them.

    Examples
    --------
    >>> from wordtree import WordTree
    >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "rock", "dog", "cat"), (-1, -1, 0, 0))
    >>> left = leave_out(TreeClasses(tree), ["c"]).tree
    >>> left.names, left.label_maps
    (('animal', 'rock', 'cat'), {'left out': {'c': 0}})
    """
    if not wnids:
        return classes
    tree, ids = classes.tree, classes.ids
    if absent := [wnid for wnid in wnids if wnid not in ids]:
        raise DatasetError(f"`left_out`: the tree has no node {listed(absent)}")
    out = {ids[wnid] for wnid in wnids}
    labels = {node for labels in tree.label_maps.values() for node in labels.values()}
    kept = sorted((set(np.flatnonzero(tree.child_group < 0).tolist()) | labels) - out)
    if not kept:
        raise DatasetError("`left_out`: no class is left to train on")
    part = tree.prune(kept)
    nearest = {}
    for wnid in wnids:
        above = [part.old_to_new[node] for node in tree.path(ids[wnid]) if part.old_to_new[node] >= 0]
        if not above:
            raise DatasetError(
                f"`left_out` {wnid}: nothing above it is left in the tree, so no answer could be right; leave a class "
                "out that has siblings"
            )
        nearest[wnid] = above[-1]
    return TreeClasses(replace(part.tree, label_maps={**part.tree.label_maps, LEFT_OUT: nearest}))


def knows_all(classes: Classes, wnids: Sequence[str]) -> bool:
    """Whether each of some left-out classes has a right answer among the classes."""
    return set(wnids) <= set(classes.label_maps.get(LEFT_OUT, {})) | set(classes.ids)


def with_left_out(label_map: Mapping[str, int], wnids: Sequence[str]) -> Mapping[str, int]:
    """A label map that knows left-out classes as well; where it has no label for them, nobody may read it."""
    # a map that resolves names as they are asked for stays one, which a copy of its keys would not
    return ChainMap(label_map, dict.fromkeys(wnids, 0))  # type: ignore[arg-type]  # nobody writes into it


@dataclass(frozen=True)
class Selection:
    """Some images with a label of another source, by their numbers in it."""

    source: ImageNetSource | PackedImageNet | LabelTars
    rows: NDArray[np.intp]

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def kind(self) -> Kind:
        return self.source.kind

    @property
    def labelled_nodes(self) -> NDArray[np.int64] | None:
        return self.source.labelled_nodes

    @property
    def labels(self) -> NDArray[np.int64]:
        return self.source.labels[self.rows]

    @property
    def names(self) -> NameTable:
        return self.source.names.taken(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> Record:
        return self.source.read(int(self.rows[index]))


def shown(source: ImageNetSource | PackedImageNet | LabelTars | None, wnids: Collection[str]) -> Selection | None:
    """The images of a source without those of some classes."""
    return None if source is None else Selection(source, np.flatnonzero(~_are_of(source, wnids)))


def hidden(source: ImageNetSource | PackedImageNet | LabelTars | None, wnids: Collection[str]) -> Selection | None:
    """The images of a source that are of some classes."""
    return None if source is None else Selection(source, np.flatnonzero(_are_of(source, wnids)))


def _are_of(source: ImageNetSource | PackedImageNet | LabelTars, wnids: Collection[str]) -> NDArray[np.bool_]:
    of_class = np.array([name in wnids for name in source.class_names], np.bool_)
    mine: NDArray[np.bool_] = of_class[source.classes]
    return mine
