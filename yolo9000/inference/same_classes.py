"""Do two nets mean the same by their class channels?"""

from __future__ import annotations

from wordtree import TreeMismatch, WordTree
from yolo9000.models.classes import Classes
from yolo9000.models.tree_classes import TreeClasses


def check_same_classes(given: Classes, expected: Classes, where: str) -> None:
    """Refuse weights whose class rows are not the classes in use.

    Parameters
    ----------
    given, expected : Classes
        Those in use, and those that the weights were trained with.
    where : str
        The file of the weights, for the message.

    Raises
    ------
    wordtree.TreeMismatch
        They differ; the message says whether in size, ids, parents or rest, and where first. Flat classes differ in
        number or names; those without names are taken for any of their number.
    """
    if (given.tree is None) != (expected.tree is None):
        have, lack = ("has a tree", "no tree is used") if given.tree is None else ("has no tree", "a tree is used")
        raise TreeMismatch(f"{where} {have}, but {lack} here")
    if given.tree is not None and expected.tree is not None:
        _check_same_tree(given.tree, expected.tree, where)
        return
    if given.number != expected.number:
        raise TreeMismatch(f"{where} has {expected.number} classes, here are {given.number}")
    for number in range(given.number):
        ours, theirs = (classes.identity(number).get("name") for classes in (given, expected))
        if ours is not None and theirs is not None and ours != theirs:
            raise TreeMismatch(f"{where}: its class {number} is {theirs}, and {ours} here; the order must be the same")


def check_tree_beside(tree: WordTree, expected: Classes, where: str) -> None:
    """`check_same_classes` for the tree of a run, of which a net that was restricted has some sibling groups alone."""
    if expected.kept is not None and expected.tree is not None:
        known = set(tree.wnids)
        if lacking := [wnid for wnid in expected.tree.wnids if wnid not in known]:
            raise TreeMismatch(
                f"{where} was restricted to classes of another tree: {lacking[0]} is not in the one here"
            )
        tree = tree.closure(expected.tree.wnids).tree
    check_same_classes(TreeClasses(tree), expected, where)


def _check_same_tree(given: WordTree, expected: WordTree, where: str) -> None:
    if given.digest == expected.digest:
        return
    advice = "give the tree.json beside the checkpoint, or train again with this tree"
    if len(given) != len(expected):
        raise TreeMismatch(
            f"{where} was trained on a tree of {len(expected)} nodes, this one has {len(given)}; {advice}"
        )
    for node in range(len(given)):
        for what, ours, theirs in (
            ("id", given.wnids[node], expected.wnids[node]),
            ("parent", given.parents[node], expected.parents[node]),
        ):
            if ours != theirs:
                raise TreeMismatch(
                    f"{where} was trained on another tree of {len(expected)} nodes: node {node} has the {what} "
                    f"{theirs} there and {ours} here; {advice}"
                )
    raise TreeMismatch(f"{where} was trained with rest={expected.rest!r}, this tree has {given.rest!r}; {advice}")
