"""Names compared without case: all at once as one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wordtree import WordTree
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
