"""Watching the other processes of a run: which one was lost, at which step, and why.

A rank that is killed breaks its connections, and whoever waits for it learns so at once, but not who it was. One that
is stopped, or whose machine has died, says nothing at all: torch waits for half an hour. So each process has a thread
that says twice a second that it lives. The first rank keeps these beats in a store and tells the others who is silent.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from yolo9000.runtime.distributed import PATIENCE, Processes, start_processes, stop_processes
from yolo9000.runtime.mistakes import Mistake

BEAT = 0.5
"""Seconds between two signs of life."""
SILENT = 4 * BEAT
"""After so many seconds without one a process is looked at as lost, if there is another reason to think so."""
LINGER = 1.5
"""So many seconds longer lives a process that has failed, for the others to learn why."""
EXIT_LOST = 1
_TCPStore: Any = dist.TCPStore  # type: ignore[attr-defined]  # which torch documents and does not export


class LostProcess(Mistake):
    """Another process of the run has ended, or does not answer."""


class _Sign(NamedTuple):
    """What is known of a process: its last step, and why it failed."""

    beat: int = 0
    step: int = 0
    why: str = ""


@contextlib.contextmanager
def together(device: torch.device, patience: float = PATIENCE) -> Iterator[Processes]:
    """Work as one of the processes that torchrun started, which watch each other; alone it is nothing.

    Parameters
    ----------
    device : torch.device
    patience : float
        See `watched`.

    Examples
    --------
    >>> with together(torch.device("cpu")) as processes:
    ...     processes.world_size
    1
    """
    processes = start_processes(device, patience)
    try:
        with watched(processes, patience):
            yield processes
    finally:
        stop_processes(processes)


@contextlib.contextmanager
def watched(processes: Processes, patience: float) -> Iterator[None]:
    """Watch the other processes, and say of one that is lost which it was.

    Parameters
    ----------
    processes : Processes
        ``state["step"]`` is the step that this process is at.
    patience : float
        Seconds after which a process that gives no sign of life ends all others.

    Raises
    ------
    LostProcess
        In place of an error of the communication with a process that was lost.
    """
    if processes.world_size == 1:
        yield
        return
    watch = _Watch(processes, patience)
    try:
        yield
        dist.barrier()  # all are done, and none is missed from here on
    except Exception as error:
        told = watch.explain(error)
        if told is None:
            raise
        raise told from error
    finally:
        watch.stop()


class _Watch:
    def __init__(self, processes: Processes, patience: float) -> None:
        self.processes, self.patience = processes, patience
        self.why = ""
        self.signs: dict[int, _Sign] = {}
        self.heard: dict[int, float] = {}  # when a process last gave a sign, by our clock
        self.ended = threading.Event()
        self.terminated = False
        self.store = self._open()
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)
        self._before = self._listen(self._wake.fileno())
        for task in (self._beat, self._look):
            threading.Thread(target=task, daemon=True).start()

    def _open(self) -> Any:
        """The first rank's store; all have given a sign of life when it returns."""
        rank, first = self.processes.rank, self.processes.is_first
        host, wait = os.environ.get("MASTER_ADDR", "127.0.0.1"), datetime.timedelta(seconds=self.patience)
        store = _TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=wait) if first else None
        port = torch.tensor([store.port if store is not None else 0])
        dist.broadcast(port, src=0)
        if store is None:
            store = _TCPStore(host, int(port), is_master=False, wait_for_workers=False, timeout=wait)
        store.set(f"{rank}", json.dumps(_Sign()))
        store.set("all", "{}")
        dist.barrier()
        now = time.monotonic()
        self.heard = dict.fromkeys(range(self.processes.world_size), now)
        return store

    def _listen(self, handle: int) -> int | None:
        """Have signals written to a socket: while a process waits inside of torch no Python of it is run."""
        with contextlib.suppress(ValueError):  # not the main thread: whoever owns it decides
            return signal.set_wakeup_fd(handle, warn_on_full_buffer=False)
        return None

    # ------------------------------------------------------------------------------------------ what the threads do

    def _beat(self) -> None:
        beat = 0
        while not self.ended.is_set():
            beat += 1
            sign = _Sign(beat, self.processes.state.get("step", 0), self.why)
            try:
                self.store.set(f"{self.processes.rank}", json.dumps(sign))
                self._hear()
            except RuntimeError:  # the store is gone, and the first rank with it
                time.sleep(BEAT)
                continue
            self.ended.wait(BEAT)

    def _hear(self) -> None:
        """The first rank reads all signs and writes down who is silent or failed; the others read that."""
        now = time.monotonic()
        if self.processes.is_first:
            for rank, text in enumerate(self.store.multi_get([f"{n}" for n in range(self.processes.world_size)])):
                self._note(rank, _Sign(*json.loads(text)), now)
            known = {
                r: [now - self.heard[r], *s] for r, s in self.signs.items() if s.why or now - self.heard[r] > SILENT
            }
            self.store.set("all", json.dumps(known))
            return
        first, known = (json.loads(text) for text in self.store.multi_get(["0", "all"]))
        told = {int(rank): (age, _Sign(*sign)) for rank, (age, *sign) in known.items()}
        for rank in range(1, self.processes.world_size):
            age, sign = told.get(rank, (0.0, self.signs.get(rank, _Sign())))
            self.signs[rank], self.heard[rank] = sign, now - age
        self._note(0, _Sign(*first), now)

    def _note(self, rank: int, sign: _Sign, now: float) -> None:
        if sign.beat != self.signs.get(rank, _Sign(-1)).beat:
            self.heard[rank] = now
        self.signs[rank] = sign

    def _look(self) -> None:
        while not self.ended.wait(BEAT / 2):
            with contextlib.suppress(BlockingIOError):
                self.terminated |= signal.SIGTERM in self._woken.recv(4096)
            # torchrun ends the others when one has died; they may wait for it where no Python hears of that
            lost = self._silent(SILENT if self.terminated else self.patience)
            if lost:
                if self.processes.rank == min(set(range(self.processes.world_size)) - set(lost)):
                    print(f"error: {self._told_of_silent(lost)}", file=sys.stderr, flush=True)
                os._exit(EXIT_LOST)

    # ------------------------------------------------------------------------------------------------- what is said

    def _silent(self, seconds: float) -> list[int]:
        now = time.monotonic()
        heard = dict(self.heard)
        if not self.processes.is_first and now - heard[0] > seconds:
            return [0]  # it is the one that tells of the others
        return [rank for rank, at in heard.items() if rank != self.processes.rank and now - at > seconds]

    def _told_of_silent(self, lost: list[int]) -> str:
        signs = [self.signs.get(rank, _Sign()) for rank in lost]
        which = ", ".join(f"rank {rank} at step {sign.step}" for rank, sign in zip(lost, signs, strict=True))
        seconds = max(time.monotonic() - self.heard[rank] for rank in lost)
        return (
            f"{which} of {self.processes.world_size} processes: no sign of life for {seconds:.0f} s. It was killed or "
            "stopped, or its machine is gone; the run goes on from its last checkpoint with `resume`"
        )

    def explain(self, error: Exception) -> LostProcess | None:
        """What another process's end has to do with an error of this one; None if the error is our own."""
        ours = not _is_of_communication(error)
        if ours:
            self.why = f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"[:500]
            time.sleep(LINGER)
            return None
        until = time.monotonic() + SILENT + LINGER
        while time.monotonic() < until:
            failed = [(rank, sign) for rank, sign in self.signs.items() if sign.why and rank != self.processes.rank]
            if failed:
                rank, sign = failed[0]
                return LostProcess(
                    f"rank {rank} of {self.processes.world_size} processes failed at step {sign.step}: {sign.why}"
                )
            if lost := self._silent(SILENT):
                return LostProcess(self._told_of_silent(lost))
            time.sleep(BEAT / 4)
        return None

    def stop(self) -> None:
        if self.why:
            time.sleep(BEAT)
        self.ended.set()
        if self._before is not None:
            signal.set_wakeup_fd(self._before)


def _is_of_communication(error: Exception) -> bool:
    """Whether it is what torch says when a peer does not answer; of gloo's it has no class of its own."""
    text = str(error).lower()
    words = ("gloo", "nccl", "connection closed", "connection reset", "timed out waiting", "socket")
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(word in text for word in words)
    )
