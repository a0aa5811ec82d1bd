"""An index of the images inside uncompressed tar files, so that they can be read in place."""

from __future__ import annotations

import hashlib
import logging
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

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


class Members(NamedTuple):
    """Some members of one tar.

    Attributes
    ----------
    names : list of str
        Their names.
    offsets, sizes : array (N,) int64
        The first byte of each, and the number of its bytes.
    heads : array (N,) int64
        The CRC-32 of the block of 512 bytes before each, which is its header.
    contents : dict of str to list of bytes
        For some suffix, the content of the member that belongs to each one and has that suffix; empty if none does.
    others : list of str
        The names of members of these suffixes that belong to none.
    """

    names: list[str]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    heads: NDArray[np.int64]
    contents: dict[str, list[bytes]]
    others: list[str]

    @classmethod
    def of(
        cls,
        members: Sequence[Member],
        contents: dict[str, list[bytes]] | None = None,
        others: Sequence[str] = (),
    ) -> Members:
        """Note where some members lie."""
        return cls(
            [m.name for m in members],
            np.array([m.offset_data for m in members], np.int64),
            np.array([m.size for m in members], np.int64),
            np.array([m.head for m in members], np.int64),
            contents or {},
            list(others),
        )


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
    file = cache_folder(cache) / f"tars-{key}.npz"
    known = load_members(file)
    stamps = [(path.name, *stamp_of(path.stat())) for path in paths]
    stale = [path for path, stamp in zip(paths, stamps, strict=True) if stamp not in known]
    if stale:
        of_path = {path.name: stamp for path, stamp in zip(paths, stamps, strict=True)}
        for path in progress(stale):
            known[of_path[path.name]] = _members(path)
        # Entries of other files in the same folder are kept; outdated entries of these files are not.
        present = {stamp[0]: stamp for stamp in stamps}
        kept = {stamp: members for stamp, members in known.items() if present.get(stamp[0], stamp) == stamp}
        save_members(file, kept)
    parts = [known[stamp] for stamp in stamps]
    return TarIndex(
        NameTable(name for part in parts for name in part.names),
        np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.names) for part in parts]),
        np.concatenate([part.offsets for part in parts]),
        np.concatenate([part.sizes for part in parts]),
        tuple((size, time) for _, size, time in stamps),
    )


Stamp = tuple[str, int, int]
"""The name of a tar, its size, and the time of its change or what else tells one content from another."""


def stamp_of(status: os.stat_result) -> tuple[int, int]:
    """Size and time of change: what tells whether a file is the one that was indexed."""
    return status.st_size, status.st_mtime_ns


