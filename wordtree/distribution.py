"""Questions about a tree's logits: how probable is a concept, and which one should be named?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from wordtree.errors import TreeMismatch
from wordtree.softmax import (
    bucket_log_softmax,
    level_log_conditionals,
    log_probs,
    path_columns,
    path_width,
    tables_for,
)
from wordtree.tree import WordTree


class NodeProbabilities(NamedTuple):
    """Probabilities of some nodes.

    Attributes
    ----------
    probabilities : Tensor (..., n)
        P of each of the nodes.
    nodes : Tensor (..., n) or (n,) int64
        The nodes.
    """

    probabilities: Tensor
    nodes: Tensor


class Factor(NamedTuple):
    """One factor of a node's probability: Pr(name | given).

    Attributes
    ----------
    node : int
        The node.
    name : str
        Its display name.
    given : str or None
        The name of its parent. For a top node it is the name of the implied root, None if the tree names no root.
    probability : float
        P(node | parent).
    """

    node: int
    name: str
    given: str | None
    probability: float

    def __str__(self) -> str:
        condition = "" if self.given is None else f"|{self.given}"
        return f"Pr({self.name}{condition})={_rounded(self.probability)}"


@dataclass(frozen=True)
class Explanation:
    """The factors of a node's probability. It prints as a product.

    Attributes
    ----------
    factors : tuple of Factor
        The factors from the node up to the top.
    probability : float
        Their product.
    """

    factors: tuple[Factor, ...]
    probability: float

    def __str__(self) -> str:
        return f"{' * '.join(map(str, self.factors))} = {_rounded(self.probability)}"


class TreeDistribution:
    """The probabilities of all K concepts of a tree, for one box or for a whole feature map of boxes.

    Parameters
    ----------
    tree : WordTree
        The tree of the logits.
    logits : Tensor (..., K)
        The logits of one or more boxes; arrays and lists of numbers are accepted, too.

    Raises
    ------
    TreeMismatch
        If the last dimension is not K.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c", "d"), ("dog", "cat", "terrier", "poodle"), (-1, -1, 0, 0))
    >>> distribution = TreeDistribution(tree, torch.tensor([2.0, 0.0, 0.5, 0.0]))
    >>> print(distribution.explain("terrier"))
    Pr(terrier|dog)=0.62 * Pr(dog)=0.88 = 0.55
    >>> tree.names[distribution.back_off(0.7)], tree.names[distribution.back_off(0.5)]
    ('dog', 'terrier')
    """

    def __init__(self, tree: WordTree, logits: ArrayLike | Tensor) -> None:
        logits = logits if isinstance(logits, Tensor) else torch.as_tensor(np.asarray(logits))
        tables_for(logits, tree)
        self.tree = tree
        self.logits = logits

    def __repr__(self) -> str:
        return f"<TreeDistribution: {tuple(self.logits.shape[:-1])} of {len(self.tree)} nodes>"

    def __getitem__(self, index: Any) -> TreeDistribution:
        """Return some of the distributions: `index` runs over the leading dimensions of the logits."""
        leading = self.logits.shape[:-1]
        places = torch.arange(leading.numel(), device=self.logits.device).reshape(leading)[index]
        return TreeDistribution(self.tree, self.logits.reshape(leading.numel(), len(self.tree))[places])

    def log_prob(self, name: str | int) -> Tensor:
        """Return log P(node), shape (...): the sum of the logarithms of the conditionals on its path.

        Parameters
        ----------
        name : str or int
            The node or its name, as in `WordTree.node`, with its errors.
        """
        return self._log_conditionals_to(self.tree.node(name)).sum(-1)

    def prob(self, name: str | int) -> Tensor:
        """Return P(node), shape (...): the product of the conditionals on its path. See `log_prob`."""
        return self.log_prob(name).exp()

    def probs(self) -> Tensor:
        """Return P(node) of every node, shape (..., K)."""
        return log_probs(self.logits, self.tree).exp()

    def explain(self, name: str | int) -> Explanation:
        """Return the factors of one node's probability, in one distribution.

        Parameters
        ----------
        name : str or int
            The node or its name, as in `WordTree.node`, with its errors.

        Returns
        -------
        Explanation

        Raises
        ------
        TreeMismatch
            If there are several distributions; pick one first, as in ``distribution[3].explain("dog")``.
        """
        if self.logits.ndim != 1:
            raise TreeMismatch(
                f"explain() takes one distribution, not {tuple(self.logits.shape[:-1])}; pick one: distribution[...]"
            )
        path = self.tree.path(name)
        return explanation(self.tree, path, self._log_conditionals_to(path[-1])[: len(path)].exp().tolist())

    def back_off(self, threshold: float, none: bool = False) -> Tensor:
        """Return the node to name: the deepest one that is still probable enough.

        The descent begins at the top and takes the best child while P(child) is greater than `threshold`. A rest
        alternative is never named; it only takes its share of the probability from the children.

        Parameters
        ----------
        threshold : float
            The probability above which a node may be named. With 0 the descent always ends at a leaf, with 1 always
            at a top node.
        none : bool
            Return -1 where even the best top node is not probable enough, instead of that node.

        Returns
        -------
        Tensor (...) int64
            The node of each distribution.

        Raises
        ------
        ValueError
            If `threshold` is no probability.
        """
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; a probability is from 0 to 1")
        tables = tables_for(self.logits, self.tree)
        best = [part.max(dim=1) for part in bucket_log_softmax(self.logits, tables)]  # each (groups, N)
        best_log = torch.cat([each.values for each in best]).index_select(0, tables.group_rank)  # (G, N)
        place = torch.cat([each.indices for each in best]).index_select(0, tables.group_rank)
        best_node = place + tables.group_offset.unsqueeze(1)
        floor = math.log(threshold) if threshold > 0 else -math.inf
        log_prob = best_log[0]
        going = log_prob > floor
        node = torch.where(going, best_node[0], -1) if none else best_node[0]
        for _ in range(1, tables.max_depth):
            group = tables.child_group[node.clamp(min=0)]
            going = going & (group >= 0)
            group = group.clamp(min=0).unsqueeze(0)
            deeper = log_prob + best_log.gather(0, group).squeeze(0)
            going = going & (deeper > floor)
            log_prob = torch.where(going, deeper, log_prob)
            node = torch.where(going, best_node.gather(0, group).squeeze(0), node)
        return node.reshape(self.logits.shape[:-1])

    def top_k(self, k: int, among: Literal["leaves", "nodes"] = "leaves") -> NodeProbabilities:
        """Return the most probable nodes, the best first.

        Parameters
        ----------
        k : int
            The number of nodes; fewer are returned if there are fewer.
        among : {"leaves", "nodes"}
            The nodes to choose from. Leaves exclude each other; among all nodes, an ancestor always comes before its
            descendants, and of equals the one with the lower number comes first.

        Returns
        -------
        NodeProbabilities
            Both tensors are (..., k).

        Raises
        ------
        ValueError
            If `k` is below 1.
        """
        if k < 1:
            raise ValueError(f"k is {k}; it must be at least 1")
        if among == "leaves":
            leaves = torch.as_tensor(np.flatnonzero(self.tree.child_group < 0), device=self.logits.device)
            values, places = self.probs().index_select(-1, leaves).topk(min(k, len(leaves)), dim=-1)
            return NodeProbabilities(values, leaves[places])
        # the logarithms tell apart what both underflow to 0, and no child's is above its parent's by rounding
        values, nodes = _first_of_equals(log_probs(self.logits, self.tree), min(k, len(self.tree)))
        return NodeProbabilities(values.exp(), nodes)

    def at_depth(self, depth: int) -> NodeProbabilities:
        """Cut the tree off at a depth: return the nodes there and the leaves above, which exclude each other.

        Parameters
        ----------
        depth : int
            The depth of the cut; 0 is that of the top nodes.

        Returns
        -------
        NodeProbabilities
            `nodes` (n,) are in tree order. `probabilities` (..., n) sum to 1 minus the share of rest alternatives.

        Raises
        ------
        ValueError
            If `depth` is negative.
        """
        if depth < 0:
            raise ValueError(f"depth is {depth}; the top nodes have depth 0")
        cut = (self.tree.depths == depth) | ((self.tree.depths < depth) & (self.tree.child_group < 0))
        nodes = torch.as_tensor(np.flatnonzero(cut), device=self.logits.device)
        return NodeProbabilities(self.probs().index_select(-1, nodes), nodes)

    def _log_conditionals_to(self, node: int) -> Tensor:
        """Return log P(node | parent) on each level of the path to `node`, shape (..., D)."""
        label = torch.tensor(node, device=self.logits.device)
        path = path_columns(label, self.tree, path_width(self.tree, [node]))
        return level_log_conditionals(self.logits.index_select(-1, path.columns), path)


def _first_of_equals(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the `k` largest of (..., K) and their places; of equals those with the lower places, which come first.

    A stable sort of all K does the same in ten times the time.
    """
    found, places = values.topk(k, dim=-1)
    last = found[..., -1:]
    # only of those that equal the last one can there be more than were taken
    numbers = torch.arange(values.shape[-1], device=values.device)
    equals = torch.where(values == last, numbers, values.shape[-1]).topk(k, dim=-1, largest=False).values
    is_last = found == last
    which = (numbers[:k] - (~is_last).sum(dim=-1, keepdim=True)).clamp(min=0)
    places = torch.where(is_last, equals.gather(-1, which), places).sort(dim=-1).values
    found, order = values.gather(-1, places).sort(dim=-1, descending=True, stable=True)
    return found, places.gather(-1, order)


