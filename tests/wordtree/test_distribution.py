"""TreeDistribution: probabilities by name, explanations, and which concept to name."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wordtree import AmbiguousName, TreeDistribution, TreeMismatch, UnknownName, WordTree, load_tree
from wordtree.softmax import log_conditionals, log_probs
from wordtree.tree import Rest

# 0 animal ─┬─ 2 dog ─┬─ 4 terrier ─── 6 Norfolk terrier
#           └─ 3 cat  └─ 5 poodle
# 1 rock
TREE = WordTree(
    wnids=("n0", "n1", "n2", "n3", "n4", "n5", "n6"),
    names=("animal", "rock", "dog", "cat", "terrier", "poodle", "Norfolk terrier"),
    parents=(-1, -1, 0, 0, 2, 2, 4),
    rest="only_child",
)


def logits_of(*conditionals: float) -> torch.Tensor:
    """Logits whose softmax has these probabilities; the last is that of an only child beside its rest."""
    *grouped, alone = conditionals
    return torch.tensor([*map(math.log, grouped), math.log(alone / (1 - alone))])


LOGITS = logits_of(0.9, 0.1, 0.8, 0.2, 0.75, 0.25, 0.6)
PROBABILITIES = (0.9, 0.1, 0.72, 0.18, 0.54, 0.18, 0.324)


def test_probabilities_multiply_down_the_tree() -> None:
    distribution = TreeDistribution(TREE, LOGITS)
    for node, expected in enumerate(PROBABILITIES):
        assert distribution.prob(node).item() == pytest.approx(expected, abs=1e-6)
        assert distribution.log_prob(TREE.names[node]).item() == pytest.approx(math.log(expected), abs=1e-5)
    torch.testing.assert_close(distribution.probs(), torch.tensor(PROBABILITIES))


def test_explain() -> None:
    explanation = TreeDistribution(TREE, LOGITS).explain("norfolk_terrier")
    assert str(explanation) == (
        "Pr(Norfolk terrier|terrier)=0.60 * Pr(terrier|dog)=0.75 * Pr(dog|animal)=0.80 * Pr(animal)=0.90 = 0.32"
    )
    assert [factor.node for factor in explanation.factors] == [6, 4, 2, 0]
    assert [factor.probability for factor in explanation.factors] == pytest.approx([0.6, 0.75, 0.8, 0.9])
    assert explanation.probability == pytest.approx(0.324)
    assert explanation.factors[0].given == "terrier"
    assert explanation.factors[-1].given is None


def test_explain_names_the_implied_root() -> None:
    tree = WordTree(("a", "b"), ("object", "matter"), (-1, -1), root="physical_entity.n.01")
    assert str(TreeDistribution(tree, torch.zeros(2)).explain("matter")) == "Pr(matter|physical entity)=0.50 = 0.50"
    small = TreeDistribution(tree, torch.tensor([0.0, -8.0]))
    assert str(small.explain("matter")) == "Pr(matter|physical entity)=3.4e-04 = 3.4e-04"


def test_explain_takes_one_distribution() -> None:
    many = TreeDistribution(TREE, torch.stack([LOGITS, torch.zeros(7)]))
    with pytest.raises(TreeMismatch, match=r"takes one distribution, not \(2,\)"):
        many.explain("dog")
    assert many[0].explain("dog").probability == pytest.approx(0.72)
    assert many[1].explain("dog").probability == pytest.approx(0.25)


def test_names_that_do_not_resolve() -> None:
    distribution = TreeDistribution(TREE, LOGITS)
    with pytest.raises(UnknownName, match="close to it: poodle"):
        distribution.prob("poodles")
    tree = WordTree(("a", "b"), ("crane", "crane"), (-1, -1))
    with pytest.raises(AmbiguousName):
        TreeDistribution(tree, torch.zeros(2)).prob("crane")


def test_logits_of_another_tree() -> None:
    with pytest.raises(TreeMismatch, match="the last dimension must be 7"):
        TreeDistribution(TREE, torch.zeros(3, 8))


def test_indexing() -> None:
    logits = torch.randn(2, 3, 7)
    distribution = TreeDistribution(TREE, logits)
    torch.testing.assert_close(distribution[1, 2].logits, logits[1, 2])
    torch.testing.assert_close(distribution[..., 0].logits, logits[:, 0])
    torch.testing.assert_close(distribution[torch.tensor([1, 0])].logits, logits[[1, 0]])
    with pytest.raises(IndexError):
        distribution[0, 0, 0]
    with pytest.raises(IndexError):
        TreeDistribution(TREE, LOGITS)[0]


# ------------------------------------------------------------------------------------------------------------ back-off


@pytest.mark.parametrize(
    ("threshold", "name"),
    [
        (0.0, "Norfolk terrier"),
        (0.3, "Norfolk terrier"),
        (0.33, "terrier"),
        (0.5, "terrier"),
        (0.55, "dog"),
        (0.73, "animal"),
        (0.91, "animal"),  # not even this one is so probable, but no node is above it
        (1.0, "animal"),
    ],
)
def test_back_off(threshold: float, name: str) -> None:
    node = TreeDistribution(TREE, LOGITS).back_off(threshold)
    assert node.shape == ()
    assert TREE.names[node] == name


def test_back_off_to_nothing() -> None:
    distribution = TreeDistribution(TREE, torch.stack([LOGITS, torch.zeros(7)]))
    assert distribution.back_off(0.6, none=True).tolist() == [2, -1]
    assert distribution.back_off(0.6).tolist() == [2, 0]
    assert distribution.back_off(0.95, none=True).tolist() == [-1, -1]


def test_the_threshold_itself_is_not_enough() -> None:
    tree = WordTree(("a", "b", "c", "d"), ("a", "b", "c", "d"), (-1, 0, 1, 1))
    assert TreeDistribution(tree, torch.zeros(4)).back_off(0.5).item() == 1
    assert TreeDistribution(tree, torch.zeros(4)).back_off(0.49).item() == 2


def test_a_rest_is_never_named() -> None:
    # The rest of "Norfolk terrier" is the likeliest alternative, yet only the child itself is held to the threshold.
    distribution = TreeDistribution(TREE, logits_of(0.99, 0.01, 0.99, 0.01, 0.99, 0.01, 0.3))
    assert distribution.back_off(0.5).item() == 4
    assert distribution.back_off(0.25).item() == 6


def walk(logits: torch.Tensor, tree: WordTree, threshold: float, none: bool) -> int:
    """The walk as one would write it for one box."""
    conditionals = log_conditionals(logits.double(), tree).exp().tolist()
    node, probability, candidates = -1, 1.0, tree.top_nodes
    while candidates:
        best = max(candidates, key=lambda child: conditionals[child])
        if probability * conditionals[best] <= threshold:
            return best if node < 0 and not none else node
        node, probability, candidates = best, probability * conditionals[best], tree.children(best)
    return node


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    seed=st.integers(0, 2**31),
    threshold=st.floats(0.01, 0.99),
    rest=st.sampled_from(["none", "only_child", "all"]),
    none=st.booleans(),
)
def test_back_off_equals_the_walk(sizes: list[int], seed: int, threshold: float, rest: str, none: bool) -> None:
    parents = [-1] * max(sizes[0], 1)
    for node, children in enumerate(sizes[1:]):
        if node < len(parents):
            parents += [node] * children
    ids = tuple(map(str, range(len(parents))))
    tree = WordTree(ids, ids, tuple(parents), rest=rest)  # type: ignore[arg-type]
    logits = torch.randn(3, 4, len(tree), generator=torch.Generator().manual_seed(seed)) * 3
    nodes = TreeDistribution(tree, logits).back_off(threshold, none)
    assert nodes.shape == (3, 4)
    assert nodes.flatten().tolist() == [walk(row, tree, threshold, none) for row in logits.flatten(0, 1)]


@pytest.mark.parametrize("leading", [(), (0,), (2, 3, 4)])
def test_any_leading_shape(leading: tuple[int, ...]) -> None:
    distribution = TreeDistribution(TREE, torch.randn(*leading, 7))
    assert distribution.prob("dog").shape == leading
    assert distribution.back_off(0.5).shape == leading
    assert distribution.top_k(3).nodes.shape == (*leading, 3)
    assert distribution.at_depth(1).probabilities.shape == (*leading, 3)


# ------------------------------------------------------------------------------------------------------- top k, depths


def test_top_k_of_leaves_and_of_all() -> None:
    distribution = TreeDistribution(TREE, LOGITS)
    probabilities, nodes = distribution.top_k(2)
    assert nodes[0].item() == 6  # Norfolk terrier; then cat and poodle are equal
    assert probabilities.tolist() == pytest.approx([0.324, 0.18])
    assert distribution.top_k(3, among="nodes").nodes.tolist() == [0, 2, 4]
    assert distribution.top_k(50).nodes.shape == (4,)


def test_of_equals_an_ancestor_comes_first() -> None:
    chain = WordTree(tuple("abcdef"), tuple("abcdef"), (-1, 0, 1, 2, 3, 4))
    probabilities, nodes = TreeDistribution(chain, torch.zeros(2, 6)).top_k(3, among="nodes")
    assert nodes.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert probabilities.tolist() == [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    # what is as likely as the last is cut at the lower numbers, also where the most likely has a higher one
    flat = WordTree(tuple("abcdef"), tuple("abcdef"), (-1,) * 6)
    assert TreeDistribution(flat, [0.0, 1.0, 1.0, 1.0, 2.0, 3.0]).top_k(4, among="nodes").nodes.tolist() == [5, 4, 1, 2]


def test_what_underflows_is_still_in_order() -> None:
    chain = WordTree(tuple("abcd"), tuple("abcd"), (-1, -1, 0, 1), rest="only_child")
    probabilities, nodes = TreeDistribution(chain, torch.tensor([-300.0, 0.0, 0.0, -200.0])).top_k(4, among="nodes")
    assert (nodes.tolist(), probabilities.tolist()) == ([1, 3, 0, 2], [1.0, 0.0, 0.0, 0.0])


def test_logits_that_are_no_numbers_give_nodes_all_the_same() -> None:
    nodes = TreeDistribution(TREE, [math.nan, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).top_k(3, among="nodes").nodes
    assert len(set(nodes.tolist())) == 3


@given(
    children=st.lists(st.sampled_from([0, 1, 1, 1, 2]), min_size=1, max_size=40),
    seed=st.integers(0, 2**31),
    rest=st.sampled_from(["none", "only_child", "all"]),
    k=st.integers(1, 45),
    wide=st.booleans(),
)
def test_top_k_of_nodes_is_the_stable_sort_and_goes_down(
    children: list[int], seed: int, rest: Rest, k: int, wide: bool
) -> None:
    parents = [-1, -1]
    for node, number in enumerate(children):
        if node < len(parents):
            parents += [node] * number
    ids = tuple(map(str, range(len(parents))))
    tree = WordTree(ids, ids, tuple(parents), rest=rest)
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, len(tree), generator=generator) * 20 if wide else torch.zeros(3, len(tree))
    found = TreeDistribution(tree, logits).top_k(k, among="nodes")
    for row, probabilities, logs in zip(
        found.nodes.tolist(), found.probabilities, log_probs(logits, tree), strict=True
    ):
        values = logs.tolist()
        assert row == sorted(range(len(tree)), key=lambda node: -values[node])[:k]
        assert all(parents[node] in {-1, *row[:place]} for place, node in enumerate(row))
        torch.testing.assert_close(probabilities, logs[row].exp())


def test_at_depth() -> None:
    distribution = TreeDistribution(TREE, LOGITS)
    top = distribution.at_depth(0)
    assert top.nodes.tolist() == [0, 1]
    at_two = distribution.at_depth(2)
    assert at_two.nodes.tolist() == [1, 3, 4, 5]  # rock and cat are leaves above
    assert at_two.probabilities.tolist() == pytest.approx([0.1, 0.18, 0.54, 0.18])
    assert at_two.probabilities.sum().item() == pytest.approx(1.0)
    assert distribution.at_depth(99).nodes.tolist() == [1, 3, 5, 6]
    with pytest.raises(ValueError, match="depth is -1"):
        distribution.at_depth(-1)


def test_darknets_walk_on_conditionals(shared: Path) -> None:
    tree = load_tree(shared / "golden" / "tree40.tree")
    golden = np.load(shared / "golden" / "net_darknet19_tree40.npz")
    distribution = TreeDistribution(tree, torch.from_numpy(golden["logits"]))
    keys = [key for key in golden.files if key.startswith("top_conditional_th")]
    assert keys
    for key in keys:
        assert distribution.back_off(float(key.removeprefix("top_conditional_th"))).tolist() == golden[key].tolist()


def test_arrays_and_lists_do_as_well() -> None:
    expected = TreeDistribution(TREE, torch.zeros(7)).prob("poodle")
    for logits in ([0.0] * 7, np.zeros(7), [0] * 7):
        torch.testing.assert_close(TreeDistribution(TREE, logits).prob("poodle").float(), expected)
    with pytest.raises(TreeMismatch, match="the last dimension must be 7"):
        TreeDistribution(TREE, [0.0])


@pytest.mark.parametrize("threshold", [-0.1, 1.5, 50, math.nan])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(ValueError, match="a probability is from 0 to 1"):
        TreeDistribution(TREE, torch.zeros(7)).back_off(threshold)


def test_top_of_none() -> None:
    with pytest.raises(ValueError, match="k is 0; it must be at least 1"):
        TreeDistribution(TREE, torch.zeros(7)).top_k(0)
