"""Several processes under ``torchrun``: who they are, and what they say to each other.

Each process computes the loss of its share of the batch, divided by the *whole* batch's size, so the sum of the
processes' gradients is the gradient of the whole batch. Which images are whose is decided by the sampler, and how
gradients are summed by `yolo9000.training.gradients`.
"""

from __future__ import annotations

import datetime
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from yolo9000.runtime.mistakes import Mistake

Work = TypeVar("Work")
Found = TypeVar("Found")

PATIENCE = 600.0
"""Seconds that a process waits for another one, unless it is told how many."""
BEHIND_THE_WATCH = 60.0
"""So many seconds longer waits torch itself: whoever watches the processes says more about a silent one than it."""


@dataclass(frozen=True)
class Processes:
    """This process among its peers.

    Parameters
    ----------
    rank, world_size : int
        Which process, of how many.
    sent : Counter
        Bytes that this process has handed to collectives, by what they were for.
    state : dict of str to int
        What this process is at, such as its "step", for those that watch it.
    unhurried : ProcessGroup, optional
        The same processes, as a group in which torch waits for as long as it takes.
    """

    rank: int = 0
    world_size: int = 1
    sent: Counter[str] = field(default_factory=Counter, compare=False)
    state: dict[str, int] = field(default_factory=dict, compare=False)
    unhurried: Any = field(default=None, compare=False)

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def count(self, purpose: str, tensor: Tensor) -> None:
        """Note that a tensor is handed to a collective."""
        self.sent[purpose] += tensor.numel() * tensor.element_size()


