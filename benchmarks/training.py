"""Rows of a training step: what 9,418 classes and 82,114 cost beside 20, and what the best settings gain."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import torch
from torch import nn

from benchmarks import nets
from benchmarks.harness import Goal, Row, Scale, Side
from benchmarks.memory import peak_megabytes
from yolo9000.detection.config import DEFAULT_RECIPE, find_recipe
from yolo9000.models import Detector, DetectorConfig
from yolo9000.runtime.config import Layout, Precision
from yolo9000.runtime.device import FORMATS, autocast
from yolo9000.training.config import OptimiserConfig, TrainConfig
from yolo9000.training.objectives import detection_objective
from yolo9000.training.optimiser import ModelAverage, build_optimizer
from yolo9000.training.settling import training_settings, with_settings

EMA_DECAY = 0.9998
MEMORY_STEPS = 3
"""The second step has the optimiser's momentum, the third shows that nothing grows."""


def training_step(
    nodes: int,
    *,
    size: int,
    precision: Precision = "float32",
    ema: bool = False,
    layout: Layout = "channels_last",
    width: float = 1.0,
    recipe: str = DEFAULT_RECIPE,
    mark: Callable[[], None] = lambda: None,
    device: torch.device = nets.CPU,
    images_of_each: int = 4,
) -> Callable[[], float]:
    """A step as the training loop takes it, on the same batch each time: images with boxes, and as many with a label.

    Parameters
    ----------
    nodes : int
        Number of classes; up to 20 are one sibling group, so that image labels teach there too.
    size : int
        Side of the images in pixels.
    precision : {"float32", "bfloat16", "float16"}
        The same as in `yolo9000.training.config.TrainConfig`.
    ema : bool
        Also average the weights.
    layout : {"channels_last", "contiguous"}
        Memory layout of the convolutions.
    width : float
        Factor on the net's channels.
    recipe : str
        What the image labels teach.
    mark : callable
        What is called before the model is made.
    device : torch.device
    images_of_each : int
        Images with boxes, and images with a label.

    Returns
    -------
    callable
        Takes the step; answers the mean loss before it.
    """
    torch.manual_seed(0)
    region = nets.tree_region(nets.tree_of(nodes))
    format = FORMATS[layout]
    targets = nets.targets_of(region, images_of_each, images_of_each)
    images = torch.rand(len(targets), 3, size, size, generator=torch.Generator().manual_seed(0))
    images = images.to(device, memory_format=format)
    loss = detection_objective(region, find_recipe(recipe))
    mark()
    model = Detector(DetectorConfig(width=width), region).to(device).to(memory_format=format).train()
    optimizer = build_optimizer(model, OptimiserConfig())
    for group in optimizer.param_groups:
        group["lr"] = 1e-6  # the same numbers in every round, near enough: the last may not be infinite
    average = ModelAverage(model, EMA_DECAY) if ema else None

    def step() -> float:
        with autocast(device, precision):
            output = model(images)
        terms = loss(output, targets, 64_000)
        total = torch.stack(list(terms.values())).sum() / len(targets)
        total.backward()
        nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if average is not None:
            average.update(model)
        return float(total.detach())

    return step


def memory_job(mark: Callable[[], None], nodes: int, size: int, precision: Precision, ema: bool, width: float) -> None:
    """Some steps, for `benchmarks.memory`; the model and everything after it counts."""
    # the kernels' own code and threads are there before the mark
    training_step(20, size=64, precision=precision, width=0.1)()
    step = training_step(nodes, size=size, precision=precision, ema=ema, width=width, mark=mark)
    for _ in range(MEMORY_STEPS):
        step()


def _setting(nodes: int, precision: str, ema: bool) -> str:
    words = f"{nodes} nodes, {precision}, channels last, {torch.get_num_threads()} threads"
    return f"{words}, with EMA" if ema else words


def _sizes(scale: Scale, nodes: int) -> tuple[int, int, float]:
    """Nodes, pixels, width."""
    return (min(nodes, 200), 64, 0.1) if scale.quick else (nodes, 416, 1.0)


def _time_of(settings: tuple[tuple[str, int, Precision, bool], ...], scale: Scale, stack: ExitStack) -> dict[str, Side]:
    sides = {}
    for name, wanted, precision, ema in settings:
        nodes, size, width = _sizes(scale, wanted)
        step = training_step(nodes, size=size, precision=precision, ema=ema, width=width)
        sides[name] = Side(run=step, setting=_setting(nodes, precision, ema))
    return sides


