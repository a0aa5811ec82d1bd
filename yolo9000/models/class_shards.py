"""Class rows of which each process holds a part, for trees whose rows do not fit on one GPU.

A process owns the rows of a range of whole sibling groups. A softmax is over one group, so no sum over a group crosses
processes. What is read of the classes is asked of all: the features of the boxes go to everybody, each process computes
the groups that it owns, and who asked adds up the answers of all, of which one at each level is not 0. On the way back
each process has the whole gradient of its own rows, and sends nothing but the gradients of the features.

All processes take part in each reading, whether they have something to ask or not.

N boxes, D channels of the features, A priors, K nodes, k of them owned, L levels of the tree, C columns on a path,
U columns that somebody reads, T labelled areas, I images with such an area.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Self

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from wordtree import WordTree
from wordtree.softmax import PathColumns, level_log_conditionals, path_columns, path_width
from wordtree.tables import tree_tables
from yolo9000.models.box_coding import BoxCoding
from yolo9000.models.late_gradient import HeadRows, LateTable, without_autocast
from yolo9000.models.output import IMAGES_AT_ONCE, SparseRegionOutput
from yolo9000.runtime.distributed import Processes, gather_tensors
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.tensors import full_precision, to_device

FEATURES, ANSWERS = "class features", "class answers"
"""What is gathered from all, and what each process sends to the one that asked for it."""


def ranges_of(tree: WordTree, number: int) -> tuple[range, ...]:
    """Cut the nodes of a tree into ranges of whole sibling groups, as equal as that allows.

    Parameters
    ----------
    tree : WordTree
    number : int
        The number of ranges; none is empty.

    Raises
    ------
    Mistake
        There are fewer groups.

    Examples
    --------
    >>> tree = WordTree(tuple("abcde"), ("animal", "tool", "dog", "cat", "saw"), (-1, -1, 0, 0, 1))
    >>> ranges_of(tree, 2)
    (range(0, 2), range(2, 5))
    """
    edges = np.append(tree.group_offsets, len(tree))
    groups = len(edges) - 1
    if number > groups:
        raise Mistake(
            f"`shard_classes`: {number} processes cannot share a tree of {groups} sibling groups; take fewer processes "
            "or leave it out"
        )
    ends = [0]
    for part in range(1, number):
        nearest = int(np.abs(edges - len(tree) * part / number).argmin())
        ends.append(min(max(nearest, ends[-1] + 1), groups - (number - part)))
    ends.append(groups)
    return tuple(range(int(edges[a]), int(edges[b])) for a, b in itertools.pairwise(ends))


@dataclass(frozen=True)
class ClassShard:
    """Which class rows are whose, and how processes ask each other.

    Parameters
    ----------
    tree : WordTree
    ranges : tuple of range
        The nodes of each process, in the order of their ranks.
    processes : Processes
    """

    tree: WordTree
    ranges: tuple[range, ...]
    processes: Processes

    @property
    def own(self) -> range:
        """The nodes of this process."""
        return self.ranges[self.processes.rank]

    def __deepcopy__(self, memo: Any) -> Self:
        return self  # constant, and a copy of a net need not copy its tree

    def said_by_all(self, numbers: Tensor) -> list[Tensor]:
        """Whole numbers of each process, however many, from host to host: no GPU is waited for."""
        said = gather_tensors(torch.tensor([len(numbers)]), self.processes, FEATURES)
        counts = [int(count) for count in said]
        if not max(counts):
            return [numbers] * len(counts)
        padded = torch.zeros(max(counts), dtype=torch.long)
        padded[: len(numbers)] = numbers
        gathered = gather_tensors(padded, self.processes, FEATURES)
        return [each[:count] for each, count in zip(gathered, counts, strict=True)]

    def rows_of_all(self, rows: Tensor, counts: Sequence[int]) -> list[Tensor]:
        """The rows (n, W) of each process, of which everybody knows the numbers."""
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        gathered = gather_tensors(padded, self.processes, FEATURES) if padded.numel() else [padded] * len(counts)
        return [each[:count] for each, count in zip(gathered, counts, strict=True)]

    def give_back(self, answers: Sequence[Tensor], counts: Sequence[int]) -> list[Tensor]:
        """Send each process what it asked for; get the answers of each, which have so many numbers."""
        sent = torch.cat([answer.reshape(-1) for answer in answers])
        received = sent.new_empty(sum(counts))
        self.processes.count(ANSWERS, sent)
        dist.all_to_all_single(received, sent, list(counts), [answer.numel() for answer in answers])
        return list(received.split(list(counts)))

    def sum_back(self, answers: Sequence[Tensor], like: Tensor) -> Tensor:
        """Send each process what it asked for; get the sum of the answers, in the shape of `like`."""
        parts = self.give_back(answers, [like.numel()] * len(answers))
        return torch.stack(parts).sum(dim=0).view(like.shape)


@dataclass(frozen=True)
class _OwnColumns:
    """The columns that a process owns of those that some labels read, and the paths of these labels among them."""

    columns: Tensor  # (U,) among the own nodes, ascending
    path: PathColumns  # (n, ...): columns are places in `columns`, all of other processes' groups is padding

    def log_conditionals(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """(..., U) -> log P(node | parent) on each level (..., L), 0 on those of others, and the logits read."""
        path = self.path
        if not len(self.columns):
            return logits.new_zeros((*logits.shape[:-1], path.level_valid.shape[-1])), logits
        read = logits.gather(-1, path.columns.expand(*logits.shape[:-1], -1))
        return level_log_conditionals(read, path), read


def _own_columns(shard: ClassShard, labels: Tensor, device: torch.device) -> _OwnColumns:
    """What this process owns of the paths to some labels (n,), which the host knows."""
    tree, own = shard.tree, shard.own
    read = np.flatnonzero(tree.read_along(labels.numpy())[own.start : own.stop])
    columns = to_device(torch.from_numpy(read), device)
    path = path_columns(to_device(labels, device), tree, path_width(tree, labels.tolist()))
    group = path.level_group
    first = tree_tables(tree, device).group_offset[group.clamp(min=0)]
    is_own = (group >= 0) & (first >= own.start) & (first < own.stop)  # (n, L)
    valid = path.valid & is_own.gather(-1, path.level)
    places = torch.searchsorted(columns, path.columns - own.start).clamp(max=max(0, len(read) - 1))
    path = replace(
        path,
        columns=torch.where(valid, places, 0),
        valid=valid,
        on_path=path.on_path & valid,
        level_valid=path.level_valid & is_own,
        level_rest=path.level_rest & is_own,
    )
    return _OwnColumns(columns, path)


def _table_rows(columns: Tensor, bias: Tensor) -> Tensor:
    """Which rows of a process's table are those of some of its columns, prior after prior: (U,) -> (A * U,)."""
    firsts = torch.arange(len(bias), device=columns.device) * bias.shape[1]
    return (firsts[:, None] + columns).flatten()


