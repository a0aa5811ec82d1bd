"""Files that appear whole or not at all, and never over another one by accident."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def write_new_files(contents: Mapping[Path, bytes], *, force: bool = False) -> None:
    """Write each file under a temporary name and move it to its own once all are written.

    Parameters
    ----------
    contents : mapping of Path to bytes
    force : bool
        Replace files that are there.

    Raises
    ------
    FileExistsError
        If one is there and `force` is not set; nothing is written then.
    OSError
        If a folder does not exist or may not be written to.
    """
    if not force:
        for path in contents:
            if path.exists():
                raise FileExistsError(f"{path} exists; give another name, or force to overwrite it")
    written: list[tuple[Path, Path]] = []
    try:
        for path, content in contents.items():
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            written.append((temporary, path))
            temporary.write_bytes(content)
        for temporary, path in written:
            os.replace(temporary, path)
    finally:
        for temporary, _ in written:
            temporary.unlink(missing_ok=True)
