"""Rows of the head alone: training against the dense head, and the class head at prediction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks import nets
from benchmarks.harness import Goal, Row, Scale, Side
from benchmarks.memory import peak_megabytes
from wordtree import TreeDistribution
from wordtree.softmax import log_probs
from yolo9000.detection.decode import detect
from yolo9000.detection.loss import joint_loss
from yolo9000.detection.results import Detections
from yolo9000.models import BoxCoding, DenseRegionOutput, RegionOutput, RegionSpec, TreeHead
from yolo9000.runtime.config import Precision
from yolo9000.runtime.device import autocast


class _Job(NamedTuple):
    """Sizes of a head's job."""

    nodes: int
    channels: int
    cells: int


def _job(scale: Scale, cells: int) -> _Job:
    return _Job(60, 32, 7) if scale.quick else _Job(9418, 1024, cells)


class _DenseHead(nn.Module):
    """The twin: darknet's dense last layer with the numbers of a sparse head."""

    def __init__(self, conv: nn.Conv2d, coding: BoxCoding) -> None:
        super().__init__()
        self.conv = conv
        self.coding = coding

    def forward(self, features: Tensor) -> RegionOutput:
        return DenseRegionOutput(self.conv(features), self.coding)


def _features(job: _Job, batch: int) -> Tensor:
    """What a leaky rectifier after batch norm answers, in the layout of the convolution before."""
    x = torch.randn(batch, job.channels, job.cells, job.cells, generator=torch.Generator().manual_seed(1))
    return nn.functional.leaky_relu(x, 0.1).contiguous(memory_format=torch.channels_last)


def _head(job: _Job, *, dense: bool) -> tuple[nn.Module, RegionSpec]:
    torch.manual_seed(0)
    region = nets.tree_region(nets.tree_of(job.nodes))
    head = TreeHead(job.channels, region.coding, region.classes.number)
    if not dense:
        return head, region
    return _DenseHead(nets.dense_conv_of(head), region.coding), region


