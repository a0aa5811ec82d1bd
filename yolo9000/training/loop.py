"""The training loop: phases of steps, one position that covers them all, checkpoints that resume exactly.

A run is a list of `Phase`: what is trained, on which batches, with which loss. The usual list is a classifier over the
tree (the backbone's start), the detector on boxes alone, then the detector on boxes and image labels together. The
loop knows none of this; it counts steps. Which images a step sees is a function of its number alone, so a
checkpoint needs the number and the weights, and no random state.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yolo9000.datasets.sample import pixels
from yolo9000.runtime.checkpoint import CheckpointError, load_checkpoint, load_weights, save_checkpoint
from yolo9000.runtime.compiling import compile_net
from yolo9000.runtime.device import FORMATS
from yolo9000.runtime.distributed import Processes, any_process, broadcast_model
from yolo9000.runtime.interrupt import StopRequest
from yolo9000.runtime.logs import Progress, ResultsFile
from yolo9000.runtime.run_folder import RunFolder, hold_run_folder
from yolo9000.training.callbacks import Callback, Moment
from yolo9000.training.config import TrainConfig
from yolo9000.training.curves import draw_curves
from yolo9000.training.gradients import Backward, gradients_for
from yolo9000.training.optimiser import ModelAverage, build_optimizer, learning_rate
from yolo9000.training.phases import ImageBatch, Phase
from yolo9000.training.settling import training_settings
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
    resume: bool = False,
    stop_after: int | None = None,
    callbacks: Sequence[Callback] = (),
) -> TrainResult:
    """Train all phases, or what is left of them.

    Parameters
    ----------
    phases : sequence of Phase
    config : TrainConfig
    run : RunFolder
        Where ``results.csv``, ``curves.png``, ``last.pt`` and ``best.pt`` go.
    device : torch.device
        The models are moved there.
    description : mapping, optional
        Plain values that every checkpoint carries: what evaluation and prediction need to rebuild the model.
    processes : Processes
        This process among its peers; rank 0 writes.
    resume : bool
        Go on from ``last.pt``.
    stop_after : int, optional
        Stop, as on Ctrl-C, when the run has done so many steps.
    callbacks : sequence of Callback
        They watch the run.

    Returns
    -------
    TrainResult

    Raises
    ------
    NonFiniteLoss
        A loss term was infinite or NaN. No checkpoint is written after the last reading that was good.
    CheckpointError
        ``last.pt`` cannot be read or is of another run.
    RunFolderError
        Another process trains in the same folder.
    """
    training = _Training(list(phases), config, run, device, dict(description or {}), processes, callbacks)
    alone = hold_run_folder(run) if processes.is_first else contextlib.nullcontext()
    with alone, StopRequest(quiet=not processes.is_first) as stop:
        try:
            return training.go(stop, resume, stop_after)
        finally:
            training.progress.close()


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
    ) -> None:
        self.phases, self.config, self.run, self.device = phases, config, run, device
        self.description, self.processes = description, processes
        self.callbacks = callbacks if processes.is_first else ()
        self.settings = training_settings(config, device)
        self.precision = self.settings.precision
        self.index = 0  # phase
        self.phase_step = 0  # steps done in it
        self.best: float | None = None
        self.saved_at = -1
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

    def go(self, stop: StopRequest, resume: bool, stop_after: int | None) -> TrainResult:
        saved = self._read_checkpoint() if resume else None
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
            if interrupted:
                break
        if self.results is not None:
            draw_curves(self.results, self.run.curves)
        for callback in self.callbacks:
            callback.on_end(self.moment, interrupted=interrupted)
        return TrainResult(self.step, interrupted)

    # ------------------------------------------------------------------------------------------------- one phase

    def _start_phase(self, index: int, saved: dict[str, Any] | None) -> None:
        if index != self.index:
            self.index, self.phase_step = index, 0
        phase = self.phase
        model = phase.model.to(self.device)
        model.to(memory_format=FORMATS[self.settings.layout])
        # the model itself stays as it is, for checkpoints, averages and evaluation
        compiled = self.settings.engine == "inductor"
        forward: Callable[[Tensor], Any] = compile_net(model, self.device) if compiled else model
        if saved is None and phase.begin is not None:
            phase.begin()
        if saved is not None:
            load_weights(model, saved["model"], self.run.last)
        broadcast_model([*model.parameters(), *model.buffers()], self.processes)
        self.optimizer = build_optimizer(model, phase.optimiser, scaled=self.precision == "float16")
        self.average = ModelAverage(model, self.config.ema_decay) if self.config.ema_decay else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "float16")
        if saved is not None:
            fused = [group["fused"] for group in self.optimizer.param_groups]
            try:
                self.optimizer.load_state_dict(saved["optimizer"])
            except ValueError as error:  # the head of older runs was one convolution
                raise CheckpointError(
                    f"{self.run.last}: its optimiser has other parameters than this version's net; "
                    f"start a new run from its weights with `init` {self.run.path}"
                ) from error
            for group, as_built in zip(self.optimizer.param_groups, fused, strict=True):
                group["fused"] = as_built  # a matter of this machine and version, not of the run
            if saved["scaler"]:
                self.scaler.load_state_dict(saved["scaler"])
            if self.average is not None:
                if saved["average"] is None:
                    raise CheckpointError(f"{self.run.last}: it has no averaged weights; resume without an average")
                self.average.load_state_dict(saved["average"])
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

    def _run_phase(self, stop: StopRequest, stop_after: int | None) -> bool:
        """Take the phase's remaining steps; return whether the run was asked to stop."""
        config, phase = self.config, self.phase
        self.terms, self.gradient = LossTally(self.processes), LossTally(self.processes)
        self.logged_at = (self.step, time.monotonic())
        batches = iter(phase.batches(self.phase_step * config.accumulate)) if self.phase_step < phase.steps else None
        interrupted = False
        while batches is not None and self.phase_step < phase.steps and not interrupted:
            self._take_step(batches)
            ended = self.phase_step == phase.steps
            if ended or self._is_due(config.log_every):
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
        for part in range(1, config.accumulate + 1):
            batch = next(batches)
            images = pixels(
                batch.images,
                self.device,
                non_blocking=True,
                memory_format=FORMATS[self.settings.layout],
            )
            last = part == config.accumulate
            for terms, count in self.gradients.add(images, batch.targets, self.images_seen, last=last):
                self.terms.add(self.step, terms, count)
        self._update()

    def _update(self) -> None:
        phase, model = self.phase, self.phase.model
        self.gradients.finish()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        self.scaler.unscale_(self.optimizer)
        if phase.optimiser.gradient_clip:
            norm = nn.utils.clip_grad_norm_(model.parameters(), phase.optimiser.gradient_clip)
        else:
            norm = nn.utils.get_total_norm(gradients)
        if self.precision != "float16":  # there an infinite gradient is how the scaler finds its scale
            self.gradient.add(self.step, {"gradient": norm}, 1)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(model)

    # ---------------------------------------------------------------------------------------- what is written down

    def _log(self) -> None:
        """Read the terms (here the host waits for a GPU), write a row, show them."""
        terms = {**self.terms.read(), **self.gradient.read()}
        step, now = self.logged_at[0], time.monotonic()
        speed = (self.step - step) * self.config.batch_size / max(1e-9, now - self.logged_at[1])
        self.logged_at = (self.step, now)
        gradient = terms.pop("gradient", None)
        row: dict[str, str | int | float] = {
            "step": self.step,
            "phase": self.phase.name,
            "images_seen": self.images_seen,
            "learning_rate": self.rate,
            "images_per_second": speed,
            "loss": sum(terms.values()),
            **{f"loss/{name}": value for name, value in terms.items()},
        }
        if gradient is not None:
            row["gradient_norm"] = gradient
        if self.results is not None:
            self.results.append(row)
        for callback in self.callbacks:
            callback.on_step(self.moment, row)
        self.progress.show(
            self.phase.name,
            {"loss": sum(terms.values()), **terms, "lr": self.rate, "images/s": speed},
        )

    def _evaluate(self) -> None:
        if self.phase.evaluate is None:
            return
        started = time.monotonic()
        model = self.phase.model if self.average is None else self.average.model
        training = model.training
        model.eval()
        with torch.no_grad():
            scores = dict(self.phase.evaluate(model))
            for callback in self.callbacks:
                callback.on_evaluation(self.moment, scores, model)
        model.train(training)
        if self.results is None:
            return  # all processes share the images, and the first one says what came of it
        self.results.append({"step": self.step, "phase": self.phase.name, **scores})
        if time.monotonic() - self.drawn_at > DRAW_EVERY_SECONDS:
            draw_curves(self.results, self.run.curves)
            self.drawn_at = time.monotonic()
        text = " ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self.progress.message(f"step {self.step} {self.phase.name}: {text} ({time.monotonic() - started:.0f} s)")
        score = scores.get(self.config.best_score)
        if score is not None and (self.best is None or score > self.best):
            self.best = score
            self._write_checkpoint(self.run.best, with_optimizer=False)
        self.logged_at = (self.logged_at[0], self.logged_at[1] + time.monotonic() - started)

    def _save(self) -> None:
        if self.saved_at == self.step:
            return
        if self.terms.pending:
            self._log()  # also refuses to overwrite a good checkpoint with a broken one
        if self.processes.is_first:
            self._write_checkpoint(self.run.last, with_optimizer=True)
        self.saved_at = self.step

    def _write_checkpoint(self, path: Path, *, with_optimizer: bool) -> None:
        save_checkpoint(path, self._content(with_optimizer=with_optimizer))
        for callback in self.callbacks:
            callback.on_checkpoint(self.moment, path)

    def _content(self, *, with_optimizer: bool) -> dict[str, Any]:
        return {
            **self.description,
            "position": {
                "step": self.step,
                "phase": self.index,
                "phase_step": self.phase_step,
                "images_seen": self.images_seen,
            },
            "phases": [[phase.name, phase.steps] for phase in self.phases],
            "batch_size": self.config.batch_size,
            "net": getattr(self.phase.model, "description", None),
            "best": self.best,
            "model": self.phase.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict() if with_optimizer else None,
            "scaler": self.scaler.state_dict() if with_optimizer else None,
        }

    def _read_checkpoint(self) -> dict[str, Any]:
        saved = load_checkpoint(self.run.last)
        position = saved["position"]
        before = [list(pair) for pair in saved["phases"]]
        now = [[phase.name, phase.steps] for phase in self.phases]
        index = int(position["phase"])
        # phases that lie behind must be as they were; the present one and those ahead may become longer
        if before[:index] != now[:index] or index >= len(now) or before[index][0] != now[index][0]:
            raise CheckpointError(f"{self.run.last}: it is at {before[index]} of phases {before}; this run has {now}")
        if int(position["phase_step"]) > self.phases[index].steps:
            raise CheckpointError(
                f"{self.run.last}: {position['phase_step']} steps of phase {now[index][0]} are done, "
                f"more than the {now[index][1]} asked for"
            )
        if saved["batch_size"] != self.config.batch_size:
            raise CheckpointError(
                f"{self.run.last}: trained with batches of {saved['batch_size']} images, "
                f"now {self.config.batch_size}; the position would not be the same"
            )
        self.index, self.phase_step = index, int(position["phase_step"])
        self.best = saved["best"]
        return saved
