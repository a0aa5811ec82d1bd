"""What a detector answers: raw numbers, of which loss and decoding read the few that they need.

Shapes: B images, A priors a cell, H x W grid, P = A*H*W boxes of an image, K nodes (or classes), N boxes read,
C columns read at a box, D channels of the features.
A box has the flat index ``((image * A + prior) * H + row) * W + column``: darknet's order, images in front.

Nobody outside of this module sees a dense class array: a training step reads the classes of a few boxes along one path
each, and prediction those of the boxes that hold an object. So the cost of the classes follows the objects, not the
vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from yolo9000.models.box_coding import BoxCoding
from yolo9000.models.late_gradient import HeadRows, LateTable, without_autocast
from yolo9000.models.replicas import shows_tensors
from yolo9000.runtime.tensors import full_precision, host_knows

IMAGES_AT_ONCE = 16
"""Images whose classes are read at every box at once."""


class DetectorOutput(Protocol):
    """What any detector answers for B images of P boxes each, whatever its boxes are relative to.

    A box of the batch has the flat index ``image * P + box``.
    """

    @property
    def boxes_cxcywh(self) -> Tensor:
        """Centre and size relative to the network's input: (B, P, 4), in at least float32. No gradient passes."""

    def decoded(self, dtype: torch.dtype) -> Tensor:
        """`boxes_cxcywh` computed in another precision."""

    @property
    def objectness(self) -> Tensor:
        """Logits of "here is a thing": (B, P)."""

    @property
    def num_classes(self) -> int:
        """Class columns K of one box."""

    def class_logits(self, boxes: Tensor, columns: Tensor | None = None) -> Tensor:
        """Logits of single boxes at the same columns: flat indices (N,) and columns (C,) -> (N, C); None for all K.

        A column may be named once only.
        """

    def class_logits_at(self, boxes: Tensor, columns: Tensor) -> Tensor:
        """Single logits: flat indices (N,) and one column each (N,) -> (N,)."""

    def class_logits_of_images(self, images: Tensor, columns: Tensor) -> Tensor:
        """Logits at every box of some images: (n,) and columns (n, C) -> (n, P, C)."""

    def joined(self, others: Sequence[Self]) -> Self:
        """The output of a batch whose first images are these, and whose others are those of `others`."""

    def only(self, boxes: Tensor) -> tuple[Self, Tensor]:
        """What is needed to answer for some boxes later, without the rest of the batch: flat indices (N,).

        Returns
        -------
        output : DetectorOutput
            The objectness and classes of these boxes are the same as here. What it says of their places means nothing.
        boxes : Tensor (N,)
            The flat index of each box in that output.
        """


class RegionOutput(DetectorOutput, Protocol):
    """What a region head answers: raw numbers before any sigmoid, exponential or softmax, on a grid.

    The boxes of an image are in darknet's order: prior, row, column.
    """

    @property
    def boxes(self) -> Tensor:
        """tx, ty, tw, th: (B, A, H, W, 4)."""

    @property
    def raw(self) -> Tensor:
        """Everything, in darknet's dense layout: (B, A*(5+K), H, W), channel ``prior*(5+K) + entry``."""


Output = TypeVar("Output", bound=DetectorOutput)


class _GridBoxes:
    """The boxes that tx, ty, tw, th stand for, decoded when they are first asked for."""

    def __init__(self, coding: BoxCoding) -> None:
        self.coding = coding
        self._boxes_cxcywh: Tensor | None = None

    @property
    def boxes(self) -> Tensor:
        raise NotImplementedError

    @property
    def boxes_cxcywh(self) -> Tensor:
        if self._boxes_cxcywh is None:
            self._boxes_cxcywh = self.coding.decode(full_precision(self.boxes).detach()).flatten(1, 3)
        return self._boxes_cxcywh

    def decoded(self, dtype: torch.dtype) -> Tensor:
        return self.coding.decode(self.boxes.detach().to(dtype)).flatten(1, 3)


