"""From what a person types to a node: wnid, synset name, a source's class name, display name, lemma, in this order."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence


def fold(name: str) -> str:
    """Return `name` as names are compared: without case, underscores read as spaces.

    Examples
    --------
    >>> fold("Norfolk_terrier")
    'norfolk terrier'
    """
    return " ".join(name.replace("_", " ").casefold().split())


class NameIndex:
    """The nodes behind every name of a tree, one table for each stage of the resolution.

    Parameters
    ----------
    wnids, names : sequence of str, one per node
    synsets : sequence of str or None, one per node
    lemmas : sequence of sequences of str, one per node
    label_maps : mapping
        Source -> {class name: node}.
    """

    def __init__(
        self,
        wnids: Sequence[str],
        names: Sequence[str],
        synsets: Sequence[str | None],
        lemmas: Sequence[Sequence[str]],
        label_maps: Mapping[str, Mapping[str, int]],
    ) -> None:
        # Two ids may differ in case alone: the exact id comes before every folded one.
        self._exact = {wnid: node for node, wnid in enumerate(wnids)}
        self._stages = (
            _table((wnid, node) for node, wnid in enumerate(wnids)),
            _table((synset, node) for node, synset in enumerate(synsets) if synset is not None),
            _table(pair for classes in label_maps.values() for pair in classes.items()),
            _table((name, node) for node, name in enumerate(names)),
            _table((lemma, node) for node, of_node in enumerate(lemmas) for lemma in of_node),
        )

    def find(self, name: str) -> tuple[int, ...]:
        """Return the nodes of the first stage that knows `name`: none, one or several."""
        if name in self._exact:
            return (self._exact[name],)
        folded = fold(name)
        for stage in self._stages:
            if folded in stage:
                return tuple(sorted(stage[folded]))
        return ()

    def close_matches(self, name: str, n: int = 4) -> tuple[str, ...]:
        """Return up to `n` names of the tree that are spelled like `name`, the closest first."""
        known = dict.fromkeys(key for stage in self._stages for key in stage)
        return tuple(difflib.get_close_matches(fold(name), known, n=n, cutoff=0.7))


def _table(pairs: Iterable[tuple[str, int]]) -> dict[str, set[int]]:
    table: dict[str, set[int]] = {}
    for name, node in pairs:
        table.setdefault(fold(name), set()).add(node)
    return table
