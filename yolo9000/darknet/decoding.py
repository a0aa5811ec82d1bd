"""Detections as darknet makes them, for comparing numbers; `yolo9000.detection.decode` is right by probability.

What darknet does otherwise (``region_layer.c``, ``detection_layer.c``, ``tree.c``, ``box.c`` at commit f6afaabc):

* It descends the tree as if it multiplied conditional probabilities, but they are absolute ones already, so a label
  stops much higher than its threshold says.
* The score of a box of a tree net is its objectness alone.
* Boxes suppress each other only within one class, so with a tree only under the very same label.
* The numbers of YOLOv1 are taken as they are, below 0 and above 1 as well: two negative ones make a positive score.

B images, P boxes of an image in darknet's order (prior, row, column; of a grid: cell, predictor), N boxes above the
threshold, K nodes or classes, C classes that are scored: K, or those of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wordtree import WordTree
from wordtree.softmax import tree_tables
from yolo9000.datasets.darknet_images import fitted_size
from yolo9000.detection.boxes import iou
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decoded_output import DecodedOutput
from yolo9000.detection.results import Detections
from yolo9000.models.classes import Classes
from yolo9000.models.grid import GridOutput
from yolo9000.models.output import DetectorOutput
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.tensors import full_precision


@dataclass(frozen=True)
class DarknetScores:
    """What darknet's ``get_region_detections`` or ``get_detection_detections`` fills in for one image.

    Parameters
    ----------
    boxes_cxcywh : Tensor (P, 4) float64
        The boxes relative to the network's input; `undo_letterbox` brings them to the image.
    objectness : Tensor (P,)
        The probability of a thing; of a region 0 for a box that is not above the threshold, of a grid any number.
    scores : Tensor (P, C)
        The score of each box as each class; 0 where darknet does not report it.
    """

    boxes_cxcywh: Tensor
    objectness: Tensor
    scores: Tensor


def absolute_probabilities(conditional: Tensor, tree: WordTree, *, only_leaves: bool = False) -> Tensor:
    """Multiply conditional probabilities down the tree (darknet's ``hierarchy_predictions``): (..., K) -> (..., K).

    Parameters
    ----------
    conditional : Tensor (..., K)
        P(node | parent).
    tree : WordTree
        The tree of the K nodes.
    only_leaves : bool
        Whether what has children is set to 0, as darknet's classifiers do.

    Returns
    -------
    Tensor (..., K)
        P(node).

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c"), ("animal", "dog", "cat"), (-1, 0, 0))
    >>> absolute_probabilities(torch.tensor([0.5, 0.5, 0.5]), tree).tolist()
    [0.5, 0.25, 0.25]
    """
    tables = tree_tables(tree, conditional.device)
    sizes, start = tables.level_sizes, tables.level_sizes[0]
    absolute = conditional.clone()
    parent = tables.level_order[:start]
    for size in sizes[1:]:  # from the top down, so the products are formed in darknet's order
        nodes = tables.level_order[start : start + size]
        parent = tables.parent[nodes]
        absolute[..., nodes] = absolute[..., nodes] * absolute[..., parent]
        start += size
    if only_leaves:
        absolute = absolute * (tables.child_group < 0)
    return absolute


def top_prediction(values: Tensor, tree: WordTree, threshold: float) -> Tensor:
    """Descend to the best child while the running product is above a threshold: (N, K) -> (N,) int64.

    Darknet's ``hierarchy_top_prediction``, with its ties: the first of equal children, and node 0 in a group whose
    values are all 0. Right for conditional probabilities; darknet's detector gives it absolute ones.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c"), ("animal", "dog", "cat"), (-1, 0, 0))
    >>> [int(top_prediction(torch.tensor([[0.9, 0.7, 0.3]]), tree, t)) for t in (0.95, 0.8, 0.5)]
    [0, 0, 1]
    """
    tables = tree_tables(tree, values.device)
    rows = len(values)
    member = torch.arange(int(tables.group_size.max()), device=values.device)
    group = torch.zeros(rows, dtype=torch.int64, device=values.device)
    product = torch.ones(rows, dtype=values.dtype, device=values.device)
    node = torch.full_like(group, -1)  # the last that was probable enough
    answer = torch.full_like(group, -1)
    for _ in range(tables.max_depth):
        inside = member < tables.group_size[group][:, None]  # (N, M)
        columns = torch.where(inside, tables.group_offset[group][:, None] + member, 0)
        of_group = torch.where(inside, values.gather(1, columns), -1.0)
        place = of_group.argmax(dim=1, keepdim=True)
        best = of_group.gather(1, place).squeeze(1).clamp(min=0)
        # darknet starts its search at node 0 with a value of 0, which only a positive value beats
        child = torch.where(best > 0, columns.gather(1, place).squeeze(1), 0)
        deeper = product * best > threshold
        stops = (answer < 0) & ~deeper
        answer = torch.where(stops, torch.where(node < 0, child, node), answer)
        going = answer < 0
        node, product = torch.where(going, child, node), torch.where(going, product * best, product)
        leaf = going & (tables.child_group[node.clamp(min=0)] < 0)
        answer = torch.where(leaf, node, answer)
        group = torch.where(answer < 0, tables.child_group[node.clamp(min=0)], 0)
    return answer


def darknet_scores(
    output: DetectorOutput,
    classes: Classes,
    *,
    threshold: float,
    tree_threshold: float = 0.5,
    class_map: Sequence[int] | None = None,
) -> list[DarknetScores]:
    """Boxes and scores before suppression, one for each image (darknet's ``get_network_boxes``).

    Parameters
    ----------
    output : DetectorOutput
        The raw output of a net.
    classes : Classes
        What its class channels mean.
    threshold : float
        The least objectness; with flat classes or a map also the least objectness * P(class).
    tree_threshold : float
        The probability at which the descent in the tree stops; with a map it is not looked at.
    class_map : sequence of int (C,), optional
        The node of each of C classes, for a net with a tree: they are scored objectness * P(node). Darknet reads 200
        lines of it whatever its length; here C are read.

    Returns
    -------
    list of DarknetScores
        The boxes and scores of each image.

    Raises
    ------
    ValueError
        If a map is given to a net without a tree, or a node in it is none of the tree's.
    """
    tree, number = classes.tree, classes.number
    if class_map is not None and tree is None:
        raise ValueError("class_map: the net has no tree whose nodes a map could name")
    outside = [node for node in class_map or () if not 0 <= node < number]
    if outside:
        raise ValueError(f"class_map: {outside[0]} is no node of the tree: nodes are 0 to {number - 1}")
    if isinstance(output, GridOutput):
        return _scores_of_grid(output, classes, threshold)
    # in float64: taking the letterbox's bands off a coordinate leaves few of float32's digits
    boxes = output.decoded(torch.float64)
    objectness = output.objectness.float().sigmoid()
    found = []
    for image, of_image in enumerate(objectness):
        rows = (of_image > threshold).nonzero().squeeze(1)
        scale = of_image[rows][:, None]
        probabilities = classes.conditionals(output.class_logits(rows + image * len(of_image)).float())
        scores = of_image.new_zeros(len(of_image), number if class_map is None else len(class_map))
        if tree is None:
            product = scale * probabilities
            scores[rows] = torch.where(product > threshold, product, 0.0)
        else:
            absolute = absolute_probabilities(probabilities, tree)
            if class_map is not None:
                product = (
                    scale * absolute[:, torch.tensor(list(class_map), device=objectness.device, dtype=torch.int64)]
                )
                scores[rows] = torch.where(product > threshold, product, 0.0)
            else:
                label = top_prediction(absolute, tree, tree_threshold)
                scores[rows, label] = scale.squeeze(1)
        above = torch.where(of_image > threshold, of_image, 0.0)
        found.append(DarknetScores(boxes[image], above, scores))
    return found


def _scores_of_grid(output: GridOutput, classes: Classes, threshold: float) -> list[DarknetScores]:
    """Every confidence times the class numbers of its cell, without a bound."""
    confidences = full_precision(output.confidences)[..., None]  # (B, S*S, n, 1)
    numbers = classes.conditionals(full_precision(output.cell_classes))[:, :, None]  # (B, S*S, 1, C)
    products = (confidences * numbers).flatten(1, 2)
    scores = torch.where(products > threshold, products, 0.0)
    of_images = zip(output.decoded(torch.float64), confidences.flatten(1), scores, strict=True)
    return [DarknetScores(*of_image) for of_image in of_images]


def suppress_by_class(found: DarknetScores, nms_iou: float = 0.45) -> Tensor:
    """Scores (P, C) after darknet's ``do_nms_sort``: doubles of a better box of the same class are set to 0.

    The first box wins among equal scores, whose order darknet leaves to ``qsort``.
    """
    rows = found.objectness.nonzero().squeeze(1)
    doubles = (iou(found.boxes_cxcywh[rows][:, None], found.boxes_cxcywh[rows][None]) > nms_iou).cpu()
    scores = found.scores[rows].cpu()
    for column in (scores > 0).any(dim=0).nonzero().squeeze(1).tolist():
        of_class = scores[:, column]
        for best in torch.sort(of_class, descending=True, stable=True).indices.tolist():
            if of_class[best] > 0:
                others = doubles[best].clone()
                others[best] = False
                of_class[others & (of_class <= of_class[best])] = 0
    kept = torch.zeros_like(found.scores)
    kept[rows] = scores.to(kept.device)
    return kept


def undo_letterbox(
    boxes_cxcywh: Tensor, network: tuple[int, int], image: tuple[int, int], *, relative: bool = True
) -> Tensor:
    """Boxes of the network's input -> boxes of the image (darknet's ``correct_region_boxes``): (..., 4) -> (..., 4).

    Parameters
    ----------
    boxes_cxcywh : Tensor (..., 4)
        The boxes relative to the network's input.
    network, image : tuple of (int, int)
        The width and height of each in pixels.
    relative : bool
        Whether the result is relative to the image; otherwise it is in its pixels.

    Returns
    -------
    Tensor (..., 4)
        The boxes of the image.

    Examples
    --------
    >>> undo_letterbox(torch.tensor([0.5, 0.5, 1.0, 0.5]), (416, 416), (200, 100), relative=False).tolist()
    [100.0, 50.0, 200.0, 100.0]
    """
    inside, whole = boxes_cxcywh.new_tensor(fitted_size(*image, *network)), boxes_cxcywh.new_tensor(network)
    centre = (boxes_cxcywh[..., :2] - (whole - inside) / 2 / whole) / (inside / whole)
    size = boxes_cxcywh[..., 2:] * (whole / inside)
    boxes = torch.cat([centre, size], dim=-1)
    return boxes if relative else boxes * boxes.new_tensor((*image, *image))


@torch.no_grad()
def detect_as_darknet(
    output: DetectorOutput | DecodedOutput,
    classes: Classes,
    config: DecodeConfig | None = None,
) -> list[Detections]:
    """What darknet's ``detector test`` would draw, in the place of `yolo9000.detection.decode.detect`.

    A box of a net without a tree can be found under several classes. `nms` of the configuration is not looked at.

    Raises
    ------
    Mistake
        The net is restricted to some classes, which darknet knows nothing of, or has decoded inside by probability.
    """
    if isinstance(output, DecodedOutput):
        raise Mistake(
            "`decoding` darknet: the exported net decodes inside, by probability; export it without `decoded`, or "
            "predict with the run itself"
        )
    if classes.kept is not None:
        raise Mistake("`decoding` darknet: a net that is restricted to some classes is decoded by probability")
    config = config or DecodeConfig()
    results = []
    tree = classes.tree
    entries = output.objectness.shape[1]
    all_scores = darknet_scores(output, classes, threshold=config.threshold, tree_threshold=config.tree_threshold)
    for image, found in enumerate(all_scores):
        kept = suppress_by_class(found, config.nms_iou)
        box, label = kept.nonzero(as_tuple=True)
        order = torch.sort(kept[box, label], descending=True, stable=True).indices[: config.max_detections]
        box, label = box[order], label[order]
        probabilities = classes.conditionals(output.class_logits(box + image * entries).float())
        paths = None
        if tree is not None:
            probabilities = absolute_probabilities(probabilities, tree)
            paths = tuple(
                tuple(row[list(tree.path(node))].tolist())
                for row, node in zip(probabilities.cpu(), label.tolist(), strict=True)
            )
        results.append(
            Detections(
                boxes_cxcywh=found.boxes_cxcywh[box].float(),
                scores=kept[box, label],
                nodes=label,
                objectness=found.objectness[box],
                probabilities=probabilities.gather(1, label[:, None]).squeeze(1),
                paths=paths,
                places=box + image * entries,
            )
        )
    return results
