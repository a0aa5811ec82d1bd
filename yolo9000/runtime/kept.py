"""The checkpoints that a run keeps: ``last.pt``, some before it, and the way back when the newest cannot be read."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo9000.runtime.checkpoint import CheckpointError, atomic_file, load_checkpoint, save_checkpoint
from yolo9000.runtime.run_folder import RunFolder


@dataclass(frozen=True)
class Found:
    """The checkpoint that a run goes on from.

    Parameters
    ----------
    path : Path
    content : dict
    passed_over : tuple of str
        What is wrong with the newer ones, a message each.
    """

    path: Path
    content: dict[str, Any]
    passed_over: tuple[str, ...] = ()


def save_last(run: RunFolder, content: Mapping[str, Any], *, before: int | None, keep: int) -> None:
    """Write ``last.pt``, and keep those before it.

    The one that is replaced gets a second name first. So at every moment there is a whole one that is no older than
    the last.

    Parameters
    ----------
    run : RunFolder
    content : mapping
    before : int, optional
        Step of the ``last.pt`` that is there and is whole; None if there is none.
    keep : int
        Checkpoints to keep, with the new one.

    Raises
    ------
    OSError
        A file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> run = RunFolder(Path(tempfile.mkdtemp()))
    >>> for step in (1, 2, 3):
    ...     save_last(run, {"step": step}, before=step - 1 or None, keep=2)
    >>> [load_checkpoint(path)["step"] for path in (run.last, *run.earlier)]
    [3, 2]
    """
    if keep > 1 and before is not None and run.last.exists():
        _name_twice(run.last, run.at_step(before))
    save_checkpoint(run.last, content)
    remove_older(run, keep=keep)


def remove_older(run: RunFolder, *, keep: int, last_step: int | None = None) -> None:
    """Remove earlier checkpoints that are too many, beside a whole ``last.pt``.

    Parameters
    ----------
    run : RunFolder
    keep : int
        Checkpoints to keep, with ``last.pt``.
    last_step : int, optional
        Step of ``last.pt``, where that may have its second name already: it does not count as another one.

    Examples
    --------
    >>> import tempfile
    >>> run = RunFolder(Path(tempfile.mkdtemp()))
    >>> for step in (2, 4, 6):
    ...     _ = save_checkpoint(run.at_step(step), {"step": step})
    >>> remove_older(run, keep=2, last_step=6)
    >>> [path.name for path in run.earlier]
    ['step-00000006.pt', 'step-00000004.pt']
    """
    others = [path for path in run.earlier if last_step is None or path != run.at_step(last_step)]
    for path in others[keep - 1 :]:
        with contextlib.suppress(OSError):  # the next save tries again
            path.unlink(missing_ok=True)


def _name_twice(path: Path, other: Path) -> None:
    temporary = other.with_name(f".{other.name}.{secrets.token_hex(4)}.tmp")
    try:
        os.link(path, temporary)
        os.replace(temporary, other)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
            said = f"cannot write there: {os.strerror(error.errno)}"
            raise OSError(error.errno, said, str(other)) from error
        with path.open("rb") as whole, atomic_file(other) as copy:  # not every file system has second names
            shutil.copyfileobj(whole, copy)
    finally:
        with contextlib.suppress(OSError):  # a name of the same file is not renamed but left
            temporary.unlink(missing_ok=True)


def read_last(run: RunFolder, refuse: Callable[[dict[str, Any]], str] = lambda content: "") -> Found:
    """Read the newest checkpoint of a run that is whole and its own.

    Parameters
    ----------
    run : RunFolder
    refuse : callable
        A content -> why it is none of this run's, or nothing.

    Returns
    -------
    Found

    Raises
    ------
    CheckpointError
        None can be used; the message says what is wrong with the newest.
    """
    passed_over: list[str] = []
    for path in (run.last, *run.earlier):
        try:
            content = load_checkpoint(path)
            if not (wrong := refuse(content)):
                return Found(path, content, tuple(passed_over))
            passed_over.append(f"{path}: {wrong}")
        except (CheckpointError, OSError) as error:
            passed_over.append(str(error))
    others = f"; neither can the {len(passed_over) - 1} before it be used" if len(passed_over) > 1 else ""
    raise CheckpointError(f"{passed_over[0]}{others}")