def world_of_environment() -> tuple[int, int]:
    """Rank and number of processes, as torchrun says before they know each other.

    Examples
    --------
    >>> world_of_environment()
    (0, 1)
    """
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def was_restarted() -> bool:
    """Whether torchrun or Slurm began this job again after it had failed."""
    return any(int(os.environ.get(name) or 0) for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"))


def local_device_name() -> str | None:
    """``"cuda:<LOCAL_RANK>"`` under torchrun on a machine with GPUs, else None (no choice made)."""
    if "LOCAL_RANK" in os.environ and torch.cuda.is_available():
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return None


def start_processes(device: torch.device, patience: float = PATIENCE) -> Processes:
    """Join the group that torchrun described in the environment; alone, do nothing.

    NCCL carries GPU tensors, gloo carries CPU tensors and the stop flag.

    Parameters
    ----------
    device : torch.device
    patience : float
        Seconds after which a process that does not answer is given up.
    """
    if world_of_environment()[1] == 1:
        return Processes()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store, rank, world_size = next(_rendezvous("env://"))
    dist.init_process_group(
        "cuda:nccl,cpu:gloo" if device.type == "cuda" else "gloo",
        store=_of_this_attempt(store, rank, world_size, patience),
        rank=rank,
        world_size=world_size,
        timeout=datetime.timedelta(seconds=patience + BEHIND_THE_WATCH),
    )
    unhurried = dist.new_group(backend="gloo", timeout=datetime.timedelta(days=100))
    return Processes(dist.get_rank(), dist.get_world_size(), unhurried=unhurried)


def _of_this_attempt(store: Any, rank: int, world_size: int, patience: float) -> Any:
    """A part of the store that no earlier attempt of the job has written to.

    When torchrun begins a job again, it gives it the store of before, with the addresses of processes that are dead,
    and it counts attempts on each machine by itself. So each process says a word that it has just made up, the first
    one answers each such word with one of its own, and who finds his word in the answer knows that it is of now.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return store
    word, until = secrets.token_hex(8), time.monotonic() + patience
    store.set(f"word/{rank}", word)
    waiting, attempt = set(range(world_size)) if rank == 0 else {rank}, word if rank == 0 else ""
    while waiting and time.monotonic() < until:
        for other in sorted(waiting):
            if rank == 0 and store.check([f"word/{other}"]):
                store.set(f"answer/{other}", f"{word} {store.get(f'word/{other}').decode()}")
            if rank == other and store.check([f"answer/{other}"]):
                told, _, heard = store.get(f"answer/{other}").decode().partition(" ")
                if heard == word:
                    attempt = told
                    store.set(f"heard/{other}", attempt)
            if attempt and store.check([f"heard/{other}"]) and store.get(f"heard/{other}").decode() == attempt:
                waiting.discard(other)
        time.sleep(0.02)
    if waiting:
        raise Mistake(
            f"rank {min(waiting)} of {world_size} processes has not come after {patience:.0f} s (`rank_timeout`)"
        )
    return _PrefixStore(attempt, store)


# torch documents both and exports neither
_PrefixStore: Any = dist.PrefixStore  # type: ignore[attr-defined]
_rendezvous: Any = dist.rendezvous  # type: ignore[attr-defined]


def stop_processes(processes: Processes) -> None:
    """Leave the group."""
    if processes.world_size > 1:
        dist.destroy_process_group()


def wait_for_all(processes: Processes) -> None:
    """Wait until all have come here, for as long as they live: one that gives no sign of life is for the watch."""
    if processes.world_size > 1:
        dist.barrier(processes.unhurried)


def sum_tensors(tensors: Sequence[Tensor], processes: Processes, purpose: str = "gradients") -> None:
    """Replace each tensor by its sum over the processes, in one call over one flat buffer."""
    if processes.world_size == 1 or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1).float() for tensor in tensors])
    processes.count(purpose, flat)
    dist.all_reduce(flat)
    offset = 0
    for tensor in tensors:
        tensor.copy_(flat[offset : offset + tensor.numel()].view_as(tensor))
        offset += tensor.numel()


def average_buffers(buffers: Iterable[Tensor], processes: Processes) -> None:
    """Average floating-point buffers (batch-norm statistics) over the processes: all see one network afterwards."""
    floating = [buffer for buffer in buffers if buffer.is_floating_point()]
    if processes.world_size == 1 or not floating:
        return
    with torch.no_grad():
        sum_tensors(floating, processes, "batch norm")
        for buffer in floating:
            buffer.div_(processes.world_size)


def gather_tensors(tensor: Tensor, processes: Processes, purpose: str) -> list[Tensor]:
    """The tensors of all processes, in the order of their ranks; all have one shape."""
    if processes.world_size == 1:
        return [tensor]
    processes.count(purpose, tensor)
    gathered = [torch.empty_like(tensor) for _ in range(processes.world_size)]
    dist.all_gather(gathered, tensor.contiguous())
    return gathered


def gather_objects(mine: Found, processes: Processes) -> list[Found]:
    """What each process has, in the order of their ranks; it travels by pickle inside this job."""
    if processes.world_size == 1:
        return [mine]
    every: list[Any] = [None] * processes.world_size
    dist.all_gather_object(every, mine)
    return every


def any_process(flag: bool, processes: Processes) -> bool:
    """Whether any process raised the flag. Host to host: it never makes a GPU wait."""
    if processes.world_size == 1:
        return flag
    value = torch.tensor([int(flag)])
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value.item())


def broadcast_model(tensors: Iterable[Tensor], processes: Processes) -> None:
    """Give every process rank 0's weights and buffers, so that all start from the same network."""
    if processes.world_size > 1:
        with torch.no_grad():
            for tensor in tensors:
                dist.broadcast(tensor, src=0)


def dealt(
    each: Callable[[Work], Found],
    own: Iterable[Work],
    processes: Processes,
    *,
    only_first: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Found]:
    """Do work that is dealt out to the processes like cards; all of them get all that was found.

    Parameters
    ----------
    each : callable
        What is done with a piece of work. What it finds travels by pickle to the other processes of this job.
    own : iterable
        The work of this process: of all pieces those with the number rank, rank + world size, and so on. Where it
        leaves some out, its later ones come earlier.
    processes : Processes
    only_first : bool
        Only the first process gets what was found; the others get nothing.
    stop : callable
        Whether this process wants no more: all then end after the round that has begun, which each of them takes to its
        end. Alone, a process just leaves off.

    Yields
    ------
    what was found
        In the order of the pieces, as if one process had done them all.

    Examples
    --------
    >>> list(dealt(lambda number: number * 10, [1, 2, 3], Processes()))
    [10, 20, 30]
    """
    if processes.world_size == 1:
        yield from map(each, own)
        return
    left = iter(own)
    while True:
        mine = [each(piece) for piece in [next(left, _NOTHING)] if piece is not _NOTHING]
        round_of_all: list[Any] = [None] * processes.world_size
        if only_first:
            dist.gather_object(mine, round_of_all if processes.is_first else None)
        else:
            dist.all_gather_object(round_of_all, mine)
        for found in round_of_all:
            yield from cast("list[Found]", found or [])
        if any_process(stop(), processes) or not any_process(bool(mine), processes):
            return


_NOTHING: Any = object()