def _logits(features: Tensor, weight: Tensor, bias: Tensor, rows: Tensor) -> Tensor:
    """Class logits at some rows of all priors: (..., D) and (A * U,) -> (..., A, U)."""
    with without_autocast(features.device):
        flat = F.linear(full_precision(features), weight.index_select(0, rows), bias.flatten().index_select(0, rows))
    return flat.unflatten(-1, (len(bias), -1)) if len(rows) else flat.new_zeros(*flat.shape[:-1], len(bias), 0)


def _of_prior(logits: Tensor, prior: Tensor) -> Tensor:
    """(N, A, U) and (N,) -> (N, U)"""
    return logits.gather(1, prior[:, None, None].expand(-1, 1, logits.shape[2])).squeeze(1)


class _AlongPaths(torch.autograd.Function):
    """The features of some boxes, and a label for each -> log P(node | parent) on each level of the label's path.

    The host knows the labels (N,), and which of the boxes are those of truths, which add the `offsets` (K,).
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        prior: Tensor,
        weight: Tensor,
        bias: Tensor,
        table: LateTable,
        shard: ClassShard,
        labels: Tensor,
        is_truth: Tensor,
        offsets: Tensor | None,
    ) -> Tensor:
        said = shard.said_by_all(labels * 2 + is_truth)
        ctx.counts = [len(numbers) for numbers in said]
        # a prior is a small number, which any format holds: so they travel with the features
        sent = torch.cat([features, prior[:, None].to(features.dtype)], dim=1)
        answers, ctx.kept = [], []
        for numbers, rows in zip(said, shard.rows_of_all(sent, ctx.counts), strict=True):
            of_box, prior_of_box = rows[:, :-1], rows[:, -1].long()
            own = _own_columns(shard, numbers // 2, features.device)
            table_rows = _table_rows(own.columns, bias)
            logits = _of_prior(_logits(of_box, weight, bias, table_rows), prior_of_box)
            if offsets is not None:
                added = offsets.index_select(0, own.columns + shard.own.start)
                logits = logits + to_device(numbers % 2, features.device)[:, None] * added
            answer, read = own.log_conditionals(logits)
            answers.append(answer)
            if len(own.columns):
                of_column = _probabilities(answer, read, own.path)
                ctx.kept.append((of_box, prior_of_box, own, table_rows, of_column))
            else:
                ctx.kept.append(None)
        ctx.save_for_backward(features, weight, bias)
        ctx.table, ctx.shard, ctx.key = table, shard, object()
        like = answers[0].new_empty(len(labels), answers[0].shape[-1])
        return shard.sum_back(answers, like)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, bias = ctx.saved_tensors
        of_bias, of_features = torch.zeros_like(bias), []
        if ctx.table.put_by is not None:  # rows that nobody reads have a gradient of 0: momentum and decay move them
            nothing = torch.zeros(0, dtype=torch.long, device=weight.device)
            ctx.table.put_by.put(ctx.key, (nothing, weight.new_zeros(0, 0), weight.new_zeros(0, weight.shape[1])))
        of_all = ctx.shard.rows_of_all(gradient.contiguous(), ctx.counts)
        for number, (of_answer, kept) in enumerate(zip(of_all, ctx.kept, strict=True)):
            if kept is None:
                of_features.append(gradient.new_zeros(len(of_answer), features.shape[1]))
                continue
            of_box, prior, own, rows, of_column = kept
            path = own.path
            # of a softmax: 1 for the node on the path, less the probabilities of all of its group
            of_read = of_answer.gather(1, path.level) * (path.on_path.to(of_answer.dtype) - of_column)
            of_read = torch.where(path.valid, of_read, 0.0)
            of_logits = of_read.new_zeros(len(of_read), len(own.columns)).scatter_add(1, path.columns, of_read)
            of_rows = of_read.new_zeros(len(of_read), len(bias), len(own.columns))
            of_rows.scatter_(1, prior[:, None, None].expand(-1, 1, len(own.columns)), of_logits[:, None])
            of_rows = of_rows.flatten(1)
            if ctx.table.put_by is not None:
                ctx.table.put_by.put((ctx.key, number), (rows, of_rows, full_precision(of_box)))
            of_bias.view(-1).index_add_(0, rows, of_rows.sum(dim=0))
            with without_autocast(weight.device):
                of_features.append(of_rows @ weight.index_select(0, rows))
        like = gradient.new_empty(features.shape)
        whole = ctx.shard.sum_back(of_features, like).to(features.dtype)
        return whole, None, None, of_bias, None, None, None, None, None


def _probabilities(log_conditional: Tensor, logits: Tensor, path: PathColumns) -> Tensor:
    """P(node | parent) of all columns of a path: what its softmax takes away of each; (N, L), (N, C) -> (N, C)."""
    on_path = torch.where(path.on_path, logits, 0.0)
    own = torch.zeros_like(log_conditional).scatter_add(1, path.level, on_path)
    total = own - log_conditional  # the logarithm of each group's sum
    return torch.where(path.valid, logits - total.gather(1, path.level), -torch.inf).exp()


class ShardedRegionOutput(SparseRegionOutput):
    """What a detector answers whose class rows are spread over processes: a training reads it, and nobody else.

    Parameters
    ----------
    features : Tensor (B, D, H, W)
        What the net makes of the images.
    rows : HeadRows
        Weights and biases; of the class rows this process's own.
    coding : BoxCoding
        What the boxes are relative to: the A priors of a cell.
    shard : ClassShard
    """

    def __init__(self, features: Tensor, rows: HeadRows, coding: BoxCoding, shard: ClassShard) -> None:
        super().__init__(features, rows, coding)
        self._shard = shard

    @property
    def num_classes(self) -> int:
        return len(self._shard.tree)

    def along_paths(self, boxes: Tensor, labels: Tensor, is_truth: Tensor, offsets: Tensor | None = None) -> Tensor:
        """log P(node | parent) on each level of the path to a label, 0 below it: a box (N,) each -> (N, L).

        Parameters
        ----------
        boxes : Tensor (N,)
            Flat indices, on the device.
        labels : Tensor (N,)
            A node each, on the host.
        is_truth : Tensor (N,) bool
            Which of them add the offsets; on the host.
        offsets : Tensor (K,), optional
            Added to the logits.
        """
        prior, cell = self._place(boxes)
        if not self._has_own_rows:
            prior = torch.zeros_like(prior)
        features = self._cells.index_select(0, cell)
        table = self._rows.classes
        answer: Tensor = _AlongPaths.apply(
            features, prior, table.weight, self._rows.class_bias, table, self._shard, labels, is_truth, offsets
        )
        return answer

    @torch.no_grad()
    def label_log_probs(self, images: Tensor, labels: Tensor) -> Tensor:
        """log P of a label at every box of an image: (T,) and (T,), both on the host -> (T, P)."""
        shard, device = self._shard, self._features.device
        weight, bias = self._rows.classes.weight, self._rows.class_bias
        b, a, h, w, _ = self._box_rows.shape
        distinct, ordinal = images.unique(return_inverse=True)
        own_cells = self._cells.view(b, h * w, -1).index_select(0, to_device(distinct, device)).flatten(0, 1)
        said = shard.said_by_all(torch.cat([torch.tensor([len(distinct), h * w]), ordinal, labels]))
        counts = [int(numbers[0] * numbers[1]) for numbers in said]
        if not any(counts):
            return self._box_rows.new_zeros(0, a * h * w)
        answers = []
        for numbers, cells in zip(said, shard.rows_of_all(own_cells, counts), strict=True):
            number, cells_of_image = int(numbers[0]), int(numbers[1])
            image, asked = numbers[2:].view(2, -1)
            if not number:
                answers.append(full_precision(cells).new_zeros(0))
                continue
            by_image = cells.view(number, cells_of_image, -1)
            parts = zip(image.split(IMAGES_AT_ONCE), asked.split(IMAGES_AT_ONCE), strict=True)
            for some, their_labels in parts:
                own = _own_columns(shard, their_labels, device)
                rows = _table_rows(own.columns, bias)
                logits = _logits(by_image.index_select(0, to_device(some, device)), weight, bias, rows)  # (t, HW, A, U)
                path = PathColumns(**{name: value[:, None, None] for name, value in vars(own.path).items()})
                found, _ = replace(own, path=path).log_conditionals(logits)
                answers.append(found.sum(dim=-1).transpose(1, 2).reshape(-1))  # (t, A, HW)
        own_rows = len(bias)
        like = answers[0].new_empty(len(images), own_rows, h * w)
        sizes = [int(len(numbers) - 2) // 2 * int(numbers[1]) * own_rows for numbers in said]
        joined = torch.cat(answers).split(sizes)
        return shard.sum_back(joined, like).expand(-1, a, -1).flatten(1)

    @torch.no_grad()
    def logits_at_columns(self, boxes: Tensor, columns: Tensor) -> Tensor:
        """Class logits (N, U) of some boxes (N,) on the device at columns (U,) on the host, ascending."""
        shard, device, bias = self._shard, self._features.device, self._rows.class_bias
        prior, cell = self._place(boxes)
        if not self._has_own_rows:
            prior = torch.zeros_like(prior)
        features = self._cells.index_select(0, cell)
        said = shard.said_by_all(torch.cat([torch.tensor([len(boxes)]), columns]))
        counts = [int(numbers[0]) for numbers in said]
        if not any(counts):
            return full_precision(features).new_zeros(0, len(columns))
        sent = torch.cat([features, prior[:, None].to(features.dtype)], dim=1)
        answers = []
        for numbers, rows in zip(said, shard.rows_of_all(sent, counts), strict=True):
            asked = numbers[1:] - shard.own.start
            mine = to_device(asked[(asked >= 0) & (asked < len(shard.own))], device)
            logits = _logits(rows[:, :-1], self._rows.classes.weight, bias, _table_rows(mine, bias))
            answers.append(_of_prior(logits, rows[:, -1].long()))
        edges = torch.searchsorted(columns, torch.tensor([0, *(each.stop for each in shard.ranges)]))
        widths = edges.diff().tolist()
        found = shard.give_back(answers, [len(boxes) * width for width in widths])
        return torch.cat([part.view(len(boxes), width) for part, width in zip(found, widths, strict=True)], dim=1)

    # what asks for the classes in any other way would leave the other processes waiting

    @property
    def raw(self) -> Tensor:
        _refuse()

    def class_logits(self, boxes: Tensor, columns: Tensor | None = None) -> Tensor:
        _refuse()

    def class_logits_at(self, boxes: Tensor, columns: Tensor) -> Tensor:
        _refuse()

    def class_logits_of_images(self, images: Tensor, columns: Tensor) -> Tensor:
        _refuse()

    def joined(self, others: Sequence[Self]) -> Self:
        _refuse()

    def only(self, boxes: Tensor) -> tuple[Self, Tensor]:
        _refuse()


def _refuse() -> NoReturn:
    raise RuntimeError("class rows that are spread over processes are read by the training alone, all at once")
