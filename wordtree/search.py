"""Searching a tree by any part of a name, while somebody types: a few milliseconds, also among 82,114 nodes.

A name stands in a sorted list once for each of its words, from that word to its end. So the names that begin with a
text, and those with a word that begins with it, are neighbours in the list, which bisection finds.
"""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wordtree.names import fold_all
from wordtree.tree import WordTree

How = Literal["exact", "beginning", "word", "inside", "context", "alike"]
_TIERS: tuple[How, ...] = ("exact", "beginning", "word", "inside")
_AFTER_ALL = "\U0010ffff"
_BETWEEN_WORDS = re.compile(r"[\s,;:>()/]+")
_MOST_INSIDE = 2000
_MOST_IN_CONTEXT = 200
_MOST_COMPARED = 4000
_MOST_LONGER = 3
_MOST_WORDS = 4
MOST_LETTERS = 100
"""A longer text is cut: no name is as long, and spelling is compared letter by letter."""


class Match(NamedTuple):
    """A node that a text may mean.

    Attributes
    ----------
    node : int
    name : str
        The name that fits, in small letters: the display name, a lemma, the synset, the wnid or a source's class name.
    how : {"exact", "beginning", "word", "inside", "context", "alike"}
        The name is the text; begins with it; has a word that begins with it; holds it elsewhere; fits one part of the
        text, and the names above it the rest; or is spelled like it.
    """

    node: int
    name: str
    how: How


