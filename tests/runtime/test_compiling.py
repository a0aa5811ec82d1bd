"""Nets compiled for each size."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
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


ONE_STEP = """
import torch
from torch import nn
from yolo9000.runtime.compiling import compile_net

torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.BatchNorm2d(24), nn.LeakyReLU(0.1), nn.Conv2d(24, 7, 1))
answer = compile_net(net, torch.device("cpu"))(torch.rand(2, 3, 37, 37))
answer.softmax(dim=1).square().sum().backward()
print(float(net[0].weight.grad.double().abs().sum()))
"""


@pytest.mark.slow
@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() != "AVX512", reason="one instruction set here alone")
def test_code_that_was_cached_for_another_instruction_set_is_not_taken(tmp_path: Path) -> None:
    """Without its tag torch takes the code of the first process in the second: wrong indices, or the end of it."""
    found = []
    for capability in ("avx512", "avx2"):
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "ATEN_CPU_CAPABILITY": capability}
        ended = subprocess.run(
            [sys.executable, "-c", ONE_STEP], capture_output=True, text=True, env=environment, timeout=500
        )
        assert ended.returncode == 0, ended.stderr[-2000:]
        found.append(float(ended.stdout))
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_the_cache_of_compiled_code_knows_the_instruction_set() -> None:
    from torch.compiler import config

    if not hasattr(config, "cache_key_tag"):
        pytest.skip(f"torch {torch.__version__} has no tag for its cache")
    compile_net(nn.Identity(), torch.device("cuda"))
    compile_net(nn.Identity(), torch.device("cuda"))
    assert config.cache_key_tag.count(torch.backends.cpu.get_cpu_capability()) == 1
