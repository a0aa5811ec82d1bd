"""Descending from the top of a tree to the node to name, reading only the sibling groups on the way.

Legend: N distributions (boxes), D levels, R single logits that one level of the descent reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from wordtree.tables import TreeTables, tree_tables
from wordtree.tree import WordTree

LogitsAt: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""A function from R indices of distributions and R nodes, both (R,) int64, to their logits (R,)."""


class Descent(NamedTuple):
    """The nodes to name, and the probabilities on the way to them.

    Attributes
    ----------
    nodes : Tensor (N,) int64
        The node to name for each distribution.
    path_log_probs : Tensor (N, D)
        log P of the path's node on each level, -inf below the node to name.
    """

    nodes: Tensor
    path_log_probs: Tensor

    @property
    def log_probs(self) -> Tensor:
        """log P(node), (N,)."""
        return self.path_log_probs.masked_fill(self.path_log_probs == -torch.inf, torch.inf).amin(dim=-1)


def descend(
    logits_at: LogitsAt,
    count: int,
    tree: WordTree,
    threshold: float,
    device: torch.device,
    start: Descent | None = None,
) -> Descent:
    """Descend as `TreeDistribution.back_off` does, asking for the logits of one sibling group after the other.

    If all logits are known, use `back_off`. This function is for a head that computes single logits on demand: a
    descent reads about a hundred of 9,418.

    Parameters
    ----------
    logits_at : callable
        A `LogitsAt`; it is called once for each level.
    count : int
        The number of distributions, N.
    tree : WordTree
        The tree of the logits.
    threshold : float
        The probability above which a node may be named. The best top node is named even if it is less probable.
    device : torch.device
        The device of the logits.
    start : Descent, optional
        The node at which each descent begins, and the probabilities on the way to it; by default above the top.

    Returns
    -------
    Descent

    Raises
    ------
    ValueError
        If `threshold` is no probability.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c", "d"), ("dog", "cat", "terrier", "poodle"), (-1, -1, 0, 0))
    >>> logits = torch.tensor([[2.0, 0.0, 0.5, 0.0]])
    >>> found = descend(lambda which, node: logits[which, node], 1, tree, 0.7, logits.device)
    >>> tree.names[found.nodes], found.path_log_probs.exp()
    ('dog', tensor([[0.8808, 0.0000]]))
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; a probability is from 0 to 1")
    tables = tree_tables(tree, device)
    floor = math.log(threshold) if threshold > 0 else -math.inf
    going = torch.arange(count, device=device)  # the distributions that may go one level deeper ...
    if start is None:
        nodes, log_prob = _best_of_groups(logits_at, going, torch.zeros_like(going), tables)
        path_log_probs = torch.full((count, tables.max_depth), -torch.inf, dtype=log_prob.dtype, device=device)
        path_log_probs[:, 0] = log_prob
    else:
        nodes, path_log_probs, log_prob = start.nodes.clone(), start.path_log_probs.clone(), start.log_probs
    above = log_prob  # ... log P of the node that each stands at ...
    sure = log_prob > floor
    node = nodes
    for _ in range(1, tables.max_depth):
        group = tables.child_group[node]  # ... and the group that it would choose from
        deeper = sure & (group >= 0)
        going, group, above = going[deeper], group[deeper], above[deeper]
        if not len(going):
            break
        node, log_conditional = _best_of_groups(logits_at, going, group, tables)
        log_prob = above + log_conditional
        passed = log_prob > floor
        going, node, above = going[passed], node[passed], log_prob[passed]
        sure = torch.ones_like(going, dtype=torch.bool)
        nodes[going] = node
        path_log_probs[going, tables.depth[node]] = above
    return Descent(nodes, path_log_probs)


def _best_of_groups(logits_at: LogitsAt, which: Tensor, group: Tensor, tables: TreeTables) -> tuple[Tensor, Tensor]:
    """Return each distribution's best member of its group, and log P(member | parent), both (n,).

    The groups lie one after the other in flat tensors. Padded to the largest group, which may have a thousand members,
    they would cost more than the head.
    """
    size = tables.group_size[group]
    place = torch.arange(len(group), device=group.device).repeat_interleave(size)  # (R,) whose member this is
    member = torch.arange(len(place), device=group.device) - (size.cumsum(0) - size)[place]
    logits = logits_at(which[place], tables.group_offset[group][place] + member)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    lowest = logits.new_full(group.shape, -torch.inf)
    largest = lowest.scatter_reduce(0, place, logits, "amax")
    first = torch.where(logits == largest[place], member, len(place))
    best = torch.minimum(torch.full_like(group, len(place)).scatter_reduce(0, place, first, "amin"), size - 1)  # NaN
    # A rest alternative has logit 0; it takes its share of the probability, but is never chosen.
    rest = tables.has_rest[group]
    shift = torch.where(rest, largest.clamp(min=0), largest)
    total = torch.where(rest, (-shift).exp(), 0.0).scatter_add(0, place, (logits - shift[place]).exp())
    return tables.group_offset[group] + best, largest - shift - total.log()
