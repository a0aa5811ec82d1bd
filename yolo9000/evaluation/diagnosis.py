"""What average precision does not say: is the box right, is a coarser name right, is a probability what it claims?

It is one file because all of its figures are read from one kind of value, an `Observation`.

A truth box is judged by its *best box*: of the boxes that overlap it by an IoU of .5 or more, the one with the highest
objectness; no other detection enters. Classes that had boxes in training and classes that had none are told apart.

Legend: B images of a batch, P boxes of an image, K nodes (or classes), D levels of
the tree (1 without one), T truth boxes of the evaluated labels, N those of them that are found, L pairs of an image
and a label that is in it, C claims.

A *claim* is P(node) of one node at one best box. It is right where the truth lies at the node or below. Below a label
that is no leaf nobody knows the truth: nothing is claimed there, and an answer that goes deeper counts as right.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from wordtree import WordTree
from wordtree.softmax import tree_tables
from yolo9000.datasets.sample import Target
from yolo9000.detection.boxes import iou
from yolo9000.detection.config import DecodeConfig
from yolo9000.models.classes import Classes
from yolo9000.models.output import DetectorOutput

LEAST_IOU = 0.5
"""From which on a box is where the truth is: as for AP50 and CorLoc."""
BOXES = 10
"""So many boxes of an image are asked whether the objects are among them."""
DOUBLES_IOU = 0.45
"""Of two boxes that overlap by more, only the one with the higher objectness is among those (darknet's nms)."""
LEAST_CLAIM = 0.01
"""A probability below this claims nothing; of thousands of nodes nearly all are below it, and right."""
BINS = 10
TREE_THRESHOLDS = tuple(round(0.1 * tenths, 1) for tenths in range(1, 10))
"""At which backing off is looked at."""

BOXES_AT_ONCE = 256
"""Boxes whose class rows are read at once: at 9,418 nodes 10 MB."""

Scores: TypeAlias = dict[str, Any]


class Observation(NamedTuple):
    """What some images have shown; all on the CPU.

    Attributes
    ----------
    labels : Tensor (T,) int64
        Of the truth boxes.
    found : Tensor (T,) bool
        Whether there is a best box.
    among_ten : Tensor (T,) bool
        Whether one of the image's ten boxes of the highest objectness overlaps it enough.
    answers : Tensor (N, D) int64
        For each found one the path that the best child of every node makes, padded with -1; of a flat class itself.
    answer_probabilities : Tensor (N, D)
        P of each node of these paths, 0 where there is none.
    claimed : Tensor (C,)
        P(node), more than `LEAST_CLAIM`.
    claimed_nodes : Tensor (C,) int64
    claim_right : Tensor (C,) bool
    present : Tensor (L,) int64
        The label of each pair of an image and a label in it.
    localised : Tensor (L,) bool
        Whether the box of the image with the highest objectness * P(label) overlaps a truth of the label enough.
    """

    labels: Tensor
    found: Tensor
    among_ten: Tensor
    answers: Tensor
    answer_probabilities: Tensor
    claimed: Tensor
    claimed_nodes: Tensor
    claim_right: Tensor
    present: Tensor
    localised: Tensor


@torch.no_grad()
def observe(
    output: DetectorOutput,
    targets: Sequence[Target],
    classes: Classes,
    labels: Collection[int],
    *,
    threshold: float = 0.005,
) -> Observation:
    """Look at the raw output for some images.

    Parameters
    ----------
    output : DetectorOutput
    targets : sequence of Target
        One for each of the B images.
    classes : Classes
    labels : collection of int
        The evaluated labels; boxes of others are left out.
    threshold : float
        Least objectness of a best box, and of one that a label picks (darknet's ``valid``: .005). The ten boxes have
        none.

    Returns
    -------
    Observation

    Raises
    ------
    ValueError
        Images and targets differ in number.
    """
    if len(targets) != len(output.objectness):
        raise ValueError(f"{len(targets)} targets for {len(output.objectness)} images")
    device = output.objectness.device
    objectness = output.objectness.float().sigmoid()  # (B, P)
    boxes = output.boxes_cxcywh
    images, truths, of_truths = (each.to(device) for each in _evaluated_truths(targets, labels))

    # a batch has few truths: all their overlaps are smaller than one layer of the net
    overlap = iou(boxes[images], truths[:, None])  # (T, P)
    candidates = torch.where(overlap >= LEAST_IOU, objectness[images], 0.0)
    highest, best = candidates.max(dim=1)
    found = highest > threshold
    per_image = objectness.shape[1]
    flat, named = (images * per_image + best)[found], of_truths[found]
    paths, path_probabilities, claims = _read_best_boxes(output, classes, flat, named)

    pairs = torch.stack([images, of_truths], dim=1)
    pairs, pair_of_truth = torch.unique(pairs, dim=0, return_inverse=True) if len(pairs) else (pairs, images)
    picked = _localise(output, classes, objectness, pairs, threshold)[pair_of_truth]
    hit = (picked >= 0) & (overlap.gather(1, picked.clamp(min=0)[:, None]).squeeze(1) >= LEAST_IOU)
    localised = torch.zeros(len(pairs), device=device).index_add(0, pair_of_truth, hit.float()) > 0

    ten = highest_boxes(boxes, objectness)
    among_ten = (iou(ten[images], truths[:, None]) >= LEAST_IOU).any(dim=1)
    seen = (of_truths, found, among_ten, paths, path_probabilities, *claims, pairs[:, 1], localised)
    return Observation(*(each.cpu() for each in seen))


def _evaluated_truths(targets: Sequence[Target], labels: Collection[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Image (T,), box (T, 4) and label (T,) of the truths with one of the labels."""
    counts = torch.tensor([len(target.labels) for target in targets], dtype=torch.int64)
    images = torch.arange(len(targets)).repeat_interleave(counts)
    boxes = torch.cat([torch.zeros(0, 4), *(target.boxes_cxcywh.float().cpu() for target in targets)])
    own = torch.cat([torch.zeros(0, dtype=torch.int64), *(target.labels.cpu() for target in targets)])
    asked = torch.isin(own, torch.tensor(sorted(set(labels)), dtype=torch.int64))
    return images[asked], boxes[asked], own[asked]


def _read_best_boxes(
    output: DetectorOutput, classes: Classes, flat: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """The paths that the boxes (N,) answer, P along them, and their claims: P, node, and whether it is right."""
    paths, depths = classes.paths(flat.device), classes.levels(flat.device)
    answers, probabilities = [paths[:0]], [torch.zeros(0, paths.shape[1], device=flat.device)]
    claims = []
    for some, truth in zip(flat.split(BOXES_AT_ONCE), labels.split(BOXES_AT_ONCE), strict=True):
        probability, answer, along = classes.answers(output.class_logits(some).float())
        answers.append(answer)
        probabilities.append(along)
        row, node = (probability > LEAST_CLAIM).nonzero(as_tuple=True)
        label = truth[row]
        right = paths[label].gather(1, depths[node][:, None]).squeeze(1) == node
        below = paths[node].gather(1, depths[label][:, None]).squeeze(1) == label
        known = right | ~below
        claims.append((probability[row, node][known], node[known], right[known]))
    nothing = (torch.zeros(0, device=flat.device), flat[:0], torch.zeros(0, dtype=torch.bool, device=flat.device))
    claimed, nodes, rights = (torch.cat(column) for column in zip(nothing, *claims, strict=True))
    return torch.cat(answers), torch.cat(probabilities), (claimed, nodes, rights)


def _localise(output: DetectorOutput, classes: Classes, objectness: Tensor, pairs: Tensor, threshold: float) -> Tensor:
    """Which of an image's boxes has the highest objectness * P(label); -1 where none exceeds the threshold.

    For pairs of image and label: (L, 2) -> (L,).
    """
    per_image, nowhere = objectness.shape[1], torch.iinfo(torch.int64).max
    labelled = torch.zeros(len(objectness), 1, dtype=torch.bool, device=pairs.device)
    labelled[pairs[:, 0]] = True
    image, box = (labelled & (objectness > threshold)).nonzero(as_tuple=True)
    log_prob = classes.label_reader(output, pairs[:, 1])
    columns = []
    for images, boxes in zip(image.split(BOXES_AT_ONCE), box.split(BOXES_AT_ONCE), strict=True):
        row, pair = (images[:, None] == pairs[:, 0]).nonzero(as_tuple=True)
        score = objectness[images, boxes].log()[row] + log_prob(images * per_image + boxes, row, pair)
        columns.append((pair, boxes[row], score))
    pair, box, score = (torch.cat(column) for column in zip(*columns, strict=True))
    highest = torch.full((len(pairs),), -torch.inf, device=pairs.device).scatter_reduce(0, pair, score, "amax")
    first = torch.where(score == highest[pair], box, nowhere)
    picked = torch.full_like(pairs[:, 0], nowhere).scatter_reduce(0, pair, first, "amin")
    return torch.where(picked < nowhere, picked, -1)


def highest_boxes(boxes_cxcywh: Tensor, objectness: Tensor, count: int = BOXES) -> Tensor:
    """The boxes of the highest objectness of each image, without doubles and whatever they are called.

    Parameters
    ----------
    boxes_cxcywh : Tensor (B, P, 4)
    objectness : Tensor (B, P)
        Not negative.
    count : int

    Returns
    -------
    Tensor (B, count, 4)
        Highest objectness first; empty boxes (size 0) where there are no more.

    Examples
    --------
    The second box is a double of the first, and there is no third.

    >>> boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.19], [0.1, 0.1, 0.2, 0.2]]])
    >>> highest_boxes(boxes, torch.tensor([[0.9, 0.8, 0.7]]), count=3)[0, :, 0]
    tensor([0.5000, 0.1000, 0.0000])
    """
    left = objectness
    chosen = []
    for _ in range(count):  # all images at once: ten small steps
        highest, box = left.max(dim=1)
        here = boxes_cxcywh.gather(1, box[:, None, None].expand(-1, 1, 4))  # (B, 1, 4)
        chosen.append(torch.where((highest >= 0)[:, None, None], here, 0.0))
        left = torch.where(iou(boxes_cxcywh, here) > DOUBLES_IOU, -1.0, left).scatter(1, box[:, None], -1.0)
    return torch.cat(chosen, dim=1)


def joined(observations: Sequence[Observation]) -> Observation:
    """The observations of several batches, of which there must be one, as one."""
    return Observation(*(torch.cat(column) for column in zip(*observations, strict=True)))


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
        Of all batches.
    classes : Classes
        For flat ones there is no backing off.
    boxed, never_boxed : collection of int
        The evaluated labels.
    tree_threshold : float, optional
        Of backing off; as `DecodeConfig` has it where none is given.

    Returns
    -------
    dict
        ``{"back_off": .., "corloc": .., "recall_at_10": .., "calibration": ..}``, each of which has "boxed" and
        "never_boxed"; see `back_off_scores` and `calibration_scores`. ``corloc``: of the pairs of an image and a label
        in it (``"labels"``), the share whose box of the highest objectness * P(label) overlaps a box of that label.
        ``recall_at_10``: of the truth boxes (``"boxes"``), the share that one of the ten boxes of the highest
        objectness overlaps. Empty without an observation.
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
        """Of each answer: its depth, whether it is right, and its share of the way to the label."""
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


def calibration_scores(seen: Observation, classes: Classes, boxed: Collection[int]) -> Scores:
    """Is a node right as often as its probability says?

    Parameters
    ----------
    seen : Observation
    classes : Classes
    boxed : collection of int
        Labels that had boxes. A node at or above one of them is "boxed", the others are "never_boxed".

    Returns
    -------
    dict
        For "boxed" and "never_boxed": ``{"claims": n, "ece": .., "bins": [{"claims", "predicted", "right"}, ..],
        "unclaimed": ..}``: ten bins of equal width by P(node), in each the mean of P(node) and the share of claims that
        were right; the expected calibration error, the mean difference of the two over all claims; and of the nodes at
        and above the found truths, which all are right, the share that was not claimed: a net that never thinks of a
        node makes no mistake with it in the bins. A mean over nothing is NaN.
    """
    labels = torch.unique(torch.tensor(sorted(boxed), dtype=torch.int64))
    paths = classes.paths("cpu")
    above = paths[labels].unique()
    on_paths = paths[seen.labels[seen.found]].flatten()
    on_paths = on_paths[on_paths >= 0]
    report = {}
    for name, is_boxed in (("boxed", True), ("never_boxed", False)):
        own = torch.isin(seen.claimed_nodes, above, invert=not is_boxed)
        to_claim = int(torch.isin(on_paths, above, invert=not is_boxed).sum())
        claimed = int(seen.claim_right[own].sum())
        report[name] = reliability(seen.claimed[own], seen.claim_right[own])
        report[name]["unclaimed"] = 1 - claimed / to_claim if to_claim else math.nan
    return report


def reliability(claimed: Tensor, right: Tensor) -> Scores:
    """Bins of claims and their expected calibration error; see `calibration_scores`.

    Parameters
    ----------
    claimed : Tensor (C,)
        Probabilities.
    right : Tensor (C,) bool

    Examples
    --------
    Four times .75 was said, and three times it was right.

    >>> scores = reliability(torch.full((4,), 0.75), torch.tensor([True, True, True, False]))
    >>> scores["ece"], scores["bins"][7]
    (0.0, {'claims': 4, 'predicted': 0.75, 'right': 0.75})
    """
    bins = (claimed * BINS).long().clamp(max=BINS - 1)
    counts = torch.bincount(bins, minlength=BINS)
    predicted, were_right = (
        torch.bincount(bins, weights=values.double(), minlength=BINS) / counts for values in (claimed, right)
    )
    gap = torch.where(counts > 0, (predicted - were_right).abs() * counts, 0.0).sum()
    return {
        "claims": len(claimed),
        "ece": float(gap) / len(claimed) if len(claimed) else math.nan,
        "bins": [
            {"claims": claims, "predicted": mean, "right": share}
            for claims, mean, share in zip(counts.tolist(), predicted.tolist(), were_right.tolist(), strict=True)
        ],
    }


def _is_one_of(labels: Tensor, asked: Collection[int]) -> Tensor:
    return torch.isin(labels, torch.tensor(sorted(set(asked)), dtype=torch.int64))


def _mean(values: Tensor) -> float:
    return float(values.double().mean()) if len(values) else math.nan
