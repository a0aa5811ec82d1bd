"""How good is a classifier: top-1, top-5, and how right and how specific it is when it backs off in the tree.

N images, K nodes of the tree, D levels, C flat classes, L labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wordtree import WordTree
from wordtree.tables import tree_tables
from yolo9000.datasets.sample import Batch, Target, pixels
from yolo9000.detection.decode import score_nodes
from yolo9000.models.classes import Classes
from yolo9000.models.output import DetectorOutput
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.runtime.config import Precision
from yolo9000.runtime.device import autocast
from yolo9000.runtime.distributed import Processes, dealt

THRESHOLDS = (*(round(0.05 * step, 2) for step in range(20)), 0.98, 0.99, 0.999, 1.0)
"""At which backing off is looked at."""

OfNodes: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
"""Logits -> P of every node (N, K), the path of the best child of the best child (N, D), and P along it (N, D)."""


class Answers(NamedTuple):
    """What a classifier says of some images; all on the CPU.

    Attributes
    ----------
    truths : Tensor (N,) int64
        The label of each image.
    best : Tensor (N, up to 5) int64
        The most probable labels, the best first.
    at_depth : Tensor (N, D) int64
        The most probable of the nodes that are left when the tree is cut off at each depth. None without a tree.
    path : Tensor (N, D) int64
        The best top node, its best child, and so on to a leaf; padded with -1. None without a tree.
    probabilities : Tensor (N, D)
        P of each node of `path`, 0 where there is none. None without a tree.
    """

    truths: Tensor
    best: Tensor
    at_depth: Tensor | None = None
    path: Tensor | None = None
    probabilities: Tensor | None = None


@torch.no_grad()
def classification_top1(
    model: nn.Module,
    batches: Iterable[Batch],
    classes: Classes,
    labels: Sequence[int],
    *,
    device: torch.device,
    precision: Precision = "float32",
    look: Callable[[DetectorOutput, Sequence[Target]], None] | None = None,
    processes: Processes = Processes(),
) -> float:
    """Share of images with a label whose label is the best of all labels.

    A classifier scores P(label). A detector scores a label by its best box, objectness * P(label).

    Parameters
    ----------
    model : nn.Module
        Classifier (answers logits (B, K)) or detector, in evaluation mode, on `device`.
    batches : iterable of Batch
        Images with an ``image_label``; others are left out.
    labels : sequence of int
        The labels to choose from.
    look : callable, optional
        Is shown the raw output of a detector for each batch of this process's, and its targets.
    processes : Processes
        They share the batches, of which these are this process's, and each counts what all have found.

    Returns
    -------
    float
        NaN without an image that has a label.
    """
    choices = torch.tensor(list(labels), device=device)

    def each(batch: Batch) -> tuple[int, int]:
        with autocast(device, precision):
            output = model(pixels(batch.images, device, non_blocking=True))
        if isinstance(output, Tensor):
            scores = classes.log_probabilities(output)
            best = choices[scores[:, choices].argmax(dim=1)].tolist()
        else:
            if look is not None:
                look(output, batch.targets)
            found = score_nodes(output, classes, labels, threshold=-1.0, max_detections=1)
            best = [int(one.nodes[0]) if len(one) else -1 for one in found]
        pairs = [(target.image_label, answer) for target, answer in zip(batch.targets, best, strict=True)]
        labelled = [label == answer for label, answer in pairs if label is not None]
        return sum(labelled), len(labelled)

    counts = list(dealt(each, batches, processes))
    right, images = (sum(column) for column in zip((0, 0), *counts, strict=True))
    return right / images if images else float("nan")


@torch.no_grad()
def classify_images(
    model: nn.Module,
    batches: Iterable[Batch],
    classes: Classes,
    labels: Sequence[int],
    *,
    device: torch.device,
    precision: Precision = "float32",
    tree: WordTree | None = None,
    processes: Processes = Processes(),
) -> Answers:
    """Ask a classifier about images with a label.

    Parameters
    ----------
    model : nn.Module
        Classifier, in evaluation mode, on `device`.
    batches : iterable of Batch
        Images with an `image_label`.
    classes : Classes
        What its logits mean.
    labels : sequence of int
        The labels to choose from: nodes of `tree`, or classes without one.
    device : torch.device
    precision : Precision
    tree : WordTree, optional
        A tree that flat classes are looked at in: P of a node is the sum of those of the classes at and below it. By
        default it is the classifier's own, if that has more than one sibling group.
    processes : Processes
        They share the batches, of which these are this process's, and each gets the answers of all.

    Returns
    -------
    Answers
    """
    of_nodes: OfNodes | None = None
    if tree is not None:
        of_nodes = summed_over_tree(classes, tree)
    elif classes.tree is not None and len(classes.tree.group_sizes) > 1:
        tree, of_nodes = classes.tree, classes.answers
    choices = torch.tensor(list(labels), device=device)
    cuts = [] if tree is None else [torch.as_tensor(cut, device=device) for cut in _cuts(tree)]

    def each(batch: Batch) -> tuple[Tensor, ...]:
        with autocast(device, precision):
            logits = model(pixels(batch.images, device, non_blocking=True))
        truths = torch.tensor([target.image_label for target in batch.targets])
        scores = classes.probabilities(logits) if of_nodes is None else None
        of_tree: tuple[Tensor, ...] = ()
        if of_nodes is not None:
            scores, path, along = of_nodes(logits.float())
            best_at = torch.stack([cut[scores[:, cut].argmax(dim=1)] for cut in cuts], dim=1)
            of_tree = (best_at.cpu(), path.cpu(), along.cpu())
        assert scores is not None
        best = choices[scores[:, choices].topk(min(5, len(choices)), dim=1).indices]
        return truths, best.cpu(), *of_tree

    parts = list(dealt(each, batches, processes))
    if not parts:
        return Answers(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 1, dtype=torch.int64))
    return Answers(*(torch.cat(column) for column in zip(*parts, strict=True)))


def summed_over_tree(classes: Classes, tree: WordTree) -> OfNodes:
    """How to look at flat classes in a tree: P of a node is the sum of those of the classes at and below it.

    Parameters
    ----------
    classes : Classes
        Each has the id of a node.
    tree : WordTree

    Raises
    ------
    ValueError
        A class is no node of the tree.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "rock", "dog", "cat"), (-1, -1, 0, 0))
    >>> flat = TreeClasses(tree.flatten(["rock", "dog", "cat"]).tree)
    >>> probabilities, path, _ = summed_over_tree(flat, tree)(torch.tensor([[0.5, 0.25, 0.25]]).log())
    >>> [round(value, 2) for value in probabilities[0].tolist()], path.tolist()
    ([0.5, 0.5, 0.25, 0.25], [[0, 2]])
    """
    number, ids = {wnid: node for node, wnid in enumerate(tree.wnids)}, classes.ids
    if absent := [wnid for wnid in ids if wnid not in number]:
        raise ValueError(f"the tree has no node for {len(absent)} of the classes: {', '.join(absent[:5])}")
    own = torch.tensor([number[wnid] for wnid in sorted(ids, key=ids.__getitem__)])
    bare = TreeClasses(replace(tree, rest="none"))  # the sums say all, and leave nothing to a rest alternative

    def of_nodes(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        of_class = classes.probabilities(logits)
        paths = tree_tables(tree, logits.device).path[own.to(logits.device)]  # (C, D)
        sums = of_class.new_zeros(len(logits), len(tree))
        for on_level in paths.unbind(dim=1):
            there = on_level >= 0
            sums.index_add_(1, on_level[there], of_class[:, there])
        _, path, _ = bare.answers(sums.clamp(min=1e-30).log())
        along = sums.gather(1, path.clamp(min=0))
        return sums, path, torch.where(path >= 0, along, 0.0)

    return of_nodes


def _cuts(tree: WordTree) -> list[NDArray[np.intp]]:
    """For each depth the nodes there and the leaves above, which exclude each other."""
    is_leaf = tree.child_group < 0
    return [
        np.flatnonzero((tree.depths == depth) | ((tree.depths < depth) & is_leaf))
        for depth in range(int(tree.depths.max()) + 1)
    ]


def information(tree: WordTree) -> NDArray[np.float64]:
    """What naming each node tells, (K,): 1 - log(leaves at and below it) / log(all leaves).

    A leaf tells 1; so would nothing at all tell 0.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c", "d", "e"), ("animal", "rock", "ape", "dog", "cat"), (-1, -1, 0, 0, 0))
    >>> information(tree).round(3).tolist()  # three of four leaves are animals
    [0.208, 1.0, 1.0, 1.0, 1.0]
    """
    leaves = len(tree.leaves)
    below = tree.sum_upwards(tree.child_group < 0)
    return 1 - np.log(below) / math.log(leaves) if leaves > 1 else np.ones(len(tree))


def accuracy_at_depths(tree: WordTree, answers: Answers) -> list[dict[str, Any]]:
    """How often the best node at each depth is the label's ancestor there.

    The tree is cut off at the depth: the nodes there and the leaves above exclude each other. So at the deepest level
    all leaves are rivals. An image whose label ends above the depth, and is no leaf, says nothing about it.

    Parameters
    ----------
    tree : WordTree
    answers : Answers

    Returns
    -------
    list of dict
        ``{"depth", "nodes", "images", "accuracy"}`` for each depth; the accuracy of no image is NaN.
    """
    assert answers.at_depth is not None
    tables = tree_tables(tree, "cpu")
    paths, depth = tables.path, tables.depth[answers.truths]
    is_leaf = tables.child_group[answers.truths] < 0
    rows = []
    for level, cut in enumerate(_cuts(tree)):
        counted = (depth >= level) | is_leaf
        wanted = torch.where(depth >= level, paths[answers.truths, level], answers.truths)
        right = (answers.at_depth[:, level] == wanted)[counted]
        rows.append({"depth": level, "nodes": len(cut), "images": len(right), "accuracy": _mean(right)})
    return rows


def specificity_curve(
    tree: WordTree, answers: Answers, thresholds: Sequence[float] = THRESHOLDS
) -> list[dict[str, float]]:
    """How right and how specific the answers are when backing off at each threshold.

    The answer is the deepest node on the path with P above the threshold. If not even the top node is that probable,
    the answer is the tree's implied root, a thing: never wrong, of depth 0, and without information. A top node has
    depth 1.

    Parameters
    ----------
    tree : WordTree
    answers : Answers
    thresholds : sequence of float

    Returns
    -------
    list of dict
        For each threshold ``{"threshold", "right", "exact", "too_specific", "wrong", "named", "depth",
        "information"}``: the shares of answers that are the label or an ancestor of it, that are the label, that are
        below the label, and that are none of these; the share that names a node; the mean depth and the mean
        `information` of all answers. NaN without an image.
    """
    assert answers.path is not None
    assert answers.probabilities is not None
    tables = tree_tables(tree, "cpu")
    truth_path, truth_depth = tables.path[answers.truths], tables.depth[answers.truths] + 1
    # the levels on which answer and truth are the same node lie in a row from the top
    agree = ((answers.path == truth_path) & (answers.path >= 0)).sum(dim=1)
    tells = torch.as_tensor(information(tree))
    rows = []
    for threshold in thresholds:
        depth = (answers.probabilities > threshold).sum(dim=1)
        node = answers.path.gather(1, (depth - 1).clamp(min=0)[:, None])[:, 0]
        right = agree >= depth
        too_specific = ~right & (agree == truth_depth)
        rows.append(
            {
                "threshold": threshold,
                "right": _mean(right),
                "exact": _mean(right & (depth == truth_depth)),
                "too_specific": _mean(too_specific),
                "wrong": _mean(~right & ~too_specific),
                "named": _mean(depth > 0),
                "depth": _mean(depth),
                "information": _mean(torch.where(depth > 0, tells[node], 0.0)),
            }
        )
    return rows


def score_answers(answers: Answers, tree: WordTree | None) -> dict[str, Any]:
    """The figures of a classifier's answers.

    Returns
    -------
    dict
        ``{"images", "top1", "top5"}``, and over a tree ``"at_depth"`` of `accuracy_at_depths` and ``"back_off"`` of
        `specificity_curve`.
    """
    right = answers.best == answers.truths[:, None]
    report = {"images": len(right), "top1": _mean(right[:, 0]), "top5": _mean(right.any(dim=1))}
    if tree is None or answers.path is None:
        return report
    return report | {"at_depth": accuracy_at_depths(tree, answers), "back_off": specificity_curve(tree, answers)}


def _mean(values: Tensor) -> float:
    return float(values.double().mean()) if len(values) else math.nan
