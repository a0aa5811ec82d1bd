"""A training step whose loss was not finite, computed again from what the run kept of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yolo9000.datasets.sample import Target, pixels
from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.config_file import from_plain
from yolo9000.experiment.plan import truth_offsets
from yolo9000.inference.model import TrainedModel, load_model
from yolo9000.runtime.checkpoint import CheckpointError
from yolo9000.runtime.config import Precision
from yolo9000.runtime.device import autocast, pick_device
from yolo9000.training.culprits import describe, find_culprits, not_finite
from yolo9000.training.objectives import classification_objective, detection_objective
from yolo9000.training.phases import Loss


def replay(file: str | Path, *, device: str | None = None, precision: Precision | None = None) -> str:
    """Compute a step again that a training left out.

    Parameters
    ----------
    file : str or Path
        ``bad-step-*.pt`` of a run.
    device : str, optional
        The GPU by default, if there is one.
    precision : str, optional
        The run's own by default.

    Returns
    -------
    str
        Lines for a person: loss terms, parameters whose gradient is not finite, images and boxes behind it.

    Raises
    ------
    CheckpointError
        The file is absent or damaged, or none that a training kept of such a step.
    """
    where = pick_device(device)
    trained = load_model(file, device=where)
    kept = trained.content.get("replay")
    if kept is None:
        raise CheckpointError(f"{file}: a checkpoint, and not what a run keeps of a step (bad-step-*.pt in its folder)")
    config = from_plain(RunConfig, trained.content["config"], str(file))
    precision = precision or config.train.precision or "float32"
    loss = _loss_of(trained, config)
    model = trained.model.train()
    lines = [
        f"{file}: step {kept['step']}, where {', '.join(kept['terms'])} was not finite; again on {where} in {precision}"
    ]
    again = False
    for part in kept["parts"]:
        images = pixels(part["images"], where)
        targets = [Target(**target) for target in part["targets"]]
        keys, seen = list(part["keys"]), int(kept["images_seen"])
        statistics = {name: value.clone() for name, value in model.state_dict().items()}

        def net(images: Tensor) -> Any:
            with autocast(where, precision):
                return model(images)

        terms = loss(net(images), targets, seen)
        wrong = not_finite(terms)
        for name, term in terms.items():
            lines.append(f"  {name} {float(term.detach()):.6g}{' (not finite)' * (name in wrong)}")
        bad = _bad_gradients(model, terms)
        if bad:
            lines.append(
                f"  gradient not finite in {len(bad)} parameters: {', '.join(bad[:5])}{', ..' * (len(bad) > 5)}"
            )
        if wrong or bad:
            again = True
            model.load_state_dict(statistics)
            culprits = find_culprits(net, loss, images, targets, seen)
            lines.append(f"  {describe(culprits, targets, keys)}")
    if not again:
        lines.append("  all of it is finite here: it was a matter of the machine, or of the precision")
    return "\n".join(lines)


def _loss_of(trained: TrainedModel, config: RunConfig) -> Loss:
    if trained.model.objective != "detection":
        return classification_objective(trained.classes)
    joint = config.plan.joint
    offsets = truth_offsets(joint, trained.classes.tree, trained.boxed, trained.never_boxed)
    return detection_objective(trained.spec, joint.image_labels, offsets)


def _bad_gradients(model: nn.Module, terms: Mapping[str, Tensor]) -> Sequence[str]:
    model.zero_grad()
    torch.stack(list(terms.values())).sum().backward()
    named = model.named_parameters()
    return [name for name, value in named if value.grad is not None and not bool(torch.isfinite(value.grad).all())]
