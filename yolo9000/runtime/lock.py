"""A lock that dies with its owner: a file that the operating system holds for a process, however that ends."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl


class Locked(Exception):
    """Another process holds the lock; the message says which."""


@contextlib.contextmanager
def hold(file: Path) -> Iterator[None]:
    """Hold a lock file, which says who holds it. It is gone afterwards; a killed process leaves it, held by nobody.

    A process may hold it several times over. Where files cannot be held (Windows, some network drives, a folder that
    cannot be written to) nothing is.

    Parameters
    ----------
    file : Path
        Its folder exists.

    Raises
    ------
    Locked
        Another process holds it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, ".lock")
    ...     with hold(file):
    ...         print(file.read_text().startswith(f"process {os.getpid()}"))
    ...     file.exists()
    True
    False
    """
    name = file.resolve()
    if name in _HELD or (handle := _take(file)) is None:
        yield
        return
    _HELD[name] = handle
    try:
        yield
    finally:
        if _HELD.pop(name, None) is not None:  # not so in a process that was forked meanwhile
            # where the folder cannot be written to any more, the file stays: held by nobody it stops nobody
            with contextlib.suppress(OSError):
                file.unlink()
            os.close(handle)


def _take(file: Path) -> int | None:
    if sys.platform == "win32":
        return None
    while True:
        try:
            handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                raise Locked(_owner(handle)) from None
            finally:
                os.close(handle)
        except OSError:
            os.close(handle)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(file), os.fstat(handle)):
                break
        os.close(handle)  # its last owner has just removed it
    with contextlib.suppress(OSError):  # a full disk: it is held all the same
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {platform.node()}".encode())
    return handle


def _owner(handle: int) -> str:
    for _ in range(5):  # it may have taken the lock this moment, and write its name in the next
        if said := os.pread(handle, 200, 0).decode(errors="replace"):
            return said
        time.sleep(0.02)
    return "another process"


_HELD: dict[Path, int] = {}
"""Lock files and their handles. A loader's worker, which is forked and may outlive a killed run, must not hold them."""


def _let_go() -> None:
    for handle in _HELD.values():
        os.close(handle)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
