"""Class channels that are the nodes of a tree.

N boxes or images, K nodes, D levels, B images, M truths of the fullest image, V truths of the batch, T labelled areas,
U columns that are read, L labels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wordtree import TreeDistribution, WordTree
from wordtree.descent import Descent, descend
from wordtree.formats import to_json
from wordtree.softmax import (
    PathColumns,
    level_log_conditionals,
    log_conditionals,
    log_probs,
    path_columns,
    path_groups,
    path_nll,
    path_width,
)
from wordtree.tables import TreeTables, tree_tables
from wordtree.tree import TreeSubset
from yolo9000.models.classes import BestLabels, Classes, LabelColumns, LabelReader, Outside, Over, check_map
from yolo9000.models.output import DetectorOutput
from yolo9000.runtime.tensors import host_knows, to_device

MOST_DESCENTS = 400
"""With more boxes than this in a batch their whole rows of class logits are computed, which has fewer steps."""

ROWS_AT_ONCE = 256
"""And so many rows at a time: of 82,114 nodes a thousand rows are 300 MB."""


@dataclass(frozen=True)
class TreeClasses:
    """The nodes of a tree: a softmax in each sibling group.

    Parameters
    ----------
    tree : WordTree
    map : tuple of int, optional
        Box label -> node (darknet's ``map=``). Image labels are nodes already and never go through it.
    kept : tuple of int, optional
        The only nodes that a box may be labelled with, and what lies below them; see
        `yolo9000.inference.restrict.restrict`.

    Raises
    ------
    Mistake
        If `map` or `kept` name what is no node.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c"), ("animal", "dog", "cat"), (-1, 0, 0))
    >>> classes = TreeClasses(tree)
    >>> classes.number, classes.name(2), classes.conditionals(torch.zeros(3)).tolist()
    (3, 'cat', [1.0, 0.5, 0.5])
    """

    tree: WordTree
    map: tuple[int, ...] | None = None
    kept: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_map(self)

    @property
    def number(self) -> int:
        return len(self.tree)

    @property
    def over(self) -> Over:
        return "tree"

    def probabilities(self, logits: Tensor, tables: TreeTables | None = None) -> Tensor:
        return log_probs(logits, self.tree if tables is None else tables).exp()

    def log_probabilities(self, logits: Tensor) -> Tensor:
        return log_probs(logits, self.tree)

    def conditionals(self, logits: Tensor) -> Tensor:
        return log_conditionals(logits, self.tree).exp()

    def best_labels(self, output: DetectorOutput, boxes: Tensor, threshold: float) -> BestLabels:
        found = self._descended(output, boxes, threshold)
        path_probabilities = found.path_log_probs.exp().float().cpu().numpy()
        depths = self.tree.depths[found.nodes.cpu().numpy()]
        return BestLabels(found.nodes, found.log_probs.exp(), path_probabilities, depths)

    def _descended(self, output: DetectorOutput, boxes: Tensor, threshold: float) -> Descent:
        """The node of each box, found group by group where that reads less than all logits of the boxes would."""
        if len(boxes) <= MOST_DESCENTS or self.kept is not None:
            start = None if self.kept is None else self._best_kept(output, boxes, self.kept)
            return descend(
                lambda which, node: output.class_logits_at(boxes[which], node),
                len(boxes),
                self.tree,
                threshold,
                boxes.device,
                start,
            )
        parts = []
        for some in boxes.split(ROWS_AT_ONCE):
            distribution = TreeDistribution(self.tree, output.class_logits(some).float())
            nodes = distribution.back_off(threshold)
            path = self.paths(boxes.device)[nodes]  # (n, D)
            of_path = log_probs(distribution.logits, self.tree).gather(1, path.clamp(min=0))
            parts.append(Descent(nodes, of_path.masked_fill(path < 0, -torch.inf)))
        return Descent(*(torch.cat(each) for each in zip(*parts, strict=True)))

    def _best_kept(self, output: DetectorOutput, boxes: Tensor, kept: tuple[int, ...]) -> Descent:
        """The most probable of the kept nodes for each box, and log P of all on the path to it."""
        subset = _closure(self.tree, kept)
        columns = torch.tensor(subset.new_to_old, device=boxes.device)
        among = frozenset(kept)
        highest = [node for node in kept if among.isdisjoint(self.tree.path(node)[:-1])]
        choices = torch.tensor(highest, device=boxes.device)
        place = torch.tensor(subset.old_to_new, device=boxes.device)
        found = []
        for some in boxes.split(ROWS_AT_ONCE):
            log_probabilities = log_probs(output.class_logits(some, columns).float(), subset.tree)
            nodes = choices[log_probabilities[:, place[choices]].argmax(dim=1)]
            path = self.paths(boxes.device)[nodes]  # (n, D)
            along = log_probabilities.gather(1, place[path.clamp(min=0)])
            found.append(Descent(nodes, along.masked_fill(path < 0, -torch.inf)))
        return Descent(*(torch.cat(each) for each in zip(*found, strict=True)))

    def answers(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        log_probability = log_probs(logits, self.tree)
        leaves = descend(lambda which, node: logits[which, node], len(logits), self.tree, 0.0, logits.device).nodes
        path = self.paths(logits.device)[leaves]
        along = log_probability.gather(1, path.clamp(min=0)).exp()
        return log_probability.exp(), path, torch.where(path >= 0, along, 0.0)

    def label_reader(self, output: DetectorOutput, labels: Tensor) -> LabelReader:
        # all boxes are read at the columns of all labels, which is one product; the few that a label needs are taken
        path = path_columns(labels, self.tree, path_width(self.tree, labels.tolist()))
        columns, place_of_column = path.columns.unique(return_inverse=True)  # (U,), (L, columns)

        def read(flat: Tensor, row: Tensor, place: Tensor) -> Tensor:
            logits = output.class_logits(flat, columns).float()  # (n, U)
            own = PathColumns(**{name: value[place] for name, value in vars(path).items()})
            return level_log_conditionals(logits[row[:, None], place_of_column[place]], own).sum(dim=-1)

        return read

    def related(self, nodes: Tensor) -> Tensor:
        """The same label, one the other's ancestor, or siblings.

        Examples
        --------
        >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "dog", "cat", "poodle"), (-1, 0, 0, 1))
        >>> TreeClasses(tree).related(torch.tensor([1, 2, 3])).int().tolist()  # cat: dog's sibling; poodle: under dog
        [[1, 1, 1], [1, 1, 0], [1, 0, 1]]
        """
        tables = tree_tables(self.tree, nodes.device)
        siblings = tables.group[nodes][:, None] == tables.group[nodes][None, :]
        under = (tables.path[nodes][:, None, :] == nodes[None, :, None]).any(dim=-1)  # [i, j]: j is on the path of i
        return siblings | under | under.T

    def part(self, nodes: tuple[int, ...]) -> tuple[tuple[int, ...] | None, Classes]:
        subset = _closure(self.tree, nodes)
        return subset.new_to_old, TreeClasses(subset.tree)

    def paths(self, device: torch.device | str) -> Tensor:
        return tree_tables(self.tree, device).path

    def levels(self, device: torch.device | str) -> Tensor:
        return tree_tables(self.tree, device).depth

    def label_columns(self, labels: Tensor, truths: Tensor, area_labels: Tensor, device: torch.device) -> LabelColumns:
        of_truths = labels.flatten()[truths.to(labels.device)]
        if not host_knows([labels, area_labels]):
            paths = [path_columns(to_device(nodes, device), self.tree) for nodes in (of_truths, area_labels)]
            return LabelColumns(None, *paths)
        read = np.flatnonzero(self.tree.read_along(torch.cat([of_truths, area_labels]).numpy()))
        columns = to_device(torch.from_numpy(read), device)
        paths = []
        for nodes in (of_truths, area_labels):
            path = path_columns(to_device(nodes, device), self.tree, path_width(self.tree, nodes.tolist()))
            places = torch.searchsorted(columns, path.columns).clamp(max=max(0, len(read) - 1))  # padding: any place
            paths.append(replace(path, columns=places))
        return LabelColumns(columns, *paths)

    def groups(self, labels: Tensor) -> Tensor | None:
        return path_groups(labels, self.tree)

    def outside(self, sources: Sequence[Tensor], device: torch.device) -> Outside:
        if not host_knows(sources):
            rows = [outside_of(to_device(nodes, device), self.tree) for nodes in sources]
            return Outside(None, tree_tables(self.tree, device), torch.stack(rows), list(range(len(sources))))
        content = [nodes.numpy().tobytes() for nodes in sources]
        # in an order of their own, or each order in which a batch happens to show its sources would be worked out anew
        keys = tuple(sorted(set(content)))
        columns, tables, rows_of_keys, host_columns = _outside_of_sources(keys, self.tree, device)
        return Outside(columns, tables, rows_of_keys, [keys.index(nodes) for nodes in content], host_columns)

    def truth_loss(
        self,
        logits: Tensor,
        *,
        labels: Tensor,
        truths: Tensor,
        groups: Tensor | None,
        paths: PathColumns | None,
        later: Tensor,
        wins: Tensor,
    ) -> Tensor:
        """Along the path of each label, and nothing below it."""
        assert groups is not None
        assert paths is not None
        log_conditional = level_log_conditionals(logits.gather(1, paths.columns), paths)  # (V, D)
        return self.path_loss(log_conditional, truths=truths, groups=groups, later=later)

    def path_loss(self, log_conditional: Tensor, *, truths: Tensor, groups: Tensor, later: Tensor) -> Tensor:
        """`truth_loss` of log P(node | parent) along the path of each truth: (V, D)."""
        # of two truths at a box the later one wins in the sibling groups that are on both paths; a group has one depth
        kept = [~(later & (group[:, :, None] == group[:, None, :])).any(dim=-1) for group in groups.unbind(dim=-1)]
        kept_of_truth = torch.stack(kept, dim=-1).flatten(0, 1).index_select(0, truths)
        return -(log_conditional * kept_of_truth).sum()

    def image_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return path_nll(logits, self.tree, labels).sum()

    @property
    def label_maps(self) -> Mapping[str, Mapping[str, int]]:
        return self.tree.label_maps

    @property
    def ids(self) -> Mapping[str, int]:
        return {wnid: node for node, wnid in enumerate(self.tree.wnids)}

    def identity(self, node: int) -> dict[str, str]:
        return {"id": self.tree.wnids[node], "name": self.tree.names[node]}

    def path(self, node: int) -> tuple[int, ...]:
        return tuple(self.tree.path(node))

    def name(self, node: int) -> str:
        return self.tree.names[node]

    @cached_property
    def description(self) -> dict[str, Any]:
        # the tree as one text: a list of 82,000 names takes a second to load
        plain: dict[str, Any] = {"over": self.over, "tree": to_json(self.tree), "map": self.map}
        return plain if self.kept is None else plain | {"kept": self.kept}

    def __str__(self) -> str:
        return f"tree of {self.number:,} nodes"


def outside_of(labelled_nodes: Tensor, tree: WordTree) -> Tensor:
    """The highest nodes that neither contain nor lie under a labelled node: (L,) -> (K,) bool.

    They exclude each other, so their probabilities add up to that of "something that this source does not label".

    Examples
    --------
    >>> names = ("animal", "tool", "dog", "cat", "poodle", "saw")
    >>> tree = WordTree(names, names, (-1, -1, 0, 0, 2, 1))
    >>> [tree.names[node] for node in outside_of(torch.tensor([2]), tree).nonzero()]  # only dogs are labelled
    ['tool', 'cat']
    """
    labelled = labelled_nodes.new_zeros(len(tree), dtype=torch.bool).index_fill(0, labelled_nodes, True)
    tables = tree_tables(tree, labelled_nodes.device)
    on_path = tables.path >= 0
    inside = (labelled[tables.path.clamp(min=0)] & on_path).any(dim=-1)
    slots = torch.where(on_path, tables.path, len(tree))[labelled_nodes]  # one too many takes the padding
    above = labelled.new_zeros(len(tree) + 1).index_fill(0, slots.flatten(), True)[:-1]
    under_above = above[tables.parent.clamp(min=0)] | (tables.parent < 0)
    return ~inside & ~above & under_above


def share_with_boxes(boxed: Collection[int], never_boxed: Collection[int], tree: WordTree) -> Tensor:
    """Which share of the labels at and under each node comes with boxes: -> (K,); 1 where nothing is labelled.

    A label under one with boxes comes with them too: any poodle has a box where dogs have. One above labels with boxes
    says nothing of its own and does not count.

    Parameters
    ----------
    boxed, never_boxed : collection of int
        The labels that have boxes, and those that only images are labelled with.
    tree : WordTree

    Examples
    --------
    >>> names = ("animal", "tool", "dog", "cat", "poodle", "pug")
    >>> tree = WordTree(names, names, (-1, -1, 0, 0, 2, 2))
    >>> share_with_boxes([4], [3, 5], tree)  # only poodles have boxes; nothing is labelled "tool"
    tensor([0.3333, 1.0000, 0.5000, 0.0000, 1.0000, 0.0000])
    >>> share_with_boxes([2], [0, 3, 5], tree)  # a pug is a dog
    tensor([0.6667, 1.0000, 1.0000, 0.0000, 1.0000, 1.0000])
    """
    path = tree_tables(tree, "cpu").path  # (K, D), padded with -1

    def marked(nodes: Collection[int]) -> Tensor:
        return torch.zeros(len(tree), dtype=torch.bool).index_fill(0, torch.tensor(sorted(nodes)).long(), True)

    def at_and_above(labels: Tensor) -> Tensor:
        """How many of the labels (K,) bool stand at and under each node: (K,)."""
        nodes = path[labels]
        return torch.bincount(nodes[nodes >= 0], minlength=len(tree))

    has_boxes = marked(boxed)
    comes_with_boxes = (has_boxes[path.clamp(min=0)] & (path >= 0)).any(dim=-1)
    counts = has_boxes | (marked(never_boxed) & (at_and_above(has_boxes) == 0))
    labels, with_boxes = at_and_above(counts), at_and_above(counts & comes_with_boxes)
    return torch.where(labels > 0, with_boxes / labels.clamp(min=1), 1.0)


@lru_cache(maxsize=64)
def _outside_of_sources(
    sources: tuple[bytes, ...], tree: WordTree, device: torch.device
) -> tuple[Tensor, TreeTables, Tensor, Tensor]:
    """Columns, tables and nodes of `Outside`, a row for each source, and the columns on the host.

    The labelled nodes of each source come as int64 bytes.

    Whatever lies highest outside of the labelled nodes stands beside a node on one of their paths, so only these
    sibling groups need be read: for COCO's 80 classes a tenth of the tree.
    """
    labelled = [np.frombuffer(nodes, np.int64) for nodes in sources]
    part = tree.closure(np.unique(np.concatenate(labelled)).tolist() or [0])
    place = np.asarray(part.old_to_new)
    with torch.inference_mode(False):
        rows = [outside_of(torch.from_numpy(place[nodes]), part.tree) for nodes in labelled]
        columns = torch.tensor(part.new_to_old)
        return columns.to(device), tree_tables(part.tree, device), torch.stack(rows).to(device), columns


@lru_cache(maxsize=16)
def _closure(tree: WordTree, nodes: tuple[int, ...]) -> TreeSubset:
    """What must be read of a box to know P of some nodes; kept, for an evaluation asks for each batch."""
    return tree.closure(nodes or (0,))
