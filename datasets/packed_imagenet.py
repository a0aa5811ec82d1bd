"""Images with an image label each, packed into one HDF5 file.

One file is fast to copy. It is read as fast as tars: the images lie in one piece, so HDF5 only says where they begin,
and each is read in place. The data sets of the file, for N images:

================================  ============================================================
``blob`` uint8                    the bytes of all JPEGs, one after the other
``offsets`` (N + 1,) int64        the beginning of each image in ``blob``, and the end
``classes`` (N,) int32            the index in ``class_names`` of each image's class
``class_names`` strings           the wnids
``key_blob``, ``key_offsets``     the file names, as in `yolo9000.datasets.names.NameTable`
================================  ============================================================
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.box_index import listed, nodes_of
from yolo9000.datasets.decode import decode
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.guarded import LeanChild
from yolo9000.datasets.imagenet import ImageNetSource
from yolo9000.datasets.names import NameTable
from yolo9000.datasets.pack_tables import FORMAT, check_tables
from yolo9000.datasets.sample import Kind, Record, Unreadable
from yolo9000.datasets.tar_index import stamp_of

_CHUNK = 64 << 20


class PackError(OSError):
    """A pack cannot be written. No part of it is left on the disk."""


class PackedImageNet:
    """Images with an image label each, from a pack that `write_pack` has made.

    Parameters
    ----------
    path : str or Path
        The pack.
    label_map : mapping of str to int
        The class index or tree node of each class name (wnid).
    name : str
        The name of the source in messages.
    skip_missing : bool
        Leave out classes without a node instead of raising.
    draft : int, optional
        Large JPEGs are shrunk while they are decoded, down to this side; see `yolo9000.datasets.decode.decode`.

    Attributes
    ----------
    names : NameTable
        ``<wnid>/<file name>`` of each image.
    guard : LeanChild, optional
        The process that decodes the images, in place of this one.

    Raises
    ------
    DatasetError
        If the file is no pack, is damaged, refers to other files, or a class has no node.

    Examples
    --------
    >>> source = PackedImageNet("imagenet-train.h5", {"n02085620": 0, "n02123045": 1})  # doctest: +SKIP
    """

    kind: Kind = "classification"
    labelled_nodes: NDArray[np.int64] | None = None
    guard: LeanChild | None = None

    def __init__(
        self,
        path: str | Path,
        label_map: Mapping[str, int],
        *,
        name: str = "imagenet",
        skip_missing: bool = False,
        draft: int | None = 512,
    ) -> None:
        self.path, self.name, self.draft = Path(path), name, draft
        if not self.path.is_file():
            raise DatasetError(f"{self.path}: no such file; tools/pack_imagenet.py makes one")
        self._stamp = stamp_of(self.path.stat())
        tables = _read_tables(self.path)
        self.class_names: list[str] = tables["names"].tobytes().decode().split("\0")[:-1]
        check_tables(self.path, tables, len(self.class_names))
        self._offsets: NDArray[np.int64] = tables["offsets"]
        self._blob = int(tables["begin"])
        classes = tables["classes"].astype(np.int32)
        where = f"{name} ({self.path})"
        nodes = nodes_of(where, "classes", self.class_names, label_map.get, skip_missing=skip_missing)
        labels = np.array(nodes, np.int64)[classes]
        self._rows: NDArray[np.int64] = np.flatnonzero(labels >= 0)
        self.classes: NDArray[np.int32] = classes[self._rows]
        self.labels: NDArray[np.int64] = labels[self._rows]
        self.names = NameTable.of_arrays(tables["key_blob"], tables["key_offsets"]).taken(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, index: int) -> str:
        """Return ``<wnid>/<file name>`` of image `index`."""
        return self.names[index]

    def place(self, index: int) -> tuple[Path, int, int]:
        """Return the file that holds image `index`, and its offset and size there."""
        row = int(self._rows[index])
        begin, end = int(self._offsets[row]), int(self._offsets[row + 1])
        return self.path, self._blob + begin, end - begin

    def read_bytes(self, index: int) -> bytes:
        """Return the undecoded content of image `index`. Raises `Unreadable`."""
        row = int(self._rows[index])
        begin, end = int(self._offsets[row]), int(self._offsets[row + 1])
        try:
            # HDF5 would take 45 us instead of 6, and its handles survive neither a fork nor a pickle.
            with open(self.path, "rb", buffering=0) as file:
                if stamp_of(os.fstat(file.fileno())) != self._stamp:
                    raise Unreadable(self.key(index), f"{self.path.name} has changed since it was opened")
                file.seek(self._blob + begin)
                data = file.read(end - begin)
        except Unreadable:
            raise
        except OSError as error:
            raise Unreadable(self.key(index), error.strerror or str(error)) from error
        if len(data) < end - begin:
            raise Unreadable(self.key(index), f"{self.path.name} ends inside it")
        return data

    def read(self, index: int) -> Record:
        """Return image `index` with its image label and no boxes. Raises `Unreadable`."""
        key = self.key(index)
        image = (self.guard.decode if self.guard else decode)(self.read_bytes(index), key, draft=self.draft)
        return Record(image, key, image_label=int(self.labels[index]))


def _read_tables(path: Path) -> dict[str, NDArray[Any]]:
    """All but the images, read by a process that may die of it."""
    with LeanChild(seconds=120) as child:
        try:
            _, content = child.ask("pack", str(path), path=str(path.absolute()))
        except Unreadable as error:
            raise DatasetError(f"{path} is not a readable pack: {error.reason}") from error
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as tables:
            return dict(tables)
    except (EOFError, ValueError, zipfile.BadZipFile) as error:  # the answer of a process that a file has upset
        raise DatasetError(f"{path} is not a readable pack: {error}") from error


def write_pack(
    source: ImageNetSource,
    path: str | Path,
    *,
    overwrite: bool = False,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> None:
    """Write all images of a source into one HDF5 file, byte for byte.

    The file appears under its name only when it is complete.

    Parameters
    ----------
    source : ImageNetSource
        The images. The pack holds their class names and no nodes, so it can be read with any tree.
    path : str or Path
        The pack to write.
    overwrite : bool
        Replace a file that is there.
    progress : callable
        It wraps the image indices, to show progress; ``tqdm`` fits.

    Raises
    ------
    FileExistsError
        If there is a file and `overwrite` is not set.
    PackError
        If the folder cannot be written or the disk is too small.
    Unreadable
        If an image's file cannot be read (a broken JPEG is packed as it is).

    Examples
    --------
    >>> write_pack(ImageNetSource("imagenet", label_map), "imagenet-train.h5")  # doctest: +SKIP
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(
            errno.EEXIST, "the file exists; choose another, or replace it with `overwrite`", str(path)
        )
    if not path.parent.is_dir():
        raise PackError(errno.ENOENT, "no such folder", str(path.parent))
    keys = NameTable(source.key(i) for i in range(len(source)))
    sizes = _sizes(source)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    need = int(offsets[-1]) + keys.blob.nbytes + 32 * len(source)
    free = shutil.disk_usage(path.parent).free
    if need > free:
        raise PackError(errno.ENOSPC, f"needs {need / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB left", str(path))
    try:
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise PackError(error.errno, f"cannot write there: {error.strerror}", str(path.parent)) from error
    os.close(handle)
    try:
        _write(source, Path(part), keys, offsets, progress)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(part, 0o666 & ~umask)  # mkstemp makes files that only their owner may read
        os.replace(part, path)
    except Unreadable:
        raise
    except OSError as error:
        # HDF5 reports a full disk in a page of text without an errno.
        full = error.errno == errno.ENOSPC or "No space left" in str(error)
        reason = "the disk is full" if full else str(error)
        raise PackError(errno.ENOSPC if full else error.errno or errno.EIO, reason, str(path)) from error
    finally:
        Path(part).unlink(missing_ok=True)


