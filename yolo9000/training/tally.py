"""Loss terms, added up on the device: the host reads them every so many steps, and only then waits for a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from yolo9000.runtime.distributed import Processes
from yolo9000.runtime.mistakes import Mistake


class NonFiniteLoss(Mistake):
    """A loss term or the gradient became infinite or NaN."""


class LossTally:
    """Running sums of named terms.

    Parameters
    ----------
    processes : Processes
        Sums are over all of them when they are read.

    Examples
    --------
    >>> tally = LossTally()
    >>> tally.add(1, {"box": torch.tensor(2.0)}, images=1)
    >>> tally.add(2, {"box": torch.tensor(4.0)}, images=1)
    >>> tally.read()
    {'box': 3.0}
    """

    def __init__(self, processes: Processes = Processes()) -> None:
        self._processes = processes
        self._names: list[str] = []
        self._sums: Tensor | None = None  # (T,)
        self._first_bad: Tensor | None = None  # (T,) step in which the term stopped being finite, 0 = none
        self._images: Tensor | int = 0

    @property
    def pending(self) -> bool:
        """Whether anything was added since the last reading."""
        return self._sums is not None

    @torch.no_grad()
    def add(self, step: int, terms: Mapping[str, Tensor], images: int, *, left_out: Tensor | None = None) -> None:
        """Add one step's terms, each a scalar summed over `images` images; `left_out` says that it does not count.

        Waits for nothing.
        """
        names, values = list(terms), torch.stack([term.detach().float() for term in terms.values()])
        if self._sums is None or self._first_bad is None:
            self._names = names
            self._sums = torch.zeros_like(values)
            self._first_bad = torch.zeros_like(values, dtype=torch.int64)
        if names != self._names:
            raise ValueError(f"the loss had the terms {self._names} and now has {names}")
        counted: Tensor | int = images
        if left_out is not None:
            values = values.where(~left_out, 0)
            counted = images * (~left_out).float()
        self._sums += values
        bad = ~torch.isfinite(values) & (self._first_bad == 0)
        self._first_bad = torch.where(bad, step, self._first_bad)
        self._images = self._images + counted

    def read(self) -> dict[str, float]:
        """Mean of each term per image since the last reading, and start again.

        Raises
        ------
        NonFiniteLoss
            A term was infinite or NaN; the message names it and the step.
        """
        if self._sums is None or self._first_bad is None:
            return {}
        images = float(self._images)
        if self._processes.world_size > 1:
            dist.all_reduce(self._sums)
            shared = torch.tensor([images])  # the shares of a batch may differ
            dist.all_reduce(shared)
            images = float(shared)
            dist.all_reduce(self._first_bad, op=dist.ReduceOp.MAX)
        sums, first_bad = self._sums.tolist(), self._first_bad.tolist()
        self._sums = self._first_bad = None
        self._images = 0
        bad = {name: step for name, step in zip(self._names, first_bad, strict=True) if step}
        if bad:
            step = min(bad.values())
            terms = ", ".join(name for name, at in bad.items() if at == step)
            raise NonFiniteLoss(
                f"step {step}: loss term {terms} is not finite; training stopped, the last good checkpoint is kept. "
                "A lower `learning_rate`, a longer `burn_in`, `gradient_clip` 10 or `precision` float32 may help"
            )
        if not images:
            return {}
        return {name: value / images for name, value in zip(self._names, sums, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """What each process added since the last reading, as a checkpoint holds it; all of them call this."""
        if self._sums is None:
            return {}
        mine = torch.cat([self._sums, torch.as_tensor(float(self._images), device=self._sums.device).reshape(1)])
        every = [mine]
        if self._processes.world_size > 1:
            every = [torch.empty_like(mine) for _ in range(self._processes.world_size)]
            dist.all_gather(every, mine)
        return {"names": self._names, "sums": torch.stack(every).cpu()}

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Take up what was added before: this process its own part, or the first one all if they are others now."""
        if not state:
            return
        every, rank = state["sums"], self._processes.rank
        if len(every) != self._processes.world_size:
            every = torch.cat(
                [every.sum(0, keepdim=True), every.new_zeros(self._processes.world_size - 1, every.shape[1])]
            )
        self._names = list(state["names"])
        self._sums, self._images = every[rank, :-1].to(device), every[rank, -1].to(device)
        self._first_bad = torch.zeros_like(self._sums, dtype=torch.int64)