def _memory_of(
    settings: tuple[tuple[str, int, Precision, bool], ...], scale: Scale, stack: ExitStack
) -> dict[str, Side]:
    sides = {}
    for name, wanted, precision, ema in settings:
        nodes, size, width = _sizes(scale, wanted)
        measure = partial(peak_megabytes, memory_job, nodes, size, precision, ema, width)
        sides[name] = Side(run=measure, setting=_setting(nodes, precision, ema))
    return sides


def _levers(scale: Scale, stack: ExitStack) -> dict[str, Side]:
    nodes, size, width = _sizes(scale, 9418)
    net = Detector(DetectorConfig(width=width), nets.tree_region(nets.tree_of(nodes)))
    config = with_settings(TrainConfig(batch_size=8, precision=None), net, device=nets.CPU, size=size)
    best = training_settings(config, nets.CPU)
    fast = training_step(nodes, size=size, precision=best.precision, layout=best.layout, width=width)
    plain = training_step(nodes, size=size, layout="contiguous", width=width)
    layout = training_step(nodes, size=size, width=width)
    return {
        "ours": Side(run=fast, setting=f"{nodes} nodes, as `train` chooses: {nets.said(best)}"),
        "eager": Side(run=plain, setting=f"{nodes} nodes, float32, contiguous, {torch.get_num_threads()} threads"),
        "eager, channels last": Side(run=layout, setting=_setting(nodes, "float32", False)),
    }


def _recipes(scale: Scale, stack: ExitStack) -> dict[str, Side]:
    nodes, size, width = _sizes(scale, 9418)
    setting = _setting(nodes, "float32", False)
    return {
        side: Side(
            run=training_step(nodes, size=size, width=width, recipe=recipe), setting=f"{setting}, recipe {recipe}"
        )
        for side, recipe in (("ours", DEFAULT_RECIPE), ("overlap", "overlap"), ("paper", "paper"))
    }


def _apart(reference: float, other: float) -> float:
    return abs(reference - other) / abs(reference)


def rows() -> list[Row]:
    """Time and memory of a step, and the gain over eager float32."""
    step = "training step, 416 px, batch 4 + 4"
    variants: tuple[tuple[str, str, Precision, bool], ...] = (
        ("", "", "float32", False), ("-ema", ", with EMA", "float32", True), ("-bf16", ", bfloat16", "bfloat16", False),
    )  # fmt: skip
    if not nets.has_bfloat16():
        variants = variants[:-1]
    found = []
    for suffix, words, precision, ema in variants:
        sides = (("ours", 9418, precision, ema), ("20", 20, precision, ema))
        what = f"{step}, 9,418 nodes against 20{words}"
        time_goal = Goal(other="20", price=True) if suffix else Goal(other="20", at_most=1.10)
        memory_goal = Goal(other="20", price=True) if suffix else Goal(other="20", at_most=1.15)
        found += [
            Row(
                name=f"step-time{suffix}",
                in_a_row=True,
                what=what,
                prepare=partial(_time_of, sides),
                goals=(time_goal,),
            ),
            Row(
                name=f"step-memory{suffix}",
                what=f"{what}, peak",
                prepare=partial(_memory_of, sides),
                goals=(memory_goal,),
                unit="MB",
            ),
        ]
    every_noun: tuple[tuple[str, int, Precision, bool], ...] = (
        ("ours", 82_114, "float32", False), ("20", 20, "float32", False),
    )  # fmt: skip
    return [
        *found,
        Row(
            name="step-nouns",
            in_a_row=True,
            what=f"{step}, 82,114 nodes against 20",
            prepare=partial(_time_of, every_noun),
            goals=(Goal(other="20", at_most=1.35),),
        ),
        Row(
            name="step-nouns-memory",
            what=f"{step}, 82,114 nodes against 20, peak",
            prepare=partial(_memory_of, every_noun),
            goals=(Goal(other="20", price=True),),
            unit="MB",
        ),
        Row(
            name="step-recipe",
            in_a_row=True,
            what=f"{step}, 9,418 nodes, the default recipe against others",
            prepare=_recipes,
            goals=(Goal(other="overlap", price=True), Goal(other="paper", price=True)),
        ),
        Row(
            name="step-precision",
            in_a_row=True,
            what=f"{step}, 9,418 nodes, what `train` chooses against eager float32",
            prepare=_levers,
            goals=tuple(
                Goal(other=side, at_least=2.0 if nets.has_bfloat16() else 1.05)
                for side in ("eager", "eager, channels last")
            ),
            difference=_apart,
            tolerance=0.05,
        ),
    ]
