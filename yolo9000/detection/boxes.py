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
    # coordinate by coordinate: on pairs of coordinates the inner loop would be two long
    (ax, ay, aw, ah), (bx, by, bw, bh) = a_cxcywh.unbind(-1), b_cxcywh.unbind(-1)
    return _shared_side(ax, aw, bx, bw) * _shared_side(ay, ah, by, bh)


def _shared_side(a: Tensor, a_length: Tensor, b: Tensor, b_length: Tensor) -> Tensor:
    """What two intervals share, given by their middles and lengths."""
    half_a, half_b = a_length / 2, b_length / 2
    return (torch.minimum(a + half_a, b + half_b) - torch.maximum(a - half_a, b - half_b)).clamp(min=0)


def iou(a_cxcywh: Tensor, b_cxcywh: Tensor) -> Tensor:
    """Intersection over union, without an epsilon (darknet): broadcasting (..., 4) and (..., 4) -> (...).

    Two empty boxes have an IoU of 0.

    Examples
    --------
    >>> round(iou(torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([1.0, 0.0, 2.0, 2.0])).item(), 6)
    0.333333
    """
    return _ratio(intersection(a_cxcywh, b_cxcywh), a_cxcywh[..., 2:], b_cxcywh[..., 2:])


def shape_iou(a_wh: Tensor, b_wh: Tensor) -> Tensor:
    """`iou` of boxes of one centre: broadcasting (..., 2) and (..., 2) -> (...).

    Examples
    --------
    >>> shape_iou(torch.tensor([2.0, 2.0]), torch.tensor([2.0, 1.0])).item()
    0.5
    """
    return _ratio(torch.minimum(a_wh, b_wh).prod(dim=-1), a_wh, b_wh)


def _ratio(shared: Tensor, a_wh: Tensor, b_wh: Tensor) -> Tensor:
    union = a_wh[..., 0] * a_wh[..., 1] + b_wh[..., 0] * b_wh[..., 1] - shared
    return torch.where(union > 0, shared / union.clamp(min=torch.finfo(union.dtype).tiny), 0.0)
