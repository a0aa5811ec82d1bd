"""Nets compiled by torch, once for each size of their input."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from yolo9000.runtime.device import DeviceError

MOST_SIZES = 64
"""Torch gives up compiling after 8 sizes, fewer than multi-scale training has, and runs the others as they are."""


def compile_net(net: nn.Module, device: torch.device, *, frozen: bool = False) -> Callable[..., Any]:
    """The net as a function that is compiled when it first meets a size.

    Parameters
    ----------
    net : nn.Module
        It stays as it is.
    device : torch.device
        Where it works.
    frozen : bool
        The weights will not change: the compiler brings them into the order that the processor's convolutions want,
        once and for all.

    Raises
    ------
    DeviceError
        There is no C++ compiler, which torch would tell in a page of traceback.
    """
    _require_compiler(device)
    _tell_instruction_sets_apart()
    from torch._dynamo import config as tracing  # these import the compiler, which takes a second
    from torch._inductor import config as generating

    compiled = torch.compile(net, dynamic=False)  # one code for all sizes would be a slower one

    def call(*inputs: Any) -> Any:
        # Settings of the whole compiler, read while it traces: as options of `torch.compile` they come too late.
        with tracing.patch(cache_size_limit=MOST_SIZES), generating.patch(freezing=frozen):
            return compiled(*inputs)

    return call


def _tell_instruction_sets_apart() -> None:
    """Have torch's cache of compiled code keep the code of each instruction set by itself.

    It takes code with vectors of 16 numbers for what a process with vectors of 8 asks for: one home directory on two
    kinds of processors, or ATEN_CPU_CAPABILITY=avx2 now and then, and the process reads beside its arrays or ends.
    """
    from torch.compiler import config

    capability = torch.backends.cpu.get_cpu_capability()
    tag = getattr(config, "cache_key_tag", None)  # torch 2.6 may have none
    if tag is not None and capability not in tag:
        config.cache_key_tag = f"{tag}{capability}"


def _require_compiler(device: torch.device) -> None:
    """On a CPU; a GPU's code is made by Triton, which comes with torch."""
    if device.type != "cpu" or sys.platform == "win32":  # there torch looks for Visual Studio's in its own way
        return
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(shlex.split(compiler)[0]) is None:
        raise DeviceError(
            f"`compile` needs a C++ compiler, and there is no {compiler} (Debian: apt-get install g++); "
            "leave `compile` out, or name one in CXX"
        )
