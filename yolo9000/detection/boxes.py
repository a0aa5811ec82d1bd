"""Box arithmetic. Boxes here are (cx, cy, w, h), relative to the network's input image unless a name says otherwise."""

from __future__ import annotations

import torch
from torch import Tensor


def cxcywh_to_xyxy(boxes_cxcywh: Tensor) -> Tensor:
    """(..., 4) centre and size -> corners.

    Examples
    --------
    >>> cxcywh_to_xyxy(torch.tensor([0.5, 0.5, 0.2, 0.4])).tolist() == torch.tensor([0.4, 0.3, 0.6, 0.7]).tolist()
    True
    """
    centre, half = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def xyxy_to_cxcywh(boxes_xyxy: Tensor) -> Tensor:
    """(..., 4) corners -> centre and size."""
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def intersection(a_cxcywh: Tensor, b_cxcywh: Tensor) -> Tensor:
    """Area that two boxes share: broadcasting (..., 4) and (..., 4) -> (...); 0 where they do not meet."""
    a, b = cxcywh_to_xyxy(a_cxcywh), cxcywh_to_xyxy(b_cxcywh)
    sides = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def iou(a_cxcywh: Tensor, b_cxcywh: Tensor) -> Tensor:
    """Intersection over union, without an epsilon (darknet): broadcasting (..., 4) and (..., 4) -> (...).

    Two empty boxes have an IoU of 0.

    Examples
    --------
    >>> round(iou(torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([1.0, 0.0, 2.0, 2.0])).item(), 6)
    0.333333
    """
    shared = intersection(a_cxcywh, b_cxcywh)
    union = a_cxcywh[..., 2] * a_cxcywh[..., 3] + b_cxcywh[..., 2] * b_cxcywh[..., 3] - shared
    return torch.where(union > 0, shared / union.clamp(min=torch.finfo(union.dtype).tiny), torch.zeros_like(union))


def predicted_boxes(raw_boxes: Tensor, priors: Tensor) -> Tensor:
    """Direct location prediction (YOLO9000 paper, section 2): tx ty tw th -> relative cx, cy, w, h.

    Parameters
    ----------
    raw_boxes
        (B, A, H, W, 4).
    priors
        (A, 2), in grid cells.

    Returns
    -------
    Tensor
        (B, A, H, W, 4): ``cx = (column + sigmoid(tx)) / W``, ``w = pw * exp(tw) / W``, and so on.
    """
    _, _, height, width, _ = raw_boxes.shape
    device, dtype = raw_boxes.device, raw_boxes.dtype
    column = torch.arange(width, device=device, dtype=dtype)
    row = torch.arange(height, device=device, dtype=dtype)[:, None]
    cx = (raw_boxes[..., 0].sigmoid() + column) / width
    cy = (raw_boxes[..., 1].sigmoid() + row) / height
    w = raw_boxes[..., 2].exp() * priors[:, 0, None, None] / width
    h = raw_boxes[..., 3].exp() * priors[:, 1, None, None] / height
    return torch.stack([cx, cy, w, h], dim=-1)
