"""Labels of data sets -> classes: the tree of a run's own labels, and each source's map to the classes of a net."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from wordtree import WordTree
from yolo9000.datasets.box_index import listed
from yolo9000.datasets.errors import DatasetError, UnknownClasses
from yolo9000.experiment.config import DataConfig
from yolo9000.experiment.layouts import LAYOUTS, tree_command
from yolo9000.models.classes import Classes
from yolo9000.models.tree_classes import TreeClasses


def classes_of_labels(config: DataConfig) -> TreeClasses:
    """The tree of the data's own labels: those that each data set's layout has or finds in its files."""
    from wordtree import sources  # opens WordNet: for those who bring no tree

    found = [LAYOUTS[layout].labels(path, config.splits[0]) for layout, path in config.sets]
    return TreeClasses(sources.build_from_labels(sources.resolve_labels(found)))


def tree_of_wnids(wnids: Iterable[str]) -> WordTree:
    from wordtree import build_wordtree  # opens WordNet: for those who bring no tree

    return build_wordtree(list(wnids))


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


def labelled_nodes(classes: Classes, found: Iterable[int], *preferred: str, is_alone: bool = True) -> list[int]:
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

    Examples
    --------
    >>> maps = {"imagenet": {"n1": 0, "n2": 1, "n3": 2}, "farm": {"cow": 1, "hen": 2}}
    >>> tree = WordTree(("n1", "n2", "n3"), ("a", "b", "c"), (-1, -1, -1), label_maps=maps)
    >>> labelled_nodes(TreeClasses(tree), [1], "coco")
    [1, 2]
    """
    labels = set(found)
    own = [set(classes.label_maps[name].values()) for name in preferred if name in classes.label_maps]
    others = sorted((set(nodes.values()) for nodes in classes.label_maps.values()), key=len) if is_alone else []
    return sorted(next((nodes for nodes in (*own, *others) if labels <= nodes), labels))


def wnid_map(classes: Classes) -> dict[str, int]:
    """Id of a node, or name that a source has for a class -> class of the net."""
    return name_map(classes, "imagenet") | dict(classes.ids)


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
        if "have no node" in str(error) or "has no node" in str(error):
            command = tree_command(config.sets, config.splits[0])
            raise DatasetError(f"{error}\nA tree of these labels, for `tree`, is made by\n  {command}") from error
        raise
