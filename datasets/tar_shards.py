"""Images and what is said of them in tars of webdataset's kind, several to a data set, at any URL.

The members of a tar that have the same path up to the first dot of the file's name are one image and its annotations:
``a/1.jpg``, ``a/1.cls``, ``a/1.json``. Each tar is read once, from its beginning to its end, and what lies where is
kept in the folder of indices; from then on members are read by their bytes alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.box_index import listed
from yolo9000.datasets.errors import DatasetError, NoSuchSplit, Unreadable
from yolo9000.datasets.names import NameTable
from yolo9000.datasets.remote import RECHECK, RemoteFiles
from yolo9000.datasets.tar_index import (
    IMAGE_SUFFIXES,
    Member,
    Members,
    Stamp,
    cache_folder,
    load_members,
    save_members,
    walk_tar,
)
from yolo9000.datasets.tar_records import CLASSES

LARGEST = {".cls": 4096, ".json": 1 << 20}
"""The suffixes of annotations, and the most bytes that one may have."""
LARGEST_IMAGE = 1 << 28
"""The most bytes of an image that is read."""
_AT_ONCE = 8
"""Tars that are indexed beside each other."""
_HEADER = 512

Progress = Callable[[Sequence[int]], Iterable[int]]


class Shards:
    """The tars of one split of a data set, and the N images in them, in the order of the tars and of their members.

    Parameters
    ----------
    url : str
        Where the tars are; see `yolo9000.datasets.remote.RemoteFiles`.
    split : str
        Those are taken that have it as a word of their name (``train-0000.tar``), or lie in a folder of that name;
        all, if it is empty.
    cache : str or Path, optional
        The folder of the indices; by default ``yolo9000`` in the user's cache folder (``XDG_CACHE_HOME``).
    note : callable
        It is given the annotations of each image by their suffix, in the order of the images.
    progress : callable
        It wraps the numbers of the tars while they are gone through.

    Attributes
    ----------
    names : NameTable
        ``<tar>/<member>`` of each image.
    tars : array (N,) int32
        The number of each image's tar.
    offsets, sizes : array (N,) int64
        The first byte of each image in its tar, and the number of its bytes.
    classes : list of str, optional
        The lines of ``classes.txt`` beside the first tar, or beside the folder of the split; None without one.
    others : list of (str, str)
        Tar and name of annotations without an image.

    Raises
    ------
    DatasetError
        If there are no such tars, or one is no tar, is truncated, or holds what is not read in place.
    """

    def __init__(
        self,
        url: str,
        split: str,
        *,
        cache: str | Path | None = None,
        note: Callable[[Mapping[str, bytes]], None],
        progress: Progress = iter,
    ) -> None:
        self.files = RemoteFiles(url)
        self.files.only(_of_split(self.files, split))
        text = self.files.text_beside(CLASSES, up=split)
        self.classes = None if text is None else _lines(text, self.files.urls[0])
        self._common = len(posixpath.commonprefix(self.files.urls).rpartition("/")[0]) + 1
        names: list[str] = []
        parts: list[Members] = []
        self.others: list[tuple[str, str]] = []
        self._stamps: list[tuple[int, int]] = []
        for number, (stamp, members) in enumerate(_indices(self.files, cache_folder(cache), progress)):
            tar = self.files.urls[number]
            for i, member in enumerate(members.names):
                note({suffix: each[i] for suffix, each in members.contents.items()})
                names.append(f"{tar[self._common :]}/{member}")
            self.others += [(tar, other) for other in members.others]
            self._stamps.append(stamp)
            parts.append(members._replace(names=[], contents={}, others=[]))
        self.names = NameTable(names)
        counts = [len(part.offsets) for part in parts]
        self.tars: NDArray[np.int32] = np.repeat(np.arange(len(parts), dtype=np.int32), counts)
        self.offsets: NDArray[np.int64] = np.concatenate([part.offsets for part in parts])
        self.sizes: NDArray[np.int64] = np.concatenate([part.sizes for part in parts])
        self._heads: NDArray[np.int64] = np.concatenate([part.heads for part in parts])
        self._asked: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self.names)

    def tar(self, index: int) -> str:
        """Return the tar of image `index`, as messages call it."""
        return self.files.urls[int(self.tars[index])]

    def member(self, index: int) -> str:
        """Return the name of image `index` in its tar."""
        return self.names[index][len(self.tar(index)) - self._common + 1 :]

    def where(self, index: int) -> str:
        """Return tar and member of image `index`, for messages."""
        return f"{self.tar(index)}: {self.member(index)}"

    def read_bytes(self, index: int) -> bytes:
        """Return the undecoded content of image `index`. Raises `Unreadable`."""
        key, tar = self.names[index], int(self.tars[index])
        begin, size = int(self.offsets[index]), int(self.sizes[index])
        if size > LARGEST_IMAGE:
            raise Unreadable(key, f"it has {size:,} bytes, and {LARGEST_IMAGE:,} are the most that is read")
        try:
            now = time.monotonic()
            if self.files.is_local or now - self._asked.get(tar, -RECHECK) >= RECHECK:
                if self.files.stamp(tar) != self._stamps[tar]:
                    raise Unreadable(key, f"{self.files.urls[tar]} has changed since it was indexed")
                self._asked[tar] = now
            data = self.files.read(tar, begin - _HEADER, begin + size)
        except Unreadable:
            raise
        except OSError as error:
            raise Unreadable(key, error.strerror or str(error)) from error
        if len(data) != size + _HEADER:
            raise Unreadable(key, f"{self.files.urls[tar]} gave {len(data):,} bytes for {size + _HEADER:,}")
        if zlib.crc32(data[:_HEADER]) != self._heads[index]:  # it comes along, and costs no question of its own
            raise Unreadable(key, f"{self.files.urls[tar]} has changed since it was indexed: its header is another")
        return data[_HEADER:]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_asked": {}}


def _lines(text: str, tar: str) -> list[str]:
    """The lines of ``classes.txt``, whose numbers are labels: an empty one would shift those below it."""
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if "" in lines:
        raise DatasetError(
            f"{tar}: line {lines.index('') + 1} of {CLASSES} beside it is empty; labels are numbers of lines, so put a "
            "name there, or delete the line if the labels do not count it"
        )
    return lines


def _of_split(files: RemoteFiles, split: str) -> list[int]:
    """The numbers of the tars of a split."""
    if not split:
        return list(range(len(files)))
    found = []
    for number, url in enumerate(files.urls):
        folder, name = url.split("?")[0].split("/")[-2:] if "/" in url else ("", url)
        if folder == split or re.search(rf"(?<![^\W_]){re.escape(split)}(?![^\W_])", name):
            found.append(number)
    if not found:
        raise NoSuchSplit(
            f"{files.pattern}: none of its {len(files):,} files has the word {split} in its name, or lies in a folder "
            f"{split}/: {listed(files.urls, most=3)}. `splits` says what the parts are called"
        )
    return found


def _indices(files: RemoteFiles, folder: Path, progress: Progress) -> Iterator[tuple[tuple[int, int], Members]]:
    """Stamp and index of each tar, in order; some are read beside each other, and few are in memory at once."""
    numbers = iter(progress(range(len(files))))
    waiting = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for number in numbers:
                waiting.append(pool.submit(_index, files, number, folder))
                if len(waiting) == 2 * _AT_ONCE:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            pool.shutdown(cancel_futures=True)


def _index(files: RemoteFiles, number: int, folder: Path) -> tuple[tuple[int, int], Members]:
    url = files.urls[number]
    digest = hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()
    file = folder / f"shard-{digest[:20]}.npz"
    try:
        size, version = files.stamp(number)
        stamp: Stamp = (url, size, version)
        if stamp not in (known := load_members(file)):
            with _alone(folder / f"shards-{digest[:2]}.lock"):  # another process may be about to read the same
                if stamp not in (known := load_members(file)):
                    with contextlib.closing(files.open(number)) as tar:
                        known = {stamp: read_shard(cast("IO[bytes]", tar), url, size)}
                    if not files.is_local and len(files.read(number, 0, _HEADER)) != _HEADER:
                        raise DatasetError(f"{url}: its server sends whole files, and no ranges of bytes")
                    if files.stamp(number) != stamp[1:]:
                        raise DatasetError(f"{url}: changed while it was read; begin again when it is whole")
                    save_members(file, known)
    except FileNotFoundError as error:
        raise DatasetError(f"{url}: no such file") from error
    except OSError as error:
        raise DatasetError(f"{url}: cannot be read: {error}") from error
    return stamp[1:], known[stamp]


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Wait until no other process has the file; where there are no locks, or no folder for them, do not."""
    try:
        import fcntl

        file.parent.mkdir(parents=True, exist_ok=True)
        held = file.open("w")
    except (ImportError, OSError):
        yield
        return
    with held:
        with contextlib.suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def read_shard(file: IO[bytes], where: str, length: int) -> Members:
    """Read through a tar: where its images lie, and what its annotations say.

    Parameters
    ----------
    file : file object
        The tar.
    where : str
        What errors call it.
    length : int
        The number of its bytes.

    Returns
    -------
    Members
        The images in the order of the tar, each with its annotations by suffix (empty where there is none).

    Raises
    ------
    DatasetError
        If it is no tar, truncated or damaged; or a member is a link, is stored with holes, leads out of the folder it
        would be unpacked in, is there twice, or is too long for an annotation.
    """
    images: dict[str, Member] = {}
    notes: dict[str, dict[str, bytes]] = {suffix: {} for suffix in LARGEST}
    named: dict[tuple[str, str], str] = {}

    def visit(member: Member) -> None:
        stem, suffix = _split_name(member.name)
        if suffix not in LARGEST and suffix not in IMAGE_SUFFIXES:
            return
        said = f"{where}: {member.name[:200]!r}"
        if member.issym() or member.islnk():
            raise DatasetError(f"{said} is a link to {member.linkname[:200]!r}, and links are not followed")
        if not member.isreg():
            return
        if member.name.startswith("/") or ".." in member.name.split("/"):
            raise DatasetError(
                f"{said} leads out of the folder that the tar would be unpacked in; no archiver writes so"
            )
        twice = stem in images if suffix in IMAGE_SUFFIXES else stem in notes[suffix]
        if twice:
            raise DatasetError(f"{said}: another member is of the same image; names are the same up to their first dot")
        if suffix in IMAGE_SUFFIXES:
            images[stem] = member
            return
        if member.size > LARGEST[suffix]:
            raise DatasetError(f"{said} has {member.size:,} bytes; a {suffix} has {LARGEST[suffix]:,} at most")
        file.seek(member.offset_data)
        notes[suffix][stem] = file.read(member.size)
        named[stem, suffix] = member.name

    members = walk_tar(file, where, length, visit)
    if not images:
        files = [m.name for m in members if m.isreg()]
        raise DatasetError(f"{where} holds no image; found {listed(files, most=3) or 'nothing'}")
    contents = {suffix: [found.get(stem, b"") for stem in images] for suffix, found in notes.items() if found}
    others = [name for (stem, _), name in named.items() if stem not in images]
    return Members.of(list(images.values()), contents, others)


def _split_name(name: str) -> tuple[str, str]:
    """A member's name up to the first dot of the file's name, and the rest in small letters."""
    folder, file = posixpath.split(name)
    stem, dot, rest = file.partition(".")
    return posixpath.normpath(posixpath.join(folder, stem)), (dot + rest).lower() if stem else ""
