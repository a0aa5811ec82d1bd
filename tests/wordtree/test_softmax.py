"""The tree softmax against a loop over the groups in float64, hand-typed numbers, and what must hold for any tree."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from wordtree import TreeMismatch, WordTree, load_tree
from wordtree.softmax import (
    level_log_conditionals,
    log_conditionals,
    log_probs,
    path_columns,
    path_log_prob,
    path_nll,
    path_width,
    tree_tables,
)
from wordtree.tree import Rest

# 0 ─┬─ 2 ─┬─ 5
#    ├─ 3  └─ 6
#    └─ 4 ─── 7 ─── 8
# 1
PARENTS = (-1, -1, 0, 0, 0, 2, 2, 4, 7)


def make_tree(parents: tuple[int, ...], rest: str = "none") -> WordTree:
    ids = tuple(f"c{node}" for node in range(len(parents)))
    return WordTree(ids, ids, parents, rest=rest)  # type: ignore[arg-type]


@st.composite
def trees(draw: st.DrawFn) -> WordTree:
    parents: list[int] = [-1] * draw(st.integers(1, 5))
    for node in draw(st.lists(st.integers(0, 30), max_size=12, unique=True).map(sorted)):
        if node < len(parents):
            parents += [node] * draw(st.integers(1, 5))
    return make_tree(tuple(parents), draw(st.sampled_from(["none", "only_child", "all"])))


def slow_log_conditionals(logits: Tensor, tree: WordTree) -> Tensor:
    """One group after another, in float64."""
    logits = logits.double()
    result = torch.empty_like(logits)
    for offset, size, has_rest in zip(tree.group_offsets, tree.group_sizes, tree.group_has_rest, strict=True):
        members = logits[..., offset : offset + size]
        alternatives = [members, torch.zeros_like(members[..., :1])] if has_rest else [members]
        normaliser = torch.logsumexp(torch.cat(alternatives, -1), -1, keepdim=True)
        result[..., offset : offset + size] = members - normaliser
    return result


def slow_log_probs(logits: Tensor, tree: WordTree) -> Tensor:
    result = slow_log_conditionals(logits, tree)
    for node, parent in enumerate(tree.parents):
        if parent >= 0:
            result[..., node] += result[..., parent]
    return result


# -------------------------------------------------------------------------------------------------- by hand and twin


def test_by_hand() -> None:
    tree = make_tree((-1, -1, 0, 1, 1))
    logits = torch.tensor([math.log(3.0), 0.0, 7.0, math.log(0.25), 0.0])
    torch.testing.assert_close(log_conditionals(logits, tree).exp(), torch.tensor([0.75, 0.25, 1.0, 0.2, 0.8]))
    torch.testing.assert_close(log_probs(logits, tree).exp(), torch.tensor([0.75, 0.25, 0.75, 0.05, 0.2]))


def test_rest_by_hand() -> None:
    logits = torch.tensor([0.0, 0.0, math.log(4.0)])
    only_child = make_tree((-1, -1, 0), "only_child")
    torch.testing.assert_close(log_probs(logits, only_child).exp(), torch.tensor([0.5, 0.5, 0.4]))
    everywhere = make_tree((-1, -1, 0), "all")
    torch.testing.assert_close(log_conditionals(logits, everywhere).exp(), torch.tensor([1 / 3, 1 / 3, 0.8]))


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(tree=trees(), seed=st.integers(0, 2**31), scale=st.sampled_from([0.1, 3.0, 30.0]))
def test_equals_the_loop(tree: WordTree, seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, len(tree), generator=generator) * scale
    torch.testing.assert_close(
        log_conditionals(logits, tree).double(), slow_log_conditionals(logits, tree), rtol=1e-5, atol=1e-5
    )
    expected = slow_log_probs(logits, tree)
    torch.testing.assert_close(log_probs(logits, tree).double(), expected, rtol=1e-5, atol=1e-5)
    nodes = torch.randint(-1, len(tree), (2, 3), generator=generator)
    of_nodes = torch.where(nodes < 0, 0.0, expected.gather(-1, nodes.clamp(min=0)[..., None])[..., 0])
    torch.testing.assert_close(path_log_prob(logits, tree, nodes).double(), of_nodes, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(path_nll(logits, tree, nodes), -path_log_prob(logits, tree, nodes))


@pytest.mark.parametrize("rest", ["none", "only_child", "all"])
@settings(max_examples=settings.default.max_examples, deadline=None)
@given(tree=trees(), data=st.data(), seed=st.integers(0, 2**31))
def test_a_closure_gives_the_probabilities_of_the_whole_tree(
    rest: Rest, tree: WordTree, data: st.DataObject, seed: int
) -> None:
    tree = replace(tree, rest=rest)
    nodes = data.draw(st.lists(st.integers(0, len(tree) - 1), min_size=1, max_size=6))
    part = tree.closure(nodes)
    columns = list(part.new_to_old)
    on_a_path = {step for node in nodes for step in tree.path(node)}
    assert set(columns) == on_a_path.union(*map(tree.siblings, on_a_path))
    logits = torch.randn(3, len(tree), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 5
    whole = log_probs(logits, tree)
    torch.testing.assert_close(log_probs(logits[:, columns], part.tree), whole[:, columns], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        log_conditionals(logits[:, columns], part.tree),
        log_conditionals(logits, tree)[:, columns],
        rtol=1e-12,
        atol=1e-12,
    )


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(tree=trees(), seed=st.integers(0, 2**31))
def test_children_never_exceed_their_parent(tree: WordTree, seed: int) -> None:
    logits = torch.randn(4, len(tree), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 5
    probabilities = log_probs(logits, tree).exp()
    for node in range(-1, len(tree)):
        children = tree.top_nodes if node < 0 else tree.children(node)
        if not children:
            continue
        parent = probabilities[:, node] if node >= 0 else torch.ones(4, dtype=torch.float64)
        total = probabilities[:, list(children)].sum(-1)
        if tree.group_has_rest[tree.group_of[children[0]]]:
            assert (total < parent).all()
        else:
            torch.testing.assert_close(total, parent)


@pytest.mark.parametrize("rest", ["none", "only_child", "all"])
def test_gradients_are_those_of_the_numbers(rest: str) -> None:
    tree = make_tree(PARENTS, rest)
    logits = torch.randn(4, len(tree), dtype=torch.float64, requires_grad=True, generator=torch.manual_seed(0))
    nodes = torch.tensor([8, 3, -1, 6])
    assert torch.autograd.gradcheck(lambda x: log_conditionals(x, tree), logits)
    assert torch.autograd.gradcheck(lambda x: log_probs(x, tree), logits)
    assert torch.autograd.gradcheck(lambda x: path_nll(x, tree, nodes), logits)


def test_the_gradient_is_softmax_minus_one_hot_on_the_path_and_zero_elsewhere() -> None:
    tree = make_tree(PARENTS)
    logits = torch.randn(len(PARENTS), generator=torch.manual_seed(1)).requires_grad_()
    path_nll(logits, tree, torch.tensor(6)).backward()
    conditionals = slow_log_conditionals(logits.detach(), tree).exp().float()
    expected = torch.zeros(9)
    expected[:7] = conditionals[:7] - torch.tensor([1.0, 0, 1, 0, 0, 0, 1])
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, expected)


# -------------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("rest", ["none", "only_child", "all"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_wide_logits_stay_finite(rest: str, dtype: torch.dtype) -> None:
    tree = make_tree(PARENTS, rest)
    signs = torch.tensor([[float(bit) for bit in f"{number:09b}"] for number in range(512)]) * 2 - 1
    logits = (signs * 1e4).to(dtype).requires_grad_()
    nodes = torch.arange(512) % 9
    for result in (log_conditionals(logits, tree), log_probs(logits, tree), path_nll(logits, tree, nodes)):
        assert result.isfinite().all()
        (gradient,) = torch.autograd.grad(result.sum(), logits)
        assert gradient.isfinite().all()
    torch.testing.assert_close(
        log_probs(logits, tree).double(), slow_log_probs(logits.detach(), tree), rtol=1e-5, atol=1e-5
    )


def test_each_group_has_its_own_maximum() -> None:
    # Seen from the other group's maximum both of these would underflow.
    tree = make_tree((-1, -1, 0, 0))
    logits = torch.tensor([1e4, 0.0, -1e4, -1e4 + 1])
    torch.testing.assert_close(
        path_log_prob(logits, tree, torch.tensor(2)), torch.tensor(-math.log1p(math.e)), rtol=1e-4, atol=0.0
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    tree = make_tree(PARENTS)
    logits = torch.randn(5, 9, generator=torch.manual_seed(2)).to(dtype)
    for result in (log_conditionals(logits, tree), log_probs(logits, tree), path_nll(logits, tree, torch.arange(5))):
        assert result.dtype == torch.float32
    torch.testing.assert_close(log_probs(logits, tree), slow_log_probs(logits, tree).float(), rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(log_probs(logits, tree), slow_log_probs(logits, tree).float(), rtol=1e-5, atol=1e-5)
    assert log_probs(logits.double(), tree).dtype == torch.float64


# -------------------------------------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize("leading", [(), (1,), (0,), (2, 3), (2, 0, 4), (2, 3, 4, 5)])
@pytest.mark.parametrize("parents", [PARENTS, (-1,)])
def test_any_leading_shape(leading: tuple[int, ...], parents: tuple[int, ...]) -> None:
    tree = make_tree(parents, "only_child")
    logits = torch.randn(*leading, len(tree), requires_grad=True)
    assert log_conditionals(logits, tree).shape == logits.shape
    assert log_probs(logits, tree).shape == logits.shape
    nodes = torch.zeros(leading, dtype=torch.int64)
    loss = path_nll(logits, tree, nodes)
    assert loss.shape == leading
    (loss.sum() + log_probs(logits, tree).sum()).backward()
    assert logits.grad is not None
    assert logits.grad.shape == logits.shape


def test_nodes_as_plain_numbers() -> None:
    tree, logits = make_tree((-1, -1, 0, 0)), torch.zeros(2, 4)
    assert path_nll(logits, tree, [3, 1]).tolist() == path_nll(logits, tree, torch.tensor([3, 1])).tolist()
    assert path_log_prob(logits, tree, 1).exp().tolist() == pytest.approx([0.5, 0.5])
    with pytest.raises(TreeMismatch, match=r"nodes of shape \(3,\) for logits of shape \(2, 4\)"):
        path_nll(logits, tree, [0, 1, 2])


def test_one_node_is_certain() -> None:
    assert log_probs(torch.tensor([3.0]), make_tree((-1,))).tolist() == [0.0]
    assert log_probs(torch.tensor([0.0]), make_tree((-1,), "only_child")).exp().item() == pytest.approx(0.5)


def test_channels_in_the_middle_of_the_memory() -> None:
    tree = make_tree(PARENTS)
    feature_map = torch.randn(2, 9, 4, 3)  # (B, K, H, W)
    strided = log_probs(feature_map.movedim(1, -1), tree)
    torch.testing.assert_close(strided, log_probs(feature_map.movedim(1, -1).contiguous(), tree))


@pytest.mark.parametrize("shape", [(), (8,), (9, 8), (10,)])
def test_logits_of_another_tree(shape: tuple[int, ...]) -> None:
    for function in (log_conditionals, log_probs, lambda x, t: path_nll(x, t, torch.tensor(0))):
        with pytest.raises(TreeMismatch, match="the last dimension must be 9"):
            function(torch.zeros(shape), make_tree(PARENTS))


# -------------------------------------------------------------------------------------------------------- path columns


def test_path_columns_by_hand() -> None:
    tree = make_tree(PARENTS, "only_child")
    path = path_columns(torch.tensor([6, 8, 1, -1]), tree)
    assert path.columns.tolist() == [
        [0, 1, 2, 3, 4, 5, 6],
        [0, 1, 2, 3, 4, 7, 8],
        [0, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    assert path.level.tolist() == [[0, 0, 1, 1, 1, 2, 2], [0, 0, 1, 1, 1, 2, 3], [0] * 7, [0] * 7]
    assert path.valid.tolist() == [[True] * 7, [True] * 7, [True] * 2 + [False] * 5, [False] * 7]
    on_path = [
        [column for column, on in zip(*row, strict=True) if on]
        for row in zip(path.columns.tolist(), path.on_path.tolist(), strict=True)
    ]
    assert on_path == [[0, 2, 6], [0, 4, 7, 8], [1], []]
    assert path.level_valid.sum(-1).tolist() == [3, 4, 1, 0]
    assert path.level_group.tolist() == [[0, 1, 2, -1], [0, 1, 3, 4], [0, -1, -1, -1], [-1] * 4]
    assert path.level_rest.tolist() == [[False] * 4, [False, False, True, True], [False] * 4, [False] * 4]


def test_path_width() -> None:
    tree = make_tree(PARENTS)
    assert [path_width(tree, [node]) for node in range(9)] == [2, 2, 5, 5, 5, 7, 7, 6, 7]
    assert path_width(tree, [0, 4, -1]) == 5
    assert path_width(tree, [-1]) == path_width(tree, []) == 1
    assert tree_tables(tree, "cpu").max_path_columns == 7


@pytest.mark.parametrize("width", [5, 6, 20])
def test_another_width_gives_the_same(width: int) -> None:
    tree = make_tree(PARENTS, "all")
    nodes = torch.tensor([[3, 1], [-1, 2]])
    logits = torch.randn(2, 2, 9)
    path = path_columns(nodes, tree, width)
    assert path.columns.shape == (2, 2, width)
    result = level_log_conditionals(logits.gather(-1, path.columns), path).sum(-1)
    torch.testing.assert_close(result, path_log_prob(logits, tree, nodes))


def test_a_path_shared_by_many_boxes_broadcasts() -> None:
    tree = make_tree(PARENTS, "only_child")
    nodes = torch.tensor([8, -1, 5])
    logits = torch.randn(3, 11, 9, requires_grad=True)
    path = path_columns(nodes[:, None], tree)
    result = level_log_conditionals(logits.gather(-1, path.columns.expand(3, 11, -1)), path)
    assert result.shape == (3, 11, 4)
    torch.testing.assert_close(result.sum(-1), path_log_prob(logits, tree, nodes[:, None].expand(3, 11)))
    torch.testing.assert_close(path_log_prob(logits, tree, nodes[:, None]), result.sum(-1))
    assert (result[1] == 0).all()


def test_garbage_in_the_padding_has_no_part() -> None:
    tree = make_tree(PARENTS)
    path = path_columns(torch.tensor([1, -1]), tree)
    logits = torch.tensor([[1.0, 2.0] + [math.inf] * 5, [math.nan] * 7]).requires_grad_()
    result = level_log_conditionals(logits, path)
    torch.testing.assert_close(result, torch.tensor([[-math.log1p(math.exp(-1)), 0, 0, 0], [0.0, 0, 0, 0]]))
    result.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[1] == 0).all()


# -------------------------------------------------------------------------------------------------------------- devices


@pytest.mark.usefixtures("fake_cuda")
def test_under_fake_cuda_tensors() -> None:
    """A tensor made on the wrong device, or a value that the host reads back, fails here without a GPU."""
    tree = make_tree(PARENTS, "only_child")
    path_nll(torch.zeros(1, 9), tree, torch.zeros(1, dtype=torch.int64))  # real tables are cached first
    with FakeTensorMode():
        logits = torch.randn(2, 5, 9, device="cuda", dtype=torch.bfloat16, requires_grad=True)
        nodes = torch.zeros(2, 5, device="cuda", dtype=torch.int64)
        for result in (log_conditionals(logits, tree), log_probs(logits, tree)):
            assert result.shape == (2, 5, 9)
            assert result.device.type == "cuda"
        assert path_nll(logits, tree, nodes).device.type == "cuda"
        # The backward pass, on tensors that the autograd engine accepts without a GPU.
        logits = torch.randn(2, 5, 9, requires_grad=True)
        (path_nll(logits, tree, nodes.cpu()).sum() + log_probs(logits, tree).sum()).backward()
    # ... and no fake table outlives the mode.
    assert type(tree_tables(tree, "cpu").path) is Tensor
    assert log_probs(torch.zeros(9), tree).isfinite().all()


def test_tables_first_made_without_gradients_serve_training() -> None:
    tree = make_tree((*PARENTS, 8, 8))
    with torch.inference_mode():
        log_probs(torch.zeros(11), tree)
    logits = torch.zeros(2, 11, requires_grad=True)
    (log_probs(logits, tree).sum() + path_nll(logits, tree, torch.tensor([1, 10])).sum()).backward()


def test_tables_are_made_once() -> None:
    assert tree_tables(make_tree(PARENTS), "cpu") is tree_tables(make_tree(PARENTS), torch.device("cpu"))
    assert tree_tables(make_tree(PARENTS), "cpu") is not tree_tables(make_tree(PARENTS, "all"), "cpu")
    assert tree_tables(make_tree(PARENTS), "cpu") is not tree_tables(make_tree((*PARENTS, 8)), "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_same_numbers_on_a_gpu() -> None:
    tree = make_tree(PARENTS, "only_child")
    logits, nodes = torch.randn(7, 9), torch.randint(-1, 9, (7,))
    torch.testing.assert_close(log_probs(logits.cuda(), tree).cpu(), log_probs(logits, tree))
    torch.testing.assert_close(path_nll(logits.cuda(), tree, nodes.cuda()).cpu(), path_nll(logits, tree, nodes))


# -------------------------------------------------------------------------------------------------------------- darknet


def test_darknets_classifier_on_its_tree_of_40(shared: Path) -> None:
    tree = load_tree(shared / "golden" / "tree40.tree")
    golden = np.load(shared / "golden" / "net_darknet19_tree40.npz")
    logits = torch.from_numpy(golden["logits"])
    torch.testing.assert_close(
        log_conditionals(logits, tree).exp(), torch.from_numpy(golden["output"]), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(
        log_probs(logits, tree).exp(), torch.from_numpy(golden["hier_abs"]), rtol=1e-5, atol=1e-6
    )
    train_logits = torch.from_numpy(golden["train_logits"]).requires_grad_()
    loss = path_nll(train_logits, tree, torch.from_numpy(golden["label"]).long()).sum()
    loss.backward()
    assert loss.item() == pytest.approx(float(golden["train_cost"]), rel=1e-5)
    assert train_logits.grad is not None
    # Darknet's delta is minus the gradient.
    torch.testing.assert_close(-train_logits.grad, torch.from_numpy(golden["train_delta"]), rtol=1e-4, atol=1e-5)


def test_columns_of_a_path_in_the_original_tree(shared: Path) -> None:
    tree = load_tree(shared / "tree" / "9k.tree")
    widths = [path_width(tree, [node]) for node in range(len(tree))]
    children: dict[int, int] = {}
    for parent in tree.parents:
        children[parent] = children.get(parent, 0) + 1
    # Counted once more by walking up: the groups on a path are the children of the node's ancestors, and the top.
    assert widths == [
        children[-1] + sum(children[node] for node in tree.path(label)[:-1]) for label in range(len(tree))
    ]
    assert max(widths) == tree_tables(tree, "cpu").max_path_columns == 221
    assert round(sum(widths) / len(widths)) == 108
    logits = torch.randn(len(tree), generator=torch.manual_seed(0)).expand(len(tree), -1)
    every_node = torch.arange(len(tree))
    torch.testing.assert_close(
        path_log_prob(logits, tree, every_node), log_probs(logits[0], tree), rtol=1e-5, atol=1e-5
    )
