"""What each concept would be trained on, and which names may mean something else."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from wordtree import TreeError, WordTree, load_tree
from wordtree.concepts import ConceptError
from wordtree.senses import MOST_NAMES, NearerSense, nearer_senses
from yolo9000.checking.boxes import Kept
from yolo9000.checking.findings import Part
from yolo9000.datasets.errors import DatasetError
from yolo9000.experiment.config import DataConfig
from yolo9000.experiment.labels import NodesByName, classes_of_labels
from yolo9000.experiment.layouts import LAYOUTS
from yolo9000.models.tree_classes import TreeClasses


@dataclass(kw_only=True)
class Counts:
    """Boxes and images of each node.

    Parameters
    ----------
    tree : WordTree, optional
        None if none can be built of the names.
    boxes, images, small : Counter of int
        Boxes, images with a label, and boxes that are smaller than a cell, by node.
    never_boxed : list of int
        The nodes that images are labelled with, and that have no box.
    without_boxes : list of (str, str)
        Data set and name of the classes that it declares and never boxes.
    senses : list of NearerSense
        Names whose other meaning is nearer to the other names.
    """

    tree: WordTree | None
    boxes: Counter[int] = field(default_factory=Counter)
    images: Counter[int] = field(default_factory=Counter)
    small: Counter[int] = field(default_factory=Counter)
    never_boxed: list[int] = field(default_factory=list)
    without_boxes: list[tuple[str, str]] = field(default_factory=list)
    senses: list[NearerSense] = field(default_factory=list)

    def sentence(self, node: int) -> str:
        """What a node would be trained on, in words."""
        assert self.tree is not None
        return (
            f"{self.tree.names[node]} ({self.tree.synsets[node] or self.tree.wnids[node]}): trained on "
            f"{self.boxes[node]:,} boxes, {self.images[node]:,} images"
        )

    @property
    def nodes(self) -> list[int]:
        """The nodes that have boxes or images, those with most boxes first."""
        return sorted({*self.boxes, *self.images}, key=lambda node: (-self.boxes[node], -self.images[node], node))


def count_classes(parts: Sequence[Part], kept: Sequence[Kept], config: DataConfig) -> Counts:
    """Find the node of each name, as a training does, and count.

    Parameters
    ----------
    parts : sequence of Part
        Names without a node are added to their findings.
    kept : sequence of Kept
        What is left of each.
    config : DataConfig
        It names the tree, if there is one.

    Returns
    -------
    Counts
    """
    train = config.splits[0]
    counts = Counts(tree=_tree(parts, config))
    if counts.tree is None:
        return counts
    classes = TreeClasses(counts.tree)
    boxed: dict[str, set[str]] = defaultdict(set)
    meant: dict[str, dict[str, int]] = defaultdict(dict)
    for part, left in zip(parts, kept, strict=True):
        nodes = NodesByName(classes, *_maps(part, config))
        boxed[part.source] |= set(left.boxes) if part.split == train else set()
        for name in dict.fromkeys([*part.names, *sorted({box.name for box in part.boxes} | set(part.labels))]):
            node = nodes.get(name)
            if node is not None:
                meant[part.source][name] = node
            elif config.tree is not None:  # without one, the names of which none can be built were noted above
                why = nodes.why_not(name).split("\n")[0]
                part.find("no-node", part.annotations or part.path, why, record=name)
        if part.split != train:
            continue
        for into, counted in ((counts.boxes, left.boxes), (counts.images, part.labels), (counts.small, left.small)):
            for name, number in counted.items():
                if name in meant[part.source]:
                    into[meant[part.source][name]] += number
    counts.never_boxed = sorted(node for node in counts.images if not counts.boxes[node])
    teach = {part.source for part in parts if LAYOUTS[part.layout].teaches == "boxes"}
    counts.without_boxes = [
        (source, name)
        for source, names in meant.items()
        if source in teach
        for name in names
        if name not in boxed[source]
    ]
    for names in meant.values():
        if len(names) <= MOST_NAMES:
            counts.senses += nearer_senses({name: counts.tree.wnids[node] for name, node in names.items()})
    return counts


def _maps(part: Part, config: DataConfig) -> list[str]:
    """The label maps that a training looks for names in."""
    train = config.splits[0]
    if (part.layout, part.path) in config.sets:
        return LAYOUTS[part.layout].maps(part.path, train)
    layout, path = config.box_sets[0]  # `val`, whose names are those of the first set
    return [*LAYOUTS[part.layout].maps(part.path, part.split), *LAYOUTS[layout].maps(path, train)]


def _tree(parts: Sequence[Part], config: DataConfig) -> WordTree | None:
    """The tree that was named, or one of the names themselves."""
    if config.tree is not None:
        return load_tree(config.tree)
    try:
        return classes_of_labels(config).tree
    except (DatasetError, TreeError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, ConceptError) else error
        problems = cause.problems if isinstance(cause, ConceptError) else ()
        if not problems and not any(finding.kind == "refused" for part in parts for finding in part.findings):
            parts[0].find("no-node", parts[0].annotations or parts[0].path, str(error))
        for problem in problems:
            parts[0].find("no-node", parts[0].annotations or parts[0].path, problem.reason, record=problem.concept)
        return None
