"""A tree as lines of text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from wordtree.tree import WordTree

LINES = ("├── ", "└── ", "│   ", "    ")
ASCII_LINES = ("|-- ", "`-- ", "|   ", "    ")


def count_below(tree: WordTree) -> npt.NDArray[np.int64]:
    """Return the number of nodes below each node, (K,).

    Examples
    --------
    >>> count_below(WordTree(("a", "b", "c", "d"), ("animal", "rock", "dog", "cat"), (-1, -1, 0, 0))).tolist()
    [2, 0, 0, 0]
    """
    return tree.sum_upwards(np.ones(len(tree), np.int64)) - 1


def outline(
    tree: WordTree,
    node: str | int | None = None,
    *,
    depth: int | None = None,
    most: int | None = None,
    only_ascii: bool = False,
) -> str:
    """Return a node and what is below it as lines, each with its synset and the number of nodes below it.

    Parameters
    ----------
    tree : WordTree
    node : str or int, optional
        The node to begin at, or its name; without any, all top nodes.
    depth : int, optional
        The number of levels below it; all if it is not given.
    most : int, optional
        The number of children of one node that are shown; a last line counts the others.
    only_ascii : bool
        Draw the branches with plain characters.

    Returns
    -------
    str
        Above a node that is no top node stands the path to it.

    Raises
    ------
    NameResolutionError
        If the name leads to no node, or to several.

    Examples
    --------
    >>> from wordtree import load_tree
    >>> print(outline(load_tree("yolo9000"), "sled", depth=1))
    object > ... > artifact > instrumentality > conveyance > vehicle
    sled (sled.n.01), 3 below
    ├── dogsled (dogsled.n.01)
    ├── bobsled (bobsled.n.02)
    └── bobsled (bobsled.n.01)
    >>> print(outline(load_tree("yolo9000"), depth=1, most=1, only_ascii=True))
    9,418 nodes, 4 of them at the top under physical_entity.n.01
    |-- thing (thing.n.12), 10 below
    `-- and 3 more
    """
    below = count_below(tree)
    line = ASCII_LINES if only_ascii else LINES
    if node is None:
        first = tree.top_nodes
        under = f" under {tree.root}" if tree.root else ""
        lines = [f"{len(tree):,} nodes, {len(first)} of them at the top{under}"]
        lines += _children(tree, first, below, "", depth, most, line)
        return "\n".join(lines)
    me = tree.node(node)
    lines = [] if tree.parents[me] < 0 else [path_line(tree, tree.parents[me])]
    lines.append(_one(tree, me, below))
    lines += _children(tree, tree.children(me), below, "", depth, most, line)
    return "\n".join(lines)


def depth_for(tree: WordTree, node: str | int | None, lines: int) -> int:
    """Return the number of levels below a node, or below the top, that so many lines can hold; at least 1.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "rock", "dog", "cat"), (-1, -1, 0, 0))
    >>> depth_for(tree, "animal", 10), depth_for(tree, None, 3), depth_for(tree, None, 10)
    (1, 1, 2)
    """
    if node is None:
        level, depth = list(tree.top_nodes), 1
    else:
        level, depth = list(tree.children(node)), 1
    shown = len(level)
    while level:
        level = [child for each in level for child in tree.children(each)]
        shown += len(level)
        if not level or shown > lines:
            break
        depth += 1
    return depth


def path_line(tree: WordTree, node: int, *, most: int = 6) -> str:
    """Return the names on the path to a node, the middle of a long one left out.

    Examples
    --------
    >>> path_line(WordTree(("a", "b", "c"), ("animal", "dog", "terrier"), (-1, 0, 1)), 2)
    'animal > dog > terrier'
    """
    names = [tree.names[step] for step in tree.path(node)]
    if len(names) > most:
        names = [names[0], "...", *names[1 - most :]]
    return " > ".join(names)


def _one(tree: WordTree, node: int, below: npt.NDArray[np.int64]) -> str:
    counted = f", {below[node]:,} below" if below[node] else ""
    return f"{tree.names[node]} ({tree.synsets[node] or tree.wnids[node]}){counted}"


def _children(
    tree: WordTree,
    children: tuple[int, ...],
    below: npt.NDArray[np.int64],
    before: str,
    depth: int | None,
    most: int | None,
    line: tuple[str, str, str, str],
) -> Iterator[str]:
    if depth is not None and depth <= 0:
        return
    branch, last_branch, stem, blank = line
    shown = children if most is None or len(children) <= most else children[:most]
    left_out = len(children) - len(shown)
    for place, child in enumerate(shown):
        is_last = place == len(shown) - 1 and not left_out
        yield before + (last_branch if is_last else branch) + _one(tree, child, below)
        further = None if depth is None else depth - 1
        yield from _children(
            tree, tree.children(child), below, before + (blank if is_last else stem), further, most, line
        )
    if left_out:
        yield f"{before}{last_branch}and {left_out:,} more"
