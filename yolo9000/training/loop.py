"""The training loop: phases of steps, one position that covers them all, checkpoints that resume exactly.

A run is a list of `Phase`: what is trained, on which batches, with which loss. The usual list is a classifier over the
tree (the backbone's start), the detector on boxes alone, then the detector on boxes and image labels together. The
loop knows none of this; it counts steps. Which images a step sees, and what random layers draw in it, is a function of
its number and the seed alone, so a checkpoint needs the number and the weights, and no random state.

It is one file because a step, what is logged of it and what is saved of it are one order of events, and a run that is
resumed has to find each of them in its place.
"""

from __future__ import annotations

import contextlib
import errno
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.sample import pixels
from yolo9000.runtime.checkpoint import CheckpointError, load_weights, save_checkpoint
from yolo9000.runtime.compiling import compile_net
from yolo9000.runtime.device import FORMATS, autocast
from yolo9000.runtime.distributed import Processes, any_process, broadcast_model
from yolo9000.runtime.interrupt import StopRequest
from yolo9000.runtime.kept import Found, read_last, remove_older, save_last
from yolo9000.runtime.logs import Progress, ResultsFile
from yolo9000.runtime.run_folder import RunFolder, RunFolderError, hold_run_folder
from yolo9000.training.bad_steps import BadSteps, NonFiniteLoss
from yolo9000.training.callbacks import Callback, Moment
from yolo9000.training.config import TrainConfig
from yolo9000.training.curves import draw_curves
from yolo9000.training.gradients import Backward, gradients_for
from yolo9000.training.optimiser import (
    ModelAverage,
    build_optimizer,
    hyperparameters,
    learning_rate,
    take_hyperparameters,
)
from yolo9000.training.phases import HELD_OUT, ImageBatch, Phase
from yolo9000.training.resuming import check_goes_on, waiting_models
from yolo9000.training.settling import training_settings
from yolo9000.training.sharding import ShardedRows, can_shard, check_sharded, shard_rows
from yolo9000.training.tally import LossTally

DRAW_EVERY_SECONDS = 20.0
"""A picture of the curves takes most of a second; evaluations of a short run come faster than anyone looks."""


@dataclass(frozen=True)
class TrainResult:
    """How a call of `train` ended: steps done in the whole run, and whether it was asked to stop early."""

    step: int
    interrupted: bool


def train(
    phases: Sequence[Phase],
    config: TrainConfig,
    run: RunFolder,
    *,
    device: torch.device,
    description: Mapping[str, Any] | None = None,
    processes: Processes = Processes(),
    resume: bool | Found = False,
    stop_after: int | None = None,
    callbacks: Sequence[Callback] = (),
    seed: int = 0,
) -> TrainResult:
    """Train all phases, or what is left of them.

    Parameters
    ----------
    phases : sequence of Phase
    config : TrainConfig
    run : RunFolder
        Where ``results.csv``, ``curves.png``, ``last.pt`` and ``best.pt`` go.
    device : torch.device
        The models are moved there. Those whose class rows are spread over processes (`shard_classes`) are whole again
        after their phase, on the CPU.
    description : mapping, optional
        Plain values that every checkpoint carries: what evaluation and prediction need to rebuild the model.
    processes : Processes
        This process among its peers; rank 0 writes.
    resume : bool or Found
        Go on from ``last.pt``, or from the checkpoint that was found.
    stop_after : int, optional
        Stop, as on Ctrl-C, when the run has done so many steps.
    callbacks : sequence of Callback
        They watch the run.
    seed : int
        Seed of what random layers draw, such as dropout.

    Returns
    -------
    TrainResult

    Raises
    ------
    NonFiniteLoss
        A loss term or the gradient was infinite or NaN for `bad_steps` steps in a row. They were left out.
    CheckpointError
        No checkpoint can be read, or it is of another run.
    Mistake
        Class rows are to be spread over processes, and cannot be.
    RunFolderError
        Another process trains in the same folder; or a file cannot be written, such as on a full disk.
    """
    training = _Training(list(phases), config, run, device, dict(description or {}), processes, callbacks, seed)
    alone = hold_run_folder(run) if processes.is_first else contextlib.nullcontext()
    with alone, StopRequest(quiet=not processes.is_first) as stop:
        try:
            return training.go(stop, resume, stop_after)
        except OSError as error:
            if error.errno not in _OF_THE_DISK:
                raise
            raise RunFolderError(
                f"{error.filename or run.path}: {error.strerror}; training stopped at step {training.step}. "
                f"{_what_is_saved(run, training.saved_at)}"
            ) from error
        except DatasetError as error:  # such as a folder of images that is gone
            error.args = (
                f"{error}. Training stopped at step {training.step}. {_what_is_saved(run, training.saved_at)}",
            )
            raise
        finally:
            training.progress.close()


