"""How a training is computed: layout and number format, measured once on the net that is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from yolo9000.models.region import copy_of_net
from yolo9000.runtime.config import Settings
from yolo9000.runtime.device import FORMATS, autocast, pick_precision
from yolo9000.runtime.settings import Timings, settle, time_in_turn, variants
from yolo9000.training.config import TrainConfig

ENOUGH_SECONDS = 0.25
"""A step is measured with so many images that it takes about as long: a layout may win with more images only."""


def training_settings(config: TrainConfig, device: torch.device) -> Settings:
    """What a configuration fixes, and without measuring for the rest: channels last, and the hardware's precision.

    Raises
    ------
    Mistake
        `precision` and `settings` contradict each other.

    Examples
    --------
    >>> training_settings(TrainConfig(settings="fixed:layout=contiguous"), torch.device("cpu")).layout
    'contiguous'
    """
    usual = _usual(config, device)
    return settle(config.settings, usual, precision=config.precision, purpose={}, measure=None)


def with_settings(
    config: TrainConfig, model: nn.Module, *, device: torch.device, size: int, measure: bool = True
) -> TrainConfig:
    """The configuration with its settings fixed, as a run keeps them for its resume.

    Parameters
    ----------
    config : TrainConfig
    model : nn.Module
        The net that is trained; it stays as it is, and so do torch's random numbers.
    device : torch.device
        Only a CPU is measured.
    size : int
        Side of its images.
    measure : bool
        Whether anything may be measured here: of several processes all must do the same. With `exact` nothing is, for
        any number of them must.
    """
    usual = _usual(config, device)
    images = max(2, config.batch_size // config.accumulate)
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    purpose = {
        "for": "training",
        "net": hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()[:16],
        "size": size,
        "images": images,
        "precision": config.precision,
    }
    formats: Any = [config.precision] if config.precision else sorted({usual.precision, "float32"})
    candidates = variants(usual, formats)
    measured = measure and device.type == "cpu" and not config.compile and not config.exact
    chosen = settle(
        config.settings,
        usual,
        precision=config.precision,
        purpose=purpose,
        measure=(lambda: time_steps(model, candidates, size=size, images=images)) if measured else None,
    )
    return replace(config, precision=chosen.precision, settings=chosen.text)


def _usual(config: TrainConfig, device: torch.device) -> Settings:
    engine: Any = "inductor" if config.compile else "torch"
    return Settings(engine=engine, precision=pick_precision(device, config.precision))


def time_steps(model: nn.Module, candidates: Sequence[Settings], *, size: int, images: int) -> Timings:
    """Seconds for an image, forward and backward, with each of some settings.

    Parameters
    ----------
    model : nn.Module
        It is copied.
    candidates : sequence of Settings
    size : int
        Side of the images.
    images : int
        The most images of a step.
    """
    noise = torch.rand(images, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):  # a layer may draw numbers, which the training shall not miss
        runs = {settings: _step(model, settings) for settings in candidates}
        (first,) = time_in_turn({candidates[0]: lambda: runs[candidates[0]](noise[:2])}, images=2, budget=0).values()
        number = max(2, min(images, int(ENOUGH_SECONDS / first[0])))
        return time_in_turn({each: _with(run, noise[:number]) for each, run in runs.items()}, images=number)


def _with(run: Callable[[Tensor], None], images: Tensor) -> Callable[[], None]:
    return lambda: run(images)


def _step(model: nn.Module, settings: Settings) -> Callable[[Tensor], None]:
    layout = FORMATS[settings.layout]
    net = copy_of_net(model).train().to(memory_format=layout)
    cpu = torch.device("cpu")

    def step(images: Tensor) -> None:
        with autocast(cpu, settings.precision):
            output = net(images.contiguous(memory_format=layout))
        # any number that all convolutions have a part in will do; single class rows are no matter of layout
        total = output.float().sum() if isinstance(output, Tensor) else output.objectness.float().sum()
        total.backward()
        net.zero_grad(set_to_none=True)

    return step