@shows_tensors("_raw")
@dataclass(init=False, repr=False, eq=False)
class DenseRegionOutput(_GridBoxes):
    """A :class:`RegionOutput` on top of darknet's dense array.

    Parameters
    ----------
    raw : Tensor (B, A*(5+K), H, W)
        The entries tx ty tw th to and K class logits for every prior.
    coding : BoxCoding
        What the boxes are relative to: the A priors of a cell.

    Raises
    ------
    ValueError
        If the channels are not a multiple of A with at least one class.

    Examples
    --------
    >>> out = DenseRegionOutput(torch.arange(14.0).reshape(1, 14, 1, 1), BoxCoding(((1.0, 1.0),) * 2))
    >>> out.num_classes, out.objectness.flatten().tolist()
    (2, [4.0, 11.0])
    >>> out.class_logits(torch.tensor([1]), torch.tensor([1, 0])).tolist()
    [[13.0, 12.0]]
    """

    _raw: Tensor

    def __init__(self, raw: Tensor, coding: BoxCoding) -> None:
        super().__init__(coding)
        num_priors = coding.num_priors
        if raw.dim() != 4:
            raise ValueError(f"raw: (B, A*(5+K), H, W) is needed, got {tuple(raw.shape)}")
        if raw.shape[1] % num_priors or raw.shape[1] // num_priors < 6:
            raise ValueError(f"raw has {raw.shape[1]} channels, which is not {num_priors} priors x (5 + classes)")
        self._raw = raw
        self._num_priors = num_priors
        b, channels, h, w = raw.shape
        self._entries = channels // num_priors
        # one slice for both, whose gradient fills one array of the size of `raw`
        box_rows = raw.reshape(b, num_priors, self._entries, h, w)[:, :, :5]
        self._box, self._objectness = box_rows.split([4, 1], dim=2)

    @property
    def boxes(self) -> Tensor:
        box: Tensor = self._box
        return box.permute(0, 1, 3, 4, 2)

    @property
    def objectness(self) -> Tensor:
        objectness: Tensor = self._objectness
        return objectness.flatten(1)

    @property
    def num_classes(self) -> int:
        return self._entries - 5

    @property
    def raw(self) -> Tensor:
        return self._raw

    def of_tensors(self, tensors: Sequence[Tensor]) -> Self:
        return type(self)(tensors[0], self.coding)

    def joined(self, others: Sequence[Self]) -> Self:
        return type(self)(torch.cat([self._raw, *(other._raw for other in others)]), self.coding)

    def only(self, boxes: Tensor) -> tuple[Self, Tensor]:
        cells = self._raw.shape[2] * self._raw.shape[3]
        prior_of_batch = torch.div(boxes, cells, rounding_mode="floor")
        by_prior = self._raw.reshape(-1, self._entries, cells)
        raw = by_prior[prior_of_batch, :, boxes - prior_of_batch * cells][:, :, None, None]
        # one prior an image: which one it was decides on the place of a box alone
        return type(self)(raw, BoxCoding(self.coding.priors[:1], self.coding.kind)), torch.arange(
            len(boxes), device=boxes.device
        )

    def class_logits_at(self, boxes: Tensor, columns: Tensor) -> Tensor:
        cells = self._raw.shape[2] * self._raw.shape[3]
        prior_of_batch = torch.div(boxes, cells, rounding_mode="floor")
        index = (prior_of_batch * self._entries + 5 + columns) * cells + boxes - prior_of_batch * cells
        # gather on one flat axis: its backward is a scatter_add, the same in every run on the CPU
        return self._raw.reshape(-1).gather(0, index.reshape(-1)).reshape(index.shape)

    def class_logits(self, boxes: Tensor, columns: Tensor | None = None) -> Tensor:
        if columns is None:
            columns = torch.arange(self.num_classes, device=self._raw.device)
        return self.class_logits_at(boxes[:, None], columns[None])

    def class_logits_of_images(self, images: Tensor, columns: Tensor) -> Tensor:
        per_image = self._num_priors * self._raw.shape[2] * self._raw.shape[3]
        boxes = images[:, None] * per_image + torch.arange(per_image, device=self._raw.device)
        return self.class_logits_at(boxes[:, :, None], columns[:, None])


