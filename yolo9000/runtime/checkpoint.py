"""Checkpoints that are whole or not there, and that execute nothing when they are read.

A checkpoint is one dictionary of tensors and plain values (numbers, strings, lists, dictionaries, None). It is
written to a temporary file in the same folder, flushed to the disk and renamed, so that a power cut or ``kill -9``
leaves either the old file or the new one. The file carries the SHA-256 of its content, and ends in a line with the
CRC-32 of all bytes before it: no bit of it can change unseen, not even one that torch would not read.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import pickle
import secrets
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from yolo9000.runtime.archive_limits import TooMuch, check_archive, check_values
from yolo9000.runtime.mistakes import Mistake

FORMAT = "yolo9000-checkpoint"
VERSION = 1
_SEAL = b"\nyolo9000-crc32:"
_SEAL_BYTES = len(_SEAL) + 8


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

    Until then it has no name at all where the system knows such files (Linux), so that a process that is killed leaves
    nothing behind.

    Yields
    ------
    binary file
        A temporary file in the same folder; renamed at the end, removed if anything is raised.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full; it names the file, and the old one is untouched.
    """
    temporary: str | None = None
    try:
        descriptor, temporary = _begin_file(path)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)  # mkstemp makes files that only their owner can read
            if temporary is None:
                temporary = _give_name(file.fileno(), path)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(OSError):  # it is what happened before that is to be told
                Path(temporary).unlink()
        if isinstance(error, OSError) and error.errno and _is_at(error.filename, path.parent):
            # the user knows the file, not the temporary one
            raise OSError(error.errno, f"cannot write there: {os.strerror(error.errno)}", str(path)) from error
        raise
    _sync_folder(path.parent)


def _is_at(name: str | bytes | int | None, folder: Path) -> bool:
    """Whether what a system call could not do concerns a folder or a file in it."""
    return name is None or (isinstance(name, str) and folder in (Path(name), Path(name).parent))


def _begin_file(path: Path) -> tuple[int, str | None]:
    """A new file in the folder of another: its descriptor, and its name if it needs one."""
    if hasattr(os, "O_TMPFILE"):
        with contextlib.suppress(OSError):  # not every file system has nameless files; other reasons come again below
            descriptor = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o600)
            if os.path.exists(f"/proc/self/fd/{descriptor}"):
                return descriptor, None
            os.close(descriptor)
    return tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)


def _give_name(descriptor: int, path: Path) -> str:
    """Name a nameless file. It is not the final name at once, as a link never takes the place of another file."""
    temporary = f".{path.name}.{secrets.token_hex(4)}.tmp"
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # given a folder, Python follows the link in /proc
        os.link(f"/proc/self/fd/{descriptor}", temporary, dst_dir_fd=folder)
    finally:
        os.close(folder)
    return str(path.parent / temporary)


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
    KeyboardInterrupt
        Somebody had no patience; what was there stays.

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
        sealed = _SealedFile(file)
        outer = {"format": FORMAT, "version": VERSION, "sealed": True, "sha256": sha256, "content": plain}
        try:
            torch.save(outer, cast(IO[bytes], sealed))
        except BaseException as error:
            # torch closes its archive on the way out, and what that raises hides what happened
            raise _what_happened(error, sealed, path) from None
        sealed.seal()
    return sha256


class _SealedFile:
    """A file that torch writes to: it keeps the CRC-32 of what went through, and what was raised meanwhile."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._crc = 0
        self.raised: BaseException | None = None

    def write(self, data: Any) -> int:
        try:
            self._file.write(data)
        except BaseException as error:
            self.raised = self.raised or error
            raise
        self._crc = zlib.crc32(data, self._crc)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def seal(self) -> None:
        self._file.write(_SEAL + f"{self._crc:08x}".encode())


def _what_happened(error: BaseException, sealed: _SealedFile, path: Path) -> BaseException:
    found: BaseException | None = sealed.raised
    each: BaseException | None = error
    while each is not None and found is None:
        found = each if isinstance(each, OSError | KeyboardInterrupt) else None
        each = each.__context__
    if isinstance(found, KeyboardInterrupt):
        return KeyboardInterrupt(f"interrupted while {path} was written; what was saved before is whole")
    return found or error


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
    is_sealed = _check_seal(path)
    if not _is_archive(path):  # torch would try older formats, with warnings
        raise CheckpointError(
            f"{path}: truncated, damaged or not a checkpoint; use another one of the run (last.pt, best.pt)"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's about old formats, which a foreign file may claim to be
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
    except Exception as error:  # torch and zipfile raise what they like at bytes that others wrote
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # the file names a place in front of its start
            raise  # the disk's word
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
    if outer.get("sealed") is True and not is_sealed:
        raise CheckpointError(f"{path}: its last line is missing: the file was changed or damaged after writing")
    if not isinstance(content, dict) or not _has_sha256(content, outer.get("sha256")):
        raise CheckpointError(f"{path}: the checksum does not match: the file was changed or damaged after writing")
    return content


def _is_archive(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # it says that it goes on in another file
        return False


def _has_sha256(content: dict[str, Any], sha256: Any) -> bool:
    try:
        return bool(content_sha256(content) == sha256)
    except Exception:  # a kind of tensor, or nesting, that none of ours has
        return False


def _check_seal(path: Path) -> bool:
    """Return whether a file ends in the line that `save_checkpoint` writes; older ones do not.

    Raises
    ------
    CheckpointError
        It does, and other bytes go before than those that were written.
    """
    left = path.stat().st_size - _SEAL_BYTES
    with path.open("rb") as file:
        crc = 0
        while left > 0 and (block := file.read(min(left, 2**20))):
            crc, left = zlib.crc32(block, crc), left - len(block)
        line = file.read()
    if not line.startswith(_SEAL):
        return False
    if line[len(_SEAL) :] != f"{crc:08x}".encode():
        raise CheckpointError(f"{path}: the checksum does not match: the file was changed or damaged after writing")
    return True


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
