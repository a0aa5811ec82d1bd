"""Images with an image label each, in ImageNet's layout: one folder or tar for each class."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.box_index import contents, listed, nodes_of
from yolo9000.datasets.decode import decode
from yolo9000.datasets.errors import DatasetError, NoSuchSplit
from yolo9000.datasets.guarded import LeanChild
from yolo9000.datasets.names import NameTable
from yolo9000.datasets.sample import Kind, Record, Unreadable
from yolo9000.datasets.tar_index import IMAGE_SUFFIXES, index_tars, stamp_of

LAYOUT = """\
imagenet/train/n02084071/anything.JPEG     a folder for each class, named by its wnid, or by a noun: dog/
imagenet/train/n02121620.tar               or a tar for each class
imagenet/val/n02084071/anything.JPEG       the same, held out"""
"""How the files lie, for messages and the documentation."""

_WNID = re.compile(r"n\d{8}$")
_OUTER_TAR = re.compile(r"ILSVRC\d*_img_(train|val|test).*\.tar$")

_FLAT_ADVICE = (
    "ImageNet's validation images come flat: move each into a folder named by its wnid, as the development kit's "
    "ILSVRC2012_validation_ground_truth.txt says"
)


class ImageNetSource:
    """Images with an image label each: ``<wnid>/*.JPEG`` folders, or ``<wnid>.tar`` files read in place, or both.

    A class that has both a folder and a tar is read from the folder. If a class's folder holds a folder ``images/``,
    as in the original Tiny-ImageNet, the images are read from there.

    Parameters
    ----------
    root : str or Path
        The folder of the classes, or the folder above it that holds `split`.
    label_map : mapping of str to int, optional
        The class index or tree node for the name of each folder or tar (a wnid or a user's own concept). By default
        the classes are numbered in the order of their names.
    split : str or None
        The folder of the classes inside `root`, such as ``"train"`` or ``"val"``. None means `root` itself.
    name : str
        The name of the source in messages.
    skip_missing : bool
        Leave out classes without a node instead of raising.
    cache : str or Path, optional
        The folder for the index of the tars; by default it is inside the user's cache folder.
    draft : int, optional
        Large JPEGs are shrunk while they are decoded, down to this side; see `yolo9000.datasets.decode.decode`.
    upright : bool
        Turn images as their EXIF orientation says.
    progress : callable
        It wraps the tars that are indexed for the first time, to show progress; ``tqdm`` fits.

    Attributes
    ----------
    root : Path
        The folder of the classes.
    class_names : list of str
        The names of folders and tars; `classes` holds indices into this list.
    classes : array (N,) int32
        The class of each image.
    labels : array (N,) int64
        The class index or tree node of each image.
    sizes : array (N,) int64
        The bytes of each image; -1 for a file of its own, whose size has not been read.
    guard : LeanChild, optional
        The process that decodes the images, in place of this one.

    Raises
    ------
    DatasetError
        If the layout or the label map do not fit; the message says what was looked for and what was found.

    Examples
    --------
    >>> source = ImageNetSource("imagenet", {"n02085620": 0, "n02123045": 1})  # doctest: +SKIP
    >>> source.read(0).image_label  # doctest: +SKIP
    0
    """

    kind: Kind = "classification"
    labelled_nodes: NDArray[np.int64] | None = None
    guard: LeanChild | None = None

    def __init__(
        self,
        root: str | Path,
        label_map: Mapping[str, int] | None = None,
        *,
        split: str | None = "train",
        name: str = "imagenet",
        skip_missing: bool = False,
        cache: str | Path | None = None,
        draft: int | None = 512,
        upright: bool = True,
        progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
    ) -> None:
        self.name = name
        self.draft, self.upright = draft, upright
        self.root, found = _classes(Path(root), split)
        if label_map is None:
            label_map = {class_name: i for i, class_name in enumerate(found)}
        nodes = nodes_of(f"{name} ({self.root})", "classes", list(found), label_map.get, skip_missing=skip_missing)
        kept = [(class_name, node) for class_name, node in zip(found, nodes, strict=True) if node >= 0]
        self.class_names: list[str] = [class_name for class_name, _ in kept]
        self._folders = [found[class_name] for class_name in self.class_names]
        tarred = [i for i, path in enumerate(self._folders) if path.suffix == ".tar" and path.is_file()]
        tars = index_tars([self._folders[i] for i in tarred], cache=cache, progress=progress)
        self._stamps = dict(zip(tarred, tars.stamps, strict=True))
        # First the loose files, then the members of the tars; then both are sorted by class.
        names: list[str] = []
        classes: list[int] = []
        empty = []
        for i in sorted(set(range(len(kept))) - set(tarred)):
            self._folders[i], files = _files(self._folders[i])
            names += files
            classes += [i] * len(files)
            if not files:
                empty.append(f"{self._folders[i]} has {contents(self._folders[i], most=3)}")
        if empty:
            raise DatasetError(f"{name}: {len(empty)} class folders without an image: {listed(empty, most=3)}")
        loose = len(names)
        class_of_tar = np.array(tarred, np.int32)
        unordered = np.concatenate([np.array(classes, np.int32), class_of_tar[tars.tars]])
        order = np.argsort(unordered, kind="stable")
        names += tars.names
        self.names = NameTable(names[i] for i in order)
        self._offsets = np.concatenate([np.full(loose, -1, np.int64), tars.offsets])[order]  # -1: a file of its own
        self.sizes: NDArray[np.int64] = np.concatenate([np.full(loose, -1, np.int64), tars.sizes])[order]
        self.classes: NDArray[np.int32] = unordered[order]
        self.labels: NDArray[np.int64] = np.array([node for _, node in kept], np.int64)[self.classes]

    def __len__(self) -> int:
        return len(self.names)

    def key(self, index: int) -> str:
        """Return ``<wnid>/<file name>`` of image `index`."""
        return f"{self.class_names[self.classes[index]]}/{self.names[index].rpartition('/')[2]}"

    def path(self, index: int) -> Path:
        """Return the file of image `index`, or the tar that holds it."""
        path: Path = self._folders[int(self.classes[index])]
        return path if self._offsets[index] >= 0 else path / self.names[index]

    def place(self, index: int) -> tuple[Path, int, int]:
        """Return the file that holds image `index`, and its offset and size there; -1 and -1 for a file of its own."""
        offset = int(self._offsets[index])
        return self.path(index), offset, int(self.sizes[index]) if offset >= 0 else -1

    def read_bytes(self, index: int) -> bytes:
        """Return the undecoded content of image `index`. Raises `Unreadable`."""
        path = self.path(index)
        try:
            if self._offsets[index] < 0:
                return path.read_bytes()
            # Opening it each time costs 10 us. Keeping 1,000 tars open in each worker is more than systems allow.
            handle = os.open(path, os.O_RDONLY)
            try:
                if stamp_of(os.fstat(handle)) != self._stamps[int(self.classes[index])]:
                    raise Unreadable(self.key(index), f"{path.name} has changed since it was indexed")
                data = os.pread(handle, int(self.sizes[index]), int(self._offsets[index]))
            finally:
                os.close(handle)
        except Unreadable:
            raise
        except OSError as error:
            raise Unreadable(self.key(index), error.strerror or str(error)) from error
        if len(data) < self.sizes[index]:
            raise Unreadable(self.key(index), f"{path.name} ends inside it")
        return data

    def read(self, index: int) -> Record:
        """Return image `index` with its image label and no boxes. Raises `Unreadable`."""
        key = self.key(index)
        decoded = self.guard.decode if self.guard else decode
        image = decoded(self.read_bytes(index), key, draft=self.draft, upright=self.upright)
        return Record(image, key, image_label=int(self.labels[index]))


def _classes(root: Path, split: str | None) -> tuple[Path, dict[str, Path]]:
    """Return the folder of the classes, and each class's folder or tar, in the order of their names."""
    folder = root if split is None else root / split
    if root.is_file() and _WNID.match(root.stem):
        raise DatasetError(f"{root} is a file, the images of one class: pass the folder of all classes, {root.parent}")
    if root.is_file() or _OUTER_TAR.match(root.name):
        raise DatasetError(f"{root} is a file; {_outer_tar_advice(root)}")
    if split == "train" and not folder.is_dir() and root.is_dir() and _holds_wnids(root):
        folder = root  # the folder of the training classes itself
    if not folder.is_dir():
        looked = f"looked for the folder {split}/" if split is not None else "looked for the folder"
        raise NoSuchSplit(f"{root}: {looked}, found {contents(root)}.{_hint(root)} Expected:\n{LAYOUT}")
    found: dict[str, Path] = {}
    others = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        stem, suffix = os.path.splitext(entry.name)
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            found[entry.name] = Path(entry.path)
        elif suffix == ".tar" and not _OUTER_TAR.match(entry.name):
            found.setdefault(stem, Path(entry.path))
        else:
            others.append(entry.name)
    # Images beside the folders mean that this is the folder of one class, which may hold images/.
    own = [other for other in others if other.lower().endswith(IMAGE_SUFFIXES)]
    odd = [path for name, path in found.items() if not _WNID.match(name)]  # splits, or a user's own concepts
    if not found or _WNID.match(folder.name) or own or any(_holds_wnids(path) for path in odd):
        raise DatasetError(
            f"{folder}: looked for a folder or a .tar per class (n02085620/, n02085620.tar, ..), "
            f"found {contents(folder, most=5)}.{_hint(folder)} Expected:\n{LAYOUT}"
        )
    return folder, dict(sorted(found.items()))


def _holds_wnids(folder: Path) -> bool:
    return folder.is_dir() and any(_WNID.match(name.removesuffix(".tar")) for name in os.listdir(folder))


def _hint(folder: Path) -> str:
    """Return advice for a user whose folder does not hold the classes."""
    if not folder.is_dir():
        return ""
    names = os.listdir(folder)
    outer = [name for name in names if _OUTER_TAR.match(name)]
    if outer:
        return f" {outer[0]}: {_outer_tar_advice(folder / outer[0])}."
    if _WNID.match(folder.name):
        return f" That is one class, one level too low: pass {folder.parent}."
    flat = sum(name.lower().endswith(IMAGE_SUFFIXES) for name in names)
    if flat:
        return f" {flat} images lie in it without a class. {_FLAT_ADVICE}."
    below = sorted(name for name in names if (folder / name).is_dir() and _holds_wnids(folder / name))
    if below:
        return f" That is one level too high: pass {' or '.join(str(folder / name) for name in below)}."
    deeper = sorted(str(p) for p in folder.glob("*/*") if p.is_dir() and _holds_wnids(p))
    if deeper:
        return f" That is too high: pass {Path(deeper[0]).parent}."
    if _holds_wnids(folder):
        return (
            " It holds classes itself: move them into a folder of that name in it, or read it as it is without `split`."
        )
    return ""


def _outer_tar_advice(tar: Path) -> str:
    if "_img_train" not in tar.name and _OUTER_TAR.match(tar.name):
        return f"unpack it: mkdir val && tar -xf {tar.name} -C val. {_FLAT_ADVICE}"
    return (
        "a tar of tars is not read in place. Unpack the outer one only, once: "
        f"mkdir train && tar -xf {tar.name} -C train, and pass the folder that holds train"
    )


def _files(folder: Path) -> tuple[Path, list[str]]:
    """Return the folder that holds a class's images, and their sorted names."""
    if (folder / "images").is_dir():
        folder = folder / "images"
    return folder, sorted(name for name in os.listdir(folder) if name.lower().endswith(IMAGE_SUFFIXES))
