"""Nets compiled for each size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from yolo9000.runtime.compiling import compile_net
from yolo9000.runtime.device import DeviceError

CPU = torch.device("cpu")


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(DeviceError, match=r"`compile` needs a C\+\+ compiler, and there is no no-such-compiler"):
        compile_net(nn.Identity(), CPU)
    compile_net(nn.Identity(), torch.device("cuda"))


def test_each_of_many_sizes_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten sizes, as --multi-scale has at 416 pixels: torch alone would stop at eight, and not say so."""
    monkeypatch.setenv("CXX", "true")  # the backend below generates no code
    torch.compiler.reset()
    seen: list[tuple[int, ...]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        seen.append(next(tuple(each.shape) for each in inputs if each.dim() == 4))
        return graph.forward

    plain = torch.compile
    monkeypatch.setattr(torch, "compile", lambda net, **options: plain(net, backend=backend, **options))
    net = compile_net(nn.MaxPool2d(2), CPU)
    for side in (*range(320, 640, 32), 320, 608):
        assert net(torch.zeros(1, 3, side, side)).shape == (1, 3, side // 2, side // 2)
    assert [shape[-1] for shape in seen] == list(range(320, 640, 32))
