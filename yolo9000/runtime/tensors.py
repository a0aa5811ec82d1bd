"""Tensors and the devices that they are on: what the host may look at, how a GPU gets values, and in which precision.

Nothing here makes the host wait for what a GPU has to do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch._guards import detect_fake_mode


def host_knows(tensors: Sequence[Tensor]) -> bool:
    """Whether the host may look at the values: they lie in its memory, and are more than shapes to be followed."""
    on_host = all(tensor.device.type == "cpu" for tensor in tensors)
    return on_host and not torch.compiler.is_compiling() and detect_fake_mode(tensors) is None


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on another device, without making the host wait for a GPU."""
    if device.type == "cuda" and host_knows([tensor]) and torch.cuda.is_available():
        tensor = tensor.pin_memory()  # a copy from pageable memory would make the host wait
    return tensor.to(device, non_blocking=True)


def full_precision(x: Tensor) -> Tensor:
    """The tensor in float32 whatever autocast made of it; float64 stays."""
    return x if x.dtype == torch.float64 else x.float()
