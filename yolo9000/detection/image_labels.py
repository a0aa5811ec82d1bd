"""What image labels teach: which boxes take the label of an area, and the loss terms of it.

An area is a rectangle that has a label but no box: a whole image, or one of a mosaic. `ImageLabels`, in
`yolo9000.detection.config`, says how it is taught. Picking is a target: no gradient passes through it.

B images, P boxes of an image, T areas, S boxes that share a label, C columns on a path, U columns that are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wordtree.softmax import PathColumns, level_log_conditionals
from yolo9000.detection.boxes import cxcywh_to_xyxy, intersection, iou
from yolo9000.detection.config import ImageLabels
from yolo9000.detection.targets import PackedTargets
from yolo9000.models.class_shards import ShardedRegionOutput
from yolo9000.models.output import RegionOutput
from yolo9000.models.region import RegionSpec
from yolo9000.runtime.tensors import full_precision

MAX_SHARING = 32
"""At most this many boxes share one image label; the lightest of a larger group would hardly count."""
OBJECTNESS_FLOOR = 0.3
"""Paper, section 4: a box that takes a label is assumed to overlap its unknown truth by an IoU of at least .3."""


@dataclass(frozen=True, kw_only=True)
class AreaPick:
    """Areas that have a label -> the boxes that take it."""

    picked: Tensor  # (T,) index among the P boxes of the image
    box_index: Tensor  # (T, S) over the whole batch
    part: Tensor  # (T, S) share of the loss; adds up to 1


@torch.no_grad()
def pick_boxes(
    predicted_cxcywh: Tensor,
    objectness: Tensor,
    label_log_prob: Tensor | None,
    images: Tensor,
    areas_cxcywh: Tensor,
    image_labels: ImageLabels,
) -> AreaPick:
    """Pick the boxes that an area's label is taught at.

    Parameters
    ----------
    predicted_cxcywh : Tensor (B, P, 4)
        Relative boxes.
    objectness : Tensor (B, P)
        Raw objectness logits.
    label_log_prob : Tensor (T, P), optional
        log P(label of the area) at every box of its image; None if it is not needed.
    images : Tensor (T,)
        The image of each area.
    areas_cxcywh : Tensor (T, 4)
        The rectangle of each area: boxes with their centre inside are candidates.
    image_labels : ImageLabels
        How boxes are picked, and how the label is shared among them.
    """
    boxes = predicted_cxcywh[images]  # (T, P, 4)
    log_objectness = torch.nn.functional.logsigmoid(objectness[images])
    corners = cxcywh_to_xyxy(areas_cxcywh.to(boxes.dtype))[:, None]  # (T, 1, 4)
    centres = boxes[..., :2]
    inside = ((centres >= corners[..., :2]) & (centres <= corners[..., 2:])).all(dim=-1)
    inside = inside | ~inside.any(dim=-1, keepdim=True)  # an area smaller than a cell may hold no centre at all
    nowhere = torch.full_like(log_objectness, -torch.inf)

    match image_labels.pick:
        case "label":
            assert label_log_prob is not None
            score = label_log_prob
        case "objectness_label":
            assert label_log_prob is not None
            score = label_log_prob + log_objectness
        case "largest_confident":
            candidate = torch.where(inside, log_objectness, nowhere)
            confident = candidate.exp() > 0.5 * candidate.amax(dim=-1, keepdim=True).exp()
            clipped = intersection(boxes, areas_cxcywh.to(boxes.dtype)[:, None])
            score = torch.where(confident, clipped, nowhere)
        case "centre":
            middle = torch.cat([areas_cxcywh[:, :2], areas_cxcywh[:, 2:] / 2], dim=-1).to(boxes.dtype)
            score = iou(boxes, middle[:, None])
    picked = torch.where(inside, score, nowhere).argmax(dim=-1)

    boxes_of_image = boxes.shape[1]
    first = images * boxes_of_image
    match image_labels.spread:
        case "picked":
            return AreaPick(picked=picked, box_index=(first + picked)[:, None], part=torch.ones_like(boxes[:, :1, 0]))
        case "overlapping":
            seed = boxes.gather(1, picked[:, None, None].expand(-1, 1, 4))
            shares = inside & (iou(boxes, seed) > 0.5)
        case "everywhere":
            shares = inside
    shares = shares | (torch.arange(boxes_of_image, device=boxes.device) == picked[:, None])
    match image_labels.weighting:
        case "equal":
            log_weight = torch.zeros_like(log_objectness)
        case "objectness":
            log_weight = log_objectness
        case "objectness_squared":
            log_weight = 2 * log_objectness
        case "posterior":
            assert label_log_prob is not None
            log_weight = 2 * log_objectness + label_log_prob
    heaviest = torch.where(shares, log_weight, nowhere).topk(min(MAX_SHARING, boxes_of_image), dim=-1)
    return AreaPick(picked=picked, box_index=first[:, None] + heaviest.indices, part=heaviest.values.softmax(dim=-1))


@torch.no_grad()
def pick_for_areas(
    output: RegionOutput, predicted_cxcywh: Tensor, objectness: Tensor, packed: PackedTargets, image_labels: ImageLabels
) -> AreaPick | None:
    """The boxes that the labelled areas are taught at; None without an area."""
    path, images = packed.area_paths, packed.area_images
    label_log_prob = None
    if isinstance(output, ShardedRegionOutput) and image_labels.needs_label_probability:
        assert packed.host is not None
        # before anything else, for every process takes part, whether it has an area or not
        label_log_prob = output.label_log_probs(packed.host.area_images, packed.host.areas)
    if path is None or not len(images):
        return None
    if image_labels.needs_label_probability and label_log_prob is None:
        columns = path.columns if packed.columns is None else packed.columns[path.columns]
        logits = full_precision(output.class_logits_of_images(images, columns))
        label_log_prob = level_log_conditionals(logits, _stretch(path, logits.shape[1])).sum(dim=-1)
    return pick_boxes(predicted_cxcywh, objectness, label_log_prob, images, packed.areas_cxcywh, image_labels)


def log_probs_at_picks(logits: Tensor, pick: AreaPick | None, packed: PackedTargets) -> Tensor | None:
    """log P of each area's label at the boxes that were picked, (T, S), of their logits (T*S, U)."""
    if pick is None or packed.area_paths is None:
        return None
    shared = _stretch(packed.area_paths, pick.box_index.shape[1])
    read = logits.unflatten(0, pick.box_index.shape).gather(2, shared.columns)  # (T, S, C)
    return level_log_conditionals(read, shared).sum(dim=-1)


