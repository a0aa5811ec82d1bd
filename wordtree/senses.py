"""Names that may mean something else: another sense of a noun may be nearer to the other names of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import nlargest

from wordtree.wordnet import WordNetSource, open_wordnet

_MUCH, _NEIGHBOURS = 1.5, 3
"""The other sense must share so many times as many ancestors with its nearest neighbours among the other names, on
average."""
MOST_NAMES = 500
"""Data sets of more classes are not looked through by the callers: each name is compared with all the others."""


@dataclass(frozen=True, kw_only=True)
class NearerSense:
    """A name that may mean something else than it is taken for.

    Parameters
    ----------
    name : str
    taken, nearer : str
        The synsets of what it is taken for, and of the sense that is nearer to the other names.
    """

    name: str
    taken: str
    nearer: str

    def __str__(self) -> str:
        return f"{self.name!r} is taken for {self.taken}; {self.nearer} is nearer to the other names"


def nearer_senses(meant: Mapping[str, str], *, wordnet: WordNetSource = None) -> list[NearerSense]:
    """Find the names of a data set that have another sense nearer to its other names.

    Two senses are the nearer, the more ancestors they share: 2 |A and B| / (|A| + |B|) of their sets of ancestors.

    Parameters
    ----------
    meant : mapping of str to str
        The wnid that each name is taken for; others than wnids are left alone.
    wordnet : path or WordNet, optional
        As in `build_wordtree`.

    Returns
    -------
    list of NearerSense

    Examples
    --------
    >>> from wordtree.labels import coco_classes
    >>> coco = coco_classes()
    >>> [str(each) for each in nearer_senses({"mouse": coco["mouse"], "cat": coco["cat"]})]
    ["'mouse' is taken for mouse.n.04; mouse.n.01 is nearer to the other names"]
    >>> nearer_senses({name: coco[name] for name in ("mouse", "keyboard", "laptop")})
    []
    """
    words = open_wordnet(wordnet)
    taken = {name: wnid for name, wnid in meant.items() if wnid in words}
    senses = {name: [sense for sense in words.senses(name) if sense != wnid] for name, wnid in taken.items()}
    sides = {*taken.values(), *(sense for several in senses.values() for sense in several)}
    above = {wnid: words.ancestors(wnid) | {wnid} for wnid in sides}

    ratios: dict[str, dict[str, float]] = {wnid: {} for wnid in sides}  # they stay as they are after each find

    def ratio(sense: str, wnid: str) -> float:
        """How many of their ancestors two senses share."""
        known = ratios[sense].get(wnid)
        if known is None:
            known = 2 * len(above[sense] & above[wnid]) / (len(above[sense]) + len(above[wnid]))
            ratios[sense][wnid] = ratios[wnid][sense] = known
        return known

    def nearness(sense: str, name: str) -> float:
        """How near a sense is to the nearest of what the other names are taken for."""
        others = {wnid for other, wnid in taken.items() if other != name} - {sense}
        nearest = nlargest(_NEIGHBOURS, (ratio(sense, wnid) for wnid in others))
        return sum(nearest) / len(nearest) if nearest else 0.0

    found: list[NearerSense] = []
    while True:
        better = [
            (near, name, sense)
            for name in taken
            if senses[name] and (least := _MUCH * nearness(taken[name], name)) > 0
            for sense in senses[name]
            if (near := nearness(sense, name)) > least
        ]
        if not better:
            return found
        # one after the other: with a mouse that gnaws, a cat is no whip
        _, name, sense = max(better)
        found.append(NearerSense(name=name, taken=words.synset(taken[name]), nearer=words.synset(sense)))
        taken[name] = sense
        senses[name] = []
