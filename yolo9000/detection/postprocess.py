"""Raw output -> detections: threshold, descend the tree, drop doubles.

B images, P = A*H*W boxes of an image, N boxes that pass the threshold, K nodes, S scored nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordtree import TreeDistribution, WordTree
from wordtree.softmax import log_probs, tree_tables
from yolo9000.detection.boxes import iou, predicted_boxes
from yolo9000.detection.darknet_decoding import detect_as_darknet
from yolo9000.detection.results import Detections
from yolo9000.models.region import RegionSpec
from yolo9000.models.tree_head import RegionOutput

Nms = Literal["tree", "class", "all"]
Decoding = Literal["probability", "darknet"]


@dataclass(frozen=True, kw_only=True)
class DecodeConfig:
    """How raw output becomes detections.

    Parameters
    ----------
    threshold
        Least objectness: how sure the net must be that there is a thing at all.
    tree_threshold
        How sure it must be of what the thing is before the label goes one step deeper in the tree. At 0.5 a label is
        the deepest node that is more probable than not; higher answers more often "some kind of dog".
    nms
        Which pairs of boxes with an IoU above ``nms_iou`` are one object, so that the lower score is dropped:
        "tree": those whose labels are the same, one the other's ancestor, or siblings; "class": those of the same
        label (darknet); "all": every pair.
    nms_iou
        Darknet's 0.45.
    max_detections
        Of one image.
    decoding
        "probability": the tree is descended by P(node), which also enters the score. "darknet": darknet's own
        arithmetic, for comparing numbers (`yolo9000.detection.darknet_decoding`); `nms` is then not looked at.

    Raises
    ------
    ValueError
        A threshold is no probability, or no detection is asked for.
    """

    threshold: float = 0.24
    tree_threshold: float = 0.5
    nms: Nms = "tree"
    nms_iou: float = 0.45
    max_detections: int = 100
    decoding: Decoding = "probability"

    def __post_init__(self) -> None:
        for name in ("threshold", "tree_threshold", "nms_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)}: a number from 0 to 1 is needed")
        if self.max_detections < 1:
            raise ValueError(f"max_detections {self.max_detections}: at least 1 is needed")


def related(nodes: Tensor, tree: WordTree | None, nms: Nms) -> Tensor:
    """Pairs of labels that can be the same object: (N,) -> (N, N) bool. See :class:`DecodeConfig`.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "dog", "cat", "poodle"), (-1, 0, 0, 1))
    >>> related(torch.tensor([1, 2, 3]), tree, "tree").int().tolist()  # dog, cat: siblings; poodle: under dog
    [[1, 1, 1], [1, 1, 0], [1, 0, 1]]
    """
    if nms == "all":
        return torch.ones(len(nodes), len(nodes), dtype=torch.bool, device=nodes.device)
    same = nodes[:, None] == nodes[None, :]
    if nms == "class" or tree is None:
        return same
    tables = tree_tables(tree, nodes.device)
    siblings = tables.group[nodes][:, None] == tables.group[nodes][None, :]
    under = (tables.path[nodes][:, None, :] == nodes[None, :, None]).any(dim=-1)  # [i, j]: j is on the path of i
    return siblings | under | under.T


def suppress(scores: Tensor, doubles_of: Callable[[int], NDArray[np.bool_]], max_detections: int) -> NDArray[np.intp]:
    """Greedy non-maximum suppression; returns the kept rows, best first.

    Parameters
    ----------
    scores
        (N,); equal scores keep their order.
    doubles_of
        Row -> (N,) bool: the boxes that overlap this one and can be the same object. Asked only for kept rows.
    max_detections
        How many are kept at most.

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


