"""How weights move: optimiser, learning rate of a step, and a running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from yolo9000.models.region import copy_of_net
from yolo9000.training.config import OptimiserConfig


def learning_rate(config: OptimiserConfig, batch: int, total: int) -> float:
    """Rate of one update.

    Parameters
    ----------
    config : OptimiserConfig
    batch : int
        Number of the update; the first is 1, as in darknet.
    total : int
        Updates of the phase.

    Returns
    -------
    float

    Examples
    --------
    >>> config = OptimiserConfig(milestones=(0.8, 0.9), scales=(0.1, 0.1))
    >>> [f"{learning_rate(config, n, 500_000):.3g}" for n in (100, 500, 1000, 400_000, 450_000)]
    ['1e-07', '6.25e-05', '0.001', '0.0001', '1e-05']
    """
    if batch < config.burn_in:
        usual = 4.0 if config.optimizer == "sgd" else 1.0
        power = usual if config.burn_in_power is None else config.burn_in_power
        return config.learning_rate * math.pow(batch / config.burn_in, power)
    match config.schedule:
        case "constant":
            factor = 1.0
        case "steps":
            falls = zip(config.milestones, config.scales, strict=True)
            factor = math.prod((scale for share, scale in falls if round(share * total) <= batch), start=1.0)
        case "poly":
            # no run goes beyond its end, but darknet's formula (and its table of rates) does
            factor = math.pow(abs(1 - batch / total), config.power)
        case "cosine":
            done = min(1.0, (batch - config.burn_in) / max(1, total - config.burn_in))
            factor = config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate * factor


def build_optimizer(model: nn.Module, config: OptimiserConfig, *, scaled: bool = False) -> torch.optim.Optimizer:
    """The optimiser of a model's parameters: weight decay on weights of convolutions and linear layers only.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    >>> [(len(g["params"]), g["weight_decay"]) for g in build_optimizer(net, OptimiserConfig()).param_groups]
    [(1, 0.0005), (3, 0.0)]
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # a batch norm's scale and every bias have one axis; a weight that multiplies features has more
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    # one pass over the memory in place of five: with a head of 29 M weights a fifth of the time
    # but under a loss scaler that skips its first step the fused one keeps a momentum that was never set
    fused = not scaled and all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    if config.optimizer == "sgd":
        sgd = torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, fused=fused)
        _begin_momentum(sgd, parameters)
        return sgd
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999), fused=fused)


def kind_of(state: Mapping[str, Any]) -> str:
    """Which optimiser a saved state is of, as `OptimiserConfig` names it.

    Examples
    --------
    >>> kind_of(build_optimizer(nn.Linear(1, 1), OptimiserConfig(optimizer="adamw")).state_dict())
    'adamw'
    """
    return "adamw" if any("betas" in group for group in state["param_groups"]) else "sgd"


def hyperparameters(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """What each group of parameters is moved with, without the parameters."""
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


def take_hyperparameters(optimizer: torch.optim.Optimizer, groups: Sequence[Mapping[str, Any]]) -> None:
    """Give an optimiser back what it was built with: a saved state brings its own.

    Parameters
    ----------
    optimizer : Optimizer
    groups : sequence of mapping
        As `hyperparameters` has them.
    """
    for group, built in zip(optimizer.param_groups, groups, strict=True):
        group.update(built)
    # the state of a run without momentum has none
    _begin_momentum(optimizer, [each for group in optimizer.param_groups for each in group["params"]])


def _begin_momentum(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter]) -> None:
    """Set the momentum of a fused SGD: a first step that is left out would keep one that was never set."""
    first = optimizer.param_groups[0]
    if isinstance(optimizer, torch.optim.SGD) and first["fused"] and first["momentum"]:
        for parameter in parameters:
            if optimizer.state[parameter].get("momentum_buffer") is None:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


class ModelAverage:
    """Exponential moving average of a model's weights, with an average of its batch-norm statistics of its own.

    Parameters
    ----------
    model : nn.Module
        Copied; the copy stays in evaluation mode and takes no gradients.
    decay : float
        Share of the old average that an update keeps. The first updates keep less, ``(1 + n) / (10 + n)``, so that
        a short run is not an average of the random start.

    Examples
    --------
    >>> net = nn.Linear(1, 1, bias=False)
    >>> average = ModelAverage(net, decay=0.5)
    >>> before = net.weight.item()
    >>> with torch.no_grad(): _ = net.weight.add_(1.0)
    >>> average.update(net)
    >>> round(average.model.weight.item() - before, 4)
    0.8182
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay of the weight average: 0 <= decay < 1 is needed, got {decay}")
        self.model = copy_of_net(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model."""
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        ours, theirs = self.model.state_dict(), model.state_dict()
        floating = [name for name, value in ours.items() if value.is_floating_point()]
        torch._foreach_lerp_([ours[n] for n in floating], [theirs[n] for n in floating], weight)
        for name, value in ours.items():
            if not value.is_floating_point():
                value.copy_(theirs[name])

    def state_dict(self) -> dict[str, Any]:
        """Weights and number of updates."""
        return {"updates": self.updates, "model": self.model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved average."""
        self.updates = int(state["updates"])
        self.model.load_state_dict(state["model"])
