"""Writing files: they appear whole or not at all, and never replace others by accident."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path


def check_writable(paths: Iterable[Path], *, force: bool = False) -> None:
    """Raise the errors of `write_new_files` that can be known before there is anything to write."""
    for path in paths:
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(f"{path}: no permission to write in {path.parent}")
        if path.exists() and not force:
            raise FileExistsError(f"{path} exists; name another file, or overwrite it with `force`")


def write_new_files(contents: Mapping[Path, bytes], *, force: bool = False) -> None:
    """Write each file under a temporary name and move it to its own once all are written.

    Parameters
    ----------
    contents : mapping of Path to bytes
        The content of each file.
    force : bool
        Replace existing files.

    Raises
    ------
    FileExistsError
        If a file exists and `force` is not set. Nothing is written then.
    OSError
        If a folder does not exist or may not be written to.
    """
    check_writable(contents, force=force)
    written: list[tuple[Path, Path]] = []
    try:
        for path, content in contents.items():
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            written.append((temporary, path))
            try:
                temporary.write_bytes(content)
            except PermissionError:
                raise PermissionError(f"{path}: no permission to write in {path.parent}") from None
        for temporary, path in written:
            os.replace(temporary, path)
    finally:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)