def _survivors(output: RegionOutput, region: RegionSpec, threshold: float) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each image: flat index (N,), relative boxes (N, 4) and objectness (N,) of the boxes above the threshold."""
    raw = output.boxes.float()
    priors = torch.tensor(region.priors, device=raw.device)
    boxes = predicted_boxes(raw, priors).flatten(1, 3)
    objectness = output.objectness.float().sigmoid().flatten(1)
    found = []
    for image, scores in enumerate(objectness):
        rows = (scores > threshold).nonzero().squeeze(1)
        found.append((rows + image * objectness.shape[1], boxes[image, rows], scores[rows]))
    return found


@torch.no_grad()
def detect(output: RegionOutput, region: RegionSpec, config: DecodeConfig | None = None) -> list[Detections]:
    """One label a box: the deepest node that the net is sure enough of; score = objectness * P(node).

    Returns
    -------
    list of Detections
        One for each image.
    """
    config = config or DecodeConfig()
    if config.decoding == "darknet":
        return detect_as_darknet(
            output,
            region,
            threshold=config.threshold,
            tree_threshold=config.tree_threshold,
            nms_iou=config.nms_iou,
            max_detections=config.max_detections,
        )
    results = []
    for flat, boxes, objectness in _survivors(output, region, config.threshold):
        logits = output.class_logits_rows(flat).float()
        log_probability: Tensor | None = None
        if region.tree is not None:
            nodes = TreeDistribution(region.tree, logits).back_off(config.tree_threshold)
            log_probability = log_probs(logits, region.tree)
            probability = log_probability.gather(1, nodes[:, None]).squeeze(1).exp()
        else:
            probability, nodes = (logits.softmax(-1) if region.softmax else logits.sigmoid()).max(dim=-1)
        scores = objectness * probability
        doubles = (_overlaps(boxes, config.nms_iou) & related(nodes, region.tree, config.nms)).cpu().numpy()
        kept = suppress(scores, doubles.__getitem__, config.max_detections)
        keep = torch.from_numpy(kept).to(boxes.device)
        paths = None
        if region.tree is not None and log_probability is not None:
            rows = log_probability.exp().cpu().numpy()
            paths = tuple(
                tuple(float(rows[row, n]) for n in region.tree.path(int(node)))
                for row, node in zip(kept, nodes[keep].tolist(), strict=True)
            )
        results.append(
            Detections(
                boxes_cxcywh=boxes[keep],
                scores=scores[keep],
                nodes=nodes[keep],
                objectness=objectness[keep],
                probabilities=probability[keep],
                paths=paths,
            )
        )
    return results


@torch.no_grad()
def score_nodes(
    output: RegionOutput,
    region: RegionSpec,
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
    nodes
        The S nodes that are evaluated.
    threshold
        Least objectness of a box (darknet's ``valid``: .005).
    """
    columns = torch.tensor(list(nodes), device=output.objectness.device, dtype=torch.long)
    results = []
    for flat, boxes, objectness in _survivors(output, region, threshold):
        logits = output.class_logits_rows(flat).float()
        if region.tree is not None:
            probability = log_probs(logits, region.tree)[:, columns].exp()
        else:
            probability = (logits.softmax(-1) if region.softmax else logits.sigmoid())[:, columns]
        scores = (objectness[:, None] * probability).flatten()
        best = scores.topk(min(10 * max_detections, scores.numel())).indices
        row = torch.div(best, max(len(nodes), 1), rounding_mode="floor")
        column = best - row * len(nodes)
        overlaps, box, asked = _overlaps(boxes, nms_iou).cpu().numpy(), row.cpu().numpy(), column.cpu().numpy()

        def doubles_of(pair: int, overlaps: Any = overlaps, box: Any = box, asked: Any = asked) -> NDArray[np.bool_]:
            doubles: NDArray[np.bool_] = overlaps[box[pair]][box] & (asked == asked[pair])
            return doubles

        kept = suppress(scores[best], doubles_of, max_detections)
        keep = torch.from_numpy(kept).to(boxes.device)
        results.append(
            Detections(
                boxes_cxcywh=boxes[row[keep]],
                scores=scores[best[keep]],
                nodes=columns[column[keep]],
                objectness=objectness[row[keep]],
                probabilities=probability.flatten()[best[keep]],
            )
        )
    return results
