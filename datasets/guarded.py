"""Foreign files read in a process of their own: one that crashes or hangs its decoder costs itself and nothing else."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.errors import DatasetError, Unreadable
from yolo9000.datasets.lean_child import LENGTHS

SECONDS, MEGABYTES, STARTING = 30.0, 3072, 120.0
"""How long a request may take, the address space that the process may have, and how long it may take to start."""
_MOST_SAID, _MOST_BODY = 1 << 20, 1 << 31
_PART = 1 << 20
_PROGRAM = ("-m", "yolo9000.datasets.lean_child")


class LeanChild:
    """A process that reads files for this one, and that is replaced when it dies or takes too long.

    It is started when it is first asked. It serves one thread at a time; a process that was forked from this one starts
    its own.

    Parameters
    ----------
    seconds : float
        How long it may take for a request.
    megabytes : int
        The address space that it may have.
    program : sequence of str
        What Python runs, before the number of megabytes.

    Attributes
    ----------
    deaths : int
        How often it had to be replaced.

    Examples
    --------
    >>> with LeanChild() as child:
    ...     child.decode(b"no image", "a.png")
    Traceback (most recent call last):
    yolo9000.datasets.errors.Unreadable: a.png: no image of a kind that is read (JPEG, PNG, WebP, ...
    """

    def __init__(self, seconds: float = SECONDS, megabytes: int = MEGABYTES, program: Sequence[str] = _PROGRAM) -> None:
        self.seconds, self.megabytes, self._program = seconds, megabytes, tuple(program)
        self.deaths = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def __enter__(self) -> LeanChild:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "megabytes": self.megabytes, "program": self._program}

    def __setstate__(self, state: dict[str, Any]) -> None:
        LeanChild.__init__(self, **state)

    def ask(self, do: str, key: str, body: bytes = b"", **said: Any) -> tuple[dict[str, Any], bytearray]:
        """Have it do something.

        Parameters
        ----------
        do : str
            A method of `yolo9000.datasets.lean_child.Reader`.
        key : str
            What errors call the file.
        body : bytes
            The content of the file, where it is not read over there.
        **said : JSON values
            What else the method needs.

        Returns
        -------
        tuple of (dict, bytearray)
            Its answer.

        Raises
        ------
        Unreadable
            The file cannot be read, or it killed its decoder, or took too long.
        DatasetError
            The file is not what it should be.
        """
        with self._lock:
            request = json.dumps({"do": do, "key": key, "seconds": self.seconds, **said}).encode()
            try:
                answer, content = self._exchange(LENGTHS.pack(len(request), len(body)) + request, body)
            except _Died as error:
                self.deaths += 1
                raise Unreadable(key, str(error)) from None
            except BaseException:
                self._end()  # an answer that nobody waits for any more would be taken for that of the next request
                raise
        if "unreadable" in answer:
            raise Unreadable(key, str(answer["unreadable"]))
        if "wrong" in answer:
            raise DatasetError(str(answer["wrong"]))
        return answer, content

    def decode(self, data: bytes, key: str, *, draft: int | None = None, upright: bool = True) -> NDArray[np.uint8]:
        """Decode an image over there, with the pixels and errors of `yolo9000.datasets.decode.decode`."""
        return pixels_of_answer(*self.ask("decode", key, data, draft=draft, upright=upright), key)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _end(self) -> str:
        """End the process; how it had ended by itself, if it had."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return ""
        status = process.poll()
        _kill(process, self._owner)
        return "" if status is None else f"signal {-status}" if status < 0 else f"status {status}"

    def _started(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():
            if self._process is not None:
                self._process.returncode = 0  # that of the process that we were forked from, which will see to it
            self._process, self._owner = None, os.getpid()
        if self._process is None:
            words = [sys.executable, *self._program, str(self.megabytes)]
            kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "HOME") if name in os.environ}
            # an idle thread of a numeric library costs address space
            threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
            path = os.pathsep.join([str(Path(__file__).resolve().parents[1]), *filter(None, sys.path)])
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**kept, **threads, "PYTHONPATH": path},
                bufsize=0,
            )
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
            weakref.finalize(self, _kill, self._process, self._owner)
            assert self._process.stdout is not None
            self._receive(self._process.stdout.fileno(), time.monotonic() + STARTING)  # it is ready
        return self._process

    def _exchange(self, head: bytes, body: bytes) -> tuple[dict[str, Any], bytearray]:
        process = self._started()
        end = time.monotonic() + self.seconds
        assert process.stdin is not None
        assert process.stdout is not None
        self._write(process.stdin.fileno(), head, end)
        self._write(process.stdin.fileno(), body, end)
        return self._receive(process.stdout.fileno(), end)

    def _receive(self, pipe: int, end: float) -> tuple[dict[str, Any], bytearray]:
        said, size = LENGTHS.unpack(self._read(pipe, LENGTHS.size, end))
        if said > _MOST_SAID or size > _MOST_BODY:
            raise self._died("gave an answer that is too long")
        text = self._read(pipe, said, end)
        return json.loads(text), self._read(pipe, size, end)

    def _write(self, pipe: int, data: bytes, end: float) -> None:
        rest = memoryview(data)
        while rest:
            self._wait(pipe, select.POLLOUT, end)
            try:
                rest = rest[os.write(pipe, rest[:_PART]) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise self._died("ended") from None

    def _read(self, pipe: int, size: int, end: float) -> bytearray:
        found = bytearray()
        while len(found) < size:
            self._wait(pipe, select.POLLIN, end)
            try:
                part = os.read(pipe, min(size - len(found), _PART))
            except BlockingIOError:
                continue
            if not part:
                raise self._died("ended")
            found += part
        return found

    def _wait(self, pipe: int, event: int, end: float) -> None:
        poll = select.poll()
        poll.register(pipe, event)
        left = end - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise self._died("took too long")

    def _died(self, how: str) -> _Died:
        if how == "ended" and self._process is not None and self._owner == os.getpid():
            self._process.wait()  # its pipe is closed, so it is about to end
        status = self._end()
        return _Died(f"its decoder {how}{f' ({status})' if status else ''}")


class _Died(Exception):
    """The process has ended, or was ended."""


def _kill(process: subprocess.Popen[bytes], owner: int) -> None:
    if owner != os.getpid():
        return
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def pixels_of_answer(answer: dict[str, Any], content: bytearray, key: str) -> NDArray[np.uint8]:
    """The pixels (H, W, 3) that an answer holds; `Unreadable` if it is no such answer."""
    shape = answer.get("shape")
    if not (isinstance(shape, list) and len(shape) == 3 and shape[2] == 3 and np.prod(shape) == len(content)):
        raise Unreadable(key, f"its decoder gave no pixels, but {shape}")
    return np.frombuffer(content, np.uint8).reshape(shape)
