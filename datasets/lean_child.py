"""A small process that reads foreign files for another one, so that a file that kills its decoder kills nobody else.

``python -m yolo9000.datasets.lean_child MEGABYTES`` answers requests on standard input until it ends. It has limits of
memory and processor time, writes no file and, where the system allows it, has no network. It imports NumPy, OpenCV,
Pillow and, for a pack, h5py, and no torch: it is there after half a second. `yolo9000.datasets.guarded` starts and
asks it.

A message is two lengths (of a JSON object and of bytes that follow it), then both.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import json
import os
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeAlias

LENGTHS = struct.Struct("<IQ")
Answer: TypeAlias = "tuple[dict[str, Any], Any]"
"""What is said, and bytes that belong to it."""
_NEW_USER, _NEW_NETWORK, _DIE_WITH_PARENT, _SIGKILL = 0x10000000, 0x40000000, 1, 9


def write_message(file: IO[bytes], said: dict[str, Any], body: Any = b"") -> None:
    """Write a message, see the module."""
    text = json.dumps(said).encode()
    file.write(LENGTHS.pack(len(text), len(body)) + text)
    file.write(body)
    file.flush()


def read_message(file: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Read a message; None at the end of the file."""
    head = file.read(LENGTHS.size)
    if len(head) < LENGTHS.size:
        return None
    text, body = LENGTHS.unpack(head)
    return json.loads(file.read(text)), file.read(body)


def limit_process(megabytes: int) -> None:
    """Take memory, files and the network from this process, as far as the system can."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.prctl(_DIE_WITH_PARENT, _SIGKILL)
            # root needs no namespace of users, in which it would lose the right to read other people's files
            if libc.unshare(_NEW_NETWORK) and os.geteuid():
                libc.unshare(_NEW_USER | _NEW_NETWORK)


def limit_seconds(seconds: float) -> None:
    """Let this process compute for so long from now; its parent kills it if it only waits."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        until = int(used.ru_utime + used.ru_stime + seconds) + 2
        resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))


class Reader:
    """What the process does for its parent: a method for each kind of request."""

    def __init__(self) -> None:
        self._video: Any = None

    def decode(self, said: dict[str, Any], data: bytes) -> Answer:
        """The pixels of an image; see `yolo9000.datasets.decode.decode`."""
        import numpy as np

        from yolo9000.datasets.decode import decode

        pixels = decode(data, said["key"], draft=said["draft"], upright=said["upright"])
        return {"shape": pixels.shape}, np.ascontiguousarray(pixels).data.cast("B")

    def facts(self, said: dict[str, Any], data: bytes) -> Answer:
        """What there is to say of an image file; see `yolo9000.datasets.image_facts`."""
        from yolo9000.datasets.image_facts import facts_of, read_part

        return facts_of(read_part(said) if "path" in said else data, said["key"]), b""

    def pack(self, said: dict[str, Any], data: bytes) -> Answer:
        """The tables of a pack; see `yolo9000.datasets.pack_tables`."""
        import numpy as np

        from yolo9000.datasets.pack_tables import read_tables

        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **read_tables(Path(said["path"])))
        return {}, file.getbuffer()

    def open_video(self, said: dict[str, Any], data: bytes) -> Answer:
        """Begin a video; its frames a second."""
        import cv2

        from yolo9000.datasets.decode import MOST_PIXELS
        from yolo9000.datasets.errors import Unreadable

        self._video = cv2.VideoCapture(said["path"])
        if not self._video.isOpened():
            raise Unreadable(said["path"], "no video that OpenCV can read")
        sides = (self._video.get(cv2.CAP_PROP_FRAME_WIDTH), self._video.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if sides[0] * sides[1] > MOST_PIXELS:
            raise Unreadable(said["path"], f"frames of {sides[0]:.0f} x {sides[1]:.0f} are too large")
        return {"rate": float(self._video.get(cv2.CAP_PROP_FPS))}, b""

    def next_frame(self, said: dict[str, Any], data: bytes) -> Answer:
        """The next frame of the video in RGB; no shape at its end."""
        import cv2

        there, image = self._video.read()
        if not there:
            return {"shape": None}, b""
        return {"shape": image.shape}, cv2.cvtColor(image, cv2.COLOR_BGR2RGB).data.cast("B")


def serve(requests: IO[bytes], answers: IO[bytes], reader: Reader) -> None:
    """Answer requests until there are none; what is wrong with a file is an answer as well."""
    from yolo9000.datasets.errors import DatasetError, Unreadable

    while (request := read_message(requests)) is not None:
        said, data = request
        act: Callable[[dict[str, Any], bytes], Answer] = getattr(reader, said["do"])
        limit_seconds(said["seconds"])
        try:
            answer, body = act(said, data)
        except Unreadable as error:
            answer, body = {"unreadable": error.reason}, b""
        except DatasetError as error:
            answer, body = {"wrong": str(error)}, b""
        except MemoryError:
            answer, body = {"unreadable": "its decoder wanted more memory than it may have"}, b""
        except Exception as error:  # a library that fails on a stranger's file, in whichever way
            answer, body = {"unreadable": f"{type(error).__name__}: {error}"}, b""
        write_message(answers, answer, body)


def main(reader: Reader | None = None) -> None:
    """Read requests from standard input; libraries that print, print nowhere.

    Ctrl-C and SIGTERM, which are sent to all processes of a job, are for the parent, which may want another image
    before it ends; this process then ends with its standard input.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    limit_process(int(sys.argv[1]))
    importlib.import_module("yolo9000.datasets.decode")  # now, for a request has its time for itself
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    with contextlib.suppress(BrokenPipeError):
        write_message(answers, {})
        serve(sys.stdin.buffer, answers, reader or Reader())


if __name__ == "__main__":
    main()
