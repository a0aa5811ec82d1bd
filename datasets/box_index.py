"""The images, boxes and labels of a detection data set as flat arrays, checked once."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.decode import decode, image_size, orientation_of, turn_upright
from yolo9000.datasets.errors import DatasetError, UnknownClasses
from yolo9000.datasets.names import NameTable
from yolo9000.datasets.sample import Record, Unreadable

log = logging.getLogger(__name__)

_WORTH_A_WORD = 1.0
"""Pixels that a box may stick out of its image before its clipping is counted: COCO's rounding sticks out by less."""


@dataclass(frozen=True, eq=False)
class BoxIndex:
    """Images and their boxes; image i owns the boxes ``offsets[i]:offsets[i + 1]``.

    Parameters
    ----------
    folder
        The folder of the images.
    names
        File name of each image, relative to ``folder``.
    sizes
        ``(N, 2)`` int32: width and height of each image in pixels.
    offsets
        ``(N + 1,)`` int64.
    boxes_xyxy
        ``(T, 4)`` float32 pixels, inside their image.
    labels
        ``(T,)`` int64: class index or node.
    ignore
        ``(T,)`` bool: crowds and difficult objects.
    dropped
        How many boxes were left out or clipped, by reason.
    """

    folder: Path
    names: NameTable
    sizes: NDArray[np.int32]
    offsets: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]
    dropped: dict[str, int]

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
    ) -> BoxIndex:
        """Clip boxes to their images, leave out those that nothing remains of, and order them by image.

        Parameters
        ----------
        name
            The source's name, for the log.
        folder, names, sizes
            As in the class.
        image_of
            ``(T,)``: the image of each box.
        boxes_xyxy
            ``(T, 4)`` pixels, as the data set gives them: possibly NaN, inverted or outside.
        labels, ignore
            ``(T,)``.
        dropped
            Boxes that the reader has left out already, by reason.
        """
        counts = dict(dropped or {})
        limit = sizes[image_of].astype(np.float64) if len(image_of) else np.zeros((0, 2))
        finite = np.asarray(np.isfinite(boxes_xyxy).all(axis=1))
        area = finite & (boxes_xyxy[:, 2] > boxes_xyxy[:, 0]) & (boxes_xyxy[:, 3] > boxes_xyxy[:, 1])
        clipped = np.clip(np.where(finite[:, None], boxes_xyxy, 0), 0, np.concatenate([limit, limit], axis=1))
        # In float32, as they are kept: a sliver that float64 tells from nothing may have no width there.
        clipped32 = clipped.astype(np.float32)
        keep = area & (clipped32[:, 2] > clipped32[:, 0]) & (clipped32[:, 3] > clipped32[:, 1])
        moved = keep & (np.abs(clipped - np.where(finite[:, None], boxes_xyxy, 0)).max(axis=1) > _WORTH_A_WORD)
        counts["not finite"] = counts.get("not finite", 0) + int((~finite).sum())
        counts["zero or negative size"] = int((finite & ~area).sum())
        counts["outside the image"] = int((area & ~keep).sum())
        counts["clipped to the image"] = int(moved.sum())
        counts = {reason: count for reason, count in counts.items() if count}
        if counts:
            told = ", ".join(f"{count} {reason}" for reason, count in counts.items())
            log.warning("%s: of %d boxes: %s (all but the clipped ones are left out)", name, len(image_of), told)
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
        )

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Record:
        """Return image ``index`` with its boxes.

        Raises
        ------
        Unreadable
            If the file is gone, cannot be decoded, or has another size than the data set says.

        Notes
        -----
        Boxes refer to the pixels as they are stored (so COCO and VOC), unless the size that the data set states is
        that of the image turned upright by its EXIF orientation: then to those.
        """
        name = self.names[index]
        try:
            data = (self.folder / name).read_bytes()
        except OSError as error:
            raise Unreadable(name, error.strerror or str(error)) from error
        image = decode(data, name, upright=False)
        width, height = (int(side) for side in self.sizes[index])
        is_swapped = image.shape[:2] == (width, height) != (height, width)
        if is_swapped:
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
        """Return ``(T', 2)``: width and height of every box, relative to a square around its image.

        That is what a letterboxed network sees; clustering them gives the priors. Ignored boxes are left out.
        """
        image_of = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        longest = self.sizes.max(axis=1)[image_of] if len(image_of) else np.ones(0)
        wh = (self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]) / longest[:, None]
        return wh[~self.ignore].astype(np.float32)


def size_of_file(path: Path) -> tuple[int, int]:
    """Return an image's width and height from its header; (1, 1) if it has none, as reading it will name it."""
    try:
        return image_size(path.read_bytes(), path.name)
    except OSError:
        return 1, 1


def listed(names: Iterable[str], *, most: int = 10) -> str:
    """Return the first names as text, with the number of those that are not shown."""
    names = list(names)
    text = ", ".join(names[:most])
    return f"{text} and {len(names) - most} more" if len(names) > most else text


def contents(folder: Path, *, most: int = 8) -> str:
    """Return what a folder holds, in a few words, for an error message."""
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
    """Return the node of each class, -1 for a class that is to be skipped.

    Raises
    ------
    DatasetError
        If a class has no node, with all of those classes.
    """
    class_names = list(class_names)
    nodes = [label_map(name) for name in class_names]
    missing = [name for name, node in zip(class_names, nodes, strict=True) if node is None]
    if missing and not skip_missing:
        raise UnknownClasses(
            f"{source}: {len(missing)} of {len(class_names)} {what} have no node in the label map: "
            f"{', '.join(missing)}. Add them to the tree, or pass skip_missing=True to leave them out",
            source=source,
            missing=tuple(missing),
        )
    if len(missing) == len(class_names):
        raise DatasetError(f"{source}: none of its {len(class_names)} {what} has a node in the label map")
    if missing:
        log.warning("%s: left out, as they have no node: %s", source, listed(missing))
    return [-1 if node is None else int(node) for node in nodes]
