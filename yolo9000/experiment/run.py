"""From a configuration to a trained run: pick the device, assemble, train, and write all of it into a folder."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yolo9000.experiment.assemble import Assembly, assemble, write_run
from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.config_file import read_config
from yolo9000.experiment.sheet import ValidationSheet
from yolo9000.runtime.checkpoint import load_checkpoint
from yolo9000.runtime.device import pick_device, use_huge_pages
from yolo9000.runtime.distributed import (
    Processes,
    local_device_name,
    was_restarted,
    world_of_environment,
)
from yolo9000.runtime.run_folder import RunFolder, check_run_folder, create_run_folder, remove_failed_start
from yolo9000.runtime.watch import together
from yolo9000.training.callbacks import Callback
from yolo9000.training.config import TrainConfig
from yolo9000.training.loop import TrainResult, train
from yolo9000.training.settling import with_settings
from yolo9000.training.tensorboard import TensorBoard, has_tensorboard

log = logging.getLogger(__name__)


def train_run(
    config: RunConfig, folder: str | Path, *, resume: bool = False, callbacks: Sequence[Callback] = ()
) -> TrainResult:
    """Train what a configuration says, in one process or as one of several that torchrun started.

    Parameters
    ----------
    config : RunConfig
    folder : str or Path
        Where the run's files go. It is made when everything else is known to be right, and removed if the training
        fails before its first row of losses.
    resume : bool
        Go on from the folder's last checkpoint. So does a run that torchrun or Slurm began again.
    callbacks : sequence of Callback
        They watch the run, after those that every run has: `ValidationSheet`, and `TensorBoard` where it is installed.

    Returns
    -------
    TrainResult

    Raises
    ------
    Mistake, DatasetError, wordtree.TreeError
        The parts do not fit together; the message says which field or file.
    NonFiniteLoss
        The loss became infinite or NaN.
    """
    use_huge_pages()
    config.train.check_shared_by(world_of_environment()[1])
    run = RunFolder(Path(folder))
    if not resume and was_restarted() and run.last.exists():
        resume = True  # the same command, begun again by who keeps the job alive
        config = _as_it_began(config, run)
    if resume:
        create_run_folder(folder, resume=True)
    saved = load_checkpoint(run.last) if resume else None
    if config.machine.threads is not None or config.train.exact:
        # torchrun gives each of several processes one thread, and a single one all: other roundings
        torch.set_num_threads(config.machine.threads or 1)
    device = pick_device(config.machine.device or local_device_name())
    with together(device, config.machine.rank_timeout) as processes:
        return _train_as(config, run, saved, device, processes, callbacks)


def _as_it_began(config: RunConfig, run: RunFolder) -> RunConfig:
    """The configuration with the settings that the run began with: another measurement may end otherwise."""
    began = read_config(run.path).train
    return replace(config, train=replace(config.train, settings=began.settings, precision=began.precision))


def _train_as(
    config: RunConfig,
    run: RunFolder,
    saved: Mapping[str, Any] | None,
    device: torch.device,
    processes: Processes,
    callbacks: Sequence[Callback],
) -> TrainResult:
    """`train_run` as one of several processes, or the only one."""
    resume = saved is not None
    if processes.is_first and not resume:
        check_run_folder(run.path)

    def settle(train: TrainConfig, model: nn.Module, size: int) -> TrainConfig:
        return with_settings(train, model, device=device, size=size, measure=processes.world_size == 1)

    assembly = assemble(config, resumed=saved, processes=processes, settle=settle)
    config = assembly.config
    if processes.is_first:
        write_run(run, config, assembly, resumed=resume)
        print("\n  ".join([f"{run.path}, on {device}", *assembly.notes]), file=sys.stderr)
        for warning in assembly.warnings:
            log.warning("warning: %s", warning)  # by the log, where a command puts its flags in place of fields
    try:
        result = train(
            assembly.phases,
            config.train,
            run,
            device=device,
            description=assembly.description,
            processes=processes,
            resume=resume,
            callbacks=[*_usual_callbacks(config, assembly), *callbacks],
        )
    except BaseException:
        if processes.is_first and not resume:
            remove_failed_start(run)
        raise
    if processes.is_first and not result.interrupted:
        print(f"{run.path}: done. Next: python -m yolo9000.evaluate {run.path}", file=sys.stderr)
    return result


def _usual_callbacks(config: RunConfig, assembly: Assembly) -> list[Callback]:
    found: list[Callback] = []
    data, size = assembly.data, config.plan.evaluation_size or config.plan.size
    if data.val_detection is not None and len(data.val_detection) and not config.is_classifier:
        sheet = ValidationSheet(
            data.val_detection, data.classes, size, starred=data.never_boxed, precision=config.train.precision
        )
        found.append(sheet)
    return [*found, TensorBoard()] if has_tensorboard() else found
