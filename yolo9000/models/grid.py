"""What the numbers of YOLOv1's output mean: classes of a cell, confidences and boxes of its predictors.

B images, S x S grid, n boxes ("predictors") of a cell, C classes, P = S*S*n boxes of an image.

For each image the vector is C*S*S class numbers [cell][class], then n*S*S confidences [cell][predictor], then 4*n*S*S
box numbers [cell][predictor](x, y, w, h), where cell = row * S + column. This is darknet's order; the paper (section 2)
gives the same numbers as an S x S x (n*5 + C) tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor

from yolo9000.models.flat_classes import FlatClasses
from yolo9000.models.replicas import shows_tensors
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.tensors import full_precision


@dataclass(frozen=True, kw_only=True)
class GridLossConfig:
    """The constants of YOLOv1's loss; the defaults are yolov1.cfg's, which are those of the paper's equation 3.

    Parameters
    ----------
    form : {"darknet", "paper"}
        What the code does, or equation 3 as it is printed; see `yolo9000.detection.yolov1_loss`.
    object_scale, class_scale : float
        The weights of the confidence of responsible predictors and of the classes (1 in the paper).
    noobject_scale : float
        The weight of the confidence of all other predictors (paper: lambda_noobj .5).
    coord_scale : float
        The weight of the box numbers (paper: lambda_coord 5).
    rescore : bool
        Whether the confidence of a responsible predictor is taught its IoU with the truth, or else 1.
    forced : bool
        Whether the size of the truth decides who is responsible: predictor 1 below a tenth of the image's area, else
        predictor 0 (darknet).
    """

    form: Literal["darknet", "paper"] = "darknet"
    object_scale: float = 1.0
    noobject_scale: float = 0.5
    class_scale: float = 1.0
    coord_scale: float = 5.0
    rescore: bool = True
    forced: bool = False


@dataclass(frozen=True, kw_only=True)
class GridSpec:
    """The meaning of YOLOv1's output, and the constants of its loss.

    Parameters
    ----------
    classes : FlatClasses
        What the C class numbers of a cell mean: "linear", or "softmax" (darknet's ``softmax=1``).
    num : int
        Boxes n that a cell predicts (paper: B = 2; darknet's ``num``).
    square_root : bool
        Whether the net gives the square roots of width and height (darknet's ``sqrt``).
    loss : GridLossConfig
        The constants of the loss.

    Raises
    ------
    Mistake
        There is no box, or the classes are under sigmoids, which this output never has.

    Examples
    --------
    >>> spec = GridSpec(classes=FlatClasses(20, "linear"))
    >>> spec.channels, spec.numbers(7), spec.side_of(1470)
    (30, 1470, 7)
    """

    classes: FlatClasses
    num: int = 2
    square_root: bool = True
    loss: GridLossConfig = GridLossConfig()

    def __post_init__(self) -> None:
        if self.num < 1:
            raise Mistake(f"`num` {self.num}: a cell predicts at least 1 box")
        if self.classes.over == "sigmoid":
            raise Mistake("`classes`: those of a grid are linear or under a softmax, not under sigmoids")
        if self.loss.forced and self.num < 2:
            raise Mistake("`forced` chooses between predictors 0 and 1, and a cell has one")

    @property
    def channels(self) -> int:
        """Numbers C + 5n of a cell."""
        return self.classes.number + 5 * self.num

    def numbers(self, side: int) -> int:
        """Numbers S*S*(C + 5n) of an image."""
        return side * side * self.channels

    def side_of(self, numbers: int) -> int:
        """The side S of the grid that has so many numbers.

        Raises
        ------
        ValueError
            No grid has.
        """
        side = math.isqrt(numbers // self.channels)
        if numbers < 1 or self.numbers(side) != numbers:
            raise ValueError(f"raw has {numbers} numbers an image, which is not S x S x {self.channels}")
        return side

    @property
    def description(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        plain = {"num": self.num, "square_root": self.square_root, "loss": asdict(self.loss)}
        return {"classes": self.classes.description, **plain}


@shows_tensors("raw")
@dataclass(init=False, repr=False, eq=False)
class GridOutput:
    """What YOLOv1 answers, as a `yolo9000.models.output.DetectorOutput`.

    All boxes of a cell share its class numbers. The boxes of an image are in darknet's order: cell, predictor.

    Parameters
    ----------
    raw : Tensor (B, S*S*(C + 5n))
        Darknet's vector.
    spec : GridSpec
        What its numbers mean.

    Raises
    ------
    ValueError
        The numbers make no grid.

    Examples
    --------
    One cell of two classes and one box, which lies in the middle and is as large as the image.

    >>> spec = GridSpec(classes=FlatClasses(2, "linear"), num=1)
    >>> out = GridOutput(torch.tensor([[0.1, 0.9, 0.75, 0.5, 0.5, 1.0, 1.0]]), spec)
    >>> out.boxes_cxcywh.tolist(), round(out.objectness.sigmoid().item(), 4), out.class_logits(torch.tensor([0])).shape
    ([[[0.5, 0.5, 1.0, 1.0]]], 0.75, torch.Size([1, 2]))
    """

    raw: Tensor

    def __init__(self, raw: Tensor, spec: GridSpec) -> None:
        if raw.dim() != 2:
            raise ValueError(f"raw: (B, S*S*(C + 5n)) is needed, got {tuple(raw.shape)}")
        self.raw = raw
        self.spec = spec
        self.side = side = spec.side_of(raw.shape[1])
        cells, c, n = side * side, spec.classes.number, spec.num
        batch = raw.shape[0]  # `len` would be a constant in a net that is written for any batch
        classes, confidences, boxes = raw.split([cells * c, cells * n, cells * n * 4], dim=1)
        self.cell_classes = classes.reshape(batch, cells, c)
        """(B, S*S, C)"""
        self.confidences = confidences.reshape(batch, cells, n)
        """(B, S*S, n): as they are, any number."""
        self.boxes = boxes.reshape(batch, cells, n, 4)
        """x and y inside of the cell, width and height or their roots: (B, S*S, n, 4)."""

    @property
    def boxes_cxcywh(self) -> Tensor:
        return self.decoded(full_precision(self.raw).dtype)

    def decoded(self, dtype: torch.dtype) -> Tensor:
        boxes = self.boxes.detach().to(dtype)
        cell = torch.arange(self.side * self.side, device=boxes.device)
        row = torch.div(cell, self.side, rounding_mode="floor")
        corner = torch.stack([cell - row * self.side, row], dim=-1).to(dtype)[:, None]  # (S*S, 1, 2)
        centres = (boxes[..., :2] + corner) / self.side
        sizes = boxes[..., 2:].square() if self.spec.square_root else boxes[..., 2:]
        return torch.cat([centres, sizes], dim=-1).flatten(1, 2)

    @property
    def objectness(self) -> Tensor:
        """The confidences as logits (B, P): below 0 they are as good as 0, above 1 as good as 1."""
        return torch.logit(full_precision(self.confidences).flatten(1), eps=1e-6)

    @property
    def num_classes(self) -> int:
        return self.spec.classes.number

    def class_logits(self, boxes: Tensor, columns: Tensor | None = None) -> Tensor:
        of_cell: Tensor = self.cell_classes.flatten(0, 1).index_select(0, self._cell(boxes))
        return of_cell if columns is None else of_cell.index_select(1, columns)

    def class_logits_at(self, boxes: Tensor, columns: Tensor) -> Tensor:
        return self.class_logits(boxes).gather(1, columns[:, None]).squeeze(1)

    def class_logits_of_images(self, images: Tensor, columns: Tensor) -> Tensor:
        at_cells: Tensor = self.cell_classes.index_select(0, images)
        at_cells = at_cells.gather(2, columns[:, None].expand(-1, at_cells.shape[1], -1))
        return at_cells.repeat_interleave(self.spec.num, dim=1)

    def _cell(self, boxes: Tensor) -> Tensor:
        """Flat box indices -> cells of the batch."""
        return torch.div(boxes, self.spec.num, rounding_mode="floor")

    def of_tensors(self, tensors: Sequence[Tensor]) -> Self:
        return type(self)(tensors[0], self.spec)

    def joined(self, others: Sequence[Self]) -> Self:
        return type(self)(torch.cat([self.raw, *(other.raw for other in others)]), self.spec)

    def only(self, boxes: Tensor) -> tuple[Self, Tensor]:
        cell = self._cell(boxes)
        parts = (self.cell_classes, self.confidences, self.boxes.flatten(2))
        raw = torch.cat([part.flatten(0, 1).index_select(0, cell) for part in parts], dim=1)  # N grids of one cell
        first = torch.arange(len(boxes), device=boxes.device) * self.spec.num
        return type(self)(raw, self.spec), first + boxes - cell * self.spec.num