def _sizes(source: ImageNetSource) -> NDArray[np.int64]:
    sizes = source.sizes.copy()
    absent = []
    for i in np.flatnonzero(sizes < 0):
        try:
            sizes[i] = source.path(int(i)).stat().st_size
        except OSError:
            absent.append(source.key(int(i)))
    if absent:
        raise Unreadable(listed(absent), "the file is gone since the folder was listed")
    return sizes


def _write(
    source: ImageNetSource,
    part: Path,
    keys: NameTable,
    offsets: NDArray[np.int64],
    progress: Callable[[Iterable[int]], Iterable[int]],
) -> None:
    with h5py.File(part, "w") as file:
        file.attrs["format"] = FORMAT
        file["offsets"], file["classes"] = offsets, source.classes
        file["key_blob"], file["key_offsets"] = keys.blob, keys.offsets
        file.create_dataset("class_names", data=source.class_names, dtype=h5py.string_dtype())
        blob = file.create_dataset("blob", shape=(int(offsets[-1]),), dtype=np.uint8)
        waiting: list[bytes] = []
        begin = end = 0
        for i in progress(range(len(source))):
            data = source.read_bytes(i)
            if len(data) != offsets[i + 1] - offsets[i]:
                raise Unreadable(source.key(i), "the file has changed while it was packed")
            waiting.append(data)
            end += len(data)
            # Many images are written at once, because HDF5 takes 100 us for each write, however small.
            if end - begin >= _CHUNK or i == len(source) - 1:
                blob[begin:end] = np.frombuffer(b"".join(waiting), np.uint8)
                waiting, begin = [], end
