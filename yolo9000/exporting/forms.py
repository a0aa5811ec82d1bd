"""A detector as a plain function of tensors, as exporters want it: features, raw numbers, or detections.

B images, S side of the input, P boxes of an image, N boxes that pass the threshold, K nodes (or classes), D levels of
the tree.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wordtree.softmax import bucket_log_softmax
from wordtree.tables import tree_tables
from yolo9000.detection.boxes import iou
from yolo9000.detection.config import DecodeConfig
from yolo9000.exporting.config import Form
from yolo9000.exporting.errors import ExportError
from yolo9000.models.classes import Classes
from yolo9000.models.model import DetectionModel, GridDetector
from yolo9000.models.output import DetectorOutput, SparseRegionOutput
from yolo9000.models.tree_head import TreeHead

SUPPRESSION_STEPS = 32
"""The longest chain of boxes, each of which is only kept because the one before it is dropped by yet another, that is
followed to its end. A chain of 33 boxes that overlap in turn would be judged wrongly at its far end."""


class DecodedTensors(NamedTuple):
    """The detections of a batch, best score first; the outputs of a decoded file, in this order.

    Attributes
    ----------
    image : Tensor (N,) int64
        The place of the image in the batch.
    boxes_cxcywh : Tensor (N, 4)
        Centre and size relative to the input.
    scores : Tensor (N,)
        Objectness * P(label).
    labels : Tensor (N,) int64
        The node of the tree, or the class.
    probabilities : Tensor (N,)
        P(label), given that there is a thing.
    objectness : Tensor (N,)
    path : Tensor (N, D) int64
        The nodes from the top to the label, padded with -1; one column for flat classes.
    path_probabilities : Tensor (N, D)
        P of each; padded with 0.
    """

    image: Tensor
    boxes_cxcywh: Tensor
    scores: Tensor
    labels: Tensor
    probabilities: Tensor
    objectness: Tensor
    path: Tensor
    path_probabilities: Tensor


OUTPUTS: dict[Form, tuple[str, ...]] = {
    "features": ("features",),
    "raw": ("raw",),
    "decoded": DecodedTensors._fields,
}
"""Names of the outputs of a file."""


class FeatureNet(nn.Module):
    """Images -> what the head reads, (B, 3, S, S) -> (B, D, S/stride, S/stride).

    Parameters
    ----------
    net : DetectionModel
        One whose head computes single class numbers.
    """

    def __init__(self, net: DetectionModel) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in 0..1 -> features."""
        features: Tensor = self.net(images).features
        return features


