"""From a configuration to a trained run: pick the device, assemble, train, and write all of it into a folder."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from yolo9000.experiment.assemble import Assembly, assemble, write_run
from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.sheet import ValidationSheet
from yolo9000.runtime.checkpoint import load_checkpoint
from yolo9000.runtime.device import pick_device, use_huge_pages
from yolo9000.runtime.distributed import local_device_name, start_processes, stop_processes
from yolo9000.runtime.run_folder import RunFolder, check_run_folder, create_run_folder, remove_failed_start
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
        Go on from the folder's last checkpoint.
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
    run = create_run_folder(folder, resume=True) if resume else RunFolder(Path(folder))
    saved = load_checkpoint(run.last) if resume else None
    if config.machine.threads is not None:
        torch.set_num_threads(config.machine.threads)
    device = pick_device(config.machine.device or local_device_name())
    processes = start_processes(device)
    try:
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
    finally:
        stop_processes(processes)


def _usual_callbacks(config: RunConfig, assembly: Assembly) -> list[Callback]:
    found: list[Callback] = []
    data, size = assembly.data, config.plan.evaluation_size or config.plan.size
    if data.val_detection is not None and len(data.val_detection) and not config.is_classifier:
        sheet = ValidationSheet(
            data.val_detection, data.classes, size, starred=data.never_boxed, precision=config.train.precision
        )
        found.append(sheet)
    return [*found, TensorBoard()] if has_tensorboard() else found
