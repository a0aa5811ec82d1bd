"""What a net costs, counted and not timed: its parameters, and the operations of one image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """The cost of a net.

    Parameters
    ----------
    parameters : int
        All of them, those of the classes included.
    gflops : float
        Billions of multiplications and additions for one image, a fused one counted as two. Those of the classes are
        not among them: our nets only read the classes of boxes that hold something.
    """

    parameters: int
    gflops: float


def cost_of(model: nn.Module, size: int) -> Cost:
    """The cost of a net on square images.

    Parameters
    ----------
    model : nn.Module
        It takes images (B, 3, S, S).
    size : int
        The side S.

    Returns
    -------
    Cost

    Examples
    --------
    A 3x3 convolution from 3 to 10 channels has 270 weights, each of which is used at 8 x 8 places.

    >>> cost_of(nn.Conv2d(3, 10, 3, padding=1), 8) == Cost(280, 2 * 270 * 64 / 1e9)
    True
    """
    first = next(model.parameters())
    training = model.training
    counter = FlopCounterMode(display=False)
    with counter:  # not under no_grad, in which the counter cannot follow the class rows that are handed to a head
        model.eval()(torch.zeros(1, 3, size, size, device=first.device, dtype=first.dtype))
    model.train(training)
    return Cost(sum(parameter.numel() for parameter in model.parameters()), counter.get_total_flops() / 1e9)