class RawNet(nn.Module):
    """Images -> all raw numbers, (B, 3, S, S) -> (B, A*(5+K), H, W), or YOLOv1's vector.

    Parameters
    ----------
    net : DetectionModel
    """

    def __init__(self, net: DetectionModel) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in 0..1 -> raw numbers."""
        raw: Tensor = self.net(images).raw
        return raw


class DecodedNet(nn.Module):
    """Images -> detections, as `yolo9000.detection.decode.detect` makes them, in operations of fixed order.

    Parameters
    ----------
    net : DetectionModel
    config : DecodeConfig
        Its thresholds become constants.
    """

    def __init__(self, net: DetectionModel, config: DecodeConfig) -> None:
        super().__init__()
        self.net = net
        self.config = config

    def forward(self, images: Tensor) -> DecodedTensors:
        """(B, 3, S, S) in 0..1 -> detections."""
        return decode_tensors(self.net(images), self.net.classes, self.config)


def exported_form(net: DetectionModel, form: Form, config: DecodeConfig) -> nn.Module:
    """The net as a function of tensors.

    Raises
    ------
    ExportError
        It has no features for a head.
    """
    match form:
        case "features":
            if sparse_head(net) is None:
                raise ExportError(
                    "the net has no head that reads single classes, so no features to export; take `raw` or `decoded`"
                )
            return FeatureNet(net)
        case "raw":
            return RawNet(net)
        case "decoded":
            return DecodedNet(net, config)
    raise ExportError(f"a form {form!r} is no function of images")


def sparse_head(net: nn.Module) -> TreeHead | None:
    """The head that computes single class numbers, if the net ends in one.

    Examples
    --------
    >>> from yolo9000.models import BoxCoding, Detector, DetectorConfig, FlatClasses, RegionSpec
    >>> region = RegionSpec(classes=FlatClasses(3), coding=BoxCoding(((1.0, 2.0),)))
    >>> sparse_head(Detector(DetectorConfig(width=0.1), region)).num_classes
    3
    """
    return next((module for module in net.modules() if isinstance(module, TreeHead)), None)


def size_step(detector: DetectionModel) -> int | None:
    """Sides of the input that a file of a net takes are multiples of this: of its cells, and of 32.

    None if the file takes the side alone that it is written for: YOLOv1's numbers make a square grid, whose side no
    exporter can leave open.
    """
    return None if isinstance(detector, GridDetector) or detector.only_size else max(32, detector.stride)


# ------------------------------------------------------------------------------------------------------- detections


def decode_tensors(output: DetectorOutput, classes: Classes, config: DecodeConfig) -> DecodedTensors:
    """`yolo9000.detection.decode.detect` without the host: the same boxes, all images in one table.

    Parameters
    ----------
    output : DetectorOutput
        Raw numbers of B images.
    classes : Classes
    config : DecodeConfig

    Returns
    -------
    DecodedTensors
    """
    objectness = output.objectness.float().sigmoid()
    per_image = objectness.shape[1]
    flat = (objectness.flatten() > config.threshold).nonzero().squeeze(1)  # (N,)
    logits = output.followed_class_logits(flat) if isinstance(output, SparseRegionOutput) else output.class_logits(flat)
    path, along = _paths(logits.float(), classes)
    deepest = _depths(path, along, config.tree_threshold, classes)
    probability = along.gather(1, deepest[:, None]).squeeze(1)
    scores = objectness.flatten().index_select(0, flat) * probability
    order = _best_first(scores)
    flat, path, along, deepest = (each.index_select(0, order) for each in (flat, path, along, deepest))
    boxes = output.boxes_cxcywh.flatten(0, 1).index_select(0, flat)
    image = torch.div(flat, per_image, rounding_mode="floor")
    labels = path.gather(1, deepest[:, None]).squeeze(1)
    kept = _kept(boxes, image, labels, classes, config) & (scores.index_select(0, order) > config.threshold)
    kept = kept.nonzero().squeeze(1)
    named = torch.arange(path.shape[1]) <= deepest[:, None]
    table = DecodedTensors(
        image=image,
        boxes_cxcywh=boxes,
        scores=scores.index_select(0, order),
        labels=labels,
        probabilities=probability.index_select(0, order),
        objectness=objectness.flatten().index_select(0, flat),
        path=torch.where(named, path, -1),
        path_probabilities=torch.where(named, along, 0.0),
    )
    return DecodedTensors(*(column.index_select(0, kept) for column in table))


def _paths(logits: Tensor, classes: Classes) -> tuple[Tensor, Tensor]:
    """The path of the best child of the best child, and P along it: (N, K) -> (N, D) and (N, D)."""
    tree = classes.tree
    if tree is None:
        along, best = classes.probabilities(logits).max(dim=-1, keepdim=True)
        return best, along
    tables = tree_tables(tree, logits.device)
    # the best member of each group, group after group in the order of the buckets
    found = [part.max(dim=1) for part in bucket_log_softmax(logits, tables)]
    conditional = torch.cat([each.values for each in found]).index_select(0, tables.group_rank).t()  # (N, G)
    member = torch.cat([each.indices for each in found]).index_select(0, tables.group_rank).t()
    group = torch.zeros_like(logits[:, :1], dtype=torch.int64)
    going = group == 0
    above = torch.zeros_like(logits[:, :1])
    nodes: list[Tensor] = []
    probabilities: list[Tensor] = []
    for _ in range(tables.max_depth):
        node = tables.group_offset[group] + member.gather(1, group)
        above = above + conditional.gather(1, group)
        nodes.append(torch.where(going, node, -1))
        probabilities.append(torch.where(going, above.exp(), 0.0))
        child = tables.child_group[node]
        going = going & (child >= 0)
        group = child.clamp(min=0)
    return torch.cat(nodes, dim=1), torch.cat(probabilities, dim=1)


def _depths(path: Tensor, along: Tensor, threshold: float, classes: Classes) -> Tensor:
    """The level at which each path backs off: P falls from level to level, so the sure ones come first. (N,)."""
    if classes.tree is None:
        return torch.zeros_like(path[:, 0])
    floor = math.log(threshold) if threshold > 0 else -math.inf
    sure = (path >= 0) & (along.log() > floor)
    return (sure.sum(dim=1) - 1).clamp(min=0)


def _best_first(scores: Tensor) -> Tensor:
    """The order of scores from the largest on, equal ones as they stand; ONNX knows no stable sort. (N,)."""
    place = torch.arange(scores.shape[0])
    better = (scores[None] > scores[:, None]) | ((scores[None] == scores[:, None]) & (place[None] < place[:, None]))
    return better.sum(dim=1).argsort()


def _kept(boxes_cxcywh: Tensor, image: Tensor, labels: Tensor, classes: Classes, config: DecodeConfig) -> Tensor:
    """Greedy suppression of boxes in the order of their scores: (N,) bool.

    A box is dropped if a kept one before it is its double. Beginning with "all are kept" and asking that again and
    again, the first box is right after no step, and whoever depends on those before is right a step after them.
    """
    place = torch.arange(image.shape[0])
    before = (place[:, None] > place[None]) & (image[:, None] == image[None])  # [i, j]: j comes before i
    doubles = before & (iou(boxes_cxcywh[:, None], boxes_cxcywh[None]) > config.nms_iou)
    match config.nms:
        case "class":
            doubles = doubles & (labels[:, None] == labels[None])
        case "tree":
            doubles = doubles & classes.related(labels)
    kept = image >= 0
    for _ in range(SUPPRESSION_STEPS):
        kept = ~(doubles & kept[None]).any(dim=1)
    rank = (before & kept[None]).sum(dim=1)
    return kept & (rank < config.max_detections)
