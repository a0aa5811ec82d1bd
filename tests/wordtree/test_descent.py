"""The descent that asks for one group after the other, against the one that has all logits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wordtree import TreeDistribution, WordTree
from wordtree.descent import descend
from wordtree.softmax import log_probs

ANIMALS = WordTree(
    ("a", "v", "d", "c", "p", "t"),
    ("animal", "vehicle", "dog", "cat", "poodle", "terrier"),
    (-1, -1, 0, 0, 2, 2),
)


@st.composite
def trees(draw: st.DrawFn) -> WordTree:
    """Any shape: groups of one member, long chains, one big group."""
    parents = [-1] * draw(st.integers(1, 4))
    node = 0
    while node < len(parents) and len(parents) < 25:
        parents += [node] * draw(st.integers(0, 4))
        node += 1
    ids = tuple(f"n{i}" for i in range(len(parents)))
    return WordTree(ids, ids, tuple(parents), rest=draw(st.sampled_from(["none", "only_child", "all"])))


@given(trees(), st.integers(1, 6), st.floats(0, 1), st.integers(0, 10_000), st.sampled_from([0.1, 1.0, 8.0]))
@settings(max_examples=3 * settings.default.max_examples // 2, deadline=None)
def test_it_names_what_the_whole_distribution_names(
    tree: WordTree, count: int, threshold: float, seed: int, spread: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, len(tree), generator=generator, dtype=torch.float64) * spread
    found = descend(lambda which, node: logits[which, node], count, tree, threshold, logits.device)
    whole = log_probs(logits, tree)
    expected = TreeDistribution(tree, logits).back_off(threshold)
    for row in range(count):
        path = tree.path(int(found.nodes[row]))
        ours = found.path_log_probs[row]
        torch.testing.assert_close(ours[: len(path)], whole[row, list(path)], rtol=1e-9, atol=1e-9)
        assert (ours[len(path) :] == -torch.inf).all()
        torch.testing.assert_close(found.log_probs[row], whole[row, path[-1]], rtol=1e-9, atol=1e-9)
        if (whole[row].exp() - threshold).abs().min() > 1e-9:  # else rounding decides
            assert found.nodes[row] == expected[row]


def test_only_the_groups_on_the_way_are_asked_for() -> None:
    logits = torch.zeros(2, 6)
    logits[0, 2] = 5.0  # animal is as probable as vehicle, and first; then dog
    logits[1, 1] = 5.0
    asked: list[tuple[int, int]] = []

    def logits_at(which: torch.Tensor, node: torch.Tensor) -> torch.Tensor:
        asked.extend(zip(which.tolist(), node.tolist(), strict=True))
        return logits[which, node]

    found = descend(logits_at, 2, ANIMALS, 0.3, logits.device)
    assert [ANIMALS.names[node] for node in found.nodes] == ["dog", "vehicle"]
    assert asked == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (0, 4), (0, 5)]


def test_nothing_to_descend_for() -> None:
    found = descend(lambda which, node: torch.zeros(len(which)), 0, ANIMALS, 0.5, torch.device("cpu"))
    assert found.nodes.shape == (0,)
    assert found.log_probs.shape == (0,)


def test_a_threshold_is_a_probability() -> None:
    with pytest.raises(ValueError, match=r"threshold is 1.5; a probability is from 0 to 1"):
        descend(lambda which, node: torch.zeros(len(which)), 1, ANIMALS, 1.5, torch.device("cpu"))
