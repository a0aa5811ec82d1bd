"""Ctrl-C that finishes the step: a flag that the training loop looks at, instead of an exception anywhere."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Any

EXIT_INTERRUPTED = 130  # 128 + SIGINT, what a shell expects of a program stopped by Ctrl-C


class StopRequest:
    """While active, the first SIGINT or SIGTERM sets `requested`; a second SIGINT aborts at once.

    Worker processes forked while it is active inherit the handlers: they leave Ctrl-C to their parent, which still
    wants the batch they are working on, and die of SIGTERM as usual.

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
