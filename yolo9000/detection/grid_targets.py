"""Which truth each cell of a YOLOv1 grid has, and which of its predictors answers for it. No gradient passes.

B images, S x S grid, n predictors of a cell, M truths of the fullest image, I ignored boxes, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from yolo9000.datasets.sample import Target
from yolo9000.detection.boxes import intersection, iou
from yolo9000.models.grid import GridSpec
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.tensors import to_device

DARKNETS_LEAST_SIDE = 0.005
"""Darknet's reader of data drops a box of a smaller width or height, relative to the image."""
FORCED_AREA = 0.1
"""Below this share of the image's area `forced` chooses predictor 1."""


@dataclass(frozen=True, kw_only=True)
class GridTruths:
    """The one truth of each cell, on the device of the net's output."""

    present: Tensor  # (B, S*S) bool
    boxes: Tensor  # (B, S*S, 4): x and y inside of the cell, width and height of the image; zeros where there is none
    labels: Tensor  # (B, S*S) class; -1 for an object of no class, and where there is no truth
    ignore_boxes_cxcywh: Tensor  # (B, I, 4), padded with zeros


@dataclass(frozen=True, kw_only=True)
class GridAssignment:
    """Truths -> predictors."""

    responsible: Tensor  # (B, S*S, n) bool: the predictor answers for the truth of its cell
    iou: Tensor  # (B, S*S, n) IoU of each predictor's box with the truth of its cell
    is_background: Tensor  # (B, S*S, n) bool: not responsible, and in no ignored area


@torch.no_grad()
def pack_grid_targets(
    targets: Sequence[Target], spec: GridSpec, side: int, device: torch.device, *, least_side: float = 0.0
) -> GridTruths:
    """Sort the targets of a batch into cells and bring them to the device. Targets on the host cost no wait for a GPU.

    The cell of a truth is that of its centre. Of several truths in a cell the first one stays, as the output has
    classes for one object a cell only. A label that is no class makes an object of no class. Labels go through
    ``spec.classes.map`` if there is one.

    Parameters
    ----------
    targets : sequence of Target
        One for each image.
    spec : GridSpec
        What the numbers of the output mean.
    side : int
        S.
    device : torch.device
        Where the output is.
    least_side : float
        A truth whose width or height is smaller is left out. One without an extent always is.

    Raises
    ------
    Mistake
        An image has an image label.
    """
    for number, target in enumerate(targets):
        if target.is_classification:
            raise Mistake(
                f"image {number} has an image label, from which YOLOv1's output cannot learn: its classes are those of "
                "cells with a box. Image labels need a region and a tree (YOLO9000)"
            )
    # float32 and float64 may be mixed in a batch, which cannot be padded together
    dtype = torch.float64 if any(t.boxes_cxcywh.dtype == torch.float64 for t in targets) else torch.float32
    # one empty place more, so that there is always a first truth to read
    boxes = pad_sequence([_with_one_more(t.boxes_cxcywh.to(dtype)) for t in targets], batch_first=True)
    labels = pad_sequence([_with_one_more(_classes_of(t.labels, spec)) for t in targets], batch_first=True)
    ignored = [boxes[0, :0] if t.ignore_boxes_cxcywh is None else t.ignore_boxes_cxcywh.to(dtype) for t in targets]
    sizes = boxes[..., 2:]
    # (B, M + 1); a box of NaN is present, or nobody would hear of it
    present = ~((sizes <= 0) | (sizes.double() < least_side)).any(dim=-1)
    # darknet's int(x * S), in the precision of the boxes: there k / S * S is k again, for every S in use
    column, row = (boxes[..., :2] * side).nan_to_num(nan=0.0).floor().clamp(0, side - 1).unbind(-1)
    inside = boxes[..., :2].double() * side - torch.stack([column, row], dim=-1).double()
    encoded = torch.cat([inside, sizes.double()], dim=-1)
    cell = torch.where(present, (row * side + column).long(), side * side)  # one cell too many, for what is no truth
    order = torch.arange(boxes.shape[1], device=boxes.device).expand_as(cell)
    first = torch.full((len(boxes), side * side + 1), boxes.shape[1] - 1, device=boxes.device)
    first = first.scatter_reduce(1, cell, order, "amin")[:, : side * side]
    found = present.gather(1, first)
    return GridTruths(
        present=to_device(found, device),
        boxes=to_device(encoded.gather(1, first[..., None].expand(-1, -1, 4)) * found[..., None], device),
        labels=to_device(torch.where(found, labels.gather(1, first), -1), device),
        ignore_boxes_cxcywh=to_device(pad_sequence(ignored, batch_first=True), device),
    )


