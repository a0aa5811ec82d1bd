"""What the data would teach each concept of a tree: boxes and images counted before anything is trained."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wordtree import WordTree
from yolo9000.experiment.labels import NodesByName, taught_labels
from yolo9000.experiment.layouts import LAYOUTS
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.runtime.mistakes import Mistake


class Numbered(Mapping[str, int]):
    """Every name is a class, numbered as it is asked for: a label map for counting what a data set calls its classes.

    Examples
    --------
    >>> numbers = Numbered()
    >>> numbers["dog"], numbers["cat"], numbers["dog"], list(numbers)
    (0, 1, 0, ['dog', 'cat'])
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        return self._numbers.setdefault(name, len(self._numbers))

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A name of a data set that leads to no node.

    Parameters
    ----------
    source : str
        The data set.
    name : str
        As the data set writes it.
    count : int
        Its boxes or images.
    why : str
        What the tree says of it.
    """

    source: str
    name: str
    count: int
    why: str


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Counts for each node of a tree.

    Parameters
    ----------
    tree : WordTree
    boxes, images : (K,) int64 arrays
        Boxes, and images with a label, that name the node itself.
    boxes_below, images_below : (K,) int64 arrays
        Those that name something below it, which teach it as well.
    lost : tuple of Lost
        Names without a node, the most frequent first.
    """

    tree: WordTree
    boxes: NDArray[np.int64]
    images: NDArray[np.int64]
    boxes_below: NDArray[np.int64]
    images_below: NDArray[np.int64]
    lost: tuple[Lost, ...]


def measure_coverage(tree: WordTree, sets: tuple[tuple[str, str], ...], split: str = "train") -> Coverage:
    """Count what each node would be trained on, without boxes that are ignored.

    Names are found as a training finds them: in the label maps of the tree, as ids, and by name.

    Parameters
    ----------
    tree : WordTree
    sets : tuple of (str, str)
        Layout and path of each data set.
    split : str
        The part of each that is read.

    Returns
    -------
    Coverage

    Raises
    ------
    DatasetError
        A data set is not what it should be; the message says what was looked for.
    Mistake
        A layout cannot be counted.

    Examples
    --------
    >>> tree = WordTree(("a", "b"), ("animal", "dog"), (-1, 0))
    >>> measure_coverage(tree, ()).boxes.tolist()
    [0, 0]
    """
    counts = {"boxes": np.zeros(len(tree), np.int64), "image labels": np.zeros(len(tree), np.int64)}
    lost: list[Lost] = []
    for layout, path in sets:
        about = LAYOUTS[layout]
        if about.open is None or about.teaches == "both":
            raise Mistake(f"`{layout}` draws its images; name its classes as a data set of images with a label")
        numbers = Numbered()
        name = f"{layout} {path}"
        labels = taught_labels(about.open(path, numbers, split, name))
        nodes = NodesByName(TreeClasses(tree), *about.maps(path, split))
        found = np.bincount(labels, minlength=len(numbers))
        for class_name, count in zip(numbers, found.tolist(), strict=True):
            node = nodes.get(class_name)
            if node is not None:
                counts[about.teaches][node] += count
            else:
                lost.append(Lost(source=name, name=class_name, count=count, why=nodes.why_not(class_name)))
    boxes, images = counts["boxes"], counts["image labels"]
    return Coverage(
        tree=tree,
        boxes=boxes,
        images=images,
        boxes_below=tree.sum_upwards(boxes) - boxes,
        images_below=tree.sum_upwards(images) - images,
        lost=tuple(sorted(lost, key=lambda each: (-each.count, each.source, each.name))),
    )


def format_coverage(coverage: Coverage, *, most: int = 30) -> str:
    """The counts as a table for people.

    Parameters
    ----------
    coverage : Coverage
    most : int
        The number of nodes and of lost names that are listed, those with the most data first.

    Examples
    --------
    >>> tree = WordTree(("a", "b"), ("animal", "dog"), (-1, 0))
    >>> one, none = np.array([0, 7]), np.zeros(2, np.int64)
    >>> lost = (Lost(source="voc V", name="dodo", count=3, why="'dodo' is no name in this tree of 2 nodes"),)
    >>> print(format_coverage(
    ...     Coverage(tree=tree, boxes=one, images=none, boxes_below=one[::-1], images_below=none, lost=lost)
    ... ))
    2 concepts: 1 named by 7 boxes, 0 by 0 images with a label; 1 taught only by what is below, 0 by nothing
         boxes     images  concept
             7          0  dog (b)
    1 names of the data have no concept in this tree:
      dodo (3 in voc V): 'dodo' is no name in this tree of 2 nodes
    """
    tree, boxes, images = coverage.tree, coverage.boxes, coverage.images
    direct = (boxes > 0) | (images > 0)
    reached = direct | (coverage.boxes_below > 0) | (coverage.images_below > 0)
    lines = [
        f"{len(tree):,} concepts: {int((boxes > 0).sum()):,} named by {int(boxes.sum()):,} boxes, "
        f"{int((images > 0).sum()):,} by {int(images.sum()):,} images with a label; "
        f"{int((reached & ~direct).sum()):,} taught only by what is below, {int((~reached).sum()):,} by nothing"
    ]
    order = sorted(np.flatnonzero(direct).tolist(), key=lambda node: (-int(boxes[node]), -int(images[node]), node))
    if order:
        lines.append(f"{'boxes':>10} {'images':>10}  concept")
    named = [f"{tree.names[node]} ({tree.synsets[node] or tree.wnids[node]})" for node in order[:most]]
    lines += [f"{boxes[node]:>10,} {images[node]:>10,}  {name}" for node, name in zip(order, named, strict=False)]
    if len(order) > most:
        lines.append(f"{'':>21}  and {len(order) - most:,} more")
    if coverage.lost:
        lines.append(f"{len(coverage.lost):,} names of the data have no concept in this tree:")
        for each in coverage.lost[:most]:
            why = each.why.replace("\n", "\n  ")
            lines.append(f"  {each.name} ({each.count:,} in {each.source}): {why}")
        if len(coverage.lost) > most:
            lines.append(f"  and {len(coverage.lost) - most:,} more")
    return "\n".join(lines)


def coverage_csv(coverage: Coverage) -> str:
    """The counts as a table with a row for every node, in tree order.

    Examples
    --------
    >>> tree, none = WordTree(("a", "b"), ("animal", "dog"), (-1, 0)), np.zeros(2, np.int64)
    >>> one = np.array([0, 7])
    >>> print(coverage_csv(
    ...     Coverage(tree=tree, boxes=one, images=none, boxes_below=one[::-1], images_below=none, lost=())
    ... ), end="")
    node,wnid,name,synset,boxes,images,boxes_below,images_below
    0,a,animal,,0,0,7,0
    1,b,dog,,7,0,0,0
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("node", "wnid", "name", "synset", "boxes", "images", "boxes_below", "images_below"))
    tree = coverage.tree
    counts = (coverage.boxes, coverage.images, coverage.boxes_below, coverage.images_below)
    for node in range(len(tree)):
        facts = (tree.wnids[node], tree.names[node], tree.synsets[node] or "")
        writer.writerow((node, *facts, *(int(count[node]) for count in counts)))
    return buffer.getvalue()
