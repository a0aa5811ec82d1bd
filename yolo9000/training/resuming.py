"""What lets a training go on from a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from yolo9000.runtime.checkpoint import CheckpointError
from yolo9000.runtime.kept import Found
from yolo9000.training.config import TrainConfig
from yolo9000.training.optimiser import kind_of
from yolo9000.training.phases import Phase


def check_goes_on(found: Found, phases: Sequence[Phase], config: TrainConfig) -> None:
    """Raise if these phases cannot go on from a checkpoint. Whoever writes into the run before `train` asks it too.

    Parameters
    ----------
    found : Found
    phases : sequence of Phase
    config : TrainConfig

    Raises
    ------
    CheckpointError
        The message says what does not fit.
    """
    saved, position = found.content, found.content.get("position", {})
    if lacking := [name for name in ("phases", "optimizer", "scaler", "batch_size") if saved.get(name) is None]:
        raise CheckpointError(f"{found.path}: no training can go on from it (it has no {', '.join(lacking)})")
    before = [list(pair) for pair in saved["phases"]]
    now = [[phase.name, phase.steps] for phase in phases]
    index = int(position["phase"])
    # phases that lie behind must be as they were; the present one and those ahead may become longer
    if before[:index] != now[:index] or index >= len(now) or before[index][0] != now[index][0]:
        raise CheckpointError(f"{found.path}: it is at {before[index]} of phases {before}; this run has {now}")
    if int(position["phase_step"]) > phases[index].steps:
        raise CheckpointError(
            f"{found.path}: {position['phase_step']} steps of phase {now[index][0]} are done, "
            f"more than the {now[index][1]} asked for"
        )
    if saved["batch_size"] != config.batch_size:
        raise CheckpointError(
            f"{found.path}: trained with batches of {saved['batch_size']} images, "
            f"now {config.batch_size}; the position would not be the same"
        )
    there, needed = len(saved.get("waiting") or ()), len(waiting_models(phases, index))
    if there != needed:
        raise CheckpointError(
            f"{found.path}: of nets that start from `init` in a later phase it holds the weights of {there}, and this "
            f"run has {needed}; leave `init` as it was begun with, or start a new run if an older version saved it"
        )
    was, wanted = kind_of(saved["optimizer"]), phases[index].optimiser.optimizer
    if was != wanted and int(position["phase_step"]) < phases[index].steps:
        raise CheckpointError(
            f"{found.path}: the phase {now[index][0]} goes on with its `optimizer` {was}, whose state says nothing to "
            f"{wanted}; leave it at {was}, or start a new run from its weights with `init`"
        )


def waiting_models(phases: Sequence[Phase], index: int) -> list[nn.Module]:
    """The models of later phases that begin with weights from outside the run."""
    return [phase.model for phase in phases[index + 1 :] if phase.given and phase.model is not phases[index].model]
