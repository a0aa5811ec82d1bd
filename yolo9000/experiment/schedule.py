"""A cfg of darknet's as a schedule of ours."""

from __future__ import annotations

from yolo9000.darknet.net_options import NetOptions
from yolo9000.runtime.mistakes import Mistake
from yolo9000.training.config import OptimiserConfig


def optimiser_of_cfg(options: NetOptions) -> OptimiserConfig:
    """The optimiser and schedule that ``[net]`` of a darknet cfg asks for; its `max_batches` is the total.

    Raises
    ------
    Mistake
        The policy is one that none of YOLOv2's cfgs has (step, exp, sigmoid, random), or no `max_batches` is given of
        which the steps are shares.

    Examples
    --------
    >>> import torch
    >>> from yolo9000.darknet import from_cfg
    >>> with torch.device("meta"):
    ...     options = from_cfg("yolo9000").options
    >>> config = optimiser_of_cfg(options)
    >>> config.schedule, [round(share, 3) for share in config.milestones], config.burn_in
    ('steps', [0.8, 0.9], 1000)
    """
    if options.policy not in ("constant", "steps", "poly"):
        raise Mistake(f"policy={options.policy} is not supported; constant, steps and poly are")
    falls: list[tuple[float, float]] = []
    if options.policy == "steps":
        if not options.max_batches:
            raise Mistake("policy=steps needs max_batches, of which the steps are shares")
        steps = zip(options.steps, options.scales, strict=True)
        falls = [(step / options.max_batches, scale) for step, scale in steps if step <= options.max_batches]
    return OptimiserConfig(
        learning_rate=options.learning_rate,
        momentum=options.momentum,
        weight_decay=options.decay,
        schedule=options.policy,
        milestones=tuple(share for share, _ in falls),
        scales=tuple(scale for _, scale in falls),
        power=options.power,
        burn_in=options.burn_in,
        burn_in_power=options.power,
    )
