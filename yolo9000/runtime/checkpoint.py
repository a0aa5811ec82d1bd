"""Checkpoints that are whole or not there, and that execute nothing when they are read.

A checkpoint is one dictionary of tensors and plain values (numbers, strings, lists, dictionaries, None). It is
written to a temporary file in the same folder, flushed to the disk and renamed, so that a power cut or ``kill -9``
leaves either the old file or the new one. The file carries the SHA-256 of its content.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from yolo9000.runtime.archive_limits import TooMuch, check_archive, check_values
from yolo9000.runtime.mistakes import Mistake

FORMAT = "yolo9000-checkpoint"
VERSION = 1


class CheckpointError(Mistake):
    """A checkpoint that cannot be used; the message says which file, what is wrong and what to do."""


def _hash_value(digest: hashlib._Hash, value: Any) -> None:
    """Feed one value to the digest, unambiguously: a tag, a length where needed, then the content."""
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(f"tensor {value.dtype} {tuple(value.shape)};".encode())
        digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    elif isinstance(value, Mapping):
        digest.update(f"map {len(value)};".encode())
        for key, item in value.items():
            _hash_value(digest, key)
            _hash_value(digest, item)
    elif isinstance(value, list | tuple):
        digest.update(f"list {len(value)};".encode())
        for item in value:
            _hash_value(digest, item)
    elif value is None or isinstance(value, bool | int | float | str):
        text = repr(value).encode()
        digest.update(f"{type(value).__name__} {len(text)};".encode() + text)
    else:
        raise CheckpointError(
            f"a checkpoint holds tensors and plain values only, not {type(value).__name__}; convert it first"
        )


def content_sha256(content: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a checkpoint's content: tensors by dtype, shape and bytes, everything else by its repr.

    Examples
    --------
    >>> content_sha256({"step": 1}) == content_sha256({"step": 1})
    True
    >>> content_sha256({"step": 1}) == content_sha256({"step": 2})
    False
    """
    digest = hashlib.sha256()
    _hash_value(digest, dict(content))
    return digest.hexdigest()


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes its name only when it is whole and on the disk.

    Yields
    ------
    binary file
        A temporary file in the same folder; renamed at the end, removed if anything is raised.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full; the old file is untouched.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:  # the user knows the file, not the temporary one
        raise OSError(error.errno, f"cannot write there: {error.strerror}", str(path)) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file through `atomic_file`."""
    with atomic_file(path) as file:
        file.write(data)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable. Not every platform lets a folder be opened; there the rename is all there is."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _plain(value: Any) -> Any:
    """Copy the containers, with tensors detached and on the CPU, and numbers as Python's own.

    A checkpoint names no device, and a NumPy scalar would need code from the file to come back.
    """
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def save_checkpoint(path: str | Path, content: Mapping[str, Any]) -> str:
    """Write a checkpoint atomically.

    Parameters
    ----------
    path : str or Path
        The file; its folder exists.
    content : mapping
        Tensors and plain values. Tuples come back as lists.

    Returns
    -------
    str
        SHA-256 of the content.

    Raises
    ------
    CheckpointError
        The content holds an object that a safe reader would refuse.
    OSError
        The file cannot be written; what was there stays.

    Examples
    --------
    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = save_checkpoint(f"{folder}/last.pt", {"step": 3, "weight": torch.ones(2)})
    ...     load_checkpoint(f"{folder}/last.pt")
    {'step': 3, 'weight': tensor([1., 1.])}
    """
    path = Path(path)
    plain = _plain(content)
    sha256 = content_sha256(plain)
    with atomic_file(path) as file:
        torch.save({"format": FORMAT, "version": VERSION, "sha256": sha256, "content": plain}, file)
    return sha256


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in the file is executed, and its checksum must match.

    Parameters
    ----------
    path : str or Path
        A file that `save_checkpoint` wrote.

    Returns
    -------
    dict
        The content, with every tensor on the CPU.

    Raises
    ------
    CheckpointError
        No such file, not a checkpoint of ours, of another version, truncated, or changed since it was written.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint ({'that is a folder' if path.is_dir() else 'no such file'})")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: the file is empty; use an earlier checkpoint")
    if not _is_archive(path):  # torch would try older formats, with warnings
        raise CheckpointError(
            f"{path}: truncated, damaged or not a checkpoint; use another one of the run (last.pt, best.pt)"
        )
    try:
        plain_bytes = check_archive(path)
        outer = torch.load(path, map_location="cpu", weights_only=True)
        check_values(outer, path, plain_bytes)
    except TooMuch as error:
        raise CheckpointError(str(error)) from error
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0] if str(error) else "it cannot be read"
        raise CheckpointError(
            f"{path}: not a checkpoint of yolo9000, or one that asks to run code, which is refused ({reason})"
        ) from error
    except OSError:
        raise  # the disk's word, which names the file
    except Exception as error:  # torch and zipfile raise what they like at bytes that others wrote
        raise CheckpointError(
            f"{path}: truncated, damaged or not a checkpoint ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else ''}); use another one of the run (last.pt, best.pt)"
        ) from error
    if not isinstance(outer, dict) or outer.get("format") != FORMAT:
        raise CheckpointError(f"{path}: a file of torch, but not a checkpoint of yolo9000")
    if outer.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: written as version {outer.get('version')!r}; this program reads version {VERSION}. "
            "Use the release that wrote it, or train again"
        )
    content = outer.get("content")
    if not isinstance(content, dict) or content_sha256(content) != outer.get("sha256"):
        raise CheckpointError(f"{path}: the checksum does not match: the file was changed or damaged after writing")
    return content


def _is_archive(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # it says that it goes on in another file
        return False


def load_weights(model: torch.nn.Module, state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Load weights; a mismatch names the file.

    Raises
    ------
    CheckpointError
        Names or shapes do not fit.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        lines = " ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise CheckpointError(f"{path}: its weights are of another net: {lines}") from error
