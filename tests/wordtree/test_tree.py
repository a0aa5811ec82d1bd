"""WordTree: what it accepts, what it answers."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wordtree import AmbiguousName, TreeError, UnknownName, WordTree
from wordtree.tree import NameResolutionError, Rest

# 0 vehicle ─┬─ 3 car ─── 6 taxi
#            └─ 4 truck ─┬─ 7 pickup
#                        └─ 8 fire truck
# 1 animal ──── 5 dog ───── 9 dalmatian
# 2 rock
WNIDS = tuple(f"n{number:08d}" for number in range(10))
NAMES = ("vehicle", "animal", "rock", "car", "truck", "dog", "taxi", "pickup", "fire truck", "dalmatian")
PARENTS = (-1, -1, -1, 0, 0, 1, 3, 4, 4, 5)


@pytest.fixture
def tree() -> WordTree:
    return WordTree(WNIDS, NAMES, PARENTS)


def test_queries(tree: WordTree) -> None:
    assert len(tree) == 10
    assert tree.path("fire truck") == (0, 4, 8)
    assert tree.path(2) == (2,)
    assert tree.children("truck") == (7, 8)
    assert tree.children("taxi") == ()
    assert tree.siblings("car") == (4,)
    assert tree.siblings("vehicle") == (1, 2)
    assert tree.siblings("taxi") == ()
    assert [tree.depth(node) for node in range(10)] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert tree.is_ancestor("vehicle", "taxi")
    assert not tree.is_ancestor("taxi", "vehicle")
    assert not tree.is_ancestor("truck", "taxi")
    assert not tree.is_ancestor("car", "car")
    assert tree.lowest_common_ancestor("taxi", "pickup") == 0
    assert tree.lowest_common_ancestor("truck", "pickup") == 4
    assert tree.lowest_common_ancestor("car", "car") == 3
    assert tree.lowest_common_ancestor("car", "dog") == -1
    assert tree.leaves == (2, 6, 7, 8, 9)
    assert tree.top_nodes == (0, 1, 2)
    assert repr(tree) == "<WordTree: 10 nodes, 5 leaves, 6 sibling groups>"


def test_group_tables(tree: WordTree) -> None:
    assert tree.group_of.tolist() == [0, 0, 0, 1, 1, 2, 3, 4, 4, 5]
    assert tree.group_offsets.tolist() == [0, 3, 5, 6, 7, 9]
    assert tree.group_sizes.tolist() == [3, 2, 1, 1, 2, 1]
    assert tree.child_group.tolist() == [1, 2, -1, 3, 4, 5, -1, -1, -1, -1]
    assert all(
        table.dtype == np.int32 for table in (tree.group_of, tree.group_offsets, tree.group_sizes, tree.child_group)
    )
    with pytest.raises(ValueError, match="read-only"):
        tree.group_of[0] = 3


@pytest.mark.parametrize(
    ("rest", "expected"), [("none", [0, 0, 0, 0, 0, 0]), ("only_child", [0, 0, 1, 1, 0, 1]), ("all", [1] * 6)]
)
def test_rest(tree: WordTree, rest: Rest, expected: list[int]) -> None:
    assert dataclasses.replace(tree, rest=rest).group_has_rest.tolist() == [bool(flag) for flag in expected]


def test_a_top_group_of_one_has_a_rest_too() -> None:
    assert WordTree(("a",), ("thing",), (-1,), rest="only_child").group_has_rest.tolist() == [True]


def test_tables_of_darknets_trees(shared: Path) -> None:
    golden = np.load(shared / "golden" / "trees.npz")
    for name, file in (("tree40", shared / "golden" / "tree40.tree"), ("9k", shared / "tree" / "9k.tree")):
        rows = [line.split() for line in file.read_text().splitlines()]
        ids = tuple(row[0] for row in rows)
        tree = WordTree(ids, ids, tuple(int(row[1]) for row in rows))
        np.testing.assert_array_equal(tree.parents, golden[f"{name}_parent"])
        np.testing.assert_array_equal(tree.group_of, golden[f"{name}_group"])
        np.testing.assert_array_equal(tree.group_offsets, golden[f"{name}_group_offset"])
        np.testing.assert_array_equal(tree.group_sizes, golden[f"{name}_group_size"])
        np.testing.assert_array_equal(tree.child_group, golden[f"{name}_child"])
        np.testing.assert_array_equal(tree.leaves, np.flatnonzero(golden[f"{name}_leaf"]))


def test_one_node() -> None:
    tree = WordTree(("a",), ("thing",), (-1,))
    assert (tree.path(0), tree.children(0), tree.siblings(0), tree.leaves) == ((0,), (), (), (0,))
    assert tree.group_sizes.tolist() == [1]


# -------------------------------------------------------------------------------------------------------------- names


@pytest.fixture
def named() -> WordTree:
    return WordTree(
        wnids=("n01", "n02", "n03", "n04", "x.crane"),
        names=("bird", "machine", "crane", "crane", "tower crane"),
        parents=(-1, -1, 0, 1, 3),
        synsets=("bird.n.01", "machine.n.01", "crane.n.05", "crane.n.04", None),
        lemmas=(("bird",), ("machine", "Engine"), ("crane", "heron kin"), ("crane", "hoist"), ("bird", "hoist")),
        label_maps={"site": {"hoist": 4, "Crane_Truck": 3}, "zoo": {"machine": 0}},
    )


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("n03", 2),
        ("N03", 2),
        ("x.crane", 4),
        ("crane.n.04", 3),
        ("Crane.N.05", 2),
        ("hoist", 4),  # a source's class comes before the lemma of two nodes
        ("crane truck", 3),
        ("CRANE_TRUCK", 3),
        ("machine", 0),  # ... and before the display name of another
        ("bird", 0),  # the display name of one node comes before the lemma of two
        ("tower_crane", 4),
        ("engine", 1),
        ("heron_kin", 2),
        ("  Heron  kin ", 2),
        (4, 4),
        (np.int64(4), 4),
    ],
)
def test_names_resolve(named: WordTree, name: str | int, node: int) -> None:
    assert named.node(name) == node


def test_an_ambiguous_name_lists_its_nodes(named: WordTree) -> None:
    with pytest.raises(AmbiguousName) as caught:
        named.node("Crane")
    assert caught.value.candidates == (2, 3)
    assert "crane.n.05 (n03): bird > crane" in str(caught.value)
    assert "crane.n.04 (n04): machine > crane" in str(caught.value)


def test_sources_that_disagree_are_ambiguous() -> None:
    tree = WordTree(("a", "b"), ("boat", "ship"), (-1, -1), label_maps={"one": {"vessel": 0}, "two": {"vessel": 1}})
    with pytest.raises(AmbiguousName):
        tree.node("vessel")


def test_an_unknown_name_suggests_others(named: WordTree) -> None:
    with pytest.raises(UnknownName, match=r"close to it: .*machine") as caught:
        named.node("machin")
    assert "machine" in caught.value.suggestions
    with pytest.raises(UnknownName, match=r"no name in this tree of 5 nodes$"):
        named.node("")


def test_a_part_of_a_name_suggests_the_names_that_hold_it() -> None:
    names = ("norfolk island pine", "norfolk terrier", "terrier", "norfolkia")
    synsets = ("norfolk_island_pine.n.01", "norfolk_terrier.n.01", "terrier.n.01", "norfolkia.n.01")
    tree = WordTree(("a", "b", "c", "d"), names, (-1,) * 4, synsets)
    with pytest.raises(UnknownName) as caught:
        tree.node("Norfolk")
    assert caught.value.suggestions == ("norfolkia", "norfolk terrier", "norfolk island pine")


@pytest.mark.parametrize("node", [-1, 5])
def test_a_number_outside_the_tree(named: WordTree, node: int) -> None:
    with pytest.raises(UnknownName, match="its nodes are 0 to 4"):
        named.path(node)


def test_describe() -> None:
    tree = WordTree(
        ("n1", "n2", "n3", "n02958343"),
        ("artifact", "vehicle", "motor vehicle", "car"),
        (-1, 0, 1, 2),
        (None, None, None, "car.n.01"),
    )
    assert tree.describe("car") == "car.n.01 (n02958343): vehicle > motor vehicle > car"
    assert tree.describe("n3", levels=9) == "n3: artifact > vehicle > motor vehicle"


# -------------------------------------------------------------------------------------------------------------- parts


def test_prune_keeps_ancestors() -> None:
    whole = WordTree(
        WNIDS, NAMES, PARENTS, rest="all", label_maps={"mine": {"Taxi": 6, "Dog": 5}, "other": {"Rock": 2}}
    )
    tree, old_to_new = whole.prune(["pickup", "taxi"])
    assert tree.names == ("vehicle", "car", "truck", "taxi", "pickup")
    assert tree.parents == (-1, 0, 0, 1, 2)
    assert old_to_new == (0, -1, -1, 1, 2, -1, 3, 4, -1, -1)
    assert tree.label_maps == {"mine": {"Taxi": 3}}
    assert tree.rest == "all"
    assert [whole.wnids[old] for old, new in enumerate(old_to_new) if new >= 0] == list(tree.wnids)


def test_subtree_keeps_descendants_and_ancestors(tree: WordTree) -> None:
    assert tree.subtree("truck").tree.names == ("vehicle", "truck", "pickup", "fire truck")
    assert tree.subtree([5, "rock"]).tree.names == ("animal", "rock", "dog", "dalmatian")
    assert tree.subtree(range(3)) == (tree, tuple(range(10)))


def test_what_is_at_or_below(tree: WordTree) -> None:
    def marked(nodes: str | list[str | int]) -> list[int]:
        return tree.at_or_below(nodes).nonzero()[0].tolist()

    assert marked("truck") == [4, 7, 8]
    assert marked([5, "rock", 5]) == [2, 5, 9]
    assert marked(["vehicle", "truck"]) == [0, 3, 4, 6, 7, 8]  # one below the other
    assert marked([]) == []
    with pytest.raises(NameResolutionError, match="99 is no node"):
        tree.at_or_below([99])


def test_sums_up_the_tree(tree: WordTree) -> None:
    assert tree.sum_upwards(np.arange(10)).tolist() == [28, 15, 2, 9, 19, 14, 6, 7, 8, 9]
    assert tree.sum_upwards(tree.child_group < 0).tolist() == [3, 1, 1, 1, 2, 1, 1, 1, 1, 1]
    halves = tree.sum_upwards(np.full(10, 0.5))
    assert (halves.dtype, halves.tolist()) == (np.float64, [3.0, 1.5, 0.5, 1.0, 1.5, 1.0, 0.5, 0.5, 0.5, 0.5])


def test_fractions_are_added_from_the_last_child_to_the_first() -> None:
    """As a loop over the nodes adds them: colours of before depend on it."""
    tree = WordTree(("a", "b", "c", "d"), ("animal", "dog", "cat", "cow"), (-1, 0, 0, 0))
    assert tree.sum_upwards(np.array([0.0, 0.1, 0.2, 0.3]))[0] == 0.3 + 0.2 + 0.1 != 0.1 + 0.2 + 0.3


def test_no_label_is_no_node_to_read_along(tree: WordTree) -> None:
    assert not tree.read_along([]).any()
    for number in (-1, 10):
        with pytest.raises(UnknownName, match=f"^{number} is no node of this tree: its nodes are 0 to 9$"):
            tree.read_along([0, number])


@pytest.mark.parametrize(
    ("nodes", "kept"),
    [
        ("rock", (0, 1, 2)),
        ("car", (0, 1, 2, 3, 4)),
        ("dalmatian", (0, 1, 2, 5, 9)),  # dog has no siblings: its group is whole without car and truck
        (["taxi", "truck"], (0, 1, 2, 3, 4, 6)),  # truck's own children have no part in its probability
        ([8, 9, 8], (0, 1, 2, 3, 4, 5, 7, 8, 9)),
    ],
)
def test_closure_keeps_whole_sibling_groups(
    tree: WordTree, nodes: str | list[str | int], kept: tuple[int, ...]
) -> None:
    part = tree.closure(nodes)
    assert part.new_to_old == kept
    assert part.tree.names == tuple(NAMES[node] for node in kept)
    assert [part.old_to_new[node] for node in kept] == list(range(len(kept)))
    assert part.old_to_new.count(-1) == len(tree) - len(kept)
    above = [tree.parents[node] for node in kept]
    assert [part.new_to_old[parent] if parent >= 0 else -1 for parent in part.tree.parents] == above


def test_closure_keeps_all_else_that_a_tree_holds() -> None:
    maps = {"mine": {"Truck": 4, "Taxi": 6}, "other": {"Dog": 5}}
    whole = WordTree(
        WNIDS, NAMES, PARENTS, rest="only_child", label_maps=maps, root="entity.n.01", notes={"by": "hand"}
    )
    part = whole.closure(["taxi"]).tree
    assert part.label_maps == {"mine": {"Truck": 4, "Taxi": 5}}
    assert (part.rest, part.root, part.notes) == ("only_child", "entity.n.01", {"by": "hand"})
    assert part.group_has_rest.tolist() == [False, False, True]


def test_weights_follow_into_a_part(tree: WordTree) -> None:
    part = tree.prune(tree.wnids[-1])
    assert tuple(tree.wnids[old] for old in part.new_to_old) == part.tree.wnids
    assert [part.old_to_new[old] for old in part.new_to_old] == list(range(len(part.tree)))


def test_all_names_that_lead_nowhere_are_listed(tree: WordTree) -> None:
    with pytest.raises(NameResolutionError, match=r"2 names lead to no node:\n'zzz' is no name.*\n99 is no node"):
        tree.prune(["zzz", tree.wnids[0], 99])


def test_a_part_of_nothing(tree: WordTree) -> None:
    for part in (tree.prune, tree.subtree, tree.closure):
        with pytest.raises(TreeError, match="no node was named"):
            part([])


# ------------------------------------------------------------------------------------------------------------- a value


def test_equality_hash_and_digest(tree: WordTree) -> None:
    same = WordTree(list(WNIDS), list(NAMES), np.array(PARENTS))  # type: ignore[arg-type]
    assert same == tree
    assert hash(same) == hash(tree)
    assert same.digest == tree.digest
    renamed = dataclasses.replace(tree, names=WNIDS)
    assert renamed != tree
    assert renamed.digest == tree.digest
    assert dataclasses.replace(tree, rest="all").digest != tree.digest
    assert len(tree.digest) == 64


def test_the_order_of_a_sources_classes_counts(tree: WordTree) -> None:
    first = dataclasses.replace(tree, label_maps={"mine": {"a": 0, "b": 1}})
    second = dataclasses.replace(tree, label_maps={"mine": {"b": 1, "a": 0}})
    assert first != second


def test_copies_and_pickles(tree: WordTree) -> None:
    assert tree.node("dog") == 5  # fills the caches, which must not travel
    assert tree.digest
    for other in (pickle.loads(pickle.dumps(tree)), copy.deepcopy(tree)):
        assert other == tree
        assert hash(other) == hash(tree)
        assert "_names" not in vars(other)


# -------------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("wnids", "parents", "message"),
    [
        ((), (), "at least one node"),
        (("a", "b", "a"), (-1, 0, 0), "node 2: the id 'a' is already that of node 0"),
        (("a", "b"), (-1, 5), "node 1: the parent 5 is no node"),
        (("a", "b"), (-1, -2), "node 1: the parent -2 is no node"),
        (("a", "b"), (-1, 1), "node 1: it is its own parent"),
        (("a", "b", "c"), (-1, 2, 1), "node 1: it is part of a cycle"),
        (("a", "b", "c"), (-1, 2, 0), "node 1: its parent, node 2, comes after it"),
        (("a", "b", "c", "d", "e"), (-1, -1, 0, 1, 0), "node 4: the children of node 0 are not together"),
        (("a", "b", "c"), (-1, 0, -1), "node 2: the top nodes are not together"),
        (("a", "b c"), (-1, 0), "node 1: an id is a word"),
        (("a", ""), (-1, 0), "node 1: an id is a word"),
        (("a", "b\u2003"), (-1, 0), "node 1: an id is a word"),
        (("a", "\ud800"), (-1, 0), "node 1: an id is a word"),
        (("a", "b"), (-1, 0.0), "node 1: the parent must be an integer"),
        (("a", "b"), (-1, True), "node 1: the parent must be an integer"),
        (("a", "b"), (-1, "0"), "node 1: the parent must be an integer"),
        (("a", "b"), (-1,), "parents has 1 entries for 2 nodes"),
    ],
)
def test_columns_that_are_no_tree(wnids: tuple[str, ...], parents: tuple[int, ...], message: str) -> None:
    with pytest.raises(TreeError, match=message):
        WordTree(wnids, wnids, parents)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("x",)}, "names has 1 entries for 10 nodes"),
        ({"names": ("two\nlines", *NAMES[1:])}, "node 0: a display name is one line"),
        ({"names": ("", *NAMES[1:])}, "node 0: a display name is one line"),
        ({"names": (" x", *NAMES[1:])}, "node 0: a display name is one line"),
        ({"names": ("x ", *NAMES[1:])}, "node 0: a display name is one line"),
        ({"names": (*NAMES[:9], "é\n")}, "node 9: a display name is one line"),
        ({"names": (*NAMES[:9], "bell\x07\x85bell")}, "node 9: a display name is one line"),
        ({"names": (*NAMES[:9], "\ud800")}, "node 9: a display name is one line"),
        ({"names": (*NAMES[:9], "do\x1b[31mg")}, "node 9: a display name is one line"),
        ({"names": (*NAMES[:9], "bell\x07bell")}, "node 9: a display name is one line"),
        ({"label_maps": {"mine": {"a\tb": 1}}}, "class name is one line"),
        ({"synsets": (None, 3, *NAMES[2:])}, "node 1: a synset name"),
        ({"lemmas": NAMES}, "lemmas holds a string"),
        ({"lemmas": (("",), *((),) * 9)}, "node 0: a lemma is one line"),
        ({"rest": "some"}, "rest is 'some'; it must be one of none, only_child, all"),
        ({"root": ""}, "root is ''"),
        ({"label_maps": {"mine": {"Dog": 10}}}, "'mine': class 'Dog' leads to 10, but nodes are 0 to 9"),
        ({"label_maps": {"mine": {"Dog": None}}}, "leads to None"),
        ({"label_maps": {"mine": {"": 1}}}, "class name is one line"),
        ({"label_maps": {"": {"Dog": 1}}}, "name of a source"),
        ({"notes": {"made": {1, 2}}}, "notes must be JSON values"),
    ],
)
def test_other_columns_that_are_wrong(tree: WordTree, changes: dict[str, object], message: str) -> None:
    with pytest.raises(TreeError, match=message):
        dataclasses.replace(tree, **changes)  # type: ignore[arg-type]


def test_import_is_light() -> None:
    check = "import sys, wordtree; print(sorted({'torch', 'nltk', 'networkx'} & set(sys.modules)))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", check], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_attribute_of_the_package() -> None:
    import wordtree

    with pytest.raises(AttributeError, match="no attribute 'WordForest'"):
        _ = wordtree.WordForest


def test_flattened_classes_lie_beside_each_other() -> None:
    names = ("animal", "tool", "dog", "cat", "saw", "pug")
    tree = WordTree(
        names, names, (-1, -1, 0, 0, 1, 2), rest="only_child", label_maps={"mine": {"P": 5, "S": 4, "D": 2}}
    )
    flat = tree.flatten(["pug", "saw", "dog"])
    assert flat.tree.names == ("dog", "saw", "pug")
    assert flat.tree.parents == (-1, -1, -1)
    assert flat.tree.label_maps == {"mine": {"P": 2, "S": 1, "D": 0}}
    assert flat.old_to_new == (-1, -1, 0, -1, 1, 2)
    with pytest.raises(TreeError, match="no node was named"):
        tree.flatten([])
