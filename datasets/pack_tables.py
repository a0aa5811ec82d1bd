"""The tables of an image pack, read by HDF5's library and checked; see `yolo9000.datasets.packed_imagenet`.

HDF5's library crashes on damaged files, and a file may send it to any other file of the machine (external storage,
links). So this is run in a process of its own (`yolo9000.datasets.lean_child`), follows nothing, and hands on plain
arrays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.errors import DatasetError

FORMAT = "yolo9000 image pack 1"
_DAMAGED = "Make it again with tools/pack_imagenet.py, or copy it again"
_INTEGERS = ("offsets", "classes", "key_blob", "key_offsets")


def read_tables(path: Path) -> dict[str, NDArray[Any]]:
    """Read everything of a pack but its images.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to array
        ``offsets``, ``classes``, ``key_blob``, ``key_offsets``; ``names``, the names of the classes as UTF-8 with a
        zero after each; and ``begin``, the place of the images in the file.

    Raises
    ------
    DatasetError
        It is no pack, or one whose tables do not fit each other.
    """
    try:
        with h5py.File(path, "r") as file:
            made_by = file.attrs.get("format")
            if not isinstance(made_by, str) or made_by != FORMAT:
                raise DatasetError(f"{path} is an HDF5 file, but no pack made by tools/pack_imagenet.py")
            size = path.stat().st_size
            tables = {name: _numbers(path, _own(path, file, name), size) for name in _INTEGERS}
            names = _own(path, file, "class_names")
            if names.ndim != 1 or names.shape[0] * 16 > size or h5py.check_string_dtype(names.dtype) is None:
                raise DatasetError(f"{path}: class_names is no list of names. {_DAMAGED}")
            encoded = [str(name).encode() for name in names.asstr()[:]]
            blob = _own(path, file, "blob")
            begin = blob.id.get_offset()
            images = int(tables["offsets"][-1]) if tables["offsets"].size else 0
            if begin is None and images:  # an empty one has no place in the file
                raise DatasetError(f"{path} was changed by another program: its images lie in chunks. Make it again")
            if blob.dtype != np.uint8 or blob.ndim != 1 or blob.shape[0] < images:
                raise DatasetError(f"{path}: blob has no {images:,} bytes of images. {_DAMAGED}")
    except DatasetError:
        raise
    except Exception as error:  # h5py raises whatever its library trips over
        raise DatasetError(f"{path} is not a readable pack: {' '.join(str(error).split())}") from error
    tables["names"] = np.frombuffer(b"".join(name + b"\0" for name in encoded), np.uint8)
    tables["begin"] = np.array(int(begin or 0), np.int64)
    return tables


def check_tables(path: Path, tables: dict[str, NDArray[Any]], classes: int) -> None:
    """Raise a `DatasetError` if the tables do not fit each other or the file.

    Parameters
    ----------
    path : Path
    tables : dict of str to array
        As `read_tables` gives them.
    classes : int
        The number of classes.
    """
    offsets, of_class = tables["offsets"], tables["classes"]
    for name in ("offsets", "key_offsets"):
        table = tables[name]
        end = None if name == "offsets" else len(tables["key_blob"])
        rises = len(table) > 0 and table[0] == 0 and bool((np.diff(table) >= 0).all())
        if len(table) != len(of_class) + 1 or not rises or (end is not None and table[-1] != end):
            raise DatasetError(
                f"{path}: {name} has {len(table):,} numbers that do not mark {len(of_class):,} pieces one after the "
                f"other. {_DAMAGED}"
            )
    wrong = np.flatnonzero((of_class < 0) | (of_class >= classes))
    if len(wrong):
        raise DatasetError(
            f"{path}: image {wrong[0]:,} is of class {of_class[wrong[0]]}, but there are {classes} classes, 0 to "
            f"{classes - 1}. {_DAMAGED}"
        )
    end = int(tables["begin"]) + int(offsets[-1])
    size = path.stat().st_size
    if int(tables["begin"]) < 0 or end > size:
        raise DatasetError(f"{path} is truncated: its images end at byte {end:,}, the file at {size:,}. Copy it again")


def _own(path: Path, file: h5py.File, name: str) -> Any:
    """A data set that lies in this file and in no other."""
    link = file.get(name, getlink=True)
    if link is None:
        raise DatasetError(f"{path} is not a readable pack: it has no {name}. {_DAMAGED}")
    if not isinstance(link, h5py.HardLink):
        raise DatasetError(f"{path}: {name} is a link to another place, which is not followed")
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise DatasetError(f"{path}: {name} is no array. {_DAMAGED}")
    if found.external or found.is_virtual:
        raise DatasetError(f"{path}: {name} lies in another file (external storage), which is not opened")
    return found


def _numbers(path: Path, table: Any, size: int) -> NDArray[Any]:
    """A table of whole numbers that is stored in the file itself, and not merely claimed to be there."""
    name = table.name.lstrip("/")
    is_plain = table.ndim == 1 and table.dtype.kind in "iu" and table.chunks is None and table.nbytes <= size
    if not is_plain or (name == "key_blob" and table.dtype != np.uint8):
        raise DatasetError(f"{path}: {name} is no plain list of whole numbers. {_DAMAGED}")
    found: NDArray[Any] = table[:]
    return found if name == "key_blob" else found.astype(np.int64)
