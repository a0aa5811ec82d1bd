"""Searching a tree by any part of a name: what a person types, and the nodes that may be meant, the likeliest first."""

from __future__ import annotations

from collections.abc import Iterator

from wordtree.errors import AmbiguousName, UnknownName
from wordtree.names import fold
from wordtree.tree import WordTree


def search(tree: WordTree, text: str, limit: int | None = None) -> tuple[int, ...]:
    """Return the nodes that a text may mean.

    Parameters
    ----------
    tree : WordTree
    text : str
        A name, a synset or a wnid, or a part of one. Case and underscores do not count.
    limit : int, optional
        The number of nodes, at most.

    Returns
    -------
    tuple of int
        Nodes of exactly this name first; then those with a name that begins so, those with a word that begins so, and
        those that hold the text elsewhere. A display name goes before a lemma, and a shorter name before a longer one.
        If there is none, the nodes with a name that is spelled alike. A whole wnid or synset is that node alone.

    Examples
    --------
    >>> from wordtree import load_tree
    >>> tree = load_tree("yolo9000")
    >>> for node in search(tree, "crane", limit=4):
    ...     print(tree.describe(node))
    crane.n.04 (n03126707): device > lifting device > crane
    crane.n.05 (n02012849): aquatic bird > wading bird > crane
    crane_fly.n.01 (n02205219): insect > dipterous insect > crane fly
    cranesbill.n.01 (n12685831): herb > geranium > cranesbill
    >>> [tree.names[node] for node in search(tree, "norfolk terier")]
    ['Norfolk terrier', 'fox terrier']
    """
    wanted = fold(text)
    if not wanted:
        return ()
    for node in nodes_named(tree, text):
        if wanted in (fold(tree.wnids[node]), fold(tree.synsets[node] or "")):
            return (node,)
    ranks: dict[int, tuple[int, int, int]] = {}
    for node, place, name in _names(tree):
        rank = _rank(fold(name), wanted)
        if rank is not None and (found := (rank, place, len(name))) < ranks.get(node, (9, 9, 0)):
            ranks[node] = found
    nodes = sorted(ranks, key=lambda node: (*ranks[node], node))
    if not nodes:
        nodes = list(dict.fromkeys(node for name in _spelled_alike(tree, text) for node in nodes_named(tree, name)))
    return tuple(nodes[:limit])


def nodes_named(tree: WordTree, name: str) -> tuple[int, ...]:
    """Return the nodes that `WordTree.node` finds for a name: one, several if it is ambiguous, or none.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c"), ("lion", "lion", "dog"), (-1, -1, -1))
    >>> nodes_named(tree, "Lion"), nodes_named(tree, "dog"), nodes_named(tree, "cat")
    ((0, 1), (2,), ())
    """
    try:
        return (tree.node(name),)
    except AmbiguousName as error:
        return error.candidates
    except UnknownName:
        return ()


def _spelled_alike(tree: WordTree, text: str) -> tuple[str, ...]:
    try:
        tree.node(text)
    except UnknownName as error:
        return error.suggestions
    except AmbiguousName:
        pass
    return ()


def _names(tree: WordTree) -> Iterator[tuple[int, int, str]]:
    """Node, kind of name (a display name counts most) and name, of all names of all nodes."""
    for node in range(len(tree)):
        yield node, 0, tree.names[node]
        yield node, 0, tree.wnids[node]
        if synset := tree.synsets[node]:
            yield node, 0, synset
        for lemma in tree.lemmas[node]:
            yield node, 1, lemma
    for classes in tree.label_maps.values():
        for name, node in classes.items():
            yield node, 1, name


def _rank(name: str, wanted: str) -> int | None:
    if wanted not in name:
        return None
    if name == wanted:
        return 0
    if name.startswith(wanted):
        return 1
    return 2 if f" {wanted}" in name else 3
