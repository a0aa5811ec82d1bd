"""Loss terms, added up on the device: the host reads them every so many steps, and only then waits for a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from yolo9000.runtime.distributed import Processes


class LossTally:
    """Running sums of named terms. One that is infinite or NaN makes its mean so, unless it is left out.

    Parameters
    ----------
    processes : Processes
        Sums are over all of them when they are read.

    Examples
    --------
    >>> tally = LossTally()
    >>> tally.add({"box": torch.tensor(2.0)}, images=1)
    >>> tally.add({"box": torch.tensor(4.0)}, images=1)
    >>> tally.read()
    {'box': 3.0}
    """

    def __init__(self, processes: Processes = Processes()) -> None:
        self._processes = processes
        self._names: list[str] = []
        self._sums: Tensor | None = None  # (T,)
        self._images: Tensor | int = 0

    @torch.no_grad()
    def add(self, terms: Mapping[str, Tensor], images: int, *, left_out: Tensor | None = None) -> None:
        """Add one step's terms, each a scalar summed over `images` images; `left_out` says that it does not count.

        Waits for nothing.
        """
        names, values = list(terms), torch.stack([term.detach().float() for term in terms.values()])
        if self._sums is None:
            self._names, self._sums = names, torch.zeros_like(values)
        if names != self._names:
            raise ValueError(f"the loss had the terms {self._names} and now has {names}")
        counted: Tensor | int = images
        if left_out is not None:
            values = values.where(~left_out, 0)
            counted = images * (~left_out).float()
        self._sums += values
        self._images = self._images + counted

    def read(self) -> dict[str, float]:
        """Mean of each term per image since the last reading, and start again; empty without an image."""
        if self._sums is None:
            return {}
        images = float(self._images)
        if self._processes.world_size > 1:
            dist.all_reduce(self._sums)
            shared = torch.tensor([images])  # the shares of a batch may differ
            dist.all_reduce(shared)
            images = float(shared)
        sums = self._sums.tolist()
        self._sums, self._images = None, 0
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
