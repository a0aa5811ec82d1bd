"""Loss terms, added up on the device: the host reads them every so many steps, and only then waits for a GPU."""

from __future__ import annotations

from collections.abc import Mapping

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
        self._images = 0

    @property
    def pending(self) -> bool:
        """Whether anything was added since the last reading."""
        return self._sums is not None

    @torch.no_grad()
    def add(self, step: int, terms: Mapping[str, Tensor], images: int) -> None:
        """Add one step's terms, each a scalar summed over `images` images. Waits for nothing."""
        names, values = list(terms), torch.stack([term.detach().float() for term in terms.values()])
        if self._sums is None or self._first_bad is None:
            self._names = names
            self._sums = torch.zeros_like(values)
            self._first_bad = torch.zeros_like(values, dtype=torch.int64)
        if names != self._names:
            raise ValueError(f"the loss had the terms {self._names} and now has {names}")
        self._sums += values
        bad = ~torch.isfinite(values) & (self._first_bad == 0)
        self._first_bad = torch.where(bad, step, self._first_bad)
        self._images += images

    def read(self) -> dict[str, float]:
        """Mean of each term per image since the last reading, and start again.

        Raises
        ------
        NonFiniteLoss
            A term was infinite or NaN; the message names it and the step.
        """
        if self._sums is None or self._first_bad is None:
            return {}
        images = self._images
        if self._processes.world_size > 1:
            dist.all_reduce(self._sums)
            shared = torch.tensor([images])  # the shares of a batch may differ
            dist.all_reduce(shared)
            images = int(shared)
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
        return {name: value / images for name, value in zip(self._names, sums, strict=True)}
