"""A softmax in every sibling group of a tree, and the probability of a node: the product down its path.

Legend: K nodes, G sibling groups, D levels, N distributions (boxes), C columns that one label's path touches.

Everything is computed in float32 (float64 stays float64), because conditionals in bfloat16 would make each probability
wrong by about a tenth. Results are finite for logits up to 1e4. Nothing here makes a GPU wait for the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wordtree.errors import TreeMismatch
from wordtree.tables import TreeTables, path_widths, tree_tables
from wordtree.tree import WordTree

__all__ = [
    "PathColumns",
    "TreeTables",
    "bucket_log_softmax",
    "level_log_conditionals",
    "log_conditionals",
    "log_probs",
    "path_columns",
    "path_groups",
    "path_log_prob",
    "path_nll",
    "path_width",
    "tables_for",
    "tree_tables",
]

# ----------------------------------------------------------------------------------------------------- the whole tree


def log_conditionals(logits: Tensor, tree: WordTree) -> Tensor:
    """Return log P(node | parent) of every node.

    Parameters
    ----------
    logits : Tensor (..., K)
        One logit for each node.
    tree : WordTree
        The tree. A rest alternative in a sibling group has logit 0 and takes its share of the probability.

    Returns
    -------
    Tensor (..., K)

    Raises
    ------
    TreeMismatch
        If the last dimension is not K.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c"), ("dog", "cat", "terrier"), (-1, -1, 0), rest="only_child")
    >>> log_conditionals(torch.zeros(3), tree).exp()
    tensor([0.5000, 0.5000, 0.5000])
    """
    tables = tables_for(logits, tree)
    by_bucket = torch.cat([part.flatten(0, 1) for part in bucket_log_softmax(logits, tables)])
    return _rows_last(by_bucket.index_select(0, tables.bucket_rank), logits)


def log_probs(logits: Tensor, tree: WordTree | TreeTables) -> Tensor:
    """Return log P(node) of every node: the sum of `log_conditionals` along its path.

    The shapes and errors are those of `log_conditionals`. A compiled graph passes the tables of the tree, because it
    can hold tensors, but no tree.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c", "d"), ("dog", "cat", "terrier", "poodle"), (-1, -1, 0, 0))
    >>> log_probs(torch.zeros(4), tree).exp()
    tensor([0.5000, 0.5000, 0.2500, 0.2500])
    """
    tables = tree if isinstance(tree, TreeTables) else tables_for(logits, tree)
    by_bucket = torch.cat([part.flatten(0, 1) for part in bucket_log_softmax(logits, tables)])
    by_level = by_bucket.index_select(0, tables.bucket_rank.index_select(0, tables.level_order))
    top, *below = torch.split(by_level, list(tables.level_sizes))
    levels = [top]
    parents = torch.split(tables.parent_on_level, list(tables.level_sizes[1:]))
    for conditional, parent in zip(below, parents, strict=True):
        levels.append(conditional + levels[-1].index_select(0, parent))
    return _rows_last(torch.cat(levels).index_select(0, tables.level_rank), logits)


def tables_for(logits: Tensor, tree: WordTree) -> TreeTables:
    """Return the tables of `tree` on the device of `logits` (..., K). Raises `TreeMismatch` if K is not its size."""
    if logits.ndim == 0 or logits.shape[-1] != len(tree):
        raise TreeMismatch(
            f"logits of shape {tuple(logits.shape)} for a tree of {len(tree)} nodes: the last dimension must be "
            f"{len(tree)}; was the model made for another tree?"
        )
    return tree_tables(tree, logits.device)


def bucket_log_softmax(logits: Tensor, tables: TreeTables) -> list[Tensor]:
    """Return log P(node | parent) in buckets, each of which has all sibling groups of one size.

    Parameters
    ----------
    logits : Tensor (..., K)
        N distributions in all.
    tables : TreeTables
        The tables of the tree.

    Returns
    -------
    list of Tensor (groups, size, N)
        One tensor for each of ``tables.buckets``. A rest alternative takes its share, but is not among the members.
    """
    # With the nodes first, the members of a group are whole rows: several times faster than columns with gaps.
    rows = _at_least_float32(logits).reshape(-1, logits.shape[-1]).t().contiguous()
    rows = rows.index_select(0, tables.bucket_order)
    pieces = torch.split(rows, [bucket.groups * bucket.size for bucket in tables.buckets])
    parts = []
    for bucket, piece in zip(tables.buckets, pieces, strict=True):
        members = piece.reshape(bucket.groups, bucket.size, piece.shape[1])
        if bucket.has_rest:
            members = torch.cat([members, torch.zeros_like(members[:, :1])], dim=1)
        parts.append(members.log_softmax(dim=1)[:, : bucket.size])
    return parts


def _rows_last(rows: Tensor, logits: Tensor) -> Tensor:
    return rows.t().reshape(logits.shape)


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


# --------------------------------------------------------------------------------------------------------- one path


@dataclass(frozen=True)
class PathColumns:
    """The nodes whose logits a loss along a path reads: the members of every sibling group on the path.

    Attributes
    ----------
    columns : Tensor (..., C) int64
        The nodes, group after group from the top down; padded with 0.
    level : Tensor (..., C) int64
        The level of each of these nodes, 0 for a top node; padded with 0.
    valid : Tensor (..., C) bool
        False for padding.
    on_path : Tensor (..., C) bool
        Whether the node is on the path itself.
    level_valid : Tensor (..., D) bool
        Whether the path reaches this level.
    level_rest : Tensor (..., D) bool
        Whether the group of this level has a rest alternative.
    level_group : Tensor (..., D) int64
        The group of this level; padded with -1.
    """

    columns: Tensor
    level: Tensor
    valid: Tensor
    on_path: Tensor
    level_valid: Tensor
    level_rest: Tensor
    level_group: Tensor


def path_columns(nodes: Tensor, tree: WordTree, width: int | None = None) -> PathColumns:
    """Return which columns of the logits a loss along the path of each node reads.

    Parameters
    ----------
    nodes : Tensor (...) int64
        The labels; negative for "no label", which reads nothing.
    tree : WordTree
        The tree.
    width : int, optional
        C, the same for all labels: at least their `path_width`, or the lowest levels are cut off. The default suffices
        for every node of the tree.

    Returns
    -------
    PathColumns
        It is on the device of `nodes`. Its shapes depend on the shape of `nodes` and on `width` alone.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c"), ("dog", "cat", "terrier"), (-1, -1, 0))
    >>> path = path_columns(torch.tensor([2, 1]), tree)
    >>> path.columns.tolist(), path.on_path.tolist()
    ([[0, 1, 2], [0, 1, 0]], [[True, False, True], [False, True, False]])
    """
    tables = tree_tables(tree, nodes.device)
    width = tables.max_path_columns if width is None else width
    path = _paths_to(nodes, tables)
    level_valid = path >= 0
    group = tables.group[path.clamp(min=0)]
    size = torch.where(level_valid, tables.group_size[group], 0)
    end = size.cumsum(-1)
    place = torch.arange(width, device=nodes.device)
    valid = place < end[..., -1:]
    level = torch.searchsorted(end, place.expand(*nodes.shape, width).contiguous(), right=True)
    level = torch.where(valid, level, 0)
    first = tables.group_offset[group] - (end - size)
    columns = torch.where(valid, place + first.gather(-1, level), 0)
    return PathColumns(
        columns=columns,
        level=level,
        valid=valid,
        on_path=valid & (columns == path.gather(-1, level)),
        level_valid=level_valid,
        level_rest=level_valid & tables.has_rest[group],
        level_group=torch.where(level_valid, group, -1),
    )


def path_groups(nodes: Tensor, tree: WordTree) -> Tensor:
    """Return the sibling groups on the path of each node, (...) -> (..., D), padded with -1.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c"), ("dog", "cat", "terrier"), (-1, -1, 0))
    >>> path_groups(torch.tensor([2, 1, -1]), tree).tolist()
    [[0, 1], [0, -1], [-1, -1]]
    """
    tables = tree_tables(tree, nodes.device)
    path = _paths_to(nodes, tables)
    return torch.where(path >= 0, tables.group[path.clamp(min=0)], -1)


def _paths_to(nodes: Tensor, tables: TreeTables) -> Tensor:
    """Return the nodes from the top to each node, (..., D), padded with -1; all padding for a negative node."""
    return torch.where(nodes.unsqueeze(-1) >= 0, tables.path[nodes.clamp(min=0)], -1)


def path_width(tree: WordTree, nodes: Sequence[int]) -> int:
    """Return the number of columns that `path_columns` needs for these labels, at least 1. It runs on the host.

    Examples
    --------
    >>> path_width(WordTree(("a", "b", "c"), ("dog", "cat", "terrier"), (-1, -1, 0)), [1, -1])
    2
    """
    labels = np.asarray(nodes, dtype=np.int64)
    return int(path_widths(tree)[labels[labels >= 0]].max(initial=1))


def level_log_conditionals(column_logits: Tensor, path: PathColumns) -> Tensor:
    """Return log P(node | parent) of the path's node on each level, from the path's columns alone.

    Parameters
    ----------
    column_logits : Tensor (..., C)
        The logits at ``path.columns``.
    path : PathColumns
        The columns. Their leading dimensions must be those of `column_logits`, or broadcast to them.

    Returns
    -------
    Tensor (..., D)
        0 on the levels that the path does not reach. The sum over D is log P(node).

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c"), ("dog", "cat", "terrier"), (-1, -1, 0), rest="all")
    >>> path = path_columns(torch.tensor(2), tree)
    >>> level_log_conditionals(torch.zeros(3), path).exp()
    tensor([0.3333, 0.5000])
    """
    logits = _at_least_float32(column_logits)
    levels = (*logits.shape[:-1], path.level_valid.shape[-1])
    level = path.level.expand(logits.shape)
    lowest = torch.finfo(logits.dtype).min
    # Each group has its own maximum: with one for the whole row, groups far below it would underflow to 0.
    largest = torch.where(path.level_rest, logits.new_zeros(()), logits.new_full((), lowest)).expand(levels)
    largest = largest.scatter_reduce(-1, level, torch.where(path.valid, logits.detach(), lowest), "amax")
    largest = torch.where(path.level_valid, largest, 0.0)
    # Padding is masked before exp() and not after, because the gradient of a masked infinity is NaN.
    shifted = torch.where(path.valid, logits - largest.gather(-1, level), 0.0)
    zero = torch.zeros((), dtype=logits.dtype, device=logits.device)
    total = torch.where(path.level_rest, (-largest.clamp(min=0)).exp(), zero).expand(levels)
    total = total.scatter_add(-1, level, torch.where(path.valid, shifted.exp(), 0.0))
    own = zero.expand(levels).scatter_add(-1, level, torch.where(path.on_path, shifted, 0.0))
    return own - torch.where(path.level_valid, total, 1.0).log()


def path_log_prob(logits: Tensor, tree: WordTree, nodes: Tensor | Sequence[int] | int) -> Tensor:
    """Return log P(node) of one node for each distribution, reading only the columns of its path.

    Parameters
    ----------
    logits : Tensor (..., K)
        One logit for each node.
    tree : WordTree
        The tree.
    nodes : Tensor (...) int64, sequence of int, or int
        One node for each distribution, or nodes that broadcast to that. Negative means "no label" and gives 0.

    Returns
    -------
    Tensor (...)
        log P of each node.

    Raises
    ------
    TreeMismatch
        If the last dimension is not K, or `nodes` does not broadcast to the leading ones.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c", "d"), ("dog", "cat", "terrier", "poodle"), (-1, -1, 0, 0))
    >>> path_log_prob(torch.zeros(2, 4), tree, torch.tensor([3, 1])).exp()
    tensor([0.2500, 0.5000])
    """
    tables_for(logits, tree)
    if not isinstance(nodes, Tensor):
        nodes = torch.as_tensor(np.asarray(nodes, np.int64), device=logits.device)
    path = path_columns(nodes, tree)
    try:
        columns = path.columns.expand(*logits.shape[:-1], -1)
    except RuntimeError:
        raise TreeMismatch(
            f"nodes of shape {tuple(nodes.shape)} for logits of shape {tuple(logits.shape)}: there must be one node "
            "for each distribution"
        ) from None
    return level_log_conditionals(logits.gather(-1, columns), path).sum(-1)


def path_nll(logits: Tensor, tree: WordTree, nodes: Tensor | Sequence[int] | int) -> Tensor:
    """Return -log P(node): the sum of the cross-entropies of the sibling groups on the node's path.

    Parameters and errors are those of `path_log_prob`. The logits of nodes below the node do not matter.

    Examples
    --------
    >>> tree = WordTree(("a", "b"), ("dog", "cat"), (-1, -1))
    >>> path_nll(torch.tensor([[0.0, 0.0]]), tree, torch.tensor([0]))
    tensor([0.6931])
    """
    return -path_log_prob(logits, tree, nodes)
