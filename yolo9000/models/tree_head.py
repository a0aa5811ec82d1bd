"""The detector's last layer and the object that it answers with.

Shapes: B images, A priors a cell, H x W grid, K nodes (or classes), N boxes read, C columns read at a box.
A box has the flat index ``((image * A + prior) * H + row) * W + column``: darknet's order, images in front.

Loss and decoding never see a dense class array. They ask a :class:`RegionOutput` for box terms, objectness, and
the class logits at the boxes and columns that they need, so a head may compute no more than what is read.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn


class RegionOutput(Protocol):
    """What a detector answers: raw numbers before any sigmoid, exponential or softmax."""

    @property
    def boxes(self) -> Tensor:
        """tx, ty, tw, th: (B, A, H, W, 4)."""

    @property
    def objectness(self) -> Tensor:
        """to: (B, A, H, W)."""

    @property
    def num_classes(self) -> int:
        """Class columns K of one box."""

    def class_logits(self, boxes: Tensor, columns: Tensor) -> Tensor:
        """Logits at single boxes: flat indices (N,) and columns (N, C) -> (N, C)."""

    def class_logits_of_images(self, images: Tensor, columns: Tensor) -> Tensor:
        """Logits at every box of some images: (n,) and columns (n, C) -> (n, A*H*W, C)."""

    def class_logits_rows(self, boxes: Tensor) -> Tensor:
        """All K logits of single boxes: flat indices (N,) -> (N, K)."""

    @property
    def raw(self) -> Tensor:
        """Everything, in darknet's dense layout: (B, A*(5+K), H, W), channel ``prior*(5+K) + entry``."""


class DenseRegionOutput:
    """A :class:`RegionOutput` on top of darknet's dense array.

    Parameters
    ----------
    raw
        (B, A*(5+K), H, W), entries tx ty tw th to and K class logits for every prior.
    num_priors
        Priors A of a cell.

    Raises
    ------
    ValueError
        If the channels are not a multiple of A with at least one class.

    Examples
    --------
    >>> out = DenseRegionOutput(torch.arange(14.0).reshape(1, 14, 1, 1), num_priors=2)
    >>> out.num_classes, out.objectness.flatten().tolist()
    (2, [4.0, 11.0])
    >>> out.class_logits(torch.tensor([1]), torch.tensor([[1, 0]])).tolist()
    [[13.0, 12.0]]
    """

    def __init__(self, raw: Tensor, num_priors: int) -> None:
        if raw.dim() != 4:
            raise ValueError(f"raw: (B, A*(5+K), H, W) is needed, got {tuple(raw.shape)}")
        if raw.shape[1] % num_priors or raw.shape[1] // num_priors < 6:
            raise ValueError(f"raw has {raw.shape[1]} channels, which is not {num_priors} priors x (5 + classes)")
        self._raw = raw
        self._num_priors = num_priors
        self._entries = raw.shape[1] // num_priors

    def _view(self) -> Tensor:
        b, _, h, w = self._raw.shape
        return self._raw.reshape(b, self._num_priors, self._entries, h, w)

    @property
    def boxes(self) -> Tensor:
        return self._view()[:, :, 0:4].permute(0, 1, 3, 4, 2)

    @property
    def objectness(self) -> Tensor:
        return self._view()[:, :, 4]

    @property
    def num_classes(self) -> int:
        return self._entries - 5

    @property
    def raw(self) -> Tensor:
        return self._raw

    def _read(self, prior_of_batch: Tensor, cell: Tensor, columns: Tensor) -> Tensor:
        """Entries at (image * A + prior, cell, class column), all of one shape."""
        cells = self._raw.shape[2] * self._raw.shape[3]
        index = (prior_of_batch * self._entries + 5 + columns) * cells + cell
        # gather on one flat axis: its backward is a scatter_add, the same in every run on the CPU
        return self._raw.reshape(-1).gather(0, index.reshape(-1)).reshape(index.shape)

    def class_logits(self, boxes: Tensor, columns: Tensor) -> Tensor:
        cells = self._raw.shape[2] * self._raw.shape[3]
        prior_of_batch = torch.div(boxes, cells, rounding_mode="floor")
        return self._read(prior_of_batch[:, None], (boxes - prior_of_batch * cells)[:, None], columns)

    def class_logits_of_images(self, images: Tensor, columns: Tensor) -> Tensor:
        cells = self._raw.shape[2] * self._raw.shape[3]
        device = self._raw.device
        prior = torch.arange(self._num_priors, device=device)
        prior_of_batch = (images[:, None] * self._num_priors + prior)[:, :, None, None]  # (n, A, 1, 1)
        cell = torch.arange(cells, device=device)[None, None, :, None]
        return self._read(prior_of_batch, cell, columns[:, None, None, :]).flatten(1, 2)

    def class_logits_rows(self, boxes: Tensor) -> Tensor:
        columns = torch.arange(self.num_classes, device=self._raw.device)
        return self.class_logits(boxes, columns.expand(boxes.shape[0], -1))


class TreeHead(nn.Module):
    """The last 1x1 convolution: features -> boxes, objectness and class logits, rows in darknet's order.

    Parameters
    ----------
    in_channels
        Channels of the features.
    num_priors, num_classes
        A and K; the layer has A * (5 + K) outputs.

    Examples
    --------
    >>> TreeHead(8, num_priors=3, num_classes=4)(torch.zeros(2, 8, 5, 5)).raw.shape
    torch.Size([2, 27, 5, 5])
    """

    def __init__(self, in_channels: int, num_priors: int, num_classes: int) -> None:
        super().__init__()
        self.num_priors = num_priors
        self.num_classes = num_classes
        self.conv = nn.Conv2d(in_channels, num_priors * (5 + num_classes), 1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small weights, and objectness that starts near 0.02.

        Nearly every box is background, so the first steps need not unlearn an objectness of one half.
        """
        nn.init.normal_(self.conv.weight, std=0.01)
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)
        with torch.no_grad():
            self.conv.bias.view(self.num_priors, -1)[:, 4] = -math.log(1 / 0.02 - 1)

    def set_class_rows(self, weight: Tensor, bias: Tensor) -> None:
        """Start the class rows of every prior from a classifier's last layer: (K, C_in) and (K,)."""
        assert self.conv.bias is not None
        rows = self.conv.weight.detach().view(self.num_priors, 5 + self.num_classes, -1)
        with torch.no_grad():
            rows[:, 5:] = weight
            self.conv.bias.view(self.num_priors, -1)[:, 5:] = bias

    def forward(self, features: Tensor) -> RegionOutput:
        """(B, C_in, H, W) -> a :class:`RegionOutput`."""
        return DenseRegionOutput(self.conv(features), self.num_priors)
