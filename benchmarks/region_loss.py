"""The row of the region loss against lightnet's."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor

from benchmarks import nets, peers
from benchmarks.harness import Goal, PeerAbsent, Row, Scale, Side
from yolo9000.detection.loss import joint_loss


def _prepare(scale: Scale, stack: ExitStack) -> dict[str, Side | PeerAbsent]:
    batch, cells = (2, 3) if scale.quick else (8, 13)
    region = nets.FLAT_80
    raw = torch.randn(batch, region.channels, cells, cells, generator=torch.Generator().manual_seed(0))
    targets = nets.targets_of(region, batch, 0, boxes=2 if scale.quick else 7)
    padded = peers.padded_targets([t.boxes_cxcywh for t in targets], [t.labels for t in targets])

    def step(loss: Tensor, leaf: Tensor) -> tuple[float, Tensor]:
        loss.backward()
        assert leaf.grad is not None
        return float(loss.detach()), leaf.grad

    def ours() -> tuple[float, Tensor]:
        leaf = raw.clone().requires_grad_()
        terms = joint_loss(leaf, targets, region, images_seen=64_000)
        return step(torch.stack([*terms.values()]).sum() / batch, leaf)

    threads = f"float32, {torch.get_num_threads()} threads"
    sides: dict[str, Side | PeerAbsent] = {"ours": Side(run=ours, setting=f"{threads}; packs its targets each time")}
    try:
        theirs = peers.lightnet_region_loss(region.classes.number)
    except PeerAbsent as absent:
        return sides | {"lightnet": absent}

    def lightnet() -> tuple[float, Tensor]:
        leaf = raw.clone().requires_grad_()
        return step(theirs(leaf, padded), leaf)

    return sides | {"lightnet": Side(run=lightnet, setting=f"{threads}; targets are a tensor already")}


def _apart(ours: tuple[float, Tensor], other: tuple[float, Tensor]) -> float:
    """Relative difference of the losses; of the gradients the norm of the difference to that of ours."""
    gradients = float((ours[1] - other[1]).norm() / ours[1].norm())
    return max(abs(ours[0] - other[0]) / abs(ours[0]), gradients)


def rows() -> list[Row]:
    """Region loss, forward and backward."""
    return [
        Row(
            name="region-loss",
            what="region loss forward + backward, batch 8, 80 classes",
            prepare=_prepare,
            goals=(Goal(other="lightnet"),),
            difference=_apart,
            tolerance=0.01,
        )
    ]