def image_label_terms(
    label_log_prob: Tensor | None,
    pick: AreaPick | None,
    objectness: Tensor,
    packed: PackedTargets,
    region: RegionSpec,
    image_labels: ImageLabels,
) -> dict[str, Tensor]:
    """What the areas teach: their class, and objectness if it is asked for; never a box.

    `label_log_prob` (T, S) is log P of the label at the boxes that were picked.
    """
    nothing = objectness.new_zeros(())
    if pick is None or label_log_prob is None:
        return {"image_class": nothing, "image_objectness": nothing}
    images = packed.area_images
    nll = -label_log_prob
    terms = {"image_class": image_labels.weight * region.loss.class_scale * (pick.part * nll).sum()}

    probability = objectness.sigmoid()
    match image_labels.objectness:
        case "none":
            image_objectness = nothing
        case "floor":
            at_pick = probability[images, pick.picked]
            image_objectness = 0.5 * region.loss.object_scale * (OBJECTNESS_FLOOR - at_pick).clamp(min=0).square().sum()
        case "background":
            chosen = torch.zeros_like(objectness, dtype=torch.bool)
            chosen = chosen.index_put((images, pick.picked), torch.ones_like(images, dtype=torch.bool))
            others = ~chosen & ~packed.is_detection[:, None]
            image_objectness = 0.5 * region.loss.noobject_scale * (others * probability.square()).sum()
    return terms | {"image_objectness": image_objectness}


def _stretch(path: PathColumns, boxes: int) -> PathColumns:
    """The path of each area, for every one of its boxes: (T, ...) -> (T, boxes, ...)."""
    return PathColumns(
        **{name: value[:, None].expand(-1, boxes, *value.shape[1:]) for name, value in vars(path).items()}
    )
