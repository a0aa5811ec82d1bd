"""Raw output -> detections: threshold, descend the tree, drop doubles.

B images, P boxes of an image, N boxes that pass the threshold, K nodes, S scored nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolo9000.detection.boxes import iou
from yolo9000.detection.config import DecodeConfig, Nms
from yolo9000.detection.decoded_output import DecodedOutput
from yolo9000.detection.results import Detections
from yolo9000.models.classes import Classes
from yolo9000.models.output import DetectorOutput

NUMBERS_AT_ONCE = 1 << 22
"""So many probabilities are computed together at most, 16 MB, where one image has no more of them."""


def _related(nodes: Tensor, classes: Classes, nms: Nms) -> Tensor:
    """Pairs of labels that can be the same object: (N,) -> (N, N) bool. See :class:`DecodeConfig`."""
    match nms:
        case "all":
            return torch.ones(len(nodes), len(nodes), dtype=torch.bool, device=nodes.device)
        case "class":
            return nodes[:, None] == nodes[None, :]
        case "tree":
            return classes.related(nodes)


def suppress(scores: Tensor, doubles_of: Callable[[int], NDArray[np.bool_]], max_detections: int) -> NDArray[np.intp]:
    """Greedy non-maximum suppression; returns the kept rows, best first.

    Parameters
    ----------
    scores : Tensor (N,)
        Equal scores keep their order.
    doubles_of : callable
        Row -> (N,) bool: the boxes that overlap this one and can be the same object. It is asked only for kept rows.
    max_detections : int
        How many are kept at most.

    Returns
    -------
    NDArray of intp

    Examples
    --------
    >>> doubles = np.array([[True, True, False], [True, True, True], [False, True, True]])
    >>> suppress(torch.tensor([0.5, 0.9, 0.1]), doubles.__getitem__, 100).tolist()
    [1]
    """
    order = torch.sort(scores, descending=True, stable=True).indices.tolist()
    alive = np.ones(len(order), dtype=bool)
    kept: list[int] = []
    for row in order:
        if alive[row]:
            kept.append(row)
            if len(kept) == max_detections:
                break
            alive &= ~doubles_of(row)
    return np.array(kept, dtype=np.intp)


def _overlaps(boxes_cxcywh: Tensor, nms_iou: float) -> Tensor:
    """Pairs of boxes that overlap enough to be doubles: (N, 4) -> (N, N) bool."""
    return iou(boxes_cxcywh[:, None], boxes_cxcywh[None]) > nms_iou


class _Survivors(NamedTuple):
    """Boxes of one image that pass the threshold."""

    flat: Tensor  # (N,) flat index over the whole batch
    boxes_cxcywh: Tensor  # (N, 4) relative to the network's input
    objectness: Tensor  # (N,)


def _survivors(output: DetectorOutput, threshold: float) -> list[_Survivors]:
    """The boxes of each image whose objectness exceeds the threshold."""
    scores = output.objectness.float().sigmoid()
    per_image = scores.shape[1]
    image, box = (scores > threshold).nonzero(as_tuple=True)
    boxes = output.boxes_cxcywh.flatten(0, 1)
    flat = image * per_image + box
    counts = torch.bincount(image, minlength=len(scores)).tolist()
    columns = (flat, boxes.index_select(0, flat), scores[image, box])
    return [_Survivors(*each) for each in zip(*(column.split(counts) for column in columns), strict=True)]


@torch.no_grad()
def detect(
    output: DetectorOutput | DecodedOutput, classes: Classes, config: DecodeConfig | None = None
) -> list[Detections]:
    """One label a box: the deepest node that the net is sure enough of; score = objectness * P(node).

    A box is kept if its score is above the threshold, so the number that is shown is the number that was asked for.

    Returns
    -------
    list of Detections
        One for each image.
    """
    if isinstance(output, DecodedOutput):
        return output.detections(config)
    config = config or DecodeConfig()
    survivors = _survivors(output, config.threshold)  # no score is above the objectness
    if not survivors:
        return []
    flat = torch.cat([each.flat for each in survivors])
    found = classes.best_labels(output, flat, config.tree_threshold)
    nodes, probability = found.nodes, found.probabilities
    results = []
    first = 0
    for places, boxes, objectness in survivors:
        mine = slice(first, first + len(boxes))
        scores = objectness * probability[mine]
        doubles = (_overlaps(boxes, config.nms_iou) & _related(nodes[mine], classes, config.nms)).cpu().numpy()
        kept = suppress(scores, doubles.__getitem__, config.max_detections)
        # after the suppression, where a box below the threshold drops none above it, as its score is lower
        kept = kept[(scores > config.threshold).cpu().numpy()[kept]]
        keep = torch.from_numpy(kept).to(boxes.device)
        results.append(
            Detections(
                boxes_cxcywh=boxes[keep],
                scores=scores[keep],
                nodes=nodes[mine][keep],
                objectness=objectness[keep],
                probabilities=probability[mine][keep],
                paths=found.paths(first + kept),
                places=places[keep],
            )
        )
        first += len(boxes)
    return results


@torch.no_grad()
def score_nodes(
    output: DetectorOutput,
    classes: Classes,
    nodes: Sequence[int],
    *,
    threshold: float = 0.005,
    nms_iou: float = 0.45,
    max_detections: int = 100,
) -> list[Detections]:
    """Score every box for every one of some nodes, as average precision wants it: objectness * P(node).

    A box may appear under several nodes. Doubles are dropped for each node on its own.

    Parameters
    ----------
    nodes : sequence of int
        The S nodes that are evaluated.
    threshold : float
        Least objectness of a box (darknet's ``valid``: .005).
    """
    (found,) = score_node_sets(
        output, classes, [nodes], threshold=threshold, nms_iou=nms_iou, max_detections=max_detections
    )
    return found


@torch.no_grad()
def score_node_sets(
    output: DetectorOutput,
    classes: Classes,
    node_sets: Sequence[Sequence[int]],
    *,
    threshold: float = 0.005,
    nms_iou: float = 0.45,
    max_detections: int = 100,
) -> list[list[Detections]]:
    """`score_nodes` for several sets of nodes, apart from each other: the class probabilities are computed once.

    Returns
    -------
    list of lists of Detections
        For each set, for each image.
    """
    device = output.objectness.device
    wanted = tuple(sorted({node for nodes in node_sets for node in nodes}))
    places_read, part = classes.part(wanted)
    read = None if places_read is None else torch.tensor(places_read, device=device)
    columns = [torch.tensor(list(nodes), device=device, dtype=torch.long) for nodes in node_sets]
    places = columns if read is None else [torch.searchsorted(read, each) for each in columns]
    results: list[list[Detections]] = [[] for _ in node_sets]
    survivors = _survivors(output, threshold)
    together = max(1, NUMBERS_AT_ONCE // (classes.number if read is None else max(1, len(read))))
    for (_, boxes, objectness), probability in _with_probabilities(output, part, read, survivors, together):
        overlaps = [] if max_detections == 1 else _bits(_overlaps(boxes, nms_iou).cpu().numpy())
        for found, nodes, place in zip(results, columns, places, strict=True):
            found.append(_best_pairs(boxes, objectness, probability[:, place], nodes, overlaps, max_detections))
    return results


def _with_probabilities(
    output: DetectorOutput, part: Classes, read: Tensor | None, survivors: Sequence[_Survivors], together: int
) -> Iterator[tuple[_Survivors, Tensor]]:
    """The survivors of each image with P of the nodes (N, S), computed for as many images as have so many boxes."""
    first = 0
    while first < len(survivors):
        last, boxes = first + 1, len(survivors[first].flat)
        while last < len(survivors) and boxes + len(survivors[last].flat) <= together:
            boxes += len(survivors[last].flat)
            last += 1
        group = survivors[first:last]
        logits = output.class_logits(torch.cat([each.flat for each in group]), read)
        yield from zip(group, part.probabilities(logits.float()).split([len(each.flat) for each in group]), strict=True)
        first = last


def _best_pairs(
    boxes: Tensor,
    objectness: Tensor,
    probability: Tensor,
    nodes: Tensor,
    overlaps: Sequence[int],
    max_detections: int,
) -> Detections:
    """The best pairs of a box and a node: (N, 4), (N,), (N, S), (S,), and the bits of N boxes."""
    scores = (objectness[:, None] * probability).flatten()
    # of a single pair nothing is a double
    asked = 1 if max_detections == 1 else 10 * max_detections
    best = scores.topk(min(asked, scores.numel())).indices
    row = torch.div(best, max(len(nodes), 1), rounding_mode="floor")
    column = best - row * len(nodes)
    if max_detections > 1:
        kept = _suppress_pairs(row.tolist(), column.tolist(), overlaps, max_detections)
        keep = torch.tensor(kept, dtype=torch.long, device=boxes.device)
        best, row, column = best[keep], row[keep], column[keep]
    return Detections(
        boxes_cxcywh=boxes[row],
        scores=scores[best],
        nodes=nodes[column],
        objectness=objectness[row],
        probabilities=probability.flatten()[best],
    )


def _bits(overlaps: NDArray[np.bool_]) -> list[int]:
    """Each row of (N, N) as one number, whose bit j says whether box j is a double."""
    packed = np.packbits(overlaps, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def _suppress_pairs(boxes: list[int], nodes: list[int], overlaps: Sequence[int], max_detections: int) -> list[int]:
    """`suppress` for pairs of a box and a node, best first, which are doubles under the same node only.

    A thousand pairs of a few boxes: whether one is a double of a kept one is a bit of a number, not an array.

    Examples
    --------
    >>> _suppress_pairs([0, 1, 1, 0], [7, 7, 8, 8], [0b11, 0b11], 100)
    [0, 2]
    """
    dropped: dict[int, int] = {}
    kept: list[int] = []
    for place, (box, node) in enumerate(zip(boxes, nodes, strict=True)):
        gone = dropped.get(node, 0)
        if gone >> box & 1:
            continue
        kept.append(place)
        if len(kept) == max_detections:
            break
        dropped[node] = gone | overlaps[box]
    return kept
