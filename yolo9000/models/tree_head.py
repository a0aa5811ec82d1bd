"""The detector's last layer.

Shapes: B images, A priors a cell, H x W grid, K nodes (or classes), D channels of the features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from yolo9000.models.box_coding import BoxCoding
from yolo9000.models.class_shards import ClassShard, ShardedRegionOutput
from yolo9000.models.late_gradient import Factors, HeadRows, late_table
from yolo9000.models.output import RegionOutput, SparseRegionOutput


class TreeHead(nn.Module):
    """The last 1x1 convolution: features -> boxes and objectness, and class logits on request.

    Its weights are darknet's, box rows and class rows apart, so that a step which reads a few class rows makes one
    gradient of them, not two.

    Parameters
    ----------
    in_channels : int
        The number D of channels of the features.
    coding : BoxCoding
        What the boxes are relative to: the A priors of a cell.
    num_classes : int
        The number K of classes; densely the layer has A * (5 + K) outputs.
    share_class_rows : bool
        Whether a class has one row for all priors in place of one for each: a third of the weights with three priors,
        and what a class looks like is learnt at any size. Darknet and the paper have rows of their own for each prior.

    Attributes
    ----------
    box_weight, box_bias : Parameter (A*5, D) and (A*5,)
        The rows tx ty tw th to of every prior.
    class_weight, class_bias : Parameter (A*K, D) and (A*K,)
        The class rows, prior after prior; with shared rows they are (K, D) and (K,).
    factors : Factors, optional
        Whoever sets it multiplies out the gradient of `class_weight`, see `late_table`.
    shard : ClassShard, optional
        The class rows are those of this process's nodes alone, see `yolo9000.training.sharding`.

    Examples
    --------
    >>> head = TreeHead(8, BoxCoding(((1.0, 1.0),) * 3), num_classes=4)
    >>> output = head(torch.zeros(2, 8, 5, 5))
    >>> output.objectness.shape, output.class_logits(torch.tensor([149])).shape, output.raw.shape
    (torch.Size([2, 75]), torch.Size([1, 4]), torch.Size([2, 27, 5, 5]))
    """

    def __init__(
        self, in_channels: int, coding: BoxCoding, num_classes: int, *, share_class_rows: bool = False
    ) -> None:
        super().__init__()
        self.coding = coding
        self.num_priors = num_priors = coding.num_priors
        self.num_classes = num_classes
        self.share_class_rows = share_class_rows
        rows = num_classes if share_class_rows else num_priors * num_classes
        self.box_weight = nn.Parameter(torch.empty(num_priors * 5, in_channels))
        self.box_bias = nn.Parameter(torch.empty(num_priors * 5))
        self.class_weight = nn.Parameter(torch.empty(rows, in_channels))
        self.class_bias = nn.Parameter(torch.empty(rows))
        self.factors: Factors | None = None
        self.shard: ClassShard | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small weights, and objectness that starts near 0.02.

        Nearly every box is background, so the first steps need not unlearn an objectness of one half.
        """
        for weight, bias in ((self.box_weight, self.box_bias), (self.class_weight, self.class_bias)):
            nn.init.normal_(weight, std=0.01)
            nn.init.zeros_(bias)
        with torch.no_grad():
            self.box_bias.view(self.num_priors, 5)[:, 4] = -math.log(1 / 0.02 - 1)

    @property
    def rows(self) -> HeadRows:
        """The weights by prior, to be taken before the net that makes the features; see `late_table`."""
        class_bias = self.class_bias.view(-1, self.num_classes if self.shard is None else len(self.shard.own))
        return HeadRows(self.box_weight, self.box_bias, late_table(self.class_weight, self.factors), class_bias)

    def set_class_rows(self, weight: Tensor, bias: Tensor) -> None:
        """Start the class rows of every prior from a classifier's last layer: (K, D) and (K,)."""
        with torch.no_grad():
            self.class_weight.view(-1, *weight.shape).copy_(weight)
            self.class_bias.view(-1, *bias.shape).copy_(bias)

    def dense_rows(self) -> list[tuple[Tensor, Tensor]]:
        """Views of weights and biases in the order of darknet's channels: box rows, class rows, prior after prior."""
        a, k = self.num_priors, self.num_classes
        box_weight, box_bias = self.box_weight.view(a, 5, -1), self.box_bias.view(a, 5)
        class_weight, class_bias = self.class_weight.view(-1, k, box_weight.shape[2]), self.class_bias.view(-1, k)
        found = []
        for prior in range(a):
            own = 0 if self.share_class_rows else prior
            found += [(box_weight[prior], box_bias[prior]), (class_weight[own], class_bias[own])]
        return found

    def forward(self, features: Tensor, rows: HeadRows | None = None) -> RegionOutput:
        """(B, D, H, W), and `rows` if they were taken before -> a :class:`RegionOutput`."""
        rows = self.rows if rows is None else rows
        if self.shard is not None:
            return ShardedRegionOutput(features, rows, self.coding, self.shard)
        return SparseRegionOutput(features, rows, self.coding)
