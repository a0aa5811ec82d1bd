"""Darknet's layers that give every place of an image weights of its own: YOLOv1 ends in them.

B images, C channels, H x W grid, F filters, L = H' x W' places of the output, k size of a filter.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yolo9000.models.exact_linear import ExactLinear


class Connected(nn.Sequential):
    """A fully connected layer: (B, C, H, W) or (B, C*H*W) -> (B, outputs).

    Parameters
    ----------
    inputs, outputs : int
        Numbers of an image.
    batch_norm : bool
        Whether a batch norm takes the place of the bias.
    activation : Module
        What follows.

    Attributes
    ----------
    largest_delta : float or None
        What each number of the gradient at the output is clipped to, see `DarknetNet.clip_connected_deltas`; None for
        no clipping.

    Examples
    --------
    >>> layer = Connected(12, 5, batch_norm=False, activation=nn.Identity())
    >>> layer(torch.zeros(2, 3, 2, 2)).shape
    torch.Size([2, 5])
    """

    largest_delta: float | None = None

    def __init__(self, inputs: int, outputs: int, *, batch_norm: bool, activation: nn.Module) -> None:
        is_last = isinstance(activation, nn.Identity) and not batch_norm  # its numbers are answers
        linear = (ExactLinear if is_last else nn.Linear)(inputs, outputs, bias=not batch_norm)
        _draw_weights(linear.weight, inputs)
        if not batch_norm:
            nn.init.zeros_(linear.bias)
        norm = [nn.BatchNorm1d(outputs, eps=1e-5, momentum=0.01)] if batch_norm else []
        super().__init__(nn.Flatten(), linear, *norm, activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) or (B, C*H*W) -> (B, outputs)."""
        for layer in self:
            x = layer(x)
        if self.largest_delta is None:
            return x
        clipped: Tensor = _ClippedGradient.apply(x, self.largest_delta)
        return clipped


class _ClippedGradient(torch.autograd.Function):
    """The same numbers; each number of their gradient is clipped."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, largest: float) -> Tensor:
        ctx.largest = largest
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.clamp(-ctx.largest, ctx.largest), None


class Local(nn.Module):
    """A convolution that has filters and biases of its own at every place: (B, C, H, W) -> (B, F, H', W').

    All filters begin with random numbers. (Darknet draws those of the first place only and leaves 0 everywhere else,
    where nothing passes back until they have moved.)

    Parameters
    ----------
    in_shape : tuple of (int, int, int)
        C, H and W of the input, which can be no other.
    filters, size, stride : int
        F, k, and the step from one window to the next.
    padding : int
        Zero rows and columns on each side.
    activation : Module
        What follows.

    Attributes
    ----------
    weight : Parameter (L, F, C, k, k)
        The filters of each place.
    bias : Parameter (F*L,)
        A bias for each number of the output; flat, as it is none of the weights that decay.

    Examples
    --------
    >>> layer = Local((2, 4, 4), 3, 3, 1, 1, nn.Identity())
    >>> layer(torch.zeros(1, 2, 4, 4)).shape, layer.weight.shape, layer.bias.shape
    (torch.Size([1, 3, 4, 4]), torch.Size([16, 3, 2, 3, 3]), torch.Size([48]))
    """

    def __init__(
        self, in_shape: tuple[int, int, int], filters: int, size: int, stride: int, padding: int, activation: nn.Module
    ) -> None:
        super().__init__()
        channels, *sides = in_shape
        self.size = size
        self.stride = stride
        self.padding = padding
        self.height, self.width = ((side + 2 * padding - size) // stride + 1 for side in sides)
        places = self.height * self.width
        self.weight = nn.Parameter(torch.empty(places, filters, channels, size, size))
        _draw_weights(self.weight, channels * size * size)
        self.bias = nn.Parameter(torch.zeros(filters * places))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, F, H', W')."""
        windows = F.unfold(x, self.size, padding=self.padding, stride=self.stride)  # (B, C*k*k, L)
        answers = windows.permute(2, 0, 1) @ self.weight.flatten(2).transpose(1, 2)  # (L, B, F)
        answers = answers.permute(1, 2, 0).unflatten(2, (self.height, self.width))
        result: Tensor = self.activation(answers + self.bias.view(answers.shape[1:]))
        return result

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, stride={self.stride}, padding={self.padding}"


def _draw_weights(weight: Tensor, inputs: int) -> None:
    """Darknet's: uniform, of the variance 2/3 of He et al.'s."""
    bound = math.sqrt(2 / inputs)
    nn.init.uniform_(weight, -bound, bound)
