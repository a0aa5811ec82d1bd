"""A tree as tensors on a device: what the softmax, and a loss along a path, look things up in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wordtree.tree import IntTable, WordTree


class Bucket(NamedTuple):
    """All sibling groups of one size: one softmax over them all.

    Attributes
    ----------
    groups, size : int
        How many groups, of how many members each.
    has_rest : bool
        Whether each has a rest alternative beside its members.
    """

    groups: int
    size: int
    has_rest: bool


@dataclass(frozen=True)
class TreeTables:
    """A tree as tensors on one device; ``int64`` unless said otherwise.

    Attributes
    ----------
    parent, group, child_group, depth : Tensor (K,)
        As in `WordTree`.
    group_offset, group_size : Tensor (G,)
    has_rest : Tensor (G,) bool
    path : Tensor (K, D)
        The nodes from the top to each node, padded with -1.
    max_path_columns : int
        The largest number of nodes in the sibling groups along any path.
    max_depth : int
        D, the number of levels.
    buckets : tuple of Bucket
    bucket_order : Tensor (K,)
        The nodes, bucket after bucket, group after group.
    bucket_rank : Tensor (K,)
        Where a node stands in `bucket_order`.
    group_rank : Tensor (G,)
        Where a group stands in the order of the buckets.
    level_sizes : tuple of int, length D
        The number of nodes on each level.
    level_order : Tensor (K,)
        The nodes, level after level.
    level_rank : Tensor (K,)
        Where a node stands in `level_order`.
    parent_on_level : Tensor (K - level_sizes[0],)
        For each node below the top, in the order of `level_order`: which of the nodes of the level above its parent is.
    """

    parent: Tensor
    group: Tensor
    group_offset: Tensor
    group_size: Tensor
    child_group: Tensor
    has_rest: Tensor
    depth: Tensor
    path: Tensor
    max_path_columns: int
    max_depth: int
    buckets: tuple[Bucket, ...]
    bucket_order: Tensor
    bucket_rank: Tensor
    group_rank: Tensor
    level_sizes: tuple[int, ...]
    level_order: Tensor
    level_rank: Tensor
    parent_on_level: Tensor


def tree_tables(tree: WordTree, device: torch.device | str) -> TreeTables:
    """Return the tables of `tree` on `device`; made once for each pair of them."""
    device = torch.device(device)
    # Under FakeTensorMode and its like a new tensor is no plain one, and must not be met again outside of it.
    if type(torch.empty(0, device=device)) is not Tensor:
        return _make_tables(tree, device)
    return _cached_tables(tree, device)


@lru_cache(maxsize=16)
def _cached_tables(tree: WordTree, device: torch.device) -> TreeTables:
    # Tables first made under inference_mode() would be of no use to a later training step.
    with torch.inference_mode(False):
        return _make_tables(tree, device)


def _make_tables(tree: WordTree, device: torch.device) -> TreeTables:
    groups = np.arange(len(tree.group_sizes))
    kinds = np.stack([tree.group_sizes, tree.group_has_rest])
    by_bucket = np.lexsort((groups, *kinds))
    distinct, counts = np.unique(kinds[::-1], axis=1, return_counts=True)
    buckets = tuple(
        Bucket(int(count), int(size), bool(has_rest))
        for (has_rest, size), count in zip(distinct.T, counts, strict=True)
    )
    bucket_order = np.concatenate(
        [np.arange(tree.group_sizes[group]) + tree.group_offsets[group] for group in by_bucket]
    )
    level_order = np.argsort(tree.depths, kind="stable")
    level_sizes = np.bincount(tree.depths)
    level_rank = _inverse(level_order)
    level_start = np.cumsum(level_sizes) - level_sizes
    below_top = level_order[level_sizes[0] :]
    parents = np.asarray(tree.parents)
    parent_on_level = level_rank[parents[below_top]] - level_start[tree.depths[below_top] - 1]

    def table(values: object) -> Tensor:
        # By way of a list: torch.from_numpy() is not seen by FakeTensorMode.
        return torch.tensor(np.asarray(values).tolist(), device=device, dtype=torch.int64)

    return TreeTables(
        parent=table(parents),
        group=table(tree.group_of),
        group_offset=table(tree.group_offsets),
        group_size=table(tree.group_sizes),
        child_group=table(tree.child_group),
        has_rest=torch.tensor(tree.group_has_rest.tolist(), device=device, dtype=torch.bool),
        depth=table(tree.depths),
        path=table(_paths(tree)),
        max_path_columns=int(path_widths(tree).max()),
        max_depth=len(level_sizes),
        buckets=buckets,
        bucket_order=table(bucket_order),
        bucket_rank=table(_inverse(bucket_order)),
        group_rank=table(_inverse(by_bucket)),
        level_sizes=tuple(level_sizes.tolist()),
        level_order=table(level_order),
        level_rank=table(level_rank),
        parent_on_level=table(parent_on_level),
    )


def _paths(tree: WordTree) -> IntTable:
    """Return the nodes from the top to each node, (K, D), padded with -1."""
    paths = np.full((len(tree), int(tree.depths.max()) + 1), -1, dtype=np.int32)
    for node, (parent, depth) in enumerate(zip(tree.parents, tree.depths, strict=True)):
        if parent >= 0:
            paths[node] = paths[parent]
        paths[node, depth] = node
    return paths


@lru_cache(maxsize=16)
def path_widths(tree: WordTree) -> IntTable:
    """Return for each node how many nodes stand in the sibling groups along its path, (K,)."""
    widths = tree.group_sizes[tree.group_of]
    for node, parent in enumerate(tree.parents):
        if parent >= 0:
            widths[node] += widths[parent]
    return widths


def _inverse(permutation: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    inverse = np.empty_like(permutation)
    inverse[permutation] = np.arange(len(permutation))
    return inverse
