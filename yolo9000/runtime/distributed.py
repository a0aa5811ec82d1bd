"""Several processes under ``torchrun``: gradients are summed by hand, one call a step.

Each process computes the loss of its share of the batch, divided by the *whole* batch's size, so the sum of the
processes' gradients is the gradient of the whole batch. Everything else (which images, which rank) is decided by the
sampler.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """This process among its peers.

    Parameters
    ----------
    rank, world_size : int
        Which process, of how many.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0


def local_device_name() -> str | None:
    """``"cuda:<LOCAL_RANK>"`` under torchrun on a machine with GPUs, else None (no choice made)."""
    if "LOCAL_RANK" in os.environ and torch.cuda.is_available():
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return None


def start_processes(device: torch.device) -> Processes:
    """Join the group that torchrun described in the environment; alone, do nothing.

    NCCL carries GPU tensors, gloo carries CPU tensors and the stop flag.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        return Processes()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cuda:nccl,cpu:gloo" if device.type == "cuda" else "gloo")
    return Processes(dist.get_rank(), dist.get_world_size())


def stop_processes(processes: Processes) -> None:
    """Leave the group."""
    if processes.world_size > 1:
        dist.destroy_process_group()


def sum_gradients(gradients: Sequence[Tensor], processes: Processes) -> None:
    """Replace each gradient by its sum over the processes, in one call over one flat buffer."""
    if processes.world_size == 1 or not gradients:
        return
    flat = torch.cat([gradient.reshape(-1).float() for gradient in gradients])
    dist.all_reduce(flat)
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def average_buffers(buffers: Iterable[Tensor], processes: Processes) -> None:
    """Average floating-point buffers (batch-norm statistics) over the processes: all see one network afterwards."""
    floating = [buffer for buffer in buffers if buffer.is_floating_point()]
    if processes.world_size == 1 or not floating:
        return
    with torch.no_grad():
        sum_gradients(floating, processes)
        for buffer in floating:
            buffer.div_(processes.world_size)


def any_process(flag: bool, processes: Processes) -> bool:
    """Whether any process raised the flag. Host to host: it never makes a GPU wait."""
    if processes.world_size == 1:
        return flag
    value = torch.tensor([int(flag)])
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value.item())


def broadcast_model(tensors: Iterable[Tensor], processes: Processes) -> None:
    """Give every process rank 0's weights and buffers, so that all start from the same network."""
    if processes.world_size > 1:
        with torch.no_grad():
            for tensor in tensors:
                dist.broadcast(tensor, src=0)