def explanation(tree: WordTree, path: Sequence[int], conditionals: Sequence[float]) -> Explanation:
    """Return the factors of a node's probability, where they are known already.

    Parameters
    ----------
    tree : WordTree
        The tree.
    path : sequence of int
        The nodes from the top to this one.
    conditionals : sequence of float
        P(node | parent) of each.

    Returns
    -------
    Explanation

    Examples
    --------
    >>> tree = WordTree(("a", "b"), ("dog", "terrier"), (-1, 0), root="animal.n.01")
    >>> print(explanation(tree, (0, 1), (0.9, 0.5)))
    Pr(terrier|dog)=0.50 * Pr(dog|animal)=0.90 = 0.45
    """
    names = [tree.names[node] for node in path]
    factors = map(Factor, path, names, [_root_name(tree), *names[:-1]], conditionals)
    return Explanation(tuple(reversed(list(factors))), math.prod(conditionals))


def _root_name(tree: WordTree) -> str | None:
    """Return the lemma in the name of the implied root's synset: 'physical entity' for 'physical_entity.n.01'."""
    return tree.root.split(".")[0].replace("_", " ") if tree.root else None


def _rounded(probability: float) -> str:
    return f"{probability:.2f}" if probability >= 0.01 or probability == 0 else f"{probability:.1e}"
