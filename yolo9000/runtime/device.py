"""Where the numbers are computed, and in which precision."""

from __future__ import annotations

import contextlib
import os

import torch

from yolo9000.runtime.config import Precision
from yolo9000.runtime.mistakes import Mistake

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
"""Memory layouts by the names that settings have for them."""


class DeviceError(Mistake):
    """A device or precision that this machine does not have."""


def use_huge_pages() -> None:
    """Ask torch to lay large CPU tensors on huge pages: a training step takes a seventh to a quarter less time.

    A step's activations are given back to the system and asked for again, and each page of 4 KiB is a fault that the
    kernel answers with zeros. Linux alone has them, where ``/sys/kernel/mm/transparent_hugepage/enabled`` is not
    ``never``. Torch reads its setting when it makes its first tensor, so this comes first in a command. Whoever sets
    ``THP_MEM_ALLOC_ENABLE`` to 0 has the last word.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def pick_device(name: str | None = None) -> torch.device:
    """The named device, or the GPU if there is one, else the CPU.

    Parameters
    ----------
    name : str, optional
        As torch writes it: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Raises
    ------
    DeviceError
        No such device here.

    Examples
    --------
    >>> pick_device("cpu")
    device(type='cpu')
    """
    if name is None:
        return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"`device` {name}: not a device ({str(error).splitlines()[0]})") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"`device` {name}: torch {torch.__version__} sees no GPU here; leave it out, or use cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"`device` {name}: there are {torch.cuda.device_count()} GPUs here")
    return device


def pick_precision(device: torch.device, wanted: Precision | None = None) -> Precision:
    """The precision that is wanted, or else pays on this device: bfloat16 where the hardware multiplies it, or float32.

    Examples
    --------
    >>> pick_precision(torch.device("cpu")) in ("float32", "bfloat16")
    True
    """
    if wanted is not None:
        return wanted
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if _multiplies_bfloat16() else "float32"


def _multiplies_bfloat16() -> bool:
    """Whether the processor does, and oneDNN may: elsewhere it emulates it, more slowly than float32.

    Torch tells only by private functions: one asks the processor, the other oneDNN, which ``ONEDNN_MAX_CPU_ISA`` binds.
    """
    processor = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    library = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return processor is not None and processor() and (library is None or library())


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[object]:
    """Mixed precision for the forward pass; nothing for float32.

    Raises
    ------
    DeviceError
        float16 on a CPU: its range needs loss scaling, which pays only on a GPU.
    """
    if precision == "float32":
        return contextlib.nullcontext()
    if precision == "float16" and device.type == "cpu":
        raise DeviceError("`precision` float16 is for GPUs; on a CPU use bfloat16 or float32")
    return torch.autocast(device.type, dtype=getattr(torch, precision))