_LONGEST_HEADER = 1 << 20
_OF_NAMES = {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
_OF_NAMES |= {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}


class _Damaged(Exception):
    """A header that no archiver writes."""


class Member(tarfile.TarInfo):
    """A header that is looked at before tarfile believes it.

    Attributes
    ----------
    head : int
        The CRC-32 of its block.
    """

    head = 0

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.size < 0:  # tarfile would go back in the file, and round in a circle
            raise _Damaged(f"{member.name!r} has a size of {member.size}")
        if member.type in _OF_NAMES and member.size > _LONGEST_HEADER:  # and it would read all of it
            raise _Damaged(f"a name of {member.size:,} bytes")
        member.head = zlib.crc32(buf)
        return member


def cache_folder(chosen: str | Path | None = None) -> Path:
    """The folder of the indices: one that was chosen, or ``yolo9000`` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME")
    return Path(chosen) if chosen is not None else (Path(home) if home else Path.home() / ".cache") / "yolo9000"


def walk_tar(
    file: IO[bytes], where: str, length: int, visit: Callable[[Member], object] = lambda member: None
) -> list[Member]:
    """Read all headers of a tar.

    Parameters
    ----------
    file : file object
        The tar.
    where : str
        What errors call it.
    length : int
        The number of its bytes.
    visit : callable
        It is given each header when that has been read, and may read the member in the file.

    Returns
    -------
    list of Member
        In the order of the tar.

    Raises
    ------
    DatasetError
        If it is no tar, is compressed, truncated or damaged.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:", tarinfo=Member) as tar:
            members: list[Member] = []
            before = -1
            while (member := tar.next()) is not None:
                assert isinstance(member, Member)
                if member.size < 0 or tar.offset <= before:  # an extended header can change what the first one says
                    raise _Damaged(f"{member.name!r} has a size of {member.size}")
                before = tar.offset
                visit(member)
                members.append(member)
    except DatasetError:
        raise
    except (_Damaged, ValueError, OverflowError, ArithmeticError) as error:  # numbers that are none
        raise DatasetError(f"{where}: a tar file with a damaged header ({error}). Download it again") from error
    except tarfile.TarError as error:
        file.seek(0)
        squeezed = file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))
        reason = (
            "it is compressed and cannot be read in place: decompress it first"
            if squeezed
            else f"{error}; download it again"
        )
        raise DatasetError(f"{where}: not a tar file that can be read: {reason}") from error
    # No archiver stores JPEGs with holes; in this file they would lie elsewhere than their sizes say.
    if holes := [m.name for m in members if m.isreg() and m.sparse is not None]:
        raise DatasetError(f"{where}: {listed(holes)} is stored with holes (sparse) and cannot be read in place")
    if broken := [m.name for m in members if m.isreg() and m.offset_data + m.size > length]:
        raise DatasetError(f"{where} is truncated: it ends inside {listed(broken)}. Download it again")
    file.seek(max((m.offset_data + m.isreg() * -(-m.size // 512) * 512 for m in members), default=0))
    if file.read(512) != bytes(512):  # tarfile takes a cut or damaged header for the end of the archive
        raise DatasetError(f"{where} is truncated or damaged after {len(members)} members. Download it again")
    return members


def _members(path: Path) -> Members:
    """Return names, offsets and sizes of the images in one tar."""
    with path.open("rb") as raw:
        members = walk_tar(raw, str(path), path.stat().st_size)
    files = [member for member in members if member.isreg()]
    images = sorted((m for m in files if m.name.lower().endswith(IMAGE_SUFFIXES)), key=lambda m: m.name)
    if not images:
        if any(m.name.endswith(".tar") for m in files):
            raise DatasetError(
                f"{path} is a tar of tars. Unpack the outer one only, once: "
                f"mkdir train && tar -xf {path.name} -C train. The inner ones are read in place"
            )
        raise DatasetError(f"{path} holds no image; found {listed([m.name for m in files], most=3) or 'nothing'}")
    return Members.of(images)


def load_members(file: Path) -> dict[Stamp, Members]:
    """Return the cached members of each stamp; none if there is no cache or it is broken."""
    try:
        with file.open("rb") as raw, np.load(raw, allow_pickle=False) as data:
            tars, names, others = (_table(data, name) for name in ("tar", "name", "other"))
            contents = {suffix: _table(data, f"content{suffix}") for suffix in _table(data, "suffix")}
            stamps, first = data["stamps"], data["first"].tolist()
            offsets, sizes, heads = data["offsets"], data["sizes"], data["heads"]
            result: dict[Stamp, Members] = {}
            for i, tar in enumerate(tars):
                mine = slice(first[i], first[i + 1])
                rows = range(mine.start, mine.stop)
                size, time = (int(value) for value in stamps[i])
                result[tar, size, time] = Members(
                    [names[j] for j in rows],
                    offsets[mine],
                    sizes[mine],
                    heads[mine],
                    {suffix: [table.bytes_at(j) for j in rows] for suffix, table in contents.items()},
                    list(others),
                )
            return result
    except FileNotFoundError:
        return {}
    except Exception as error:  # a broken archive raises many kinds; after each of them the tars are read again
        log.info("%s: not used, %s", file, error)
        return {}


def _table(data: Mapping[str, NDArray[Any]], name: str) -> NameTable:
    return NameTable.of_arrays(data[f"{name}_blob"], data[f"{name}_offsets"])


def save_members(file: Path, known: Mapping[Stamp, Members]) -> None:
    """Keep the members of some tars, as far as the disk allows it; see `load_members`."""
    stamps, members = list(known), list(known.values())
    suffixes = sorted({suffix for part in members for suffix in part.contents})
    tables = {
        "tar": NameTable(stamp[0] for stamp in stamps),
        "name": NameTable(name for part in members for name in part.names),
        "other": NameTable(name for part in members for name in part.others),
        "suffix": NameTable(suffixes),
    }
    for suffix in suffixes:
        tables[f"content{suffix}"] = NameTable.of_bytes(each for part in members for each in part.contents[suffix])
    arrays: dict[str, Any] = {f"{name}_blob": table.blob for name, table in tables.items()}
    arrays |= {f"{name}_offsets": table.offsets for name, table in tables.items()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # The file is moved into place in one step, because another process may read it at any moment.
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".npz.part", delete=False) as part:
            try:
                np.savez(
                    part,
                    stamps=np.array([stamp[1:] for stamp in stamps], np.int64).reshape(-1, 2),
                    first=np.cumsum([0, *(len(part.names) for part in members)], dtype=np.int64),
                    offsets=np.concatenate([part.offsets for part in members]),
                    sizes=np.concatenate([part.sizes for part in members]),
                    heads=np.concatenate([part.heads for part in members]),
                    **arrays,
                )
                part.close()
                os.replace(part.name, file)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        log.info("the index of the tars is not kept: %s", error)