def _with_one_more(rows: Tensor) -> Tensor:
    return torch.cat([rows, rows.new_zeros(1, *rows.shape[1:])])


def _classes_of(labels: Tensor, spec: GridSpec) -> Tensor:
    """Labels of boxes -> classes; -1 for a label that is none."""
    labels = labels.long()
    if spec.classes.map is not None:
        table = torch.tensor([*spec.classes.map, -1], device=labels.device)
        labels = table[torch.where((labels >= 0) & (labels < len(table) - 1), labels, len(table) - 1)]
    return torch.where((labels >= 0) & (labels < spec.classes.number), labels, -1)


@torch.no_grad()
def assign_predictors(
    raw_boxes: Tensor, predicted_cxcywh: Tensor, truths: GridTruths, spec: GridSpec, form: Literal["darknet", "paper"]
) -> GridAssignment:
    """Which predictor of a cell answers for its truth: the one of the highest IoU, and of equals the first.

    Parameters
    ----------
    raw_boxes : Tensor (B, S*S, n, 4)
        The box numbers of the net.
    predicted_cxcywh : Tensor (B, S*S*n, 4)
        The boxes that they stand for, relative to the image.
    truths : GridTruths
        The truth of each cell.
    spec : GridSpec
        What the numbers mean.
    form : {"darknet", "paper"}
        In darknet's code, where no predictor overlaps the truth, the one whose box is nearest in the root of the summed
        squared differences of its numbers is taken; and `forced` chooses by the size of the truth.

    Returns
    -------
    GridAssignment
    """
    side, n = round(raw_boxes.shape[1] ** 0.5), spec.num
    truth = truths.boxes.to(raw_boxes.dtype)[:, :, None]  # (B, S*S, 1, 4)
    sizes = raw_boxes[..., 2:].square() if spec.square_root else raw_boxes[..., 2:]
    # from the corner of the cell, whose place changes nothing
    boxes, truth = (
        torch.cat([b[..., :2] / side, wh], dim=-1) for b, wh in ((raw_boxes, sizes), (truth, truth[..., 2:]))
    )
    overlap = iou(boxes, truth)  # (B, S*S, n)
    chosen = overlap.argmax(dim=-1)
    if form == "darknet":
        nearest = (boxes - truth).square().sum(dim=-1).argmin(dim=-1)
        chosen = torch.where((overlap > 0).any(dim=-1), chosen, nearest)
        if spec.loss.forced:
            chosen = (truths.boxes[..., 2] * truths.boxes[..., 3] < FORCED_AREA).long()
    responsible = (chosen[..., None] == torch.arange(n, device=chosen.device)) & truths.present[..., None]
    is_background = ~responsible
    if truths.ignore_boxes_cxcywh.shape[1]:
        rows = predicted_cxcywh[:, None]  # (B, 1, P, 4)
        shared = intersection(rows, truths.ignore_boxes_cxcywh.to(rows.dtype)[:, :, None]).amax(dim=1)
        ignored = (shared > 0) & (shared > 0.5 * predicted_cxcywh[..., 2] * predicted_cxcywh[..., 3])
        is_background = is_background & ~ignored.view_as(is_background)
    return GridAssignment(responsible=responsible, iou=overlap, is_background=is_background)
