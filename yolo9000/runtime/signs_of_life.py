"""Signs of life between the processes of a run: each says where it is, and the first tells all who is silent or gone.

They are lines of JSON over connections of their own, so that they get through while torch waits. A connection that
breaks says at once that its process has ended: processes that are forked from it, such as those that load images, have
no part in it. A line begins with a number that only the processes of the run know.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import threading
import time
import weakref
from typing import Any, NamedTuple

BEAT = 0.5
"""Seconds between two signs."""
LONGEST_LINE = 1 << 20
_connections: weakref.WeakSet[socket.socket] = weakref.WeakSet()
_accepting = threading.Lock()
"""No process is forked between a connection that is made and its entry above."""


def _leave_to_parent() -> None:
    """Close the connections in a process that was forked: it may outlive its parent, and would hold them open."""
    for connection in list(_connections):
        connection.close()
    _accepting.release()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_accepting.acquire, after_in_parent=_accepting.release, after_in_child=_leave_to_parent)


class Sign(NamedTuple):
    """What a process says of itself.

    Attributes
    ----------
    step : int
        The step that it is at.
    why : str
        Why it has failed; empty while all is well.
    done : bool
        Whether it has come to its end, so that nobody misses it.
    """

    step: int = 0
    why: str = ""
    done: bool = False


class KnownProcesses:
    """What a process knows of all others.

    Parameters
    ----------
    world_size : int

    Attributes
    ----------
    signs : dict of int to Sign
        The last one of each rank.
    broken : dict of int to float
        When the connection of a rank broke, by the clock of this process.

    Examples
    --------
    >>> known = KnownProcesses(2)
    >>> known.broken[1] = time.monotonic() - 3
    >>> known.is_lost(1, patience=60, grace=2), known.is_lost(0, patience=60, grace=2)
    (True, False)
    """

    def __init__(self, world_size: int) -> None:
        self.signs = {rank: Sign() for rank in range(world_size)}
        self.broken: dict[int, float] = {}
        self.heard = dict.fromkeys(range(world_size), time.monotonic())

    def note(self, rank: int, sign: Sign, age: float = 0.0) -> None:
        """A sign has come, so many seconds ago."""
        self.signs[rank], self.heard[rank] = sign, time.monotonic() - age

    def note_broken(self, rank: int) -> None:
        """A connection has broken; that of a process which had come to its end does not count."""
        if not self.signs[rank].done:
            self.broken.setdefault(rank, time.monotonic())

    def silence(self, rank: int) -> float:
        """Seconds since the last sign."""
        return time.monotonic() - self.heard[rank]

    def is_lost(self, rank: int, patience: float, grace: float) -> bool:
        """Whether a process was silent for longer than `patience`, or its connection broke `grace` seconds ago."""
        if self.signs[rank].done:
            return False
        broken = self.broken.get(rank)
        return self.silence(rank) > patience or (broken is not None and time.monotonic() - broken > grace)


class Hub:
    """The first rank's side: it hears all, and tells each what it has heard.

    Parameters
    ----------
    known : KnownProcesses
    server : socket
        It listens.
    secret : int
        What each line must begin with.
    """

    def __init__(self, known: KnownProcesses, server: socket.socket, secret: int) -> None:
        self._known, self._secret = known, secret
        self._selector = selectors.DefaultSelector()
        self._server = server
        server.setblocking(False)
        _connections.add(server)
        self._selector.register(server, selectors.EVENT_READ)
        self._lines: dict[socket.socket, _Lines] = {}
        self._ranks: dict[socket.socket, int] = {}

    def beat(self, sign: Sign) -> None:
        """Hear for the time of a beat, then tell all."""
        self._known.note(0, sign)
        until = time.monotonic() + BEAT
        while (left := until - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                if key.fileobj is self._server:
                    self._accept()
                else:
                    self._hear(key.fileobj)
        known = self._known
        told = [
            [rank, min(known.silence(rank), 1e6), rank in known.broken, *sign]
            for rank, sign in known.signs.items()
            if rank == 0 or sign.why or sign.done or rank in known.broken or known.silence(rank) > 2 * BEAT
        ]
        line = _line([self._secret, told])
        for connection in list(self._lines):
            with contextlib.suppress(OSError):  # one that is stopped reads nothing, one that is gone breaks it
                connection.send(line)

    def _accept(self) -> None:
        with _accepting:
            connection, _ = self._server.accept()
            _connections.add(connection)
        connection.setblocking(False)
        self._lines[connection] = _Lines(connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _hear(self, connection: Any) -> None:
        lines, is_open = self._lines[connection].read()
        for line in lines:
            match line:
                case [self._secret, int(rank), int(step), str(why), bool(done)] if rank in self._known.signs:
                    self._ranks[connection] = rank
                    self._known.note(rank, Sign(step, why, done))
                case _:
                    is_open = False  # nobody of ours
        if not is_open:
            self._selector.unregister(connection)
            del self._lines[connection]
            connection.close()
            if connection in self._ranks:
                self._known.note_broken(self._ranks.pop(connection))

    def close(self) -> None:
        """Close all connections."""
        for connection in (*self._lines, self._server):
            connection.close()
        self._selector.close()


class Spoke:
    """The side of all other ranks.

    Parameters
    ----------
    known : KnownProcesses
    connection : socket
        To the first rank.
    rank : int
    secret : int
        What each line must begin with.
    """

    def __init__(self, known: KnownProcesses, connection: socket.socket, rank: int, secret: int) -> None:
        self._known, self._connection, self._rank, self._secret = known, connection, rank, secret
        self._lines = _Lines(connection)
        self._is_open = True
        _connections.add(connection)

    def beat(self, sign: Sign) -> None:
        """Say a sign, then hear for the time of a beat."""
        until = time.monotonic() + BEAT
        if self._is_open:
            self._connection.settimeout(BEAT)
            try:
                self._connection.sendall(_line([self._secret, self._rank, *sign]))
            except TimeoutError:  # the first rank reads nothing: it will be missed in time
                pass
            except OSError:
                self._break()
        while self._is_open and (left := until - time.monotonic()) > 0:
            self._connection.settimeout(left)
            lines, is_open = self._lines.read()
            for line in lines:
                self._note(line)
            if not is_open:
                self._break()
        time.sleep(max(0.0, until - time.monotonic()))

    def _note(self, line: Any) -> None:
        if not (isinstance(line, list) and len(line) == 2 and line[0] == self._secret):
            return
        told = {rank: rest for rank, *rest in line[1]}
        for rank in self._known.signs:
            age, is_broken, *sign = told.get(rank, (0.0, False, *self._known.signs[rank]))
            self._known.note(rank, Sign(*sign), age)
            if is_broken:
                self._known.note_broken(rank)

    def _break(self) -> None:
        self._is_open = False
        self._known.note_broken(0)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class _Lines:
    """Values that come line by line over a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._begun = connection, b""

    def read(self) -> tuple[list[Any], bool]:
        """What has come, and whether the connection is still open."""
        try:
            part = self._connection.recv(1 << 16)
        except (BlockingIOError, TimeoutError):
            return [], True
        except OSError:
            return [], False
        *whole, self._begun = (self._begun + part).split(b"\n")
        try:
            return [json.loads(line) for line in whole], bool(part) and len(self._begun) < LONGEST_LINE
        except ValueError:
            return [], False


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"
