"""A tree to show for a net whose classes form none: all of them beside each other."""

from __future__ import annotations

from wordtree import WordTree
from yolo9000.models.classes import Classes


def tree_to_show(classes: Classes) -> WordTree:
    """The tree of a net; one of a single level for classes that have none.

    Examples
    --------
    >>> from yolo9000.models import FlatClasses
    >>> tree = tree_to_show(FlatClasses(2, names=("traffic light", "dog")))
    >>> tree.names, tree.parents, tree.wnids
    (('traffic light', 'dog'), (-1, -1), ('class0', 'class1'))
    """
    if classes.tree is not None:
        return classes.tree
    numbers = range(classes.number)
    return WordTree(
        tuple(f"class{number}" for number in numbers), tuple(map(classes.name, numbers)), (-1,) * classes.number
    )
