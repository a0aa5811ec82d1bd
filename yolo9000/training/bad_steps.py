"""Steps whose loss or gradient is not finite: they are left out, named, and saved to be computed again.

Whether a step counts is decided where it is computed: the optimiser skips it and the statistics of the batch norms go
back, without the host waiting for a GPU. The host reads the verdict while the next step is computed, before that one
moves the weights. So what is saved has the very weights that the step was computed with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from yolo9000.datasets.sample import Target
from yolo9000.runtime.checkpoint import save_checkpoint
from yolo9000.runtime.distributed import Processes
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.run_folder import RunFolder
from yolo9000.training.culprits import describe, find_culprits
from yolo9000.training.phases import ImageBatch, Phase

MOST_FILES = 5
"""Steps of which a run keeps a file; each holds the weights."""


class NonFiniteLoss(Mistake):
    """A loss term or the gradient became infinite or NaN."""


@dataclass
class _Verdict:
    """What the host has not read yet about a step."""

    step: int
    images_seen: int
    names: list[str]
    flags: Tensor  # 0 or 1: each term over all processes, the gradient, then each term of each part of this process
    parts: list[ImageBatch]
    arrived: torch.cuda.Event | None


class BadSteps:
    """Watches the steps of one phase.

    Parameters
    ----------
    phase : Phase
    run : RunFolder
        Where the files of bad steps go.
    processes : Processes
        All decide alike: a step is left out if it is bad on any of them.
    most : int
        Bad steps in a row that stop the run.
    about : callable
        -> plain values that a file of a bad step has besides, see `yolo9000.replay`.
    images : callable
        A batch -> its images as the net takes them.
    net : callable
        These images -> what the loss reads.
    whole : callable
        -> a context in which one process alone can ask the model; all processes enter it together.
    tell : callable
        It shows a line.
    in_a_row : int
        Bad steps right before the first one, of a run that is resumed.
    """

    def __init__(
        self,
        phase: Phase,
        run: RunFolder,
        processes: Processes,
        *,
        most: int,
        about: Callable[[], Mapping[str, Any]],
        images: Callable[[ImageBatch], Tensor],
        net: Callable[[Tensor], Any],
        whole: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        tell: Callable[[str], None],
        in_a_row: int = 0,
    ) -> None:
        self.phase, self.run, self.processes, self.most = phase, run, processes, most
        self.about, self.images, self.net, self.tell = about, images, net, tell
        self.whole, self.in_a_row = whole, in_a_row
        self.since_logged = 0
        self._moving = list(_norm_statistics(phase.model))
        self._before = [statistic.clone() for statistic in self._moving]
        self._parts: list[tuple[ImageBatch, dict[str, Tensor]]] = []
        self._flags: list[Tensor] = []
        self._pending: _Verdict | None = None

    @torch.no_grad()
    def begin(self) -> None:
        """Before a step: remember what its forward pass moves."""
        for kept, statistic in zip(self._before, self._moving, strict=True):
            kept.copy_(statistic)
        self._parts = []

    def add(self, batch: ImageBatch, terms: Mapping[str, Tensor]) -> None:
        """Note a part of a step, and its terms."""
        self._parts.append((batch, {name: term.detach() for name, term in terms.items()}))

    @torch.no_grad()
    def judge_terms(self) -> Tensor:
        """Whether a term of the step is not finite on any process, on the device: a scalar. First settles the last."""
        self.settle()
        mine = torch.stack([~torch.isfinite(torch.stack(list(terms.values()))) for _, terms in self._parts]).float()
        every = mine.amax(0)
        if self.processes.world_size > 1:
            dist.all_reduce(every, op=dist.ReduceOp.MAX)
        self._flags = [every, mine]
        return every.amax() > 0

    @torch.no_grad()
    def judge(self, step: int, images_seen: int, norm: Tensor | None) -> Tensor:
        """Decide whether a step counts, on the device.

        Parameters
        ----------
        step, images_seen : int
        norm : Tensor, optional
            Norm of the gradient of all processes; None leaves infinite gradients to a loss scaler.

        Returns
        -------
        Tensor
            A scalar, true if the step is left out.
        """
        every, mine = self._flags
        of_gradient = every.new_zeros(1) if norm is None else (~torch.isfinite(norm)).float().reshape(1)
        flags = torch.cat([every, of_gradient, mine.flatten()])
        here, arrived = flags, None
        if flags.device.type == "cuda":
            here = torch.empty(flags.shape, dtype=flags.dtype, pin_memory=True)
            here.copy_(flags, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        names = list(self._parts[0][1])
        self._pending = _Verdict(step, images_seen, names, here, [batch for batch, _ in self._parts], arrived)
        self._parts = []
        return flags[: len(names) + 1].amax() > 0

    @torch.no_grad()
    def undo(self, left_out: Tensor) -> None:
        """Put the statistics of batch norms back if the step is left out. Waits for nothing."""
        for kept, statistic in zip(self._before, self._moving, strict=True):
            torch.where(left_out, kept, statistic, out=statistic)

    def settle(self) -> None:
        """Read the verdict on the last step; a bad one is named and saved.

        Raises
        ------
        NonFiniteLoss
            It was one too many in a row.
        """
        if self._pending is None:
            return
        verdict, self._pending = self._pending, None
        if verdict.arrived is not None:
            verdict.arrived.synchronize()
        number = len(verdict.names)
        every, mine = verdict.flags[:number].tolist(), verdict.flags[number + 1 :].view(-1, number).tolist()
        bad = [name for name, flag in zip(verdict.names, every, strict=True) if flag]
        if not bad and not verdict.flags[number]:
            self.in_a_row = 0
            return
        self.in_a_row += 1
        self.since_logged += 1
        what = f"loss term {', '.join(bad)}" if bad else "the gradient"
        chosen = [batch for batch, flags in zip(verdict.parts, mine, strict=True) if any(flags)]
        if not chosen and (not bad or self.processes.world_size == 1):
            chosen = verdict.parts
        chosen = list({id(batch): batch for batch in chosen}.values())  # one batch may have several shards
        where = ""
        with self.whole():  # every process has the same verdict
            if chosen and (bad or self.processes.is_first):
                where = self._name_and_save(verdict, chosen, bad)
        said = f"step {verdict.step} {self.phase.name}: {what} is not finite{where}"
        if self.in_a_row < self.most:
            if where or self.processes.is_first:
                self.tell(f"{said}; the step is left out")
            return
        raise NonFiniteLoss(
            f"{said}; training stopped after {self.in_a_row} such steps in a row, which were left out. What "
            "was saved before is whole. A lower `learning_rate`, a longer `burn_in`, `gradient_clip` 10 or `precision` "
            "float32 may help"
        )

    def _name_and_save(self, verdict: _Verdict, parts: list[ImageBatch], bad: list[str]) -> str:
        """Name the images and boxes behind a bad step, and keep what it was computed from."""
        model = self.phase.model
        moved = [statistic.clone() for statistic in self._moving]
        said = []
        # one process alone looks: in training mode batch norms may wait for the others
        model.train(self.processes.world_size == 1)
        for part in parts:
            targets, keys = list(part.targets), _keys(part)
            for statistic, kept in zip(self._moving, self._before, strict=True):
                statistic.copy_(kept)
            culprits = find_culprits(self.net, self.phase.loss, self.images(part), targets, verdict.images_seen)
            said.append(describe(culprits, targets, keys))
        model.train()
        for statistic, kept in zip(self._moving, self._before, strict=True):
            statistic.copy_(kept)
        file = self.run.bad_step(verdict.step, self.processes.rank)
        text = f", by {'; '.join(said)}"
        if len(list(self.run.path.glob("bad-step-*.pt"))) < MOST_FILES:
            replay = {
                "step": verdict.step,
                "images_seen": verdict.images_seen,
                "terms": bad or ["gradient"],
                "parts": [
                    {"images": part.images, "targets": [_plain(target) for target in part.targets], "keys": _keys(part)}
                    for part in parts
                ],
            }
            try:
                save_checkpoint(file, {**self.about(), "model": model.state_dict(), "average": None, "replay": replay})
                text += f". `python -m yolo9000.replay {file}` computes it again"
            except OSError as error:
                text += f" (not saved: {error})"
        for statistic, now in zip(self._moving, moved, strict=True):
            statistic.copy_(now)
        return text


def _norm_statistics(model: nn.Module) -> Iterable[Tensor]:
    for module in model.modules():
        if hasattr(module, "running_mean"):
            yield from (buffer for buffer in module.buffers(recurse=False))


def _keys(batch: ImageBatch) -> list[str]:
    return list(getattr(batch, "keys", [f"image {number}" for number in range(len(batch.targets))]))


def _plain(target: Any) -> Any:
    if isinstance(target, Target):
        return {each.name: getattr(target, each.name) for each in fields(target)}
    return target
