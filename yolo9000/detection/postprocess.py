"""Raw output -> detections: threshold, descend the tree, drop doubles.

B images, P = A*H*W boxes of an image, N boxes that pass the threshold, K nodes, S scored nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordtree import TreeDistribution, WordTree
from wordtree.descent import Descent, descend
from wordtree.softmax import log_probs, tree_tables
from wordtree.tree import TreeSubset
from yolo9000.detection.boxes import iou, predicted_boxes
from yolo9000.detection.darknet_decoding import detect_as_darknet
from yolo9000.detection.results import Detections
from yolo9000.models.region import RegionSpec
from yolo9000.models.region_output import RegionOutput
from yolo9000.runtime.mistakes import Mistake

MOST_DESCENTS = 400
"""With more boxes than this in a batch their whole rows of class logits are computed, which has fewer steps."""

ROWS_AT_ONCE = 256
"""And so many rows at a time: of 82,114 nodes a thousand rows are 300 MB."""

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
    Mistake
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
                raise Mistake(f"`{name}` {getattr(self, name)}: a number from 0 to 1 is needed")
        if self.max_detections < 1:
            raise Mistake(f"`max_detections` {self.max_detections}: at least 1 is needed")


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


class _Survivors(NamedTuple):
    """Boxes of one image that pass the threshold."""

    flat: Tensor  # (N,) flat index over the whole batch
    boxes_cxcywh: Tensor  # (N, 4) relative to the network's input
    objectness: Tensor  # (N,)


def _survivors(output: RegionOutput, region: RegionSpec, threshold: float) -> list[_Survivors]:
    """The boxes of each image whose objectness exceeds the threshold."""
    scores = output.objectness.float().sigmoid().flatten(1)
    per_image = scores.shape[1]
    image, box = (scores > threshold).nonzero(as_tuple=True)
    priors = torch.tensor(region.priors, device=scores.device)
    boxes = predicted_boxes(output.boxes.float(), priors).flatten(0, 3)
    flat = image * per_image + box
    counts = torch.bincount(image, minlength=len(scores)).tolist()
    columns = (flat, boxes.index_select(0, flat), scores[image, box])
    return [_Survivors(*each) for each in zip(*(column.split(counts) for column in columns), strict=True)]


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
    survivors = _survivors(output, region, config.threshold)
    if not survivors:
        return []
    flat = torch.cat([each.flat for each in survivors])
    path_probability: NDArray[np.float32] | None = None
    if region.tree is not None:
        named = _name(output, flat, region.tree, config.tree_threshold)
        nodes, probability = named.nodes, named.log_probs.exp()
        path_probability = named.path_log_probs.exp().float().cpu().numpy()
    else:
        logits = output.class_logits(flat).float()
        probability, nodes = (logits.softmax(-1) if region.softmax else logits.sigmoid()).max(dim=-1)
    results = []
    first = 0
    for _, boxes, objectness in survivors:
        mine = slice(first, first + len(boxes))
        scores = objectness * probability[mine]
        doubles = (_overlaps(boxes, config.nms_iou) & related(nodes[mine], region.tree, config.nms)).cpu().numpy()
        kept = suppress(scores, doubles.__getitem__, config.max_detections)
        keep = torch.from_numpy(kept).to(boxes.device)
        paths = None
        if region.tree is not None and path_probability is not None:
            depths = region.tree.depths[nodes[mine][keep].cpu().numpy()]
            paths = tuple(
                tuple(path_probability[first + row, : depth + 1].tolist())
                for row, depth in zip(kept, depths, strict=True)
            )
        results.append(
            Detections(
                boxes_cxcywh=boxes[keep],
                scores=scores[keep],
                nodes=nodes[mine][keep],
                objectness=objectness[keep],
                probabilities=probability[mine][keep],
                paths=paths,
            )
        )
        first += len(boxes)
    return results


def _name(output: RegionOutput, boxes: Tensor, tree: WordTree, threshold: float) -> Descent:
    """The node of each box (N,), found group by group where that reads less than all logits of the boxes would."""
    if len(boxes) <= MOST_DESCENTS:
        return descend(
            lambda which, node: output.class_logits_at(boxes[which], node), len(boxes), tree, threshold, boxes.device
        )
    parts = []
    for some in boxes.split(ROWS_AT_ONCE):
        distribution = TreeDistribution(tree, output.class_logits(some).float())
        nodes = distribution.back_off(threshold)
        path = tree_tables(tree, boxes.device).path[nodes]  # (n, D)
        of_path = log_probs(distribution.logits, tree).gather(1, path.clamp(min=0))
        parts.append(Descent(nodes, of_path.masked_fill(path < 0, -torch.inf)))
    return Descent(*(torch.cat(each) for each in zip(*parts, strict=True)))


@lru_cache(maxsize=16)
def _closure(tree: WordTree, nodes: tuple[int, ...]) -> TreeSubset:
    """What must be read of a box to know P of some nodes; kept, for an evaluation asks for each batch."""
    return tree.closure(nodes or (0,))


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
    (found,) = score_node_sets(
        output, region, [nodes], threshold=threshold, nms_iou=nms_iou, max_detections=max_detections
    )
    return found


@torch.no_grad()
def score_node_sets(
    output: RegionOutput,
    region: RegionSpec,
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
    part = None if region.tree is None else _closure(region.tree, wanted)
    read = None if part is None else torch.tensor(part.new_to_old, device=device)
    columns = [torch.tensor(list(nodes), device=device, dtype=torch.long) for nodes in node_sets]
    places = columns if read is None else [torch.searchsorted(read, each) for each in columns]
    results: list[list[Detections]] = [[] for _ in node_sets]
    for flat, boxes, objectness in _survivors(output, region, threshold):
        logits = output.class_logits(flat, read).float()
        if part is not None:
            probability = log_probs(logits, part.tree).exp()
        else:
            probability = logits.softmax(-1) if region.softmax else logits.sigmoid()
        overlaps = _overlaps(boxes, nms_iou).cpu().numpy()
        for found, nodes, place in zip(results, columns, places, strict=True):
            found.append(_best_pairs(boxes, objectness, probability[:, place], nodes, overlaps, max_detections))
    return results


def _best_pairs(
    boxes: Tensor,
    objectness: Tensor,
    probability: Tensor,
    nodes: Tensor,
    overlaps: NDArray[np.bool_],
    max_detections: int,
) -> Detections:
    """The best pairs of a box and a node: (N, 4), (N,), (N, S), (S,), (N, N)."""
    scores = (objectness[:, None] * probability).flatten()
    best = scores.topk(min(10 * max_detections, scores.numel())).indices
    row = torch.div(best, max(len(nodes), 1), rounding_mode="floor")
    column = best - row * len(nodes)
    box, asked = row.cpu().numpy(), column.cpu().numpy()

    def doubles_of(pair: int) -> NDArray[np.bool_]:
        doubles: NDArray[np.bool_] = overlaps[box[pair]][box] & (asked == asked[pair])
        return doubles

    kept = suppress(scores[best], doubles_of, max_detections)
    keep = torch.from_numpy(kept).to(boxes.device)
    return Detections(
        boxes_cxcywh=boxes[row[keep]],
        scores=scores[best[keep]],
        nodes=nodes[column[keep]],
        objectness=objectness[row[keep]],
        probabilities=probability.flatten()[best[keep]],
    )
