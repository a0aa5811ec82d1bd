"""Every data set that was named, as its files state it: one `Part` for each of its splits."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from yolo9000.checking.coco import read_coco
from yolo9000.checking.findings import Finding, ImageFile, Part
from yolo9000.checking.tars import read_box_part, read_label_part
from yolo9000.checking.texts import read_csv, read_det, read_voc, read_yolo
from yolo9000.datasets.errors import DatasetError, NoSuchSplit
from yolo9000.datasets.imagenet import ImageNetSource
from yolo9000.datasets.packed_imagenet import PackedImageNet
from yolo9000.experiment.config import DataConfig
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


def read_parts(config: DataConfig) -> list[Part]:
    """Read the records of all data sets.

    Parameters
    ----------
    config : DataConfig
        It names the sets, the part of them to train on and the part held out.

    Returns
    -------
    list of Part
        A part that cannot be opened has one finding that says why. A held-out part that a set says nothing of is left
        out. What two parts of a set share, such as a folder of labels, is reported with the first of them.

    Raises
    ------
    Mistake
        A layout draws its images and has no records of its own.
    """
    parts = []
    for layout, path, split, is_needed in _places(config):
        try:
            reader = _READERS.get(layout)
            part = reader(path, split) if reader else _labelled(layout, path, split)
        except (DatasetError, OSError) as error:
            if isinstance(error, NoSuchSplit) and not is_needed:
                continue
            part = Part(layout=layout, path=path, split=split)
            part.find("refused", path, str(error))
        parts.append(part)
    said: set[Finding] = set()
    for part in parts:
        new = {dataclasses.replace(finding, split=""): finding for finding in part.findings}
        part.findings = [finding for what, finding in new.items() if what not in said]
        said |= set(new)
    return parts


def _places(config: DataConfig) -> Iterator[tuple[str, str, str, bool]]:
    """Layout, path and split of each part, and whether it has to be there."""
    train, held_out = config.splits
    # as in a training, whose `val` takes the place of the held-out part of the first set with boxes
    replaced = config.box_sets[:1] if config.val is not None else ()
    for layout, path in config.sets:
        if LAYOUTS[layout].teaches == "both":
            raise Mistake(f"`{layout}` draws its images: check its tiles as images with a label, with `imagenet`")
        yield layout, path, train, True
        is_one_file = layout == "coco" and Path(path).is_file()  # of annotations, which has no parts
        if LAYOUTS[layout].has_splits and not is_one_file and (layout, path) not in replaced:
            yield layout, path, held_out, False
    if config.val is not None:
        yield "coco", config.val, held_out, True


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
