"""What average precision does not say: is the box right, and is a coarser name right?

Whether a probability is what it claims is in `yolo9000.evaluation.reliability`. All figures are read from one kind of
value, an `Observation`. Classes that had boxes in training and classes that had none are told apart.

Legend: T truth boxes of the evaluated labels, N those of them that are found, D levels of the tree.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from wordtree import WordTree
from wordtree.softmax import tree_tables
from yolo9000.detection.config import DecodeConfig
from yolo9000.evaluation.node_table import sibling_confusions
from yolo9000.evaluation.observation import Observation, joined
from yolo9000.evaluation.reliability import calibration_scores
from yolo9000.models.classes import Classes

TREE_THRESHOLDS = tuple(round(0.1 * tenths, 1) for tenths in range(1, 10))
"""At which backing off is looked at."""

Scores: TypeAlias = dict[str, Any]


def diagnose(
    observations: Sequence[Observation],
    classes: Classes,
    *,
    boxed: Collection[int],
    never_boxed: Collection[int],
    tree_threshold: float | None = None,
) -> Scores:
    """All that a report says beyond average precision.

    Parameters
    ----------
    observations : sequence of Observation
        What each batch has shown.
    classes : Classes
        For flat ones there is no backing off.
    boxed, never_boxed : collection of int
        The evaluated labels.
    tree_threshold : float, optional
        Where backing off stops; as `DecodeConfig` has it where none is given.

    Returns
    -------
    dict
        ``{"back_off": .., "corloc": .., "recall_at_10": .., "calibration": ..}``, each of which has "boxed" and
        "never_boxed"; see `back_off_scores` and `calibration_scores`; and ``"confusions"``, see `sibling_confusions`.
        ``corloc``: of the pairs of an image and a label in it (``"labels"``), the share whose box of the highest
        objectness * P(label) overlaps a box of that label. ``recall_at_10``: of the truth boxes (``"boxes"``), the
        share that one of the ten boxes of the highest objectness overlaps. Empty without an observation.
    """
    if not observations:
        return {}
    seen = joined(observations)
    sets = {"boxed": boxed, "never_boxed": set(never_boxed) - set(boxed)}
    report: Scores = {}
    if (tree := classes.tree) is not None:
        threshold = DecodeConfig().tree_threshold if tree_threshold is None else tree_threshold
        report["back_off"] = {"tree_threshold": threshold} | {
            name: back_off_scores(seen, tree, labels, threshold) for name, labels in sets.items()
        }
    report["corloc"] = _shares(sets, seen.present, seen.localised, "labels")
    report["recall_at_10"] = _shares(sets, seen.labels, seen.among_ten, "boxes")
    report["calibration"] = calibration_scores(seen, classes, boxed)
    report["confusions"] = sibling_confusions(seen, classes)
    return report


def _shares(sets: dict[str, Collection[int]], labels: Tensor, right: Tensor, unit: str) -> Scores:
    shares = {}
    for name, asked in sets.items():
        own = _is_one_of(labels, asked)
        shares[name] = {"share": _mean(right[own]), unit: int(own.sum())}
    return shares


def back_off_scores(
    seen: Observation,
    tree: WordTree,
    labels: Collection[int],
    tree_threshold: float,
    sweep: Iterable[float] = TREE_THRESHOLDS,
) -> Scores:
    """How the truths of some labels are answered when the tree is descended as far as the net is sure.

    Parameters
    ----------
    seen : Observation
    tree : WordTree
    labels : collection of int
    tree_threshold : float
        How probable a node must be to be answered. The best top node is answered however improbable it is.
    sweep : iterable of float
        Thresholds for a curve of how often answers are right against how deep they are.

    Returns
    -------
    dict
        ``"boxes"``: truths. Shares of them, which add up to 1: ``"exact"``, ``"less_exact"`` (answered with an ancestor
        of the label), ``"finer"`` (with something below the label, which the truth can neither confirm nor deny),
        ``"wrong"``, ``"missed"`` (no best box). ``"found"``: what is not missed. ``"depth"``: how deep the right
        answers are on the way to the label, from 0 at a top node to 1 at the label; their mean. ``"sweep"``: for each
        threshold ``{"tree_threshold", "answered", "precision", "depth"}``, over answers that say something only: surer
        than the threshold, and no top node with children. ``"answered"`` is their share of the found truths,
        ``"precision"`` the right ones' share of them, and ``"depth"`` is that of the right ones. A mean over nothing
        is NaN.
    """
    tables = tree_tables(tree, "cpu")
    own = _is_one_of(seen.labels, labels)
    mine = own[seen.found]
    label = seen.labels[own & seen.found]
    path, probability = seen.answers[mine], seen.answer_probabilities[mine]
    label_depth = tables.depth[label]
    # the levels on which answer and truth are the same node lie in a row from the top
    agree = ((path == tables.path[label]) & (path >= 0)).sum(dim=1)

    def judged(threshold: float) -> tuple[Tensor, Tensor, Tensor]:
        """The depth of each answer, whether it is right, and its share of the way to the label."""
        depth = ((probability > threshold).sum(dim=1) - 1).clamp(min=0)
        right = agree > torch.minimum(depth, label_depth)
        way = torch.where(label_depth > 0, torch.minimum(depth, label_depth) / label_depth.clamp(min=1), 1.0)
        return depth, right, way

    boxes = int(own.sum())
    depth, right, way = judged(tree_threshold)
    counts = {
        "exact": right & (depth == label_depth),
        "less_exact": right & (depth < label_depth),
        "finer": right & (depth > label_depth),
        "wrong": ~right,
    }
    scores: Scores = {"boxes": boxes, "found": _mean(seen.found[own])}
    scores |= {name: int(which.sum()) / boxes if boxes else math.nan for name, which in counts.items()}
    scores |= {"missed": _mean(~seen.found[own]), "depth": _mean(way[right]), "sweep": []}
    has_children = tables.child_group[path[:, 0]] >= 0
    for threshold in sweep:
        depth, right, way = judged(threshold)
        says = (probability[:, 0] > threshold) & ((depth > 0) | ~has_children)
        scores["sweep"].append(
            {
                "tree_threshold": threshold,
                "answered": _mean(says),
                "precision": _mean(right[says]),
                "depth": _mean(way[says & right]),
            }
        )
    return scores


def _is_one_of(labels: Tensor, asked: Collection[int]) -> Tensor:
    return torch.isin(labels, torch.tensor(sorted(set(asked)), dtype=torch.int64))


def _mean(values: Tensor) -> float:
    return float(values.double().mean()) if len(values) else math.nan
