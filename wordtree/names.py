"""Finding the node of a name: a wnid, synset name, class name of a source, display name or lemma, in this order.

It imports no nltk, which takes two seconds.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_WNID = re.compile(r"n\d{8}")


def is_wnid(text: str) -> bool:
    """Return whether `text` has the form of a noun's wnid, known or not.

    Examples
    --------
    >>> is_wnid("n02958343"), is_wnid("car.n.01")
    (True, False)
    """
    return _WNID.fullmatch(text) is not None


def fold(name: str) -> str:
    """Return the form in which a name is compared: without case, with spaces for underscores, and composed.

    Examples
    --------
    >>> fold("Norfolk_terrier"), fold("Cafe\\u0301") == fold("caf\\u00e9")
    ('norfolk terrier', True)
    """
    return " ".join(composed(name.replace("_", " ").casefold()).split())


def composed(text: str) -> str:
    """Return a text in Unicode's form NFC: an e and an accent are the letter that keyboards write, not two letters."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def fold_all(names: Sequence[str]) -> list[str]:
    """Return `fold` of each name.

    Examples
    --------
    >>> fold_all(["Norfolk_terrier", "DOG"])
    ['norfolk terrier', 'dog']
    """
    # A tree of all nouns has 300,000 names, so they are folded all at once. This is right only if words are separated
    # by single blanks and the only line ends are those that join the names.
    text = composed("\n".join(names).replace("_", " ").casefold())
    folded = text.split("\n")
    if len(folded) == len(names) and text.replace("\n", " ") == " ".join(text.split()):
        return folded
    return list(map(fold, names))


class _Stage:
    """One stage of the resolution: a table of folded name -> nodes."""

    def __init__(self, names: Sequence[str], nodes: Sequence[int]) -> None:
        folded = fold_all(names)
        self.one_node = dict(zip(folded, nodes, strict=True))
        self._several: dict[str, set[int]] = {}
        if len(self.one_node) < len(folded):
            for name, node in zip(folded, nodes, strict=True):
                if (other := self.one_node[name]) != node:
                    self._several.setdefault(name, {other}).add(node)

    def find(self, folded: str) -> tuple[int, ...]:
        if folded in self._several:
            return tuple(sorted(self._several[folded]))
        return (self.one_node[folded],) if folded in self.one_node else ()


class NameIndex:
    """The nodes behind every name of a tree, with one table for each stage of the resolution.

    Parameters
    ----------
    wnids, names : sequence of str, length K
        The id and the display name of each node.
    synsets : sequence of (str or None), length K
        The synset name of each node.
    lemmas : sequence of sequences of str, length K
        The further names of each node.
    label_maps : mapping of str to mapping of str to int
        For each source of labels, the node of each class name.
    """

    def __init__(
        self,
        wnids: Sequence[str],
        names: Sequence[str],
        synsets: Sequence[str | None],
        lemmas: Sequence[Sequence[str]],
        label_maps: Mapping[str, Mapping[str, int]],
    ) -> None:
        nodes = range(len(wnids))
        # Ids may differ in case alone, so an exact id comes before all folded names.
        self._exact = dict(zip(wnids, nodes, strict=True))
        # A table is made when it is first needed: a program that names nodes by synset never needs the lemmas.
        self._makers: tuple[Callable[[], _Stage], ...] = (
            lambda: _Stage(wnids, nodes),
            lambda: _stage_of_pairs((synset, node) for node, synset in enumerate(synsets) if synset is not None),
            lambda: _stage_of_pairs(pair for classes in label_maps.values() for pair in classes.items()),
            lambda: _Stage(names, nodes),
            lambda: _stage_of_pairs((lemma, node) for node, of_node in enumerate(lemmas) for lemma in of_node),
        )
        self._made: list[_Stage | None] = [None] * len(self._makers)

    def find(self, name: str) -> tuple[int, ...]:
        """Return the nodes of the first stage that knows `name`, or none; several if the name is ambiguous."""
        if name in self._exact:
            return (self._exact[name],)
        folded = fold(name)
        return next((found for stage in self._stages() if (found := stage.find(folded))), ())

    def close_matches(self, name: str, n: int = 4) -> tuple[str, ...]:
        """Return up to `n` names of the tree that may be meant by `name`.

        Those that are spelled like it, the closest first. If these are few, shorter names before longer ones, those in
        which all its words stand: of ``norfolk`` these are ``norfolk terrier`` and its like. Of a wnid there are none:
        that of a dog is spelled like that of a ship.
        """
        wanted = fold(name)
        if is_wnid(wanted):
            return ()
        known = dict.fromkeys(key for stage in self._stages() for key in stage.one_node)
        alike = difflib.get_close_matches(wanted, known, n=n, cutoff=0.7)
        words = set(wanted.split())
        holding = [key for key in known if words and words <= set(key.split()) and "." not in key]  # no synset's name
        return tuple(dict.fromkeys([*alike, *sorted(holding, key=len)]))[:n]

    def _stages(self) -> Iterator[_Stage]:
        for place, make in enumerate(self._makers):
            stage = self._made[place]
            if stage is None:
                stage = self._made[place] = make()
            yield stage


def _stage_of_pairs(pairs: Iterable[tuple[str, int]]) -> _Stage:
    listed = list(pairs)
    return _Stage([name for name, _ in listed], [node for _, node in listed])
