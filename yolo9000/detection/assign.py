"""Which predicted box answers for which truth. Everything here is a target: no gradient passes.

B images, A priors, H x W grid, P = A*H*W boxes of an image, M truths, T labelled areas, S boxes that share a label.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from yolo9000.detection.boxes import intersection, iou, shape_iou
from yolo9000.models.region import RegionSpec
from yolo9000.runtime.tensors import to_device


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """Truths of images with boxes -> predicted boxes (YOLO9000 paper, section 2; darknet's region layer)."""

    box_index: Tensor  # (B, M) over the whole batch; 0 where there is no truth
    valid: Tensor  # (B, M) bool: a truth stands here
    wins: Tensor  # (B, M) bool: and no later truth took the same box
    later_at_same_box: Tensor  # (B, M, M) bool: [b, m, n]: n is a later truth at the box of m
    raw_target: Tensor  # (B, M, 4) box numbers that would predict the truth; see BoxCoding.encode
    iou: Tensor  # (B, M) IoU of the predicted box with its truth
    is_background: Tensor  # (B, P) bool: box that overlaps no truth by more than `thresh`, nor an ignored area


@torch.no_grad()
def assign_boxes(
    raw_boxes: Tensor,
    predicted_cxcywh: Tensor,
    boxes_cxcywh: Tensor,
    labels: Tensor,
    ignore_boxes_cxcywh: Tensor,
    region: RegionSpec,
) -> Assignment:
    """Assign every truth to one box: the cell of its centre, the prior (or prediction) nearest in shape.

    Parameters
    ----------
    raw_boxes : Tensor (B, A, H, W, 4)
        The net's tx ty tw th.
    predicted_cxcywh : Tensor (B, P, 4)
        The relative boxes that they stand for.
    boxes_cxcywh : Tensor (B, M, 4)
        The truths; a box of no size is none. One whose numbers are not finite is, so that its loss says so.
    labels : Tensor (B, M)
        Their labels; one of -1 says that there is no truth.
    ignore_boxes_cxcywh : Tensor (B, I, 4)
        Ignored areas: a predicted box that lies in one by more than half of its area is no background.
    """
    b, a, h, w, _ = raw_boxes.shape
    boxes = boxes_cxcywh.to(raw_boxes.dtype)
    valid = (labels >= 0) & ~(boxes[..., 2:] <= 0).any(dim=-1)

    grid = to_device(torch.tensor([w, h], dtype=boxes.dtype), boxes.device)
    position = boxes[..., :2] * grid
    # a centre on the right or lower border belongs to the last cell, and one that is no number to any
    cell = torch.minimum(position.nan_to_num(nan=0.0).floor().clamp(min=0), grid - 1)
    column, row = cell[..., 0].long(), cell[..., 1].long()
    image = torch.arange(b, device=boxes.device)[:, None]

    if region.loss.bias_match:
        shapes = (region.coding.priors_like(boxes) / grid).expand(b, boxes.shape[1], a, 2)
    else:
        shapes = predicted_cxcywh.view(raw_boxes.shape)[image, :, row, column, 2:]  # (B, M, A, 2)
    prior = shape_iou(shapes, boxes[..., None, 2:]).argmax(dim=-1)  # the first of equals

    in_image = (prior * h + row) * w + column
    in_image = torch.where(valid, in_image, torch.zeros_like(in_image))
    sized = torch.where(valid[..., None], boxes, torch.ones_like(boxes))
    raw_target = region.coding.encode(sized, cell, prior, grid)

    flat = predicted_cxcywh
    at_truth = flat.gather(1, in_image[..., None].expand(-1, -1, 4))
    order = torch.arange(boxes.shape[1], device=boxes.device)
    same = (in_image[:, :, None] == in_image[:, None, :]) & valid[:, :, None] & valid[:, None, :]
    later = same & (order[None, :] > order[:, None])

    is_background = torch.ones(flat.shape[:2], dtype=torch.bool, device=flat.device)
    # the many boxes innermost, each coordinate in a row: (B, M, P) is several times as fast as (B, P, M)
    rows = flat.movedim(-1, 0).contiguous().movedim(0, -1)[:, None]
    if boxes.shape[1]:
        overlap = iou(rows, boxes[:, :, None]).masked_fill(~valid[..., None], 0)
        is_background = overlap.amax(dim=1) <= region.loss.thresh
    if ignore_boxes_cxcywh.shape[1]:
        shared = intersection(rows, ignore_boxes_cxcywh.to(flat.dtype)[:, :, None]).amax(dim=1)
        is_background = is_background & (shared <= 0.5 * flat[..., 2] * flat[..., 3])
    return Assignment(
        box_index=in_image + image * (a * h * w),
        valid=valid,
        wins=valid & ~later.any(dim=-1),
        later_at_same_box=later,
        raw_target=raw_target,
        iou=iou(at_truth, boxes),
        is_background=is_background,
    )
