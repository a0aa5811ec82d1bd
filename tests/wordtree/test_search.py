"""Searching while somebody types: the order typed by hand, and equality with a slow twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wordtree import WordTree, load_tree
from wordtree.names import fold
from wordtree.search import SearchIndex

# animal (bird (crane, whooping crane, kite), dog (hot dog)), device (crane, kite)
TREE = WordTree(
    ("n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9", "n10"),
    ("animal", "device", "bird", "dog", "Crane", "kite", "crane", "whooping crane", "kite", "hot dog"),
    (-1, -1, 0, 0, 1, 1, 2, 2, 2, 3),
    ("animal.n.01", None, "bird.n.01", "dog.n.01", "crane.n.04", None, "crane.n.05", None, None, "red_hot.n.01"),
    lemmas=((), ("gadget", "dog iron"), (), ("domestic dog",), (), (), (), (), ("glede",), ("red hot",)),
    label_maps={"ours": {"doggy": 3}},
)
INDEX = SearchIndex(TREE)


def found(text: str, limit: int = 20) -> list[tuple[int, str]]:
    return [(match.node, match.how) for match in INDEX.search(text, limit)]


def test_the_name_itself_then_names_that_begin_so_then_words_then_parts() -> None:
    assert found("dog") == [
        (3, "exact"),  # its display name
        (1, "beginning"),  # the lemma "dog iron"; "doggy" is another name of the dog
        (9, "word"),  # hot dog
    ]
    assert found("ra") == [(4, "inside"), (6, "inside"), (7, "inside")]


def test_ambiguous_names_come_all_in_the_order_of_the_tree() -> None:
    assert found("CRANE")[:2] == [(4, "exact"), (6, "exact")]
    assert found("kite") == [(5, "exact"), (8, "exact")]


def test_a_display_name_goes_before_a_lemma_and_a_short_name_before_a_long_one() -> None:
    tree = WordTree(("a", "b", "c"), ("carbon paper", "cab", "vehicle"), (-1, -1, -1), lemmas=((), (), ("car",)))
    assert [match.node for match in SearchIndex(tree).search("ca")] == [1, 0, 2]


def test_wnid_synset_lemma_and_class_name() -> None:
    assert found("n7") == [(6, "exact")]
    assert found("n1")[0] == (0, "exact")  # also where others begin so
    assert found("Red_Hot.n.01") == [(9, "exact")]
    assert found("glede") == [(8, "exact")]
    assert [match.name for match in INDEX.search("doggy")] == ["doggy"]


def test_words_of_the_names_above_tell_meanings_apart() -> None:
    for text in ("crane bird", "bird crane", "crane (bird)", "bird > crane"):
        assert found(text) == [(6, "context"), (7, "context")]
    assert found("crane device") == [(4, "context")]
    assert found("crane teapot") == []


def test_what_is_spelled_alike_is_found_where_nothing_else_is() -> None:
    assert found("animel") == [(0, "alike")]
    assert found("whoping crane") == [(7, "alike")]
    assert found("xyz") == []


def test_all_namesakes_of_what_is_spelled_alike_are_found() -> None:
    assert found("crann") == [(4, "alike"), (6, "alike")]
    assert found("kitte") == [(5, "alike"), (8, "alike")]
    bundled = load_tree("yolo9000")
    assert [bundled.synsets[match.node] for match in SearchIndex(bundled).search("crann")] == [
        "crane.n.04",
        "crane.n.05",
    ]


@pytest.mark.parametrize("others", ["coa{:05}", "coz{:05}", "cowb{:04}"])
def test_what_is_spelled_alike_is_found_among_many_that_begin_so(others: str) -> None:
    names = ("cowboy", *(others.format(number) for number in range(9_000)))
    tree = WordTree(tuple(f"w{node}" for node in range(len(names))), names, (-1,) * len(names))
    assert [match.name for match in SearchIndex(tree).search("cowbiy", limit=1)] == ["cowboy"]


@pytest.mark.parametrize("text", ["", "  ", "_", "\n", "é", "%00", "(", "a" * 10_000, "\ud800", "\x00crane"])
def test_any_text_is_answered(text: str) -> None:
    assert isinstance(INDEX.search(text), list)


def test_the_limit() -> None:
    assert len(INDEX.search("n", 3)) == 3
    assert INDEX.search("crane", 0) == []


letters = st.text("abc _", min_size=1, max_size=6).filter(lambda text: bool(fold(text)))


@settings(max_examples=40)
@given(st.lists(st.tuples(letters, letters), min_size=1, max_size=12), letters)
def test_equal_to_a_slow_twin(names: list[tuple[str, str]], text: str) -> None:
    """Every node with the text in a name, the best tier first."""
    tree = WordTree(
        tuple(f"w{each}" for each in range(len(names))),
        tuple(" ".join(name.split()) or "x" for name, _ in names),
        (-1,) * len(names),
        lemmas=tuple((" ".join(lemma.split()) or "x",) for _, lemma in names),
    )
    wanted = fold(text)
    tiers = {}
    for node in range(len(tree)):
        of_node = [
            0 if name == wanted else 1 if name.startswith(wanted) else 2 if f" {wanted}" in name else 3
            for name in (fold(tree.names[node]), fold(tree.lemmas[node][0]))
            if wanted in name and (len(wanted) > 1 or name.startswith(wanted) or f" {wanted}" in name)
        ]
        if of_node:
            tiers[node] = min(of_node)
    got = SearchIndex(tree).search(text, limit=50)
    if not tiers:
        assert {match.how for match in got} <= {"context", "alike"}
        return
    order = ["exact", "beginning", "word", "inside"]
    assert {match.node: order.index(match.how) for match in got} == tiers
    assert [tiers[match.node] for match in got] == sorted(tiers[match.node] for match in got)


def test_every_name_of_the_bundled_tree_finds_its_node() -> None:
    tree = load_tree("yolo9000")
    index = SearchIndex(tree)
    for node in np.random.default_rng(0).choice(len(tree), 150, replace=False).tolist():
        assert node in [match.node for match in index.search(tree.names[node], 50)]
        assert [match.node for match in index.search(tree.wnids[node])] == [node]