class SearchIndex:
    """All names of a tree, in the order that a search needs.

    Parameters
    ----------
    tree : WordTree

    Examples
    --------
    >>> from wordtree import load_tree
    >>> tree = load_tree("yolo9000")
    >>> index = SearchIndex(tree)
    >>> for match in index.search("crane", limit=3):
    ...     print(match.how, tree.describe(match.node))
    exact crane.n.04 (n03126707): device > lifting device > crane
    exact crane.n.05 (n02012849): aquatic bird > wading bird > crane
    beginning crane_fly.n.01 (n02205219): insect > dipterous insect > crane fly
    >>> [tree.names[match.node] for match in index.search("crane bird")]
    ['crane', 'whooping crane']
    >>> [(match.name, match.how) for match in index.search("norfolk terier")]
    [('norfolk terrier', 'alike')]
    """

    def __init__(self, tree: WordTree) -> None:
        self._tree = tree
        texts, nodes, kinds = _names_of(tree)
        self._texts, self._nodes = texts, np.array(nodes, np.int32)
        self._lengths = np.array([len(text) for text in texts])
        order = np.lexsort((self._nodes, self._lengths, np.array(kinds)))
        self._rank = np.empty(len(texts), np.int64)  # a display name before a lemma, a short name before a long one
        self._rank[order] = np.arange(len(texts))
        starts: list[tuple[str, int, bool]] = []
        for entry, text in enumerate(texts):
            starts.append((text, entry, True))
            if kinds[entry] < 2:  # the words of a synset's name are those of its lemma
                starts += [(text[begin:], entry, False) for begin in _word_starts(text)]
        starts.sort()
        self._starts = [text for text, _, _ in starts]
        self._entry_of = np.array([entry for _, entry, _ in starts], np.int64)
        self._is_whole = np.array([whole for _, _, whole in starts])
        self._joined = "\n".join(texts)
        self._offsets = np.cumsum([0, *(len(text) + 1 for text in texts)])

    def search(self, text: str, limit: int = 20) -> list[Match]:
        """The nodes that a text may mean, the likeliest first.

        Parameters
        ----------
        text : str
            A name, a synset or a wnid, or a part of one. Case and underscores do not count. If no name holds the whole
            text, a part of it may be a name and the rest words of names above: "crane bird" is the crane that is a
            bird.
        limit : int
            Most nodes.

        Returns
        -------
        list of Match
            Each node once, by the name that fits best: see `Match`. A display name goes before a lemma, and a short
            name before a long one. A whole wnid or synset is that node alone.
        """
        (wanted,) = fold_all([" ".join(text[:MOST_LETTERS].split())])
        if not wanted or limit < 1:
            return []
        found = self._beginning(wanted, limit)
        if found and found[0].how == "exact" and self._is_id(found[0]):
            return found[:1]
        if len(found) < limit and len(wanted) > 1:
            found += self._inside(wanted, {match.node for match in found})
        return (found or self._in_context(wanted) or self._alike(wanted, limit))[:limit]

    def _is_id(self, match: Match) -> bool:
        ids = fold_all([self._tree.wnids[match.node], self._tree.synsets[match.node] or ""])
        return match.name in ids and match.name not in fold_all([self._tree.names[match.node]])

    def _beginning(self, wanted: str, limit: int) -> list[Match]:
        """Names that are the text, begin with it, or have a word that does."""
        low, high = bisect_left(self._starts, wanted), bisect_left(self._starts, wanted + _AFTER_ALL)
        equal = bisect_right(self._starts, wanted, low, high)
        entries, whole = self._entry_of[low:high], self._is_whole[low:high]
        tier = np.where(whole, 1, 2)
        tier[: equal - low][whole[: equal - low]] = 0
        return self._best(entries, tier, limit)

    def _inside(self, wanted: str, known: set[int]) -> list[Match]:
        places: list[int] = []
        place = self._joined.find(wanted)
        while place >= 0 and len(places) < _MOST_INSIDE:
            places.append(place)
            place = self._joined.find(wanted, place + 1)
        entries = np.unique(np.searchsorted(self._offsets, np.array(places, np.int64), side="right") - 1)
        entries = entries[~np.isin(self._nodes[entries], list(known))]
        return self._best(entries, np.full(len(entries), 3), len(entries))

    def _best(self, entries: NDArray[np.int64], tier: NDArray[np.int64], limit: int) -> list[Match]:
        keys = tier * len(self._texts) + self._rank[entries]
        wide = 8 * limit  # a node has several names
        while True:
            some = np.argpartition(keys, wide)[:wide] if wide < len(keys) else np.arange(len(keys))
            best: dict[int, Match] = {}
            for place in some[np.argsort(keys[some])].tolist():
                entry = int(entries[place])
                node = int(self._nodes[entry])
                best.setdefault(node, Match(node, self._texts[entry], _TIERS[int(tier[place])]))
            if len(best) >= limit or wide >= len(keys):
                return list(best.values())[:limit]
            wide *= 8

    def _in_context(self, wanted: str) -> list[Match]:
        """Nodes with a name that is a part of the text, below nodes whose names have the other words."""
        words = [word for word in _BETWEEN_WORDS.split(wanted) if word][:_MOST_WORDS]
        found: dict[int, Match] = {}
        for length in range(len(words) - 1, 0, -1):
            for part, rest in ((words[:length], words[length:]), (words[-length:], words[:-length])):
                for match in self._beginning(" ".join(part), _MOST_IN_CONTEXT):
                    if match.node not in found and all(self._stands_above(match.node, word) for word in rest):
                        found[match.node] = Match(match.node, match.name, "context")
            if found:
                break
        return list(found.values())

    def _stands_above(self, node: int, word: str) -> bool:
        above = fold_all([self._tree.names[each] for each in self._tree.path(node)[:-1]])
        return any(part.startswith(word) for name in above for part in name.split())

    def _alike(self, wanted: str, limit: int) -> list[Match]:
        """Nodes with a name that begins with the same two letters, is about as long, and is spelled like the text."""
        low, high = (bisect_left(self._starts, wanted[:2] + end) for end in ("", _AFTER_ALL))
        entries = self._entry_of[low:high][self._is_whole[low:high]]
        entries = entries[np.abs(self._lengths[entries] - len(wanted)) <= _MOST_LONGER]
        # If so many are left, those that share the most letters at the beginning are compared: the neighbours.
        place = bisect_left(entries, wanted, key=lambda entry: self._texts[entry])
        entries = entries[max(0, place - _MOST_COMPARED // 2) :][:_MOST_COMPARED]
        namesakes: dict[str, list[int]] = {}
        for entry in entries[np.argsort(self._rank[entries])].tolist():
            namesakes.setdefault(self._texts[entry], []).append(int(self._nodes[entry]))
        found: dict[int, Match] = {}
        for text in difflib.get_close_matches(wanted, namesakes, n=min(limit, 5), cutoff=0.8):
            for node in namesakes[text]:
                found.setdefault(node, Match(node, text, "alike"))
        return list(found.values())


def search(tree: WordTree, text: str, limit: int | None = None) -> tuple[int, ...]:
    """Return the nodes that a text may mean, the likeliest first; see `SearchIndex.search`.

    Examples
    --------
    >>> from wordtree import load_tree
    >>> tree = load_tree("yolo9000")
    >>> [tree.names[node] for node in search(tree, "norfolk terier")]
    ['Norfolk terrier']
    """
    found = SearchIndex(tree).search(text, len(tree) if limit is None else limit)
    return tuple(match.node for match in found)


def _names_of(tree: WordTree) -> tuple[list[str], list[int], list[int]]:
    """Folded name, node, and kind (0 display name, 1 lemma or class name, 2 synset, 3 wnid) of all names, each once."""
    of_sources = ((name, node) for classes in tree.label_maps.values() for name, node in classes.items())
    kinds: tuple[Iterable[tuple[str, int]], ...] = (
        zip(tree.names, range(len(tree)), strict=True),
        (*((lemma, node) for node, lemmas in enumerate(tree.lemmas) for lemma in lemmas), *of_sources),
        ((synset, node) for node, synset in enumerate(tree.synsets) if synset),
        zip(tree.wnids, range(len(tree)), strict=True),
    )
    seen: dict[tuple[str, int], int] = {}
    for kind, pairs in enumerate(kinds):
        listed = list(pairs)
        for text, (_, node) in zip(fold_all([name for name, _ in listed]), listed, strict=True):
            seen.setdefault((text, node), kind)
    return [text for text, _ in seen], [node for _, node in seen], list(seen.values())


def _word_starts(text: str) -> Iterator[int]:
    place = text.find(" ")
    while place >= 0:
        yield place + 1
        place = text.find(" ", place + 1)