def _step(head: nn.Module, region: RegionSpec, features: Tensor, batch: int) -> Callable[[], tuple[float, Tensor]]:
    targets = nets.targets_of(region, batch // 2, batch - batch // 2)

    def step() -> tuple[float, Tensor]:
        """Forward and backward; the loss and the features' gradient."""
        head.zero_grad(set_to_none=True)
        leaf = features.detach().requires_grad_()
        terms = joint_loss(head(leaf), targets, region, images_seen=64_000)
        total = torch.stack(list(terms.values())).sum() / batch
        total.backward()
        assert leaf.grad is not None
        return float(total.detach()), leaf.grad

    return step


def memory_job(mark: Callable[[], None], dense: bool, batch: int, nodes: int, channels: int, cells: int) -> int:
    """One step, for `benchmarks.memory`: the features and the parameters are there before, gradients do not count."""
    job = _Job(nodes, channels, cells)
    head, region = _head(job, dense=dense)
    small = _features(_Job(nodes, channels, 1), batch)
    _step(head, region, small, batch)()  # the kernels' own code, threads and tables are there before the mark
    step = _step(head, region, _features(job, batch), batch)
    head.zero_grad(set_to_none=True)
    mark()
    step()
    return sum(p.grad.numel() * p.grad.element_size() for p in head.parameters() if p.grad is not None)


def _batch(scale: Scale) -> int:
    return 2 if scale.quick else 8


def _train_time(scale: Scale, stack: ExitStack) -> dict[str, Side]:
    job, batch = _job(scale, 13), _batch(scale)
    setting = f"{job.nodes} nodes, float32, channels last, {torch.get_num_threads()} threads"
    features = _features(job, batch)
    return {
        name: Side(run=_step(*_head(job, dense=dense), features, batch), setting=setting)
        for name, dense in (("ours", False), ("dense", True))
    }


def _train_memory(scale: Scale, stack: ExitStack) -> dict[str, Side]:
    job, batch = _job(scale, 13), _batch(scale)
    return {
        name: Side(run=partial(peak_megabytes, memory_job, dense, batch, *job), setting="float32, one step")
        for name, dense in (("ours", False), ("dense", True))
    }


def _apart(reference: tuple[float, Tensor], other: tuple[float, Tensor]) -> float:
    gradients = float((reference[1] - other[1]).norm() / reference[1].norm())
    return max(abs(reference[0] - other[0]) / abs(reference[0]), gradients)


# ------------------------------------------------------------------------------------------------------- prediction


@torch.no_grad()
def _sure_head(job: _Job, features: Tensor, survivors: int) -> tuple[TreeHead, RegionSpec]:
    """A head by which exactly `survivors` boxes of the features live, with labels below the top."""
    torch.manual_seed(0)
    region = nets.tree_region(nets.tree_of(job.nodes))
    dense = nn.Conv2d(job.channels, region.channels, 1)
    nets.make_sure(dense, region, features, survivors)
    return nets.head_of(dense, region), region


def _predict(survivors: int, scale: Scale, stack: ExitStack) -> dict[str, Side]:
    job = _job(scale, 17)
    features = _features(job, 1)
    head, region = _sure_head(job, features, survivors)
    conv = nets.dense_conv_of(head).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def ours(precision: Precision) -> Detections:
        with autocast(nets.CPU, precision):
            output = head(features)
        return detect(output, region.classes)[0]

    @torch.inference_mode()
    def dense(precision: Precision) -> Detections:
        with autocast(nets.CPU, precision):
            output = DenseRegionOutput(conv(features), region.coding)
        return detect(output, region.classes)[0]

    @torch.inference_mode()
    def labels_only(precision: Precision) -> tuple[Tensor, Tensor]:
        """The dense layer, the whole tree's softmax of the surviving boxes, and the label: nothing else."""
        with autocast(nets.CPU, precision):
            raw = conv(features)
        rows = raw[0].view(region.coding.num_priors, 5 + region.classes.number, -1).movedim(1, -1)
        alive = rows[(rows[..., 4].float().sigmoid() > nets.THRESHOLD)][:, 5:].float()
        assert region.classes.tree is not None
        nodes = TreeDistribution(region.classes.tree, alive).back_off(0.5)
        return nodes, log_probs(alive, region.classes.tree)

    threads = f"{torch.get_num_threads()} threads"
    sides = {
        "ours": Side(run=partial(ours, "float32"), setting=f"head and decoding, float32, {threads}"),
        "dense": Side(run=partial(labels_only, "float32"), setting=f"no boxes, no suppression, float32, {threads}"),
        "dense, decoded": Side(run=partial(dense, "float32"), setting=f"head and decoding, float32, {threads}"),
        "ours, bfloat16": Side(run=partial(ours, "bfloat16"), setting=f"head and decoding, {threads}"),
        "dense, bfloat16": Side(run=partial(labels_only, "bfloat16"), setting=f"no boxes, no suppression, {threads}"),
    }
    return {name: side for name, side in sides.items() if nets.has_bfloat16() or "bfloat16" not in name}


def _labels_apart(reference: Detections, other: Detections | tuple[Tensor, Tensor]) -> float:
    """Share of labels that differ, whatever their order; suppression may have taken some of the detections."""
    mine = sorted(reference.nodes.tolist())
    if isinstance(other, Detections):
        theirs = sorted(other.nodes.tolist())
        return float(mine != theirs)
    missing = set(mine) - set(other[0].tolist())
    return len(missing) / max(1, len(mine))


def rows() -> list[Row]:
    """Head and loss against the dense head; the class head at prediction."""
    train = "head + loss, forward + backward, batch 4 + 4, 9,418 nodes"
    return [
        Row(
            name="head-time",
            in_a_row=True,
            what=train,
            prepare=_train_time,
            goals=(Goal(other="dense", at_least=20),),
            difference=_apart,
        ),
        Row(
            name="head-memory",
            what=f"{train}, peak without parameters and their gradients",
            prepare=_train_memory,
            goals=(Goal(other="dense", at_least=20),),
            unit="MB",
        ),
        *(
            Row(
                name=f"labels-{survivors}",
                what=f"class head at prediction, {survivors} of 17 x 17 x 3 boxes survive",
                prepare=partial(_predict, survivors),
                goals=(
                    Goal(other="dense", at_least=at_least),
                    Goal(other="dense, decoded"),
                    *([Goal(ours="ours, bfloat16", other="dense, bfloat16")] if nets.has_bfloat16() else []),
                ),
                difference=_labels_apart,
            )
            for survivors, at_least in ((20, 14), (100, 7))
        ),
    ]
