"""From a configuration to a trained run: pick the device, assemble, train, and write all of it into a folder."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yolo9000.experiment.assemble import Assembly, assemble, write_run
from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.config_file import read_config
from yolo9000.experiment.sameness import (
    fingerprints,
    machine_facts,
    other_configuration,
    other_data,
    other_machine,
    other_tree,
)
from yolo9000.experiment.sheet import ValidationSheet
from yolo9000.runtime.device import pick_device, use_huge_pages
from yolo9000.runtime.distributed import (
    Processes,
    any_process,
    gather_objects,
    local_device_name,
    wait_for_all,
    was_restarted,
    world_of_environment,
)
from yolo9000.runtime.interrupt import terminating_interrupts
from yolo9000.runtime.kept import Found, read_last
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.run_folder import (
    RunFolder,
    check_run_folder,
    create_run_folder,
    hold_run_folder,
    remove_failed_start,
    remove_unfinished,
)
from yolo9000.runtime.watch import together
from yolo9000.training.callbacks import Callback
from yolo9000.training.config import TrainConfig
from yolo9000.training.loop import TrainResult, train
from yolo9000.training.resuming import check_goes_on
from yolo9000.training.settling import with_settings
from yolo9000.training.tensorboard import TensorBoard, has_tensorboard

log = logging.getLogger(__name__)


def train_run(
    config: RunConfig,
    folder: str | Path,
    *,
    resume: bool = False,
    override: bool = False,
    callbacks: Sequence[Callback] = (),
) -> TrainResult:
    """Train what a configuration says, in one process or as one of several that torchrun started.

    Parameters
    ----------
    config : RunConfig
    folder : str or Path
        Where the run's files go. It is made when everything else is known to be right, and removed if the training
        fails before its first row of losses.
    resume : bool
        Go on from the folder's last checkpoint, or from the one before it if that is damaged or of another run. So does
        a run that torchrun or Slurm began again.
    override : bool
        Go on although configuration, tree or data are others than the checkpoint was trained with.
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
    if resume:
        create_run_folder(folder, resume=True)
    if config.machine.threads is not None or config.train.exact:
        # torchrun gives each of several processes one thread, and a single one all: other roundings
        torch.set_num_threads(config.machine.threads or 1)
    device = pick_device(config.machine.device or local_device_name())
    with together(device, config.machine.rank_timeout) as processes:
        again = any_process(was_restarted(), processes)  # torchrun counts the failures of each machine by itself
        goes_on = any_process(processes.is_first and bool(run.last.exists() or run.earlier), processes)
        resume = resume or (again and goes_on)
        if resume:
            config = _as_it_began(config, run)
        held = hold_run_folder(run, make=not resume) if processes.is_first else contextlib.nullcontext()
        with terminating_interrupts(), held, _deterministic(config.machine.deterministic):
            found = _found(run, config, override=override) if resume else None
            _check_one_place(found, processes)
            if again and not resume and processes.is_first:
                run.best.unlink(missing_ok=True)  # of the same job, which was ended before its first last.pt
            return _train_as(config, run, found, device, processes, callbacks, override=override)


def _check_one_place(found: Found | None, processes: Processes) -> None:
    """Raise if the processes would go on from different checkpoints: one may not see, or not read, what others do."""
    # by its name: machines may have the run's folder in different places
    mine = "the beginning" if found is None else f"{found.path.name} of step {found.content['position']['step']}"
    places = gather_objects(mine, processes)
    if len(set(places)) > 1:
        said = ", ".join(f"rank {rank} from {place}" for rank, place in enumerate(places))
        raise Mistake(
            f"the processes would go on from different places: {said}. Give all machines the same folder of the run"
        )


def _as_it_began(config: RunConfig, run: RunFolder) -> RunConfig:
    """The configuration with the settings that the run began with: another measurement may end otherwise.

    Those that are named stay, so that a run that began with others is refused.
    """
    began, train = read_config(run.path).train, config.train
    if train.settings in ("auto", "unmeasured"):
        train = replace(train, settings=began.settings, precision=train.precision or began.precision)
    return replace(config, train=train)


def _train_as(
    config: RunConfig,
    run: RunFolder,
    found: Found | None,
    device: torch.device,
    processes: Processes,
    callbacks: Sequence[Callback],
    *,
    override: bool,
) -> TrainResult:
    """`train_run` as one of several processes, or the only one."""
    resume = found is not None
    if processes.is_first and resume:
        remove_unfinished(run)
    elif processes.is_first:
        check_run_folder(run.path)

    def settle(train: TrainConfig, model: nn.Module, size: int) -> TrainConfig:
        return with_settings(train, model, device=device, size=size, measure=processes.world_size == 1)

    content = None if found is None else found.content
    assembly = assemble(config, resumed=content, processes=processes, settle=settle)
    wait_for_all(processes)  # of which some may have read a cold disk, or tars of a slow server
    config = assembly.config
    facts = machine_facts(device, processes=processes.world_size, deterministic=config.machine.deterministic)
    if found is not None:
        _compare(found, config, assembly, facts, override=override)
        check_goes_on(found, assembly.phases, config.train)  # before the folder says otherwise
    description = {
        **assembly.description,
        "config": asdict(config),
        "fingerprints": fingerprints(assembly.data),
        "machine": facts,
    }
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
            description=description,
            processes=processes,
            resume=found or False,
            callbacks=[*_usual_callbacks(config, assembly), *callbacks],
            seed=config.seed,
        )
    except BaseException:
        if processes.is_first and not resume:
            remove_failed_start(run)
        raise
    if processes.is_first and not result.interrupted:
        print(f"{run.path}: done. Next: python -m yolo9000.evaluate {run.path}", file=sys.stderr)
    return result


def _found(run: RunFolder, config: RunConfig, *, override: bool) -> Found:
    """The checkpoint to go on from; a word about those that cannot be used."""

    def refuse(content: dict[str, Any]) -> str:
        others = [] if override else other_configuration(content, config)
        return f"of another configuration: {', '.join(others)}; `override` goes on all the same" if others else ""

    found = read_last(run, refuse)
    for said in found.passed_over:
        log.warning("warning: %s. The run goes on from %s", said, found.path)
    return found


def _compare(found: Found, config: RunConfig, assembly: Assembly, facts: Mapping[str, Any], *, override: bool) -> None:
    """Refuse to go on with another tree or other data, and warn of another machine."""
    others = other_data(found.content, assembly.data)
    if not config.data.left_out:
        others += other_tree(assembly.data.classes.tree, config.data.tree)
    if override:
        others += other_configuration(found.content, config)
        for said in others:
            log.warning("warning: %s: %s", found.path, said)
    elif others:
        raise Mistake(f"{found.path}: not what it was trained on: {'; '.join(others)}. `override` goes on all the same")
    if machine := other_machine(found.content, facts):
        log.warning(
            "warning: another machine than the run had: %s. It goes on, but sums may be rounded otherwise, so not "
            "with the same bits",
            ", ".join(machine),
        )


@contextlib.contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Have torch take deterministic algorithms alone, for as long as the run lasts."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _usual_callbacks(config: RunConfig, assembly: Assembly) -> list[Callback]:
    found: list[Callback] = []
    data, size = assembly.data, config.plan.evaluation_size or config.plan.size
    if data.val_detection is not None and len(data.val_detection) and not config.is_classifier:
        sheet = ValidationSheet(
            data.val_detection, data.classes, size, starred=data.never_boxed, precision=config.train.precision
        )
        found.append(sheet)
    return [*found, TensorBoard()] if has_tensorboard() else found
