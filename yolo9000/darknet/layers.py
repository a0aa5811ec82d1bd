"""Darknet's layers that torch has no exact counterpart of, and the sizes of what they answer.

B images, C channels, H x W grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yolo9000.models.yolov2 import reorg

Shape = tuple[int, int, int]
"""Channels, height and width of a layer's output."""


class DarknetMaxPool(nn.Module):
    """Max pooling with darknet's padding: (B, C, H, W) -> (B, C, H', W'), H' = (H + padding - size) // stride + 1.

    Windows begin at ``i * stride - padding // 2``, and what lies outside never wins. So size 2 and stride 2 round an
    odd H up, and size 2 and stride 1 keep H.

    Parameters
    ----------
    size, stride : int
        The height and width of a window, and the step from one to the next.
    padding : int, optional
        The total of both sides; by default it is size - 1.

    Raises
    ------
    ValueError
        If some windows would lie wholly in the padding.

    Examples
    --------
    >>> DarknetMaxPool(2, 1)(torch.tensor([[[[1.0, 5.0], [2.0, 3.0]]]]))
    tensor([[[[5., 5.],
              [3., 3.]]]])
    """

    def __init__(self, size: int, stride: int, padding: int | None = None) -> None:
        super().__init__()
        self.size = size
        self.stride = stride
        self.padding = size - 1 if padding is None else padding
        if (self.padding + 1) // 2 >= self.size and self.padding:
            raise ValueError(f"padding {self.padding} is too much for windows of {size}: some would be empty")

    def length(self, length: int) -> int:
        """Height (or width) of the output for a height of the input."""
        return (length + self.padding - self.size) // self.stride + 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H', W')."""
        before = self.padding // 2
        h, w = x.shape[-2:]
        # what the last window needs; may be negative: the rest of the input is not read
        bottom, right = ((self.length(n) - 1) * self.stride + self.size - before - n for n in (h, w))
        if before or bottom > 0 or right > 0:
            x = F.pad(x, (before, right, before, bottom), value=-torch.inf)
        return F.max_pool2d(x, self.size, self.stride)

    def extra_repr(self) -> str:
        return f"size={self.size}, stride={self.stride}, padding={self.padding}"


class Reorg(nn.Module):
    """Darknet's reorganisation as a layer, see `yolo9000.models.reorg`: (B, C, H, W) -> (B, C*s*s, H/s, W/s)."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C*s*s, H/s, W/s)."""
        return reorg(x, self.stride)

    def extra_repr(self) -> str:
        return f"stride={self.stride}"


class Route(nn.Module):
    """The outputs of earlier layers, their channels behind one another in the order listed.

    Parameters
    ----------
    layers : sequence of int
        The numbers of the layers, from 0.
    """

    def __init__(self, layers: Sequence[int]) -> None:
        super().__init__()
        self.layers = tuple(layers)

    def forward(self, outputs: Sequence[Tensor]) -> Tensor:
        """(B, C_i, H, W) of each -> (B, sum of C_i, H, W)."""
        return torch.cat(list(outputs), dim=1) if len(outputs) > 1 else outputs[0]

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.layers))


class GlobalMean(nn.Module):
    """Darknet's avgpool: (B, C, H, W) -> (B, C, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)."""
        return x.mean(dim=(2, 3), keepdim=True)


class Crop(nn.Module):
    """A part of the image, on the scale of -1 to 1: (B, C, H, W) -> (B, C, height, width).

    In training its place, and whether it is mirrored, are drawn anew for each batch; otherwise it is the middle. This
    is what darknet does on a processor. On a GPU it also draws colours and an angle, for each image.

    Parameters
    ----------
    height, width : int
        The size of the part.
    flip : bool
        Whether every other batch is mirrored in training.
    adjust : bool
        Whether values of 0..1 become -1..1.

    Examples
    --------
    >>> Crop(1, 2).eval()(torch.tensor([[[[0.0, 0.25, 0.75, 1.0]]]])).tolist()
    [[[[-0.5, 0.5]]]]
    """

    def __init__(self, height: int, width: int, *, flip: bool = False, adjust: bool = True) -> None:
        super().__init__()
        self.height = height
        self.width = width
        self.flip = flip
        self.adjust = adjust

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, height, width)."""
        down, right = x.shape[-2] - self.height, x.shape[-1] - self.width
        if self.training:
            # by the host, which must know where to cut, and only where there is a choice
            top, left = (int(torch.randint(room + 1, (), device="cpu")) if room else 0 for room in (down, right))
            mirrored = self.flip and bool(torch.rand((), device="cpu") < 0.5)
        else:
            top, left, mirrored = down // 2, right // 2, False
        part = x[..., top : top + self.height, left : left + self.width]
        part = part.flip(-1) if mirrored else part
        return 2 * part - 1 if self.adjust else part

    def extra_repr(self) -> str:
        return f"{self.height}, {self.width}, flip={self.flip}, adjust={self.adjust}"
