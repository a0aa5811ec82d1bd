"""Labels of data sets -> classes: the tree of a run's own labels, and each source's map to the classes of a net."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from wordtree import WordTree
from wordtree.concepts import ConceptError
from wordtree.errors import NameResolutionError
from wordtree.names import composed
from yolo9000.datasets.box_index import BoxIndex, listed
from yolo9000.datasets.errors import DatasetError, UnknownClasses
from yolo9000.datasets.pictograms import pictogram_concepts
from yolo9000.datasets.sample import LabelledSource
from yolo9000.datasets.tiles import read_split
from yolo9000.experiment.config import DataConfig
from yolo9000.experiment.layouts import LAYOUTS, tree_command
from yolo9000.experiment.left_out import LEFT_OUT, leave_out
from yolo9000.models.classes import Classes
from yolo9000.models.flat_classes import FlatOver, flat_classes
from yolo9000.models.tree_classes import TreeClasses

log = logging.getLogger(__name__)

MOST_EXPLAINED = 5
"""Names of several concepts that an error lists the concepts of."""


def taught_labels(source: LabelledSource) -> NDArray[np.int64]:
    """The labels that a source teaches, one for each box or image; crowds and difficult objects teach nothing."""
    index = getattr(source, "index", None)
    return source.labels[~index.ignore] if isinstance(index, BoxIndex) else source.labels


def classes_of_labels(config: DataConfig) -> TreeClasses:
    """The tree of the data's own labels, those that each data set's layout has or finds, without `left_out`."""
    return leave_out(_classes_of_all_labels(config), config.left_out)


def _classes_of_all_labels(config: DataConfig) -> TreeClasses:
    if config.is_embedded:
        concepts = pictogram_concepts()
        tree = tree_of_wnids(concepts.values())
        nodes = {name: tree.node(wnid) for name, wnid in concepts.items()}
        return TreeClasses(replace(tree, label_maps={**tree.label_maps, "scenes": nodes}))
    if config.drawn_from is not None:
        return TreeClasses(tree_of_wnids(read_split(config.drawn_from).wnids))
    from wordtree import sources  # opens WordNet: for those who bring no tree

    found = [LAYOUTS[layout].labels(path, config.splits[0]) for layout, path in config.sets]
    try:
        return TreeClasses(sources.build_from_labels(sources.resolve_labels(found)))
    except ConceptError as error:
        raise DatasetError(f"{_without_options(error)}\n{_concept_advice(config)}") from error


def _without_options(error: ConceptError) -> ConceptError:
    """The same problems without the advice to take first senses, for which trainings have no option."""
    problems = [
        replace(each, reason=each.reason.partition(";")[0]) if "`first_sense`" in each.reason else each
        for each in error.problems
    ]
    return ConceptError(problems, str(error).partition(":")[0])


def _concept_advice(config: DataConfig) -> str:
    """How a user says what names of classes mean."""
    command = tree_command(config.sets, config.splits[0])
    ways = [
        f"To say what they mean, make a tree once:\n  {command}\nwrites a template to fill in, and says how it is "
        "taken back; then train with `tree` wordtree.json"
    ]
    layouts = {layout for layout, _ in config.sets}
    if "yolo" in layouts:
        ways.append("Or say it in data.yaml, such as 'concepts: {crane: crane.n.04, jack: jack < truck.n.01}'")
    if "imagenet" in layouts:
        ways.append("Or name a folder of images with a label by its synset, such as crane.n.04")
    return ". ".join(ways)


def tree_of_wnids(wnids: Iterable[str]) -> WordTree:
    from wordtree import build_wordtree  # opens WordNet: for those who bring no tree

    return build_wordtree(list(wnids))


def without_tree(classes: TreeClasses, over: FlatOver) -> Classes:
    """The labels of a tree beside each other, without hypernyms.

    Parameters
    ----------
    classes : TreeClasses
    over : {"softmax", "sigmoid", "linear"}
        One softmax is a tree of one sibling group, for which everything that trees can do is there; other class
        numbers are flat classes.

    Examples
    --------
    >>> maps = {"coco": {"dog": 1, "cat": 2}}
    >>> tree = WordTree(("a", "b", "c"), ("animal", "dog", "cat"), (-1, 0, 0), label_maps=maps)
    >>> flat = without_tree(TreeClasses(tree), "softmax")
    >>> flat.number, flat.tree.parents, without_tree(TreeClasses(tree), "linear")
    (2, (-1, -1), FlatClasses(number=2, over='linear', names=('dog', 'cat'), map=None))
    """
    maps = {source: labels for source, labels in classes.tree.label_maps.items() if source != LEFT_OUT}
    tree = replace(classes.tree, label_maps=maps)
    if over != "softmax":
        return flat_classes(tree, over)
    named = {node for labels in tree.label_maps.values() for node in labels.values()}
    return TreeClasses(tree.flatten(sorted(named or set(range(len(tree))) - set(tree.parents))).tree)


def name_map(classes: Classes, *preferred: str) -> dict[str, int]:
    """Class name -> class of the net by its label maps: those of the preferred sources first, then the others.

    Examples
    --------
    >>> maps = {"coco": {"mouse": 0}, "farm": {"mouse": 1}}
    >>> tree = WordTree(("device", "animal"), ("mouse", "mouse"), (-1, -1), label_maps=maps)
    >>> name_map(TreeClasses(tree), "farm", "coco")
    {'mouse': 1}
    """
    names: dict[str, int] = {}
    for source in (*preferred, *classes.label_maps):
        for name, node in classes.label_maps.get(source, {}).items():
            names.setdefault(name, node)
    return names


class NodesByName(Mapping[str, int]):
    """Class name -> class of the net: by the names that data sets have for classes, by ids, and as trees resolve names.

    `WordTree.node` knows a concept by any of its names, so a class need not be in a label map. A name that several
    concepts have is no key; `why_not` says which they are.

    Parameters
    ----------
    classes : Classes
    preferred : str
        Label maps that are asked first; see `name_map`.

    Examples
    --------
    >>> from wordtree import load_tree
    >>> names = NodesByName(TreeClasses(load_tree("yolo9000")), "voc")
    >>> names["kangaroo"], names.get("crane")
    (7405, None)
    >>> names.resolved
    {'kangaroo': 7405}
    >>> print(names.why_not("crane"))
    'crane' is the name of 2 nodes; use the id or the synset name of one:
      crane.n.04 (n03126707): device > lifting device > crane
      crane.n.05 (n02012849): aquatic bird > wading bird > crane
    """

    def __init__(self, classes: Classes, *preferred: str) -> None:
        known = {**classes.ids, **name_map(classes, *preferred)}
        self._known = {composed(name): node for name, node in known.items()}
        self._tree = classes.tree
        self.resolved: dict[str, int] = {}
        """Names that were asked for and are in no label map, and their nodes."""

    def __getitem__(self, name: str) -> int:
        name = composed(name)
        if name in self._known:
            return self._known[name]
        if self._tree is None:
            raise KeyError(name)
        found = self._tree.find(name)
        if len(found) != 1:
            raise KeyError(name)
        self.resolved[name] = found[0]
        return found[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def why_not(self, name: str) -> str:
        """What a tree says of a name that is no key: which nodes it may mean, or which names are spelled alike."""
        if name in self:
            return ""
        if self._tree is None:
            return f"{name!r} is no class"
        try:
            self._tree.node(composed(name))
        except NameResolutionError as error:
            return str(error)
        return ""

    def log_resolved(self, source: str) -> None:
        """Tell the user what was taken for what, where no data set or tree said so."""
        if self._tree is not None and self.resolved:
            found = [f"{name} is {self._tree.describe(node)}" for name, node in sorted(self.resolved.items())]
            _tell_once(f"{source}: known by name alone: {'; '.join(found)}")


@functools.cache
def _tell_once(text: str) -> None:
    """Log a line, but not again for each part of the same data."""
    log.warning(text)


def labelled_nodes(
    classes: Classes,
    found: Iterable[int],
    *preferred: str,
    is_alone: bool = True,
    names: Collection[str] | None = None,
) -> list[int]:
    """What a source labels exhaustively: the nodes of the label map that its labels are from.

    Parameters
    ----------
    classes : Classes
    found : iterable of int
        Labels that its boxes have.
    preferred : str
        Names that its own map may have. If none has all the labels, the smallest other map that does is taken, and
        failing that the labels themselves.
    is_alone : bool
        Whether it is the only set with boxes. Otherwise no other map is taken: it may be that of another set, which
        labels what this one does not.
    names : collection of str, optional
        The names of its classes, if its own map may have those of other sets as well: no others are taken from it.

    Examples
    --------
    >>> maps = {"imagenet": {"n1": 0, "n2": 1, "n3": 2}, "farm": {"cow": 1, "hen": 2}}
    >>> tree = WordTree(("n1", "n2", "n3"), ("a", "b", "c"), (-1, -1, -1), label_maps=maps)
    >>> labelled_nodes(TreeClasses(tree), [1], "coco")
    [1, 2]
    >>> labelled_nodes(TreeClasses(tree), [1], "farm", is_alone=False, names=["cow"])
    [1]
    """
    labels = set(found)
    mine = None if names is None else {composed(name) for name in names}
    own = [
        {node for class_name, node in classes.label_maps[name].items() if mine is None or composed(class_name) in mine}
        for name in preferred
        if name in classes.label_maps
    ]
    others = sorted((set(nodes.values()) for nodes in classes.label_maps.values()), key=len) if is_alone else []
    return sorted(next((nodes for nodes in (*own, *others) if labels <= nodes), labels))


@contextlib.contextmanager
def class_advice(config: DataConfig, classes: Classes) -> Iterator[None]:
    """Add to an error about labels that the net does not have, what it has, or how to get a tree that has them."""
    try:
        yield
    except DatasetError as error:
        if classes.tree is None and isinstance(error, UnknownClasses):
            names = [classes.name(number) for number in range(classes.number)]
            raise DatasetError(
                f"{error.source}: the net has no class named {', '.join(error.missing)}; data are matched to its "
                f"{len(names)} classes by name, and these are {listed(names)}"
            ) from error
        if isinstance(error, UnknownClasses) or "has no node" in str(error):
            known, missing = NodesByName(classes), getattr(error, "missing", ())
            said = [text for name in missing[:MOST_EXPLAINED] if "\n" in (text := known.why_not(name))]
            command = tree_command(config.sets, config.splits[0])
            made = f"A tree of these labels, for `tree`, is made by\n  {command}"
            raise DatasetError("\n".join([str(error), *said, made])) from error
        raise