@shows_tensors("_features", "_box_rows")  # not the class rows, of which a copy would be made
@dataclass(init=False, repr=False, eq=False)
class SparseRegionOutput(_GridBoxes):
    """A :class:`RegionOutput` that multiplies out only the class logits that are asked for.

    The numbers are those of the dense array, in at least float32 whatever the features are in: bfloat16 would cost
    about a tenth of each conditional probability.

    Parameters
    ----------
    features : Tensor (B, D, H, W)
        What the net makes of the images; the memory format channels_last saves a copy.
    rows : HeadRows
        The weights and biases that they are multiplied with.
    coding : BoxCoding
        What the boxes are relative to: the A priors of a cell.

    Examples
    --------
    >>> classes = LateTable(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    >>> rows = HeadRows(torch.zeros(5, 2), torch.zeros(5), classes, torch.zeros(1, 2))
    >>> out = SparseRegionOutput(torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1), rows, BoxCoding(((1.0, 1.0),)))
    >>> out.class_logits(torch.tensor([0])).tolist(), out.class_logits_at(torch.tensor([0]), torch.tensor([1])).tolist()
    ([[3.0, 8.0]], [8.0])
    """

    _features: Tensor
    _box_rows: Tensor
    _rows: HeadRows

    def __init__(self, features: Tensor, rows: HeadRows, coding: BoxCoding) -> None:
        super().__init__(coding)
        num_priors = coding.num_priors
        b, _, h, w = features.shape
        self._features = features
        if not torch.is_grad_enabled():  # what a net answers then takes no gradient when it is read later
            classes = LateTable(rows.classes.weight.detach())
            rows = rows._replace(classes=classes, class_bias=rows.class_bias.detach())
        self._rows = rows
        self._num_priors = num_priors
        self._cells = _cells_of(features)
        with without_autocast(features.device):
            box_rows = F.linear(full_precision(self._cells), rows.box_weight, rows.box_bias)
        self._box_rows = box_rows.view(b, h, w, num_priors, 5).permute(0, 3, 1, 2, 4)

    @property
    def features(self) -> Tensor:
        """What the net made of the images: (B, D, H, W)."""
        return self._features

    @property
    def boxes(self) -> Tensor:
        return self._box_rows[..., :4]

    @property
    def objectness(self) -> Tensor:
        return self._box_rows[..., 4].flatten(1)

    @property
    def num_classes(self) -> int:
        return self._rows.class_bias.shape[1]

    @property
    def raw(self) -> Tensor:
        b, a, h, w, _ = self._box_rows.shape
        features, own = full_precision(self._cells), range(a) if self._has_own_rows else [0] * a
        classes = torch.stack([self._products(features, [prior], None) for prior in own])  # (A, B*H*W, K)
        classes = classes.view(a, b, h, w, -1).permute(1, 0, 2, 3, 4)
        return torch.cat([self._box_rows, classes], dim=-1).permute(0, 1, 4, 2, 3).flatten(1, 2)

    def of_tensors(self, tensors: Sequence[Tensor]) -> Self:
        other = copy.copy(self)
        other._features, other._box_rows = tensors
        other._cells, other._boxes_cxcywh = _cells_of(other._features), None
        return other

    def joined(self, others: Sequence[Self]) -> Self:
        features = torch.cat([self._features, *(other._features for other in others)])
        return type(self)(features, self._rows, self.coding)

    def only(self, boxes: Tensor) -> tuple[Self, Tensor]:
        prior, cell = self._place(boxes)
        features = self._cells.index_select(0, cell)[:, :, None, None]  # N images of one cell
        places = torch.arange(len(boxes), device=boxes.device) * self._num_priors + prior
        return type(self)(features, self._rows, self.coding), places

    @property
    def _has_own_rows(self) -> bool:
        """Whether a prior's class rows are its own."""
        return self._rows.class_bias.shape[0] > 1

    def _place(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Flat box indices -> prior and cell (row of the features) of each."""
        _, a, h, w, _ = self._box_rows.shape
        prior_of_batch = torch.div(boxes, h * w, rounding_mode="floor")
        image = torch.div(prior_of_batch, a, rounding_mode="floor")
        return prior_of_batch - image * a, boxes + (image - prior_of_batch) * (h * w)

    def class_logits(self, boxes: Tensor, columns: Tensor | None = None) -> Tensor:
        prior, cell = self._place(boxes)
        features = full_precision(self._cells.index_select(0, cell))
        if not self._has_own_rows:
            return self._products(features, [0], columns)
        if not host_knows([boxes]):
            # to sort them one needs to know how many boxes each prior has, for which a GPU would make the host wait
            return self._of_own_prior(features, prior, columns)
        order = torch.argsort(prior, stable=True)
        parts = features.index_select(0, order).split(torch.bincount(prior, minlength=self._num_priors).tolist())
        logits = torch.cat([self._products(part, [prior], columns) for prior, part in enumerate(parts)])
        return logits.index_select(0, torch.argsort(order))

    def followed_class_logits(self, boxes: Tensor) -> Tensor:
        """`class_logits` of all columns in operations that an exporter can follow, whatever boxes there are."""
        prior, cell = self._place(boxes)
        features = full_precision(self._cells.index_select(0, cell))
        if not self._has_own_rows:
            return self._products(features, [0], None)
        return self._of_own_prior(features, prior, None)

    def _of_own_prior(self, features: Tensor, prior: Tensor, columns: Tensor | None) -> Tensor:
        """Class logits of every prior, of which those of one are taken: (N, D), (N,) and (C,) -> (N, C)."""
        logits = self._products(features, range(self._num_priors), columns).unflatten(1, (self._num_priors, -1))
        of_prior: Tensor = logits.gather(1, prior[:, None, None].expand(-1, 1, logits.shape[2])).squeeze(1)
        return of_prior

    def _products(self, features: Tensor, priors: Sequence[int], columns: Tensor | None) -> Tensor:
        """Class logits of some priors, one after the other: (N, D) and (C,) -> (N, priors * C)."""
        k = self.num_classes
        with without_autocast(features.device):
            bias = self._rows.class_bias[priors[0] : priors[-1] + 1]
            if columns is None:
                weight = self._rows.classes.weight[priors[0] * k : (priors[-1] + 1) * k]
                return F.linear(features, weight, bias.flatten())
            rows = torch.cat([columns + prior * k for prior in priors])
            return self._rows.classes.product(features, rows) + bias.index_select(1, columns).flatten()

    def class_logits_at(self, boxes: Tensor, columns: Tensor) -> Tensor:
        prior, cell = self._place(boxes)
        row = prior * self.num_classes + columns if self._has_own_rows else columns
        features = full_precision(self._cells.index_select(0, cell))
        weight = self._rows.classes.weight.index_select(0, row)
        return (features * weight).sum(dim=-1) + self._rows.class_bias.flatten().index_select(0, row)

    def class_logits_of_images(self, images: Tensor, columns: Tensor) -> Tensor:
        # the rows of every image are gathered: of 256 regions and a wide path they would be 700 MB at once
        parts = zip(images.split(IMAGES_AT_ONCE), columns.split(IMAGES_AT_ONCE), strict=True)
        return torch.cat([self._of_some_images(*part) for part in parts])

    def _of_some_images(self, images: Tensor, columns: Tensor) -> Tensor:
        b, a, h, w, _ = self._box_rows.shape
        features = full_precision(self._cells.view(b, h * w, -1).index_select(0, images))  # (n, H*W, D)
        own = torch.arange(len(self._rows.class_bias), device=columns.device)
        rows = own[:, None] * self.num_classes + columns[:, None]  # (n, A or 1, C)
        weight, bias = self._rows.classes.weight[rows], self._rows.class_bias.flatten()[rows]
        with without_autocast(features.device):
            logits = torch.baddbmm(bias.flatten(1)[:, None], features, weight.flatten(1, 2).transpose(1, 2))
        by_prior: Tensor = logits.unflatten(2, (-1, columns.shape[1])).transpose(1, 2)  # (n, A or 1, H*W, C)
        return by_prior.expand(-1, a, -1, -1).flatten(1, 2)


def _cells_of(features: Tensor) -> Tensor:
    """(B, D, H, W) -> (B*H*W, D)"""
    return features.permute(0, 2, 3, 1).flatten(0, 2)


def joined(outputs: Sequence[Output]) -> Output:
    """The outputs of one net for parts of a batch, as one output of the whole batch.

    Examples
    --------
    >>> coding = BoxCoding(((1.0, 1.0),))
    >>> parts = [DenseRegionOutput(torch.full((1, 6, 1, 1), value), coding) for value in (2.0, 3.0)]
    >>> joined(parts).objectness.flatten().tolist()
    [2.0, 3.0]
    """
    return outputs[0].joined(outputs[1:]) if len(outputs) > 1 else outputs[0]
