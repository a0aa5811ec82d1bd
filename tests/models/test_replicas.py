"""Our nets inside torch's own `DistributedDataParallel`, in each of its modes: the gradients are those of all ranks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from yolo9000.models import BoxCoding, Detector, DetectorConfig, FlatClasses, RegionSpec
from yolo9000.models.grid import GridOutput, GridSpec
from yolo9000.models.output import DenseRegionOutput

REGION = RegionSpec(classes=FlatClasses(4), coding=BoxCoding(((1.0, 1.0), (2.0, 2.0))))


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    """A group of one process: torch takes the same way through it, and a test needs no other process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, 18, 1)

    def forward(self, images: torch.Tensor) -> DenseRegionOutput:
        return DenseRegionOutput(self.last(images), REGION.coding)


class Grid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3 * 64 * 64, 14)

    def forward(self, images: torch.Tensor) -> GridOutput:
        return GridOutput(self.last(images.flatten(1)), GridSpec(classes=FlatClasses(4, "linear")))


def net(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "sparse":
        return Detector(DetectorConfig(width=0.05), REGION)
    return Dense() if kind == "dense" else Grid()


def reduced(kind: str, **modes: Any) -> dict[str, float]:
    """By how much each gradient grows, of a group in which there are two of everybody."""
    model = net(kind)
    replica = DistributedDataParallel(model, **modes)

    def doubled(state: None, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        future: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        future.set_result(bucket.buffer() * 2)
        return future

    doubled.__annotations__ = {}  # torch looks at them, and they are texts here
    replica.register_comm_hook(None, doubled)
    alone = net(kind)
    growth = {}
    for _ in range(2):  # with a static graph the second pass goes another way than the first
        for each in (replica, alone):
            each.zero_grad()
            output = each(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
            logits = output.class_logits(torch.tensor([1, 0]), torch.tensor([0, 2]))
            (logits.square().sum() + output.objectness.square().sum() + output.boxes.square().sum()).backward()
        for (name, ours), theirs in zip(model.named_parameters(), alone.parameters(), strict=True):
            assert ours.grad is not None, name
            assert theirs.grad is not None
            growth[name] = float(ours.grad.norm() / theirs.grad.norm())
    return growth


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("modes", [{}, {"static_graph": True}, {"find_unused_parameters": True}], ids=str)
@pytest.mark.parametrize("kind", ["sparse", "dense", "grid"])
def test_every_gradient_is_reduced(kind: str, modes: dict[str, bool]) -> None:
    growth = reduced(kind, **modes)
    assert growth == pytest.approx(dict.fromkeys(growth, 2.0), rel=1e-3)
