"""Ctrl-C that finishes the step: a flag that the training loop looks at, instead of an exception anywhere."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

EXIT_INTERRUPTED = 130  # 128 + SIGINT, what a shell expects of a program stopped by Ctrl-C


class StopRequest:
    """While active, the first SIGINT or SIGTERM sets `requested`; a second SIGINT aborts at once.

    Processes forked while it is active inherit the handlers: they leave Ctrl-C to their parent, and die of SIGTERM as
    usual. Those that load images, which the parent still wants when it has been asked to stop, leave it to the parent,
    too: see `yolo9000.datasets.loader`.

    Examples
    --------
    >>> import os, signal
    >>> with StopRequest(quiet=True) as stop:
    ...     os.kill(os.getpid(), signal.SIGINT)
    ...     stop.requested
    True
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.requested = False
        self._quiet = quiet
        self._owner = os.getpid()
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, self._handle)
            except ValueError:  # not the main thread: whoever owns it decides
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        if not self._quiet:
            print("\nstopping after this step and saving; Ctrl-C again aborts at once", file=sys.stderr, flush=True)


@contextlib.contextmanager
def terminating_interrupts() -> Iterator[None]:
    """Have SIGTERM raise KeyboardInterrupt, as Ctrl-C does, where nobody watches for it yet: what is open is closed.

    Examples
    --------
    >>> with terminating_interrupts():
    ...     try:
    ...         os.kill(os.getpid(), signal.SIGTERM)
    ...     except KeyboardInterrupt:
    ...         print("stopped")
    stopped
    """
    owner = os.getpid()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a worker that was forked meanwhile
            os._exit(128 + number)
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
