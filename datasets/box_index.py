"""The images, boxes and labels of a detection data set as flat arrays, checked once.

Legend: N images, T boxes of all images together.
"""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.decode import decode, orientation_of, turn_upright
from yolo9000.datasets.errors import DatasetError, UnknownClasses
from yolo9000.datasets.guarded import LeanChild
from yolo9000.datasets.names import NameTable
from yolo9000.datasets.sample import Record, Unreadable

log = logging.getLogger(__name__)

PIXELS = 2.0
"""From this value on a coordinate is no relative one that hangs over the edge."""
_CLIP_TOLERANCE = 1.0
"""Clipping is counted if it moves an edge by more pixels than this; COCO's rounding errors are smaller."""


@dataclass(frozen=True, eq=False)
class BoxIndex:
    """Images and their boxes; image i owns the boxes ``offsets[i]:offsets[i + 1]``.

    Parameters
    ----------
    folder : Path
        The folder of the images.
    names : NameTable
        The file name of each image, relative to `folder`.
    sizes : array (N, 2) int32
        The width and height of each image in pixels.
    offsets : array (N + 1,) int64
        The first box of each image, and T at the end.
    boxes_xyxy : array (T, 4) float32
        The boxes in pixels of their image, clipped to it.
    labels : array (T,) int64
        The class index or tree node of each box.
    ignore : array (T,) bool
        True for crowds and difficult objects.
    dropped : dict of str to int
        The number of boxes that were left out or clipped, for each reason.
    upright : bool
        Whether boxes and sizes refer to the images as they stand upright, whatever their sizes say.
    """

    folder: Path
    names: NameTable
    sizes: NDArray[np.int32]
    offsets: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    dropped: dict[str, int]
    upright: bool = False

    @classmethod
    def of_files(
        cls,
        name: str,
        images: Sequence[Path],
        sizes: NDArray[np.int32],
        image_of: NDArray[np.int64],
        boxes_xyxy: NDArray[np.float64],
        labels: NDArray[np.int64],
        *,
        written_twice: int = 0,
    ) -> BoxIndex:
        """Index boxes of images that may lie anywhere, in upright pixels; none is a crowd.

        Parameters
        ----------
        name : str
            The name of the source, for the log.
        images : sequence of Path
            The N files; at least one.
        sizes : array (N, 2) int32
            The width and height of each upright image in pixels.
        image_of : array (T,) int64
            The image index of each box.
        boxes_xyxy : array (T, 4) float64
            The boxes in pixels, as in `build`.
        labels : array (T,) int64
            The class index or tree node of each box; a negative one has no node, and its box is left out.
        written_twice : int
            How many lines said what another had said, for the log.

        Returns
        -------
        BoxIndex
        """
        folder = Path(os.path.commonpath([image.parent for image in images]))
        keep = labels >= 0
        return cls.build(
            name,
            folder,
            [image.relative_to(folder).as_posix() for image in images],
            sizes,
            image_of[keep],
            boxes_xyxy[keep],
            labels[keep],
            np.zeros(int(keep.sum()), np.bool_),
            {"without a node": int((~keep).sum()), "written twice": written_twice},
            upright=True,
        )

    @classmethod
    def build(
        cls,
        name: str,
        folder: Path,
        names: Iterable[str],
        sizes: NDArray[np.int32],
        image_of: NDArray[np.int64],
        boxes_xyxy: NDArray[np.float64],
        labels: NDArray[np.int64],
        ignore: NDArray[np.bool_],
        dropped: dict[str, int] | None = None,
        *,
        upright: bool = False,
    ) -> BoxIndex:
        """Clip boxes to their images, leave out those of which nothing remains, and order them by image.

        Parameters
        ----------
        name : str
            The name of the source, for the log.
        folder : Path
            The folder of the images.
        names : iterable of str
            The file name of each image, relative to `folder`.
        sizes : array (N, 2) int32
            The width and height of each image in pixels.
        image_of : array (T,) int64
            The image index of each box.
        boxes_xyxy : array (T, 4) float64
            The boxes in pixels as the data set gives them. They may be NaN, inverted or outside their image.
        labels : array (T,) int64
            The class index or tree node of each box.
        ignore : array (T,) bool
            True for crowds and difficult objects.
        dropped : dict of str to int, optional
            The number of boxes that the reader has left out already, for each reason.
        upright : bool
            Whether boxes and sizes refer to the images as they stand upright.

        Returns
        -------
        BoxIndex
            It holds the boxes that are left.
        """
        counts = dict(dropped or {})
        limit = sizes[image_of].astype(np.float64) if len(image_of) else np.zeros((0, 2))
        finite = np.asarray(np.isfinite(boxes_xyxy).all(axis=1))
        area = finite & (boxes_xyxy[:, 2] > boxes_xyxy[:, 0]) & (boxes_xyxy[:, 3] > boxes_xyxy[:, 1])
        clipped = np.clip(np.where(finite[:, None], boxes_xyxy, 0), 0, np.concatenate([limit, limit], axis=1))
        # Compared in float32, in which they are kept: a sliver that has a width in float64 may have none there.
        clipped32 = clipped.astype(np.float32)
        keep = area & (clipped32[:, 2] > clipped32[:, 0]) & (clipped32[:, 3] > clipped32[:, 1])
        moved = keep & (np.abs(clipped - np.where(finite[:, None], boxes_xyxy, 0)).max(axis=1) > _CLIP_TOLERANCE)
        counts["not finite"] = counts.get("not finite", 0) + int((~finite).sum())
        counts["zero or negative size"] = int((finite & ~area).sum())
        counts["outside the image"] = int((area & ~keep).sum())
        counts["clipped to the image"] = int(moved.sum())
        counts = {reason: count for reason, count in counts.items() if count}
        if counts:
            reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
            log.warning("%s: of %d boxes: %s (all but the clipped ones are left out)", name, len(image_of), reasons)
        order = np.flatnonzero(keep)
        order = order[np.argsort(image_of[order], kind="stable")]
        per_image = np.bincount(image_of[order], minlength=len(sizes))
        return cls(
            folder=folder,
            names=NameTable(names),
            sizes=sizes,
            offsets=np.concatenate([[0], np.cumsum(per_image)]).astype(np.int64),
            boxes_xyxy=clipped32[order],
            labels=labels[order].astype(np.int64),
            ignore=ignore[order],
            dropped=counts,
            upright=upright,
        )

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int, guard: LeanChild | None = None) -> Record:
        """Read the file of image `index` from the folder; otherwise as `record`."""
        name = self.names[index]
        try:
            data = (self.folder / name).read_bytes()
        except OSError as error:
            raise Unreadable(name, error.strerror or str(error)) from error
        return self.record(index, data, guard)

    def record(self, index: int, data: bytes, guard: LeanChild | None = None) -> Record:
        """Return image `index` with its boxes.

        Parameters
        ----------
        index : int
            The image index, from 0.
        data : bytes
            The content of its file.
        guard : LeanChild, optional
            The process that decodes the image, in place of this one.

        Returns
        -------
        Record

        Raises
        ------
        Unreadable
            If it cannot be decoded, or has another size than the data set says.

        Notes
        -----
        Boxes usually refer to the pixels as they are stored; COCO's and VOC's do. If the size that the data set
        states only fits the image turned upright by its EXIF orientation, they refer to the upright pixels. Those of
        an `upright` index always do.
        """
        name = self.names[index]
        image = (guard.decode if guard else decode)(data, name, upright=self.upright)
        width, height = (int(side) for side in self.sizes[index])
        is_swapped = image.shape[:2] == (width, height) != (height, width)
        if is_swapped and not self.upright:
            image = turn_upright(image, orientation_of(data))
        if image.shape[:2] != (height, width):
            found = f"{image.shape[1]} x {image.shape[0]}"
            advice = ": width and height are swapped, and no EXIF orientation says so" if is_swapped else ""
            raise Unreadable(name, f"{found} pixels, but its boxes are for {width} x {height}{advice}")
        mine = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        ignore = self.ignore[mine]
        boxes_xyxy = self.boxes_xyxy[mine]
        return Record(image, name, boxes_xyxy[~ignore], self.labels[mine][~ignore], None, boxes_xyxy[ignore])

    def relative_sizes(self) -> NDArray[np.float32]:
        """Return the width and height of every box, relative to the longer side of its image.

        A network sees boxes at this scale after letterboxing, so clustering these sizes gives its priors.

        Returns
        -------
        array (T', 2) float32
            T' counts the boxes that are not ignored.
        """
        image_of = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        longest = self.sizes.max(axis=1)[image_of] if len(image_of) else np.ones(0)
        wh = (self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]) / longest[:, None]
        return wh[~self.ignore].astype(np.float32)


