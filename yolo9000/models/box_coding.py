"""What the four box numbers of a prediction mean: raw tx ty tw th <-> boxes.

B images, A priors a cell, H x W grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from yolo9000.models.config import check_priors
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.tensors import to_device


@dataclass(frozen=True)
class BoxCoding:
    """Boxes relative to priors and to the cells of a grid.

    Parameters
    ----------
    priors : tuple of (float, float)
        Width and height of every prior ("anchor") in grid cells.
    kind : {"direct", "unconstrained"}
        How a centre is predicted; width and height are ``prior * exp(t)`` in both.

        "direct": ``cx = (column + sigmoid(tx)) / W``, so a box stays in its cell (YOLO9000 paper, section 2, "Direct
        location prediction"; darknet).

        "unconstrained": ``cx = (column + 0.5 + tx * prior width) / W``, an offset from the middle of the cell that may
        end anywhere in the image (Faster R-CNN, section 3.1.2; the form that the YOLO9000 paper names as unstable and
        replaces by the other).

    Raises
    ------
    Mistake
        If there is no prior, or one is not positive and finite, or the kind is not known.

    Examples
    --------
    >>> raw = torch.zeros(1, 1, 1, 2, 4)
    >>> BoxCoding(((1.0, 0.5),)).decode(raw)[0, 0, 0].tolist()
    [[0.25, 0.5, 0.5, 0.5], [0.75, 0.5, 0.5, 0.5]]
    """

    priors: tuple[tuple[float, float], ...]
    kind: Literal["direct", "unconstrained"] = "direct"

    def __post_init__(self) -> None:
        check_priors(self.priors)
        if self.kind not in ("direct", "unconstrained"):
            raise Mistake(f"`kind` {self.kind}: direct or unconstrained is needed")

    @property
    def num_priors(self) -> int:
        """Boxes A that every grid cell predicts."""
        return len(self.priors)

    def priors_like(self, tensor: Tensor) -> Tensor:
        """The priors (A, 2), of the type and on the device of a tensor; a GPU does not make the host wait."""
        return to_device(torch.tensor(self.priors, dtype=tensor.dtype), tensor.device)

    def decode(self, raw_boxes: Tensor) -> Tensor:
        """tx ty tw th -> boxes relative to the image, cx cy w h: (B, A, H, W, 4) -> (B, A, H, W, 4)."""
        _, _, height, width, _ = raw_boxes.shape
        device, dtype = raw_boxes.device, raw_boxes.dtype
        priors = self.priors_like(raw_boxes)
        column = torch.arange(width, device=device, dtype=dtype)
        row = torch.arange(height, device=device, dtype=dtype)[:, None]
        if self.kind == "direct":
            cx = (raw_boxes[..., 0].sigmoid() + column) / width
            cy = (raw_boxes[..., 1].sigmoid() + row) / height
        else:
            cx = (raw_boxes[..., 0] * priors[:, 0, None, None] + column + 0.5) / width
            cy = (raw_boxes[..., 1] * priors[:, 1, None, None] + row + 0.5) / height
        w = raw_boxes[..., 2].exp() * priors[:, 0, None, None] / width
        h = raw_boxes[..., 3].exp() * priors[:, 1, None, None] / height
        return torch.stack([cx, cy, w, h], dim=-1)

    def encode(self, boxes_cxcywh: Tensor, cell: Tensor, prior: Tensor, grid: Tensor) -> Tensor:
        """The `activate` numbers that would predict some boxes.

        Parameters
        ----------
        boxes_cxcywh : Tensor (..., 4)
            Relative to the image, of positive size.
        cell : Tensor (..., 2)
            Column and row of the cell that predicts each.
        prior : Tensor (...,) int64
            Its prior.
        grid : Tensor (2,)
            Columns W and rows H.

        Returns
        -------
        Tensor (..., 4)
        """
        prior_wh = self.priors_like(boxes_cxcywh)[prior]
        offset = boxes_cxcywh[..., :2] * grid - cell
        if self.kind == "unconstrained":
            offset = (offset - 0.5) / prior_wh
        return torch.cat([offset, torch.log(boxes_cxcywh[..., 2:] * grid / prior_wh)], dim=-1)

    def activate(self, raw_boxes: Tensor) -> Tensor:
        """The numbers that a loss compares: sigmoid(tx), sigmoid(ty), tw, th, or all as they are; (..., 4)."""
        if self.kind == "unconstrained":
            return raw_boxes
        xy, wh = raw_boxes.split(2, dim=-1)
        return torch.cat([xy.sigmoid(), wh], dim=-1)

    def rest(self, like: Tensor) -> Tensor:
        """The `activate` numbers (4,) of a box that is its prior in the middle of its cell."""
        middle = 0.5 if self.kind == "direct" else 0.0
        return to_device(torch.tensor([middle, middle, 0.0, 0.0], dtype=like.dtype), like.device)
