"""Darknet-19: the backbone of YOLOv2 and YOLO9000, at any width; and what its like are made of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, TypeAlias

from torch import Tensor, nn

from yolo9000.models.backbone import Backbone
from yolo9000.runtime.mistakes import Mistake

Layer: TypeAlias = tuple[int, int] | tuple[int, int, int] | Literal["M"]
"""A convolution: output channels, kernel size, and the stride if it is not 1; or "M", a 2x2 max pooling of stride 2."""

# the 18 convolutions before the classifier (paper, table 6)
DARKNET19: tuple[tuple[int, int] | Literal["M"], ...] = (
    (32, 3), "M",
    (64, 3), "M",
    (128, 3), (64, 1), (128, 3), "M",
    (256, 3), (128, 1), (256, 3), "M",
    (512, 3), (256, 1), (512, 3), (256, 1), (512, 3), "M",
    (1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3),
)  # fmt: skip


def scaled(channels: int, width: float) -> int:
    """Channels of a net of relative width: a multiple of 8, at least 8; width 1 changes nothing.

    Examples
    --------
    >>> scaled(1024, 1.0), scaled(32, 0.25), scaled(64, 0.3)
    (1024, 8, 24)
    """
    return channels if width == 1.0 else max(8, 8 * math.ceil(channels * width / 8 - 1e-9))


class ConvBlock(nn.Sequential):
    """Convolution, batch norm, leaky ReLU of slope 0.1: (B, C_in, H, W) -> (B, C_out, H', W').

    Batch norm uses eps 1e-5 and, unless told otherwise, darknet's momentum 0.01 (new = .99 old + .01 batch). Without
    batch norm the convolution has a bias. Padding is half the kernel, so that a stride of 1 keeps H and W.

    Examples
    --------
    >>> import torch
    >>> ConvBlock(3, 8, 3, stride=2)(torch.zeros(1, 3, 9, 6)).shape
    torch.Size([1, 8, 5, 3])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        momentum: float = 0.01,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        batch_norm: bool = True,
        activation: nn.Module | None = None,
    ) -> None:
        padding = size // 2 if padding is None else padding
        conv = nn.Conv2d(in_channels, out_channels, size, stride, padding, groups=groups, bias=not batch_norm)
        nn.init.normal_(conv.weight, std=math.sqrt(2 * groups / (size * size * in_channels)))  # He et al., as darknet
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
        norm = [nn.BatchNorm2d(out_channels, eps=1e-5, momentum=momentum)] if batch_norm else []
        # in place, for neither batch norm nor convolution needs its output again: a fifth of a training step's memory
        super().__init__(conv, *norm, nn.LeakyReLU(0.1, inplace=True) if activation is None else activation)


class PlainBackbone(Backbone):
    """Convolutions and poolings one after another, in two parts so that a passthrough can tap the finer one.

    A stage of it ends before a pooling.

    Parameters
    ----------
    width : float
        The relative number of channels; 1.0 is the paper's net.
    stride : {16, 32}
        32 as in the papers, or 16 for small images: the last pooling is left out.
    momentum : float
        The momentum of the batch norms' running statistics.
    batch_norm : bool
        Without it every convolution has a bias.

    Attributes
    ----------
    fine, coarse : nn.Sequential
        The layers before the last pooling, and those from it on.

    Raises
    ------
    Mistake
        If the stride is neither 16 nor 32, or the width is not positive.
    """

    layers: ClassVar[Sequence[Layer]]

    def __init__(
        self, width: float = 1.0, stride: int = 32, momentum: float = 0.01, *, batch_norm: bool = True
    ) -> None:
        super().__init__()
        if stride not in (16, 32):
            raise Mistake(f"`stride` {stride}: 16 or 32 is needed")
        if width <= 0:
            raise Mistake(f"`width` {width}: a positive number is needed")
        last_pool = max(position for position, layer in enumerate(self.layers) if layer == "M")
        parts: list[list[nn.Module]] = [[], []]
        channels = fine_channels = 3
        for position, layer in enumerate(self.layers):
            part = parts[position >= last_pool]
            if layer == "M":
                fine_channels = channels
                if position != last_pool or stride == 32:
                    part.append(nn.MaxPool2d(2))
            else:
                out_channels, size, of_conv = scaled(layer[0], width), layer[1], layer[2] if len(layer) == 3 else 1
                block = ConvBlock(channels, out_channels, size, momentum, stride=of_conv, batch_norm=batch_norm)
                part.append(block)
                channels = out_channels
        self.fine = nn.Sequential(*parts[0])
        self.coarse = nn.Sequential(*parts[1])
        self.fine_channels = fine_channels
        self.channels = channels
        self.stride = stride

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) -> features of stride 16 (B, C_f, S/16, S/16) and of the net's stride (B, C, S/s, S/s)."""
        fine = self.fine(images)
        return fine, self.coarse(fine)

    @property
    def num_stages(self) -> int:
        return 1 + self.layers.count("M")

    def parameters_of_stages(self, number: int) -> Iterator[nn.Parameter]:
        ended = 0
        for layer in self.fine:
            ended += isinstance(layer, nn.MaxPool2d)
            if ended < number:
                yield from layer.parameters()
        if number == self.num_stages:
            yield from self.coarse.parameters()


class Darknet19(PlainBackbone):
    """The 18 convolutions of Darknet-19.

    Examples
    --------
    >>> import torch
    >>> [features.shape for features in Darknet19(width=0.25)(torch.zeros(1, 3, 64, 64))]
    [torch.Size([1, 128, 4, 4]), torch.Size([1, 256, 2, 2])]
    """

    layers = DARKNET19
