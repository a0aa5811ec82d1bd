"""The records of tars of webdataset's kind, with the member of each."""

from __future__ import annotations

import functools
from collections import Counter

import numpy as np

from yolo9000.checking.findings import Box, ImageFile, Part
from yolo9000.datasets.box_tars import read_box_tars
from yolo9000.datasets.complaints import Complaints
from yolo9000.datasets.label_tars import LabelTars
from yolo9000.datasets.tar_shards import Shards
from yolo9000.experiment.coverage import Numbered

_MANY = 100_000


def read_label_part(path: str, split: str) -> Part:
    """Read the labels of tars; arguments as `yolo9000.datasets.label_tars.LabelTars` has them."""
    part = Part(layout="label_tars", path=path, split=split, upright=True, annotations=path)
    complaints = Complaints("", keep=_MANY)
    source = LabelTars(path, Numbered(), split=split, complaints=complaints)
    part.names = list(source.class_names)
    part.labels = Counter(source.class_names[number] for number in source.classes.tolist())
    for row in source.rows.tolist():
        _add_image(part, source.shards, row)
    _add_complaints(part, source.shards, complaints)
    return part


def read_box_part(path: str, split: str) -> Part:
    """Read the boxes of tars; arguments as `yolo9000.datasets.box_tars.BoxTars` has them."""
    part = Part(layout="box_tars", path=path, split=split, annotations=path)
    complaints = Complaints("", keep=_MANY)
    shards, stated = read_box_tars(path, split, complaints)
    wrong = {place for place, _, _ in complaints.found}
    part.names = list(shards.classes or ())
    number_of = {}
    for row in range(len(shards)):
        if shards.where(row) in wrong:
            continue
        number_of[row] = len(part.images)
        width, height = stated.sizes[row].tolist()
        _add_image(part, shards, row, (width, height))
    image_of = np.repeat(np.arange(len(shards)), stated.counts)
    first = np.concatenate([[0], np.cumsum(stated.counts)])
    for box, row in enumerate(image_of.tolist()):
        if row in number_of:
            record = f"{shards.member(row)}: boxes[{box - first[row]}]"
            x0, y0, x1, y1 = stated.boxes_xyxy[box].tolist()
            name, ignored = stated.names[stated.labels[box]], bool(stated.ignore[box])
            part.boxes.append(Box(number_of[row], name, (x0, y0, x1, y1), shards.tar(row), record, None, ignored))
    _add_complaints(part, shards, complaints)
    return part


def _add_image(part: Part, shards: Shards, row: int, stated: tuple[int, int] | None = None) -> None:
    member = shards.member(row)
    part.images.append(
        ImageFile(
            path=shards.tar(row),
            key=shards.names[row],
            offset=int(shards.offsets[row]),
            size=int(shards.sizes[row]),
            stated=stated,
            record=member,
            read=functools.partial(shards.read_bytes, row),
        )
    )


def _add_complaints(part: Part, shards: Shards, complaints: Complaints) -> None:
    rows = {shards.where(row): row for row in range(len(shards))} if complaints.found else {}
    for place, _, said in complaints.found:
        kind = "missing-annotation" if said.startswith(("it has no label", "no .json")) else "wrong-record"
        part.find(kind, shards.tar(rows[place]), said, record=shards.member(rows[place]))
    for tar, member in shards.others:
        part.find("label-without-image", tar, "no image of the tar has its name", record=member)
