"""An index of the images inside uncompressed tar files, so that they can be read in place."""

from __future__ import annotations

import hashlib
import logging
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.box_index import listed
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.names import NameTable

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm")


@dataclass(frozen=True, eq=False)
class TarIndex:
    """The N images in some tar files, in the order of the files and, inside each file, of the images' names.

    Parameters
    ----------
    names : NameTable
        The name of each image inside its tar.
    tars : array (N,) int32
        The index of each image's tar.
    offsets, sizes : array (N,) int64
        The first byte of each image in its tar, and the number of its bytes.
    stamps : tuple of (int, int)
        The size and the time of change of each tar when it was indexed.
    """

    names: NameTable
    tars: NDArray[np.int32]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    stamps: tuple[tuple[int, int], ...] = ()


_Members = tuple[list[str], NDArray[np.int64], NDArray[np.int64]]


def index_tars(
    paths: Sequence[Path],
    *,
    cache: str | Path | None = None,
    progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> TarIndex:
    """Index the images of some tar files; those that have not changed are taken from a cache.

    Reading the headers of ImageNet's 1,000 tars takes minutes on a slow disk, so the cache keeps them. It knows a
    file by its name, size and time of change.

    Parameters
    ----------
    paths : sequence of Path
        The tar files, all in one folder.
    cache : str or Path, optional
        The folder of the cache; by default ``yolo9000`` in the user's cache folder (``XDG_CACHE_HOME``). If it cannot
        be written, the headers are read again the next time.
    progress : callable
        It wraps the tars that are not in the cache, to show progress.

    Returns
    -------
    TarIndex

    Raises
    ------
    DatasetError
        If a tar is compressed, truncated, holds tars, or holds no image.
    """
    if not paths:
        return TarIndex(NameTable(()), np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    key = hashlib.sha256(os.fsencode(paths[0].parent.resolve())).hexdigest()[:20]
    file = (Path(cache) if cache is not None else _user_cache()) / f"tars-{key}.npz"
    known = _load(file)
    stamps = [(path.name, *stamp_of(path.stat())) for path in paths]
    stale = [path for path, stamp in zip(paths, stamps, strict=True) if stamp not in known]
    if stale:
        of_path = {path.name: stamp for path, stamp in zip(paths, stamps, strict=True)}
        for path in progress(stale):
            known[of_path[path.name]] = _members(path)
        # Entries of other files in the same folder are kept; outdated entries of these files are not.
        present = {stamp[0]: stamp for stamp in stamps}
        kept = {stamp: members for stamp, members in known.items() if present.get(stamp[0], stamp) == stamp}
        _save(file, kept)
    parts = [known[stamp] for stamp in stamps]
    return TarIndex(
        NameTable(name for names, _, _ in parts for name in names),
        np.repeat(np.arange(len(parts), dtype=np.int32), [len(names) for names, _, _ in parts]),
        np.concatenate([offsets for _, offsets, _ in parts]),
        np.concatenate([sizes for _, _, sizes in parts]),
        tuple((size, time) for _, size, time in stamps),
    )


_Stamp = tuple[str, int, int]


def stamp_of(status: os.stat_result) -> tuple[int, int]:
    """Size and time of change: what tells whether a file is the one that was indexed."""
    return status.st_size, status.st_mtime_ns


_LONGEST_HEADER = 1 << 20
_OF_NAMES = {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
_OF_NAMES |= {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}


class _Damaged(Exception):
    """A header that no archiver writes."""


class _Member(tarfile.TarInfo):
    """A header that is looked at before tarfile believes it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.size < 0:  # tarfile would go back in the file, and round in a circle
            raise _Damaged(f"{member.name!r} has a size of {member.size}")
        if member.type in _OF_NAMES and member.size > _LONGEST_HEADER:  # and it would read all of it
            raise _Damaged(f"a name of {member.size:,} bytes")
        return member


def _user_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "yolo9000"


def _members(path: Path) -> _Members:
    """Return names, offsets and sizes of the images in one tar."""
    try:
        with tarfile.open(path, "r:", tarinfo=_Member) as tar:
            members = []
            before = -1
            while (member := tar.next()) is not None:
                if member.size < 0 or tar.offset <= before:  # an extended header can change what the first one says
                    raise _Damaged(f"{member.name!r} has a size of {member.size}")
                before = tar.offset
                members.append(member)
    except (_Damaged, ValueError, OverflowError, ArithmeticError) as error:  # numbers that are none
        raise DatasetError(f"{path}: a tar file with a damaged header ({error}). Download it again") from error
    except tarfile.TarError as error:
        with path.open("rb") as raw:
            start = raw.read(6)
        squeezed = start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))
        reason = (
            "it is compressed and cannot be read in place: decompress it first"
            if squeezed
            else f"{error}; download it again"
        )
        raise DatasetError(f"{path}: not a tar file that can be read: {reason}") from error
    files = [member for member in members if member.isreg()]
    images = sorted((m for m in files if m.name.lower().endswith(IMAGE_SUFFIXES)), key=lambda m: m.name)
    length = path.stat().st_size
    # Sparse members are stored with holes, so they cannot be read in place; no archiver stores JPEGs so.
    broken = [m.name for m in images if m.offset_data + m.size > length or m.sparse]
    if broken:
        raise DatasetError(f"{path} is truncated: it ends inside {listed(broken)}. Download it again")
    end = max((m.offset_data + m.isreg() * -(-m.size // 512) * 512 for m in members), default=0)
    with path.open("rb") as raw:
        raw.seek(end)
        if raw.read(512) != bytes(512):  # tarfile takes a cut or damaged header for the end of the archive
            raise DatasetError(f"{path} is truncated or damaged after {len(members)} members. Download it again")
    if not images:
        if any(m.name.endswith(".tar") for m in files):
            raise DatasetError(
                f"{path} is a tar of tars. Unpack the outer one only, once: "
                f"mkdir train && tar -xf {path.name} -C train. The inner ones are read in place"
            )
        raise DatasetError(f"{path} holds no image; found {listed([m.name for m in files], most=3) or 'nothing'}")
    return (
        [m.name for m in images],
        np.array([m.offset_data for m in images], np.int64),
        np.array([m.size for m in images], np.int64),
    )


def _load(file: Path) -> dict[_Stamp, _Members]:
    """Return the cached members of each stamp; none if there is no cache or it is broken."""
    try:
        with file.open("rb") as raw, np.load(raw, allow_pickle=False) as data:
            tars = NameTable.of_arrays(data["tar_blob"], data["tar_offsets"])
            names = NameTable.of_arrays(data["name_blob"], data["name_offsets"])
            stamps, first, offsets, sizes = data["stamps"], data["first"], data["offsets"], data["sizes"]
            result: dict[_Stamp, _Members] = {}
            for i, tar in enumerate(tars):
                mine = slice(int(first[i]), int(first[i + 1]))
                size, time = (int(value) for value in stamps[i])
                result[tar, size, time] = [names[j] for j in range(mine.start, mine.stop)], offsets[mine], sizes[mine]
            return result
    except FileNotFoundError:
        return {}
    except Exception as error:  # a broken archive raises many kinds; after each of them the tars are read again
        log.info("%s: not used, %s", file, error)
        return {}


def _save(file: Path, known: dict[_Stamp, _Members]) -> None:
    stamps, members = list(known), list(known.values())
    tars = NameTable(stamp[0] for stamp in stamps)
    names = NameTable(name for part in members for name in part[0])
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # The file is moved into place in one step, because another process may read it at any moment.
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".npz.part", delete=False) as part:
            try:
                np.savez(
                    part,
                    tar_blob=tars.blob,
                    tar_offsets=tars.offsets,
                    name_blob=names.blob,
                    name_offsets=names.offsets,
                    stamps=np.array([stamp[1:] for stamp in stamps], np.int64).reshape(-1, 2),
                    first=np.cumsum([0, *(len(part[0]) for part in members)], dtype=np.int64),
                    offsets=np.concatenate([part[1] for part in members]),
                    sizes=np.concatenate([part[2] for part in members]),
                )
                part.close()
                os.replace(part.name, file)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        log.info("the index of the tars is not kept: %s", error)
