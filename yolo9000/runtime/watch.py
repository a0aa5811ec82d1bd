"""Watching the other processes of a run: which one was lost, at which step, and why.

A rank that is killed breaks its connections, and whoever waits for it learns so at once, but not who it was. One that
is stopped, or whose machine has died, says nothing at all: torch waits for half an hour. So each process has a thread
that says twice a second that it lives, see `yolo9000.runtime.signs_of_life`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist

from yolo9000.runtime.distributed import PATIENCE, Processes, start_processes, stop_processes
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.signs_of_life import BEAT, Hub, KnownProcesses, Sign, Spoke

SILENT = 4 * BEAT
"""After so many seconds without one a process is looked at as lost, if there is another reason to think so."""
LINGER = 1.5
"""So many seconds longer lives a process that has failed, for the others to learn why."""
EXIT_LOST = 1
SECOND_HAND = "another process"
"""Why a process ends whose own work was well."""


class LostProcess(Mistake):
    """Another process of the run has ended, or does not answer."""


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
    except KeyboardInterrupt:
        watch.give_up("interrupted")
        raise
    except Exception as error:
        with _deaf_to_sigterm():
            told = watch.explain(error)
            _end_soon()
        if told is None:
            raise
        raise told from error
    finally:
        watch.stop()


class _Watch:
    def __init__(self, processes: Processes, patience: float) -> None:
        self.processes, self.patience = processes, patience
        self.known = KnownProcesses(processes.world_size)
        self.terminated = False
        self.why = ""  # this process has failed
        self.ended = threading.Event()
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)
        self._before = self._listen(self._wake.fileno())
        server = socket.create_server(("", 0)) if processes.is_first else None
        secret = secrets.randbits(62) if server is not None else 0
        said = torch.tensor([0 if server is None else server.getsockname()[1], secret])
        dist.broadcast(said, src=0)
        port, secret = said.tolist()
        if server is not None:
            self._talk: Hub | Spoke = Hub(self.known, server, secret)
        else:
            host = os.environ.get("MASTER_ADDR", "127.0.0.1")
            self._talk = Spoke(self.known, socket.create_connection((host, port), patience), processes.rank, secret)
        dist.barrier()
        self._tasks = [threading.Thread(target=task, daemon=True) for task in (self._beat, self._look)]
        for task in self._tasks:
            task.start()

    def _listen(self, handle: int) -> int | None:
        """Have signals written to a socket: while a process waits inside of torch no Python of it is run."""
        with contextlib.suppress(ValueError):  # not the main thread: whoever owns it decides
            return signal.set_wakeup_fd(handle, warn_on_full_buffer=False)
        return None

    def _beat(self) -> None:
        while not self.ended.is_set():
            self._talk.beat(self._sign())
        self._talk.beat(self._sign())
        self._talk.close()

    def _sign(self) -> Sign:
        return Sign(self.processes.state.get("step", 0), self.why, done=self.ended.is_set() and not self.why)

    def _look(self) -> None:
        while not self.ended.wait(BEAT / 2):
            with contextlib.suppress(BlockingIOError):
                self.terminated |= signal.SIGTERM in self._woken.recv(4096)
            # torchrun ends the others when one has died; they may wait for it where no Python hears of that
            lost = self._lost(SILENT if self.terminated else self.patience)
            if lost and not self.why:
                try:
                    if self.processes.rank == min(set(range(self.processes.world_size)) - set(lost)):
                        print(f"error: {self._told(lost)}", file=sys.stderr, flush=True)
                finally:  # nobody may read it any more
                    os._exit(EXIT_LOST)

    def _lost(self, patience: float, grace: float = SILENT) -> list[int]:
        """The other processes that were silent for so long, or whose connection broke so long ago."""
        return [
            rank
            for rank in range(self.processes.world_size)
            if rank != self.processes.rank and self.known.is_lost(rank, patience, grace)
        ]

    def _told(self, lost: list[int]) -> str:
        """What is said of processes that were lost."""
        if failed := self._failed(lost):
            return failed
        which = ", ".join(f"rank {rank}, last seen at step {self.known.signs[rank].step}" for rank in lost)
        if all(rank in self.known.broken for rank in lost):
            how = "its connection broke. It was killed, or its machine is gone"
        else:
            silent = max(self.known.silence(rank) for rank in lost)
            how = f"no sign of life for {silent:.0f} s. It was stopped, or its machine is gone"
        return f"{which}, of {self.processes.world_size} processes: {how}; `resume` goes on from the last checkpoint"

    def _failed(self, which: Iterable[int]) -> str:
        """What one of these processes has said of its own failure; empty if none has."""
        for rank in which:
            if (sign := self.known.signs[rank]).why not in ("", SECOND_HAND):
                return f"rank {rank} of {self.processes.world_size} processes failed at step {sign.step}: {sign.why}"
        return ""

    def explain(self, error: Exception) -> LostProcess | None:
        """What another process's end has to do with an error of this one; None if the error is our own."""
        if not _is_of_communication(error):
            self.give_up(f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"[:500])
            return None
        until = time.monotonic() + SILENT + LINGER
        self.why = SECOND_HAND
        while time.monotonic() < until:
            if failed := self._failed(rank for rank in self.known.signs if rank != self.processes.rank):
                return LostProcess(failed)
            if lost := self._lost(SILENT, 0.0):
                return LostProcess(self._told(lost))
            time.sleep(BEAT / 4)
        return None

    def give_up(self, why: str) -> None:
        """Tell the others why this process ends before its work is done."""
        self.why = why
        time.sleep(LINGER)

    def stop(self) -> None:
        """Say goodbye, and no longer listen."""
        self.ended.set()
        for task in self._tasks:  # one that lives longest would let go of torch's groups last: SIGABRT
            task.join(4 * BEAT)
        if self._before is not None:
            signal.set_wakeup_fd(self._before)


@contextlib.contextmanager
def _deaf_to_sigterm() -> Iterator[None]:
    """Do not end of SIGTERM meanwhile; under torchrun until the end, which `_end_soon` sees to.

    torchrun sends it to all others a tenth of a second after one has died, and they would not have said yet who it was.
    """
    try:
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except ValueError:  # not the main thread
        before = None
    yield
    if before is not None and not _is_under_torchrun():
        signal.signal(signal.SIGTERM, before)


def _is_under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def _end_soon() -> None:
    """Under torchrun, end this process if its own end takes long: nothing of it is wanted any more, and others wait."""
    if _is_under_torchrun() and hasattr(signal, "setitimer"):
        with contextlib.suppress(ValueError):  # not the main thread
            signal.setitimer(signal.ITIMER_REAL, LINGER + 2 * BEAT)  # without a handler, it needs no Python


def _is_of_communication(error: Exception) -> bool:
    """Whether it is what torch says when a peer does not answer; of gloo's it has no class of its own."""
    text = str(error).lower()
    words = ("gloo", "nccl", "connection closed", "connection reset", "timed out waiting", "socket")
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(word in text for word in words)
    )
