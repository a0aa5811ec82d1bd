"""Every data set that was named, as its files state it: one `Part` for each of its splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from yolo9000.checking.coco import read_coco
from yolo9000.checking.findings import ImageFile, Part
from yolo9000.checking.tars import read_box_part, read_label_part
from yolo9000.checking.texts import read_csv, read_det, read_voc, read_yolo
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.imagenet import ImageNetSource
from yolo9000.datasets.packed_imagenet import PackedImageNet
from yolo9000.experiment.coverage import Numbered
from yolo9000.experiment.layouts import LAYOUTS
from yolo9000.runtime.mistakes import Mistake

_READERS: dict[str, Callable[[str, str], Part]] = {
    "coco": read_coco,
    "voc": read_voc,
    "yolo": read_yolo,
    "csv": read_csv,
    "imagenet_det": read_det,
    "box_tars": read_box_part,
    "label_tars": read_label_part,
}


def read_parts(sets: tuple[tuple[str, str], ...], splits: tuple[str, str]) -> list[Part]:
    """Read the records of all data sets.

    Parameters
    ----------
    sets : tuple of (str, str)
        Layout and path of each.
    splits : tuple of str
        The part to train on and the part held out.

    Returns
    -------
    list of Part
        A set that cannot be opened has one finding that says why. One without a part to hold out is left out there.

    Raises
    ------
    Mistake
        A layout draws its images and has no records of its own.
    """
    parts = []
    for layout, path in sets:
        if LAYOUTS[layout].teaches == "both":
            raise Mistake(f"`{layout}` draws its images: check its tiles as images with a label, with `imagenet`")
        for split in splits if LAYOUTS[layout].has_splits else splits[:1]:
            try:
                reader = _READERS.get(layout)
                parts.append(reader(path, split) if reader else _labelled(layout, path, split))
            except (DatasetError, OSError) as error:
                if split == splits[0]:
                    part = Part(layout=layout, path=path, split=split)
                    part.find("refused", path, str(error))
                    parts.append(part)
    return parts


def _labelled(layout: str, path: str, split: str) -> Part:
    """The images with a label of a folder or a pack."""
    part = Part(layout=layout, path=path, split=split, upright=True, annotations=path)
    source: ImageNetSource | PackedImageNet
    is_pack = layout == "imagenet_pack"
    source = PackedImageNet(path, Numbered()) if is_pack else ImageNetSource(path, Numbered(), split=split)
    part.names = list(source.class_names)
    part.labels = Counter(source.class_names[number] for number in source.classes.tolist())
    for index in range(len(source)):
        file, offset, size = source.place(index)
        part.images.append(ImageFile(path=file, key=source.key(index), offset=offset, size=size))
    return part