def names_in(folder: Path) -> set[str]:
    """Return what a folder holds; nothing if there is none, or what a file calls so can be none."""
    try:
        return set(os.listdir(folder))
    except (OSError, ValueError):
        return set()


def listed(names: Iterable[str], *, most: int = 10) -> str:
    """Return the first `most` names as text, and how many more there are.

    Examples
    --------
    >>> listed(["cat", "dog", "cow"], most=2)
    'cat, dog and 1 more'
    """
    names = list(names)
    text = ", ".join(names[:most])
    return f"{text} and {len(names) - most} more" if len(names) > most else text


def contents(folder: Path, *, most: int = 8) -> str:
    """Describe what a folder holds in a few words, for an error message: up to `most` entries."""
    if not folder.exists():
        parent = next((p for p in folder.parents if p.exists()), None)
        return "no such folder" + (f"; {parent} has {contents(parent)}" if parent else "")
    if not folder.is_dir():
        return "a file"
    names = sorted(entry.name + "/" * entry.is_dir() for entry in os.scandir(folder))
    return listed(names, most=most) if names else "nothing"


def nodes_of(
    source: str,
    what: str,
    class_names: Iterable[str],
    label_map: Callable[[str], int | None],
    *,
    skip_missing: bool,
) -> list[int]:
    """Return the node of each class, -1 for a class that is left out.

    Parameters
    ----------
    source : str
        The name of the source, for messages.
    what : str
        The word for the classes in messages, such as "categories".
    class_names : iterable of str
        The classes of the source, in its order.
    label_map : callable
        It takes a class name and returns its node, None if it has none.
    skip_missing : bool
        Leave out classes without a node instead of raising.

    Returns
    -------
    list of int
        One node for each class.

    Raises
    ------
    DatasetError
        If a class has no node and `skip_missing` is not set, or if no class has one. The message names the classes.
    """
    class_names = list(class_names)
    # an e and an accent are one letter, as in the names of a tree, whichever way a file writes it
    nodes = [label_map(unicodedata.normalize("NFC", name)) for name in class_names]
    missing = [name for name, node in zip(class_names, nodes, strict=True) if node is None]
    if missing and not skip_missing:
        raise UnknownClasses(
            f"{source}: {len(missing)} of {len(class_names)} {what} have no node in the label map: "
            f"{', '.join(missing)}. Add them to the tree",
            source=source,
            missing=tuple(missing),
        )
    if len(missing) == len(class_names):
        raise DatasetError(f"{source}: none of its {len(class_names)} {what} has a node in the label map")
    if missing:
        log.warning("%s: left out, as they have no node: %s", source, listed(missing))
    return [-1 if node is None else int(node) for node in nodes]


class IndexedSource:
    """A source of images with boxes that keeps them in a `BoxIndex`.

    Attributes
    ----------
    index : BoxIndex
        Set by the class that derives from this one.
    guard : LeanChild, optional
        The process that decodes the images, in place of this one.
    """

    index: BoxIndex
    guard: LeanChild | None = None

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class index or tree node of each box."""
        return self.index.labels

    def __len__(self) -> int:
        return len(self.index)

    def read(self, index: int) -> Record:
        """Return image `index` with its boxes. Raises `Unreadable`."""
        return self.index.read(index, self.guard)
