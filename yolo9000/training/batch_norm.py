"""Batch norm over the images of several processes.

torch's `SyncBatchNorm` refuses tensors of the CPU, so nothing of it could be tested here. This one is plain operations
of torch, on any device.

B images of this process, C channels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from yolo9000.runtime.distributed import Processes, gather_tensors


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """A batch norm whose mean and variance in training are those of all processes' images.

    `synchronise` makes it of the batch norms of a net, in place: names, weights and evaluation stay as they are.
    """

    processes: Processes

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        if not self.training or self.processes.world_size == 1:
            return super().forward(x)
        normalised, mean, variance, count = _Normalised.apply(x.float(), self.eps, self.processes)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
                self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), share)
        if self.affine:
            normalised = normalised * self.weight[:, None, None] + self.bias[:, None, None]
        answer: Tensor = normalised.to(x.dtype)
        return answer


def synchronise(model: nn.Module, processes: Processes) -> None:
    """Let the batch norms of a net take mean and variance over all processes, from now on.

    Examples
    --------
    >>> net = nn.Sequential(nn.BatchNorm2d(3))
    >>> synchronise(net, Processes())
    >>> type(net[0]).__name__, list(net.state_dict())[:2]
    ('SynchronisedBatchNorm2d', ['0.weight', '0.bias'])
    """
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SynchronisedBatchNorm2d
        if isinstance(module, SynchronisedBatchNorm2d):
            module.processes = processes


def separate(model: nn.Module) -> None:
    """Make the batch norms of a net plain ones again."""
    for module in model.modules():
        if type(module) is SynchronisedBatchNorm2d:
            module.__class__ = nn.BatchNorm2d  # type: ignore[assignment]
            del module.processes


class _Normalised(torch.autograd.Function):
    """(x - mean) / deviation over the images of all processes, which may have different numbers of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, processes: Processes) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        axes = (0, 2, 3)
        count = x.new_full((1,), x.numel() / x.shape[1])
        own = torch.cat([x.mean(axes), x.var(axes, correction=0), count])
        parts = torch.stack(gather_tensors(own, processes, "batch norm"))  # (processes, 2C + 1)
        means, variances, counts = parts.split([x.shape[1], x.shape[1], 1], dim=1)
        total = counts.sum()
        share = counts / total
        mean = (means * share).sum(0)
        # not of the squares' means, from which nothing would be left of a small variance around a large mean
        variance = ((variances + (means - mean).square()) * share).sum(0)
        deviation = (variance + eps).rsqrt()
        normalised = (x - mean[:, None, None]) * deviation[:, None, None]
        ctx.save_for_backward(normalised, deviation, total)
        ctx.processes = processes
        ctx.mark_non_differentiable(mean, variance, total)
        return normalised, mean, variance, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor, None, None]:
        normalised, deviation, total = ctx.saved_tensors
        axes = (0, 2, 3)
        sums = torch.stack([gradient.sum(axes), (gradient * normalised).sum(axes)])
        ctx.processes.count("batch norm", sums)
        dist.all_reduce(sums)
        along, across = (sums / total)[:, :, None, None]
        return (gradient - along - normalised * across) * deviation[:, None, None], None, None
