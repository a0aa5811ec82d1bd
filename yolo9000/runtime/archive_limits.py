"""What a checkpoint may hold at most, so that a stranger's small file does not fill the memory when it is read."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from yolo9000.runtime.mistakes import Mistake

_SHARED = 4
"""How many times as many bytes as the file has its tensors may have: some share their numbers, as tied weights do."""


class TooMuch(Mistake):
    """A file that unpacks to more than it holds."""


def check_archive(path: Path) -> int:
    """Check the entries of a checkpoint, before they are read.

    Parameters
    ----------
    path : Path

    Returns
    -------
    int
        The bytes of its plain values, for `check_values`.

    Raises
    ------
    TooMuch
        An entry is compressed, as torch writes none, or they claim more bytes than the file has.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise TooMuch(f"{path}: packed, which a checkpoint is not; it may unpack to any size")
    held = sum(entry.file_size for entry in entries)
    if held > path.stat().st_size:
        raise TooMuch(f"{path}: claims {held:,} bytes, and has {path.stat().st_size:,}")
    return sum(entry.file_size for entry in entries if entry.filename.endswith("data.pkl"))


def check_values(content: Any, path: Path, plain_bytes: int) -> None:
    """Check what was read, before anything goes through it.

    Parameters
    ----------
    content : tensors and plain values
    path : Path
        The file, for messages.
    plain_bytes : int
        What `check_archive` gave.

    Raises
    ------
    TooMuch
        Lists are inside each other more often than the file could say, or tensors have more numbers than it has bytes.

    Examples
    --------
    >>> nested = [1]
    >>> for _ in range(60):
    ...     nested = [nested, nested]
    >>> check_values(nested, Path("last.pt"), 500)
    Traceback (most recent call last):
    yolo9000.runtime.archive_limits.TooMuch: last.pt: more values than its 500 bytes could hold
    """
    values, tensor_bytes, waiting = 0, 0, [content]
    most = _SHARED * path.stat().st_size if path.is_file() else 0
    while waiting:
        value = waiting.pop()
        values += 1
        if values > plain_bytes:
            raise TooMuch(f"{path}: more values than its {plain_bytes:,} bytes could hold")
        if isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, Tensor):
            tensor_bytes += value.numel() * value.element_size()
            if tensor_bytes > most:
                raise TooMuch(
                    f"{path}: its tensors claim {tensor_bytes:,} bytes or more, the file has {most // _SHARED:,}"
                )