_OF_THE_DISK = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EIO,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
    errno.ENOENT,
)


def _what_is_saved(run: RunFolder, step: int | None) -> str:
    if step is None:
        return "Nothing had been saved"
    return f"{run.last.name} of step {step} is whole: make room or repair, then go on with `resume` {run.path}"


class _Training:
    """The state of a run: position, model average, optimiser, loss scaler."""

    def __init__(
        self,
        phases: list[Phase],
        config: TrainConfig,
        run: RunFolder,
        device: torch.device,
        description: dict[str, Any],
        processes: Processes,
        callbacks: Sequence[Callback],
        seed: int,
    ) -> None:
        self.phases, self.config, self.run, self.device = phases, config, run, device
        self.description, self.processes, self.seed = description, processes, seed
        self.callbacks = callbacks if processes.is_first else ()
        self.settings = training_settings(config, device)
        self.precision = self.settings.precision
        check_sharded(replace(config, precision=self.precision), [phase.model for phase in phases], processes)
        self.sharded: ShardedRows | None = None  # the class rows of this phase's net, if each process has some of them
        self.index = 0  # phase
        self.phase_step = 0  # steps done in it
        self.best: float | None = None
        self.scored: dict[str, None] = {}  # the names of scores that evaluations gave
        self.missed = False  # it was said that none of them picks a best.pt
        self.file = run.last  # that the run goes on from
        self.saved_at: int | None = None  # step of the last.pt that is there
        self.drawn_at = time.monotonic()
        self.progress = Progress(0, shown=False)  # until `go` knows where the run begins

    @property
    def phase(self) -> Phase:
        return self.phases[self.index]

    @property
    def step(self) -> int:
        """Steps done in the whole run."""
        return sum(phase.steps for phase in self.phases[: self.index]) + self.phase_step

    @property
    def moment(self) -> Moment:
        """Where the run is, for callbacks."""
        return Moment(self.run, self.step, sum(phase.steps for phase in self.phases), self.phase.name)

    @property
    def images_seen(self) -> int:
        """Images that the model of this phase has seen, in this phase and in earlier ones."""
        before = sum(phase.steps for phase in self.phases[: self.index] if phase.model is self.phase.model)
        return (before + self.phase_step) * self.config.batch_size

    def go(self, stop: StopRequest, resume: bool | Found, stop_after: int | None) -> TrainResult:
        saved = self._take_up(read_last(self.run) if resume is True else resume) if resume else None
        self.results: ResultsFile | None = None
        if self.processes.is_first:
            self.results = ResultsFile(self.run.results, keep_to_step=self.step if resume else None)
        self.progress = Progress(sum(p.steps for p in self.phases), self.step, shown=self.processes.is_first)
        interrupted = False
        for callback in self.callbacks:
            callback.on_start(self.moment)
        for index in range(self.index, len(self.phases)):
            self._start_phase(index, saved)
            saved = None
            try:
                interrupted = self._run_phase(stop, stop_after)
            finally:
                self.gradients.close()
            if self.sharded is not None:
                self.sharded.put_together(self.phase.model)
            if interrupted:
                break
        if self.results is not None:
            if not interrupted:
                self._say_if_nothing_is_best()  # where the last phase has no evaluation
            draw_curves(self.results, self.run.curves)
        for callback in self.callbacks:
            callback.on_end(self.moment, interrupted=interrupted)
        return TrainResult(self.step, interrupted)

    # ------------------------------------------------------------------------------------------------- one phase

    def _start_phase(self, index: int, saved: dict[str, Any] | None) -> None:
        if index != self.index:
            if self.phases[index].model is not self.phase.model:
                self.best = None  # of another net, of which best.pt shall not stay
            self.index, self.phase_step = index, 0
        phase, model = self.phase, self.phase.model
        if not can_shard(model, self.config, self.processes):  # whose rows a device need not hold until they are cut
            model.to(self.device)
        if saved is None and phase.begin is not None:
            phase.begin()
        if saved is not None:
            load_weights(model, saved["model"], self.file)
        broadcast_model([*model.parameters(), *model.buffers()], self.processes)
        self.sharded = shard_rows(model, self.config, self.processes)
        model.to(self.device)
        model.to(memory_format=FORMATS[self.settings.layout])
        # the model itself stays as it is, for checkpoints, averages and evaluation
        compiled = self.settings.engine == "inductor"
        forward: Callable[[Tensor], Any] = compile_net(model, self.device) if compiled else model
        self.optimizer = build_optimizer(model, phase.optimiser, scaled=self.precision == "float16")
        self.average = ModelAverage(model, self.config.ema_decay) if self.config.ema_decay else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "float16")
        if saved is not None:
            as_built = hyperparameters(self.optimizer)  # by the configuration and for this machine
            try:
                saved_state = saved["optimizer"]
                if self.sharded is not None:
                    saved_state = self.sharded.cut_optimizer(saved_state, model, self.optimizer)
                self.optimizer.load_state_dict(saved_state)
            except ValueError as error:  # the head of older runs was one convolution
                raise CheckpointError(
                    f"{self.file}: its optimiser has other parameters than this version's net; "
                    f"start a new run from its weights with `init` {self.run.path}"
                ) from error
            take_hyperparameters(self.optimizer, as_built)
            if saved["scaler"]:
                self.scaler.load_state_dict(saved["scaler"])
            if self.average is not None:
                if saved["average"] is None:
                    raise CheckpointError(f"{self.file}: it has no averaged weights; resume without an average")
                average = saved["average"]
                self.average.load_state_dict(average if self.sharded is None else self.sharded.cut_average(average))
        self.gradients = gradients_for(
            Backward(
                model=model,
                forward=forward,
                loss=phase.loss,
                config=self.config,
                device=self.device,
                precision=self.precision,
                scaler=self.scaler,
                processes=self.processes,
            )
        )
        self.terms, self.gradient = LossTally(self.processes), LossTally(self.processes)
        for name, tally in (("terms", self.terms), ("gradient", self.gradient)):
            if saved is not None:
                tally.load_state_dict(saved.get("tally", {}).get(name, {}), self.device)
        self.bad = BadSteps(
            phase,
            self.run,
            self.processes,
            most=self.config.bad_steps,
            about=lambda: self._content(with_optimizer=False),
            whole=lambda: self._whole(phase.model),
            images=self._images,
            net=self._answer,
            tell=self.progress.message if self.processes.is_first else partial(print, file=sys.stderr, flush=True),
            in_a_row=0 if saved is None else int(saved["position"].get("bad_in_a_row", 0)),
        )
        if saved is not None:
            self.bad.since_logged = int(saved["position"].get("left_out", 0))

    def _run_phase(self, stop: StopRequest, stop_after: int | None) -> bool:
        """Take the phase's remaining steps; return whether the run was asked to stop."""
        config, phase = self.config, self.phase
        self.logged_at = (self.step, time.monotonic())
        batches = iter(phase.batches(self.phase_step * config.accumulate)) if self.phase_step < phase.steps else None
        interrupted = False
        while batches is not None and self.phase_step < phase.steps and not interrupted:
            self._take_step(batches)
            ended = self.phase_step == phase.steps
            if ended or self._is_due(config.log_every):
                self.bad.settle()
                self._log()
            if ended or self._is_due(config.evaluate_every) or self.phase_step in config.evaluate_at:
                self._evaluate()
            wanted = stop.requested or (stop_after is not None and self.step >= stop_after)
            interrupted = any_process(wanted, self.processes)
            if ended or interrupted or self._is_due(config.save_every):
                self._save()
            self.progress.advance()
        if not interrupted and self.average is not None:
            # the next phase, and a caller who holds the model, go on with the weights that were evaluated
            phase.model.load_state_dict(self.average.model.state_dict())
        return interrupted

    def _is_due(self, every: int) -> bool:
        return every > 0 and self.phase_step % every == 0

    def _take_step(self, batches: Iterator[ImageBatch]) -> None:
        config, phase, model = self.config, self.phase, self.phase.model
        model.train()
        self.phase_step += 1
        self.processes.state["step"] = self.step
        rate = learning_rate(phase.optimiser, self.phase_step, phase.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.rate = rate
        self.bad.begin()
        parts: list[tuple[dict[str, Tensor], int]] = []
        for part in range(1, config.accumulate + 1):
            batch = self._next(batches)
            images, last = self._images(batch), part == config.accumulate
            draw = (self.seed, self.step, part)
            for terms, count in self.gradients.add(images, batch.targets, self.images_seen, last=last, draw=draw):
                self.bad.add(batch, terms)
                parts.append((terms, count))
        left_out = self._update()
        for terms, count in parts:
            self.terms.add(terms, count, left_out=left_out)

    def _next(self, batches: Iterator[ImageBatch]) -> ImageBatch:
        for batch in batches:
            return batch
        phase = self.phase
        raise ValueError(f"the batches of phase {phase.name} end after {self.phase_step - 1} of {phase.steps} steps")

    def _images(self, batch: ImageBatch) -> Tensor:
        return pixels(batch.images, self.device, non_blocking=True, memory_format=FORMATS[self.settings.layout])

    def _answer(self, images: Tensor) -> Any:
        with autocast(self.device, self.precision):
            return self.phase.model(images)

    def _update(self) -> Tensor:
        """Move the weights; return whether the step was left out, a scalar on the device."""
        phase, model = self.phase, self.phase.model
        scaled = self.precision == "float16"  # there an infinite gradient is how the scaler finds its scale
        self.gradients.finish()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        bad_terms = self.bad.judge_terms()
        if scaled and gradients:
            gradients[0].add_(torch.where(bad_terms, float("nan"), 0.0))
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.get_total_norm(gradients) if self.sharded is None else self.sharded.total_norm(model)
        if phase.optimiser.gradient_clip:
            nn.utils.clip_grads_with_norm_(model.parameters(), phase.optimiser.gradient_clip, norm)
        left_out = self.bad.judge(self.step, self.images_seen, None if scaled else norm)
        if not scaled:
            self.gradient.add({"gradient": norm}, 1, left_out=left_out)
            if self.optimizer.param_groups[0]["fused"]:
                # by which a fused optimiser skips a step on the device
                self.optimizer.found_inf = left_out.float()  # type: ignore[attr-defined]
            elif bool(left_out):
                self.optimizer.zero_grad(set_to_none=True)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.bad.undo(left_out)
        if self.average is not None:
            self.average.update(model)
        return left_out

    # ---------------------------------------------------------------------------------------- what is written down

    def _log(self) -> None:
        """Read the terms (here the host waits for a GPU), write a row, show them."""
        terms, gradient = self.terms.read(), self.gradient.read().get("gradient")
        step, now = self.logged_at[0], time.monotonic()
        speed = (self.step - step) * self.config.batch_size / max(1e-9, now - self.logged_at[1])
        self.logged_at = (self.step, now)
        left_out, self.bad.since_logged = self.bad.since_logged, 0
        row: dict[str, str | int | float] = {
            "step": self.step,
            "phase": self.phase.name,
            "images_seen": self.images_seen,
            "learning_rate": self.rate,
            "images_per_second": speed,
        }
        if terms:  # and not where every step was left out
            row |= {"loss": sum(terms.values()), **{f"loss/{name}": value for name, value in terms.items()}}
        if left_out:
            row["left_out"] = left_out
        if gradient is not None:
            row["gradient_norm"] = gradient
        if self.results is not None:
            self.results.append(row)
        for callback in self.callbacks:
            callback.on_step(self.moment, row)
        self.progress.show(
            self.phase.name,
            {**({"loss": sum(terms.values())} if terms else {}), **terms, "lr": self.rate, "images/s": speed},
        )

    def _evaluate(self) -> None:
        if self.phase.evaluate is None:
            return
        started = time.monotonic()
        model = self.phase.model if self.average is None else self.average.model
        training = model.training
        model.eval()
        with torch.no_grad(), self._whole(model):
            scores = dict(self.phase.evaluate(model))
            for callback in self.callbacks:
                callback.on_evaluation(self.moment, scores, model)
        model.train(training)
        # all processes share the images, and the first one says what came of it
        score = scores.get(self.config.best_score)
        better = self.results is not None and self._is_better(score)
        content = None
        if self.sharded is not None and any_process(better, self.processes):
            self.best = score if better else self.best
            content = self._whole_content(with_optimizer=False)
        if self.results is None:
            return
        self.results.append({"step": self.step, "phase": self.phase.name, **scores})
        if time.monotonic() - self.drawn_at > DRAW_EVERY_SECONDS:
            draw_curves(self.results, self.run.curves)
            self.drawn_at = time.monotonic()
        text = " ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self.progress.message(f"step {self.step} {self.phase.name}: {text} ({time.monotonic() - started:.0f} s)")
        self.scored |= dict.fromkeys(scores)
        if self.index == len(self.phases) - 1:  # an earlier phase may well have other scores
            self._say_if_nothing_is_best()
        if better:
            self.best = score
            content = content or self._content(with_optimizer=False)
            self._refuse_broken(content)
            save_checkpoint(self.run.best, content)
            for callback in self.callbacks:
                callback.on_checkpoint(self.moment, self.run.best)
        self.logged_at = (self.logged_at[0], self.logged_at[1] + time.monotonic() - started)

    def _is_better(self, score: float | None) -> bool:
        """Whether a score is the best so far; of held-out losses that is the least. One that is NaN never is."""
        if score is None or not math.isfinite(score):
            return False
        if self.best is None or not math.isfinite(self.best):
            return True
        return score < self.best if self.config.best_score.startswith(HELD_OUT) else score > self.best

    def _say_if_nothing_is_best(self) -> None:
        name = self.config.best_score
        if self.scored and self.best is None and name not in self.scored and not self.missed:
            self.missed = True
            self.progress.message(
                f"warning: no evaluation gives the best_score {name}, so there is no {self.run.best.name}; "
                f"there are {', '.join(sorted(self.scored))}"
            )

    def _save(self) -> None:
        self.bad.settle()  # a step that was left out is named before the run is said to be saved
        if self.saved_at == self.step:
            return
        # every process has a part in it
        tally = {"terms": self.terms.state_dict(), "gradient": self.gradient.state_dict()}
        content = None if self.sharded is None else self._whole_content(with_optimizer=True)
        if self.processes.is_first:
            content = {**(content or self._content(with_optimizer=True)), "tally": tally}
            self._refuse_broken(content)
            save_last(self.run, content, before=self.saved_at, keep=self.config.keep)
            for callback in self.callbacks:
                callback.on_checkpoint(self.moment, self.run.last)
        self.saved_at = self.step

    def _refuse_broken(self, content: Mapping[str, Any]) -> None:
        """Raise rather than replace a good checkpoint by one with weights that are not finite."""
        average = content["average"] or {"model": {}}
        for name, value in [*content["model"].items(), *average["model"].items()]:
            if not bool(torch.isfinite(value).all()):
                raise NonFiniteLoss(
                    f"step {self.step} {self.phase.name}: the weights {name} are not finite, and are not saved; "
                    f"{_what_is_saved(self.run, self.saved_at)}. A lower `learning_rate` may help"
                )

    def _whole(self, model: nn.Module) -> contextlib.AbstractContextManager[None]:
        """A net with all class rows, for as long as one process alone asks it; all come here together."""
        return contextlib.nullcontext() if self.sharded is None else self.sharded.whole(model)

    def _whole_content(self, *, with_optimizer: bool) -> dict[str, Any]:
        """`_content` with class rows that are spread over processes, whole on the first one."""
        assert self.sharded is not None
        content = self._content(with_optimizer=with_optimizer)
        return self.sharded.whole_content(content, self.phase.model, self.optimizer)

    def _content(self, *, with_optimizer: bool) -> dict[str, Any]:
        return {
            **self.description,
            "position": {
                "step": self.step,
                "phase": self.index,
                "phase_step": self.phase_step,
                "images_seen": self.images_seen,
                "bad_in_a_row": self.bad.in_a_row,
                "left_out": self.bad.since_logged,
            },
            "phases": [[phase.name, phase.steps] for phase in self.phases],
            "batch_size": self.config.batch_size,
            "net": getattr(self.phase.model, "description", None),
            "best": self.best,
            "model": self.phase.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict() if with_optimizer else None,
            "scaler": self.scaler.state_dict() if with_optimizer else None,
            "waiting": [model.state_dict() for model in waiting_models(self.phases, self.index)]
            if with_optimizer
            else [],
        }

    def _take_up(self, found: Found) -> dict[str, Any]:
        """Go to the position of a checkpoint."""
        check_goes_on(found, self.phases, self.config)
        saved, position = found.content, found.content["position"]
        self.index, self.phase_step = int(position["phase"]), int(position["phase_step"])
        self.best = saved["best"]
        self.file = found.path
        waiting = waiting_models(self.phases, self.index)
        for model, state in zip(waiting, saved.get("waiting") or (), strict=True):
            load_weights(model, state, found.path)
        if found.path == self.run.last:
            self.saved_at = self.step
            if self.processes.is_first:  # it may have been killed just before it did so, and have nothing left to save
                remove_older(self.run, keep=self.config.keep, last_step=self.step)
        return saved
