"""What a batch shows beyond scored boxes: which box is where a truth is, what it answers, what its probabilities claim.

A truth box is judged by its *best box*: of the boxes that overlap it by an IoU of .5 or more, the one with the highest
objectness; no other detection enters.

Legend: B images of a batch, P boxes of an image, K nodes (or classes), D levels of
the tree (1 without one), T truth boxes of the evaluated labels, N those of them that are found, L pairs of an image
and a label that is in it, C claims.

A *claim* is P(node) of one node at one best box. It is right where the truth lies at the node or below. Below a label
that is no leaf nobody knows the truth: nothing is claimed there, and an answer that goes deeper counts as right.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from yolo9000.datasets.sample import Target
from yolo9000.detection.boxes import iou
from yolo9000.models.classes import Classes
from yolo9000.models.output import DetectorOutput

LEAST_IOU = 0.5
"""From which on a box is where the truth is: as for AP50 and CorLoc."""
BOXES = 10
"""So many boxes of an image are asked whether the objects are among them."""
DOUBLES_IOU = 0.45
"""Where two boxes overlap by more, only the one with the higher objectness is among those (darknet's nms)."""
LEAST_CLAIM = 0.01
"""A probability below this claims nothing; of thousands of nodes nearly all are below it, and right."""

BOXES_AT_ONCE = 256
"""Boxes whose class rows are read at once: at 9,418 nodes 10 MB."""


class Observation(NamedTuple):
    """What some images have shown; all on the CPU.

    Attributes
    ----------
    labels : Tensor (T,) int64
        The labels of the truth boxes.
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
