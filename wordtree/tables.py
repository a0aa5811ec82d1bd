"""A tree as tensors on a device, in which the softmax and the loss along a path look nodes and groups up.

Legend: K nodes, G sibling groups, D levels.
"""

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
    """All sibling groups of one size, either with or without a rest alternative; one softmax handles them together.

    Attributes
    ----------
    groups, size : int
        The number of groups, and of the members of each.
    has_rest : bool
        Whether each group has a rest alternative beside its members.
    """

    groups: int
    size: int
    has_rest: bool


@dataclass(frozen=True)
class TreeTables:
    """A tree as tensors on one device, which are int64 unless another type is given.

    Attributes
    ----------
    parent, group, child_group, depth : Tensor (K,)
        `parent_of`, `group_of`, `child_group` and `depths` of the `WordTree`.
    group_offset, group_size : Tensor (G,)
        `group_offsets` and `group_sizes` of the `WordTree`.
    has_rest : Tensor (G,) bool
        `group_has_rest` of the `WordTree`.
    path : Tensor (K, D)
        The nodes from the top to each node, padded with -1.
    max_path_columns : int
        The largest number of nodes in the sibling groups along any path.
    max_depth : int
        The number of levels, D.
    buckets : tuple of Bucket
        The sibling groups by size, and by whether they have a rest alternative.
    bucket_order : Tensor (K,)
        The nodes, bucket after bucket, group after group.
    bucket_rank : Tensor (K,)
        The place of each node in `bucket_order`.
    group_rank : Tensor (G,)
        The place of each group in the order of the buckets.
    level_sizes : tuple of int, length D
        The number of nodes on each level.
    level_order : Tensor (K,)
        The nodes, level after level.
    level_rank : Tensor (K,)
        The place of each node in `level_order`.
    parent_on_level : Tensor (K - level_sizes[0],)
        The place of the parent among the nodes of its level, for each node below the top in the order of
        `level_order`.
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
    """Return the tables of `tree` on `device`. They are cached."""
    device = torch.device(device)
    # Under FakeTensorMode and similar modes a new tensor is no plain tensor, and must not be cached for use outside.
    if type(torch.empty(0, device=device)) is not Tensor:
        # Such a mode does not notice torch.from_numpy(), but it does notice tensors made of lists.
        return _make_tables(
            tree, lambda values: torch.tensor(values.tolist(), device=device, dtype=torch.from_numpy(values).dtype)
        )
    return _cached_tables(_Key(tree.digest, tree), device)


@dataclass(frozen=True)
class _Key:
    """A tree as the key of a cache. It compares digests alone, so finding an equal tree compares no lists of names."""

    digest: str
    tree: WordTree = field(compare=False)


@lru_cache(maxsize=16)
def _cached_tables(key: _Key, device: torch.device) -> TreeTables:
    # Tables made under inference_mode() could not be used by a later training step.
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
    while len(rows):  # each turn goes one level up
        paths[rows, depths[step]] = step
        step = tree.parent_of[step]
        rows, step = rows[step >= 0], step[step >= 0]
    return paths


def path_widths(tree: WordTree) -> IntTable:
    """Return the number of nodes in the sibling groups along the path of each node, (K,)."""
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
