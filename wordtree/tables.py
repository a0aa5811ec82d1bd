"""A tree as tensors on a device: what the softmax, and a loss along a path, look things up in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
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
        # torch.from_numpy() goes unseen there; a list does not.
        return _make_tables(
            tree, lambda values: torch.tensor(values.tolist(), device=device, dtype=torch.from_numpy(values).dtype)
        )
    return _cached_tables(_Key(tree.digest, tree), device)


@dataclass(frozen=True)
class _Key:
    """A tree as the key of a cache: to find the tables of an equal tree, no two lists of names are compared."""

    digest: str
    tree: WordTree = field(compare=False)


@lru_cache(maxsize=16)
def _cached_tables(key: _Key, device: torch.device) -> TreeTables:
    # Tables first made under inference_mode() would be of no use to a later training step.
    with torch.inference_mode(False):
        return _make_tables(key.tree, lambda values: torch.from_numpy(values).to(device))


def _make_tables(tree: WordTree, as_tensor: Callable[[npt.NDArray[Any]], Tensor]) -> TreeTables:
    groups = np.arange(len(tree.group_sizes))
    kinds = np.stack([tree.group_sizes, tree.group_has_rest])
    by_bucket = np.lexsort((groups, *kinds))
    distinct, counts = np.unique(kinds[::-1], axis=1, return_counts=True)
    buckets = tuple(
        Bucket(int(count), int(size), bool(has_rest))
        for (has_rest, size), count in zip(distinct.T, counts, strict=True)
    )
    group_rank = _inverse(by_bucket)
    bucket_order = np.argsort(group_rank[tree.group_of], kind="stable")
    level_order = np.argsort(tree.depths, kind="stable")
    level_sizes = np.bincount(tree.depths)
    level_rank = _inverse(level_order)
    level_start = np.cumsum(level_sizes) - level_sizes
    below_top = level_order[level_sizes[0] :]
    parent_on_level = level_rank[tree.parent_of[below_top]] - level_start[tree.depths[below_top] - 1]

    def table(values: npt.NDArray[Any]) -> Tensor:
        return as_tensor(np.array(values, dtype=np.int64))  # a copy: the tree's own arrays are read-only

    return TreeTables(
        parent=table(tree.parent_of),
        group=table(tree.group_of),
        group_offset=table(tree.group_offsets),
        group_size=table(tree.group_sizes),
        child_group=table(tree.child_group),
        has_rest=as_tensor(tree.group_has_rest.copy()),
        depth=table(tree.depths),
        path=table(_paths(tree)),
        max_path_columns=int(path_widths(tree).max()),
        max_depth=len(level_sizes),
        buckets=buckets,
        bucket_order=table(bucket_order),
        bucket_rank=table(_inverse(bucket_order)),
        group_rank=table(group_rank),
        level_sizes=tuple(level_sizes.tolist()),
        level_order=table(level_order),
        level_rank=table(level_rank),
        parent_on_level=table(parent_on_level),
    )


def _paths(tree: WordTree) -> IntTable:
    """Return the nodes from the top to each node, (K, D), padded with -1."""
    depths = tree.depths
    paths = np.full((len(tree), int(depths.max()) + 1), -1, dtype=np.int32)
    step, rows = np.arange(len(tree), dtype=np.int32), np.arange(len(tree))
    while len(rows):  # a level up at a time
        paths[rows, depths[step]] = step
        step = tree.parent_of[step]
        rows, step = rows[step >= 0], step[step >= 0]
    return paths


def path_widths(tree: WordTree) -> IntTable:
    """Return for each node how many nodes stand in the sibling groups along its path, (K,)."""
    return _cached_path_widths(_Key(tree.digest, tree))


@lru_cache(maxsize=16)
def _cached_path_widths(key: _Key) -> IntTable:
    tree = key.tree
    widths = tree.group_sizes[tree.group_of]
    by_level = np.split(np.argsort(tree.depths, kind="stable"), np.cumsum(np.bincount(tree.depths))[:-1])
    for nodes in by_level[1:]:
        widths[nodes] += widths[tree.parent_of[nodes]]
    return widths


def _inverse(permutation: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    inverse = np.empty_like(permutation)
    inverse[permutation] = np.arange(len(permutation))
    return inverse
