"""YOLOv1's detector: a backbone, and fully connected layers (or one convolution) that give its numbers.

B images, D channels of the features, S x S grid, n boxes of a cell, C classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from yolo9000.models.config import DetectorConfig
from yolo9000.models.darknet19 import scaled
from yolo9000.models.exact_linear import ExactLinear
from yolo9000.models.grid import GridOutput, GridSpec
from yolo9000.models.model import GridDetector
from yolo9000.models.yolov2 import BackboneDetector, plain_form
from yolo9000.runtime.mistakes import Mistake

HIDDEN = 4096
"""Numbers of the hidden fully connected layer (YOLOv1 paper, figure 3), times the width of the net."""
DROPOUT = 0.5
"""The share of them that is dropped in training (YOLOv1 paper, section 2.2)."""


class ConnectedHead(nn.Sequential):
    """Two fully connected layers with a leaky ReLU and dropout between: (B, D, S, S) -> (B, S*S*(C + 5n)).

    Parameters
    ----------
    in_channels : int
        The number D of channels of the features.
    spec : GridSpec
        What the numbers mean.
    side : int
        S.
    width : float
        Relative size of the hidden layer.
    """

    def __init__(self, in_channels: int, spec: GridSpec, side: int, width: float) -> None:
        hidden = scaled(HIDDEN, width)
        first = nn.Linear(in_channels * side * side, hidden)
        last = ExactLinear(hidden, spec.numbers(side))
        nn.init.normal_(first.weight, std=(2 / first.in_features) ** 0.5)
        nn.init.zeros_(first.bias)
        _begin_unsure(last.weight, last.bias)
        super().__init__(nn.Flatten(), first, nn.LeakyReLU(0.1), nn.Dropout(DROPOUT), last)


class GridHead(nn.Module):
    """The same numbers from a 1x1 convolution, at any size: (B, D, S, S) -> (B, S*S*(C + 5n)).

    Parameters
    ----------
    in_channels : int
        The number D of channels of the features.
    spec : GridSpec
        What the numbers mean.
    """

    def __init__(self, in_channels: int, spec: GridSpec) -> None:
        super().__init__()
        self._parts = [spec.classes.number, spec.num, 4 * spec.num]
        self.last = ExactLinear(in_channels, spec.channels)
        _begin_unsure(self.last.weight, self.last.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D, S, S) -> (B, S*S*(C + 5n)), all classes first, then all confidences, then all boxes."""
        cells = self.last(features.flatten(2).transpose(1, 2))  # (B, S*S, C + 5n)
        return torch.cat([part.flatten(1) for part in cells.split(self._parts, dim=2)], dim=1)


def _begin_unsure(weight: Tensor, bias: Tensor) -> None:
    """Numbers that begin near 0: nearly every confidence is that of nothing."""
    nn.init.normal_(weight, std=0.01)
    nn.init.zeros_(bias)


class Yolov1(BackboneDetector, GridDetector):
    """Images -> YOLOv1's numbers. Training and evaluation mode differ in batch norm and dropout.

    Parameters
    ----------
    config : DetectorConfig
        The form of the net; its head is "connected" or "grid".
    detection : GridSpec
        What the numbers mean; it is kept as ``model.detection``.
    size : int
        The side of the images in pixels. A fully connected head takes no other.

    Raises
    ------
    Mistake
        The head is another, or the grid has no whole number of cells.

    Examples
    --------
    >>> from yolo9000.models import DetectorConfig, FlatClasses, GridSpec
    >>> spec = GridSpec(classes=FlatClasses(20, "linear"))
    >>> net = Yolov1(DetectorConfig(width=0.05, stride=64, extra_convs=4, head="connected"), spec, size=448)
    >>> net(torch.zeros(1, 3, 448, 448)).raw.shape
    torch.Size([1, 1470])
    """

    def __init__(self, config: DetectorConfig, detection: GridSpec, size: int) -> None:
        if config.has_priors:
            raise Mistake(f"`head` {config.head}: priors are those of a region, not of a grid")
        if size % config.stride:
            raise Mistake(f"`size` {size}: a multiple of the `stride` {config.stride} is needed")
        super().__init__(config)
        self.detection = detection
        self.size = size
        self.head: nn.Module
        if config.head == "connected":
            self.head = ConnectedHead(self.channels, detection, size // config.stride, config.width)
        else:
            self.head = GridHead(self.channels, detection)

    @property
    def only_size(self) -> int | None:
        return self.size if self.config.head == "connected" else None

    @property
    def description(self) -> dict[str, Any]:
        plain = {"config": plain_form(self.config), "detection": self.detection.description, "size": self.size}
        return {"net": "yolov1", **plain}

    def forward(self, images: Tensor) -> GridOutput:
        """(B, 3, S, S) in 0..1 -> raw output."""
        return GridOutput(self.head(self.features(images)), self.detection)
