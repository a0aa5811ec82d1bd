"""Names compared without case: all at once as one by one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordtree import UnknownName, WordTree
from wordtree.errors import NameResolutionError
from wordtree.hierarchy import NewConcept
from wordtree.names import NameIndex, fold, fold_all
from wordtree.sources import own_names

PIECES = ["Dog", "ẞ", "İ", "Σ", "_", " ", "  ", "\t", "\u2003", "\x1c", "\n", "terrier"]


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=5).map("".join) | st.text(max_size=4), max_size=6))
def test_folding_all_is_folding_each(names: list[str]) -> None:
    assert fold_all(names) == [fold(name) for name in names]


def test_a_name_of_several_nodes_finds_each_once() -> None:
    index = NameIndex(
        ("a", "b", "c"), ("Lion", "lion", "cub"), (None,) * 3, (("king", "king"), ("King",), ("young",)), {}
    )
    assert index.find("LION") == (0, 1)
    assert index.find("king") == (0, 1)
    assert index.find("young") == (2,)
    assert index.find("old") == ()
    assert set(index.close_matches("lio")) == {"lion"}


def test_composed_and_decomposed_letters_are_one_name() -> None:
    """A keyboard writes é as one letter, a file system of Apple's as two."""
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert composed != decomposed
    tree = WordTree(("n1", "n2"), (composed, "bar"), (-1, -1), label_maps={"mine": {f"{decomposed}s": 1}})
    assert tree.node(decomposed) == tree.node(composed) == 0
    assert tree.node(f"{composed}s") == 1
    assert NewConcept(composed, "house.n.01") == NewConcept(decomposed, "house.n.01")
    assert own_names("mine", [decomposed]).classes == {composed: composed}


def test_alike_names_are_looked_for_of_the_first_unknown_names_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look for one takes a tenth of a second at 9,418 nodes, and a list may have thousands."""
    asked: list[str] = []

    def counted(wanted: str, known: Iterable[str], **options: Any) -> list[str]:
        asked.append(wanted)
        return difflib.get_close_matches(wanted, list(known), **options)

    monkeypatch.setattr("wordtree.names.difflib", SimpleNamespace(get_close_matches=counted))
    tree = WordTree(("n00000001", "n00000002"), ("norfolk terrier", "hound"), (-1, -1))
    with pytest.raises(NameResolutionError) as caught:
        tree.prune([f"norfolk terier {number}" for number in range(8)])
    assert asked == [f"norfolk terier {number}" for number in range(5)]
    lines = str(caught.value).splitlines()
    assert lines[0] == "8 names lead to no node:"
    assert [line.endswith("; close to it: norfolk terrier") for line in lines[1:]] == [True] * 5 + [False] * 3
    asked.clear()
    with pytest.raises(NameResolutionError, match="2 names lead to no node"):
        tree.prune(["n00000003", "N00000004"])  # a wnid that is spelled alike is of something else
    with pytest.raises(UnknownName, match=r"'n00000003' is no name in this tree of 2 nodes$"):
        tree.node("n00000003")
    assert (tree.find("hounds"), tree.find("hound")) == ((), (1,))
    assert asked == []
