"""The records of VOC's XMLs, of YOLO's text files and of tables, with the line of each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from yolo9000.checking.findings import Box, ImageFile, Part
from yolo9000.datasets import voc, yolo
from yolo9000.datasets.box_table import find_table, read_table
from yolo9000.datasets.complaints import Complaints, read_text
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.imagenet_det import SUFFIX, find_folders

_MANY = 100_000


def read_voc(path: str, split: str) -> Part:
    """Read the list of a split and the XML of each image; arguments as `yolo9000.datasets.voc.VocSource` has them."""
    part = Part(layout="voc", path=path, split=split)
    root = Path(path)
    listing = root / voc.LISTS / f"{split}.txt"
    part.annotations = str(listing)
    if not listing.is_file():
        voc.VocSource(path, {}, split=split)  # says what was looked for
    images: dict[str, str] = {}
    for name in sorted(os.listdir(root / voc.IMAGES)) if (root / voc.IMAGES).is_dir() else []:
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in voc.IMAGE_SUFFIXES:
            images.setdefault(stem, name)
    xmls = {xml.stem for xml in (root / voc.XMLS).glob("*.xml")}
    seen: set[str] = set()
    for line, text in enumerate(read_text(listing).splitlines(), 1):
        if not text.strip():
            continue
        name = text.split()[0]
        if name in seen:
            part.find("duplicate-id", listing, f"{name} is listed already", record=name, line=line)
        elif name not in xmls:
            part.find("missing-annotation", listing, f"{name} has no {voc.XMLS}/{name}.xml", record=name, line=line)
        elif name not in images:
            part.find("missing-image", listing, f"{name} has no image in {voc.IMAGES}", record=name, line=line)
        else:
            _read_xml(part, root / voc.XMLS / f"{name}.xml", root / voc.IMAGES / images[name], images[name], 1)
        seen.add(name)
    if not seen:
        part.find("refused", listing, "it names no image")
    for name in sorted(xmls - set(images) - seen):
        part.find("label-without-image", root / voc.XMLS / f"{name}.xml", f"there is no image {name}")
    for name in sorted(set(images) - xmls - seen):
        part.find("image-without-annotation", root / voc.IMAGES / images[name], f"there is no {voc.XMLS}/{name}.xml")
    return part


def read_det(path: str, split: str) -> Part:
    """Read the XMLs of ImageNet's detection challenge."""
    part = Part(layout="imagenet_det", path=path, split=split)
    annotations, folder = find_folders(Path(path), split)
    part.annotations = str(annotations)
    for xml in sorted(annotations.rglob("*.xml")):
        name = xml.relative_to(annotations).with_suffix(SUFFIX).as_posix()
        if (folder / name).is_file():
            _read_xml(part, xml, folder / name, name, 0)
        else:
            part.find("missing-image", xml, f"{name} is not in {folder}")
    return part


def _read_xml(part: Part, xml: Path, image: Path, key: str, first_pixel: int) -> None:
    """Note the image and boxes of an XML."""
    try:
        top = voc.parse_xml(xml)
        lines = _object_lines(xml)
        sides = [int(float(top.findtext(f"size/{side}") or 0)) for side in ("width", "height")]
    except ElementTree.ParseError as error:
        part.find("wrong-record", xml, f"it is no XML: {error}", line=error.position[0])
        return
    except (ValueError, OverflowError, LookupError) as error:
        part.find("wrong-record", xml, str(error))
        return
    stated = (sides[0], sides[1]) if min(sides) > 0 else None
    number = len(part.images)
    part.images.append(ImageFile(path=image, key=key, stated=stated, record="size"))
    for place, thing in enumerate(top.iter("object")):
        record, line = f"object {place + 1}", lines[place] if place < len(lines) else None
        name = (thing.findtext("name") or "").strip()
        words = [thing.findtext(f"bndbox/{side}") or "nan" for side in voc.SIDES]
        try:
            x0, y0, x1, y1 = map(float, words)
        except ValueError:
            part.find("wrong-record", xml, f"{', '.join(words)}: four numbers are needed", record=record, line=line)
            continue
        if not name:
            part.find("wrong-record", xml, "it has no <name>", record=record, line=line)
            continue
        last = 1 - first_pixel
        edges = (x0 - first_pixel, y0 - first_pixel, x1 + last, y1 + last)
        difficult = (thing.findtext("difficult") or "0").strip() == "1"
        part.boxes.append(Box(number, name, edges, str(xml), record, line, difficult))


def _object_lines(xml: Path) -> list[int]:
    """The line of each ``<object>``."""
    lines: list[int] = []
    parser = expat.ParserCreate()

    def begin(name: str, attributes: dict[str, str]) -> None:
        if name == "object":
            lines.append(parser.CurrentLineNumber)

    parser.StartElementHandler = begin
    parser.Parse(xml.read_bytes(), True)
    return lines


def read_yolo(path: str, split: str) -> Part:
    """Read a ``data.yaml`` and the file of labels of each image."""
    part = Part(layout="yolo", path=path, split=split, upright=True)
    data = yolo.read_data_yaml(path)
    part.annotations, part.names = str(data.file), list(data.names)
    images = yolo.images_of(data, split)
    folders = set()
    for number, image in enumerate(images):
        part.images.append(ImageFile(path=image, key=_key(image, data.file.parent)))
        file = yolo.label_file_of(image)
        folders.add(file.parent)
        if file.is_file():
            _read_labels(part, data, file, number)
    try:
        yolo.require_labels(data, images, split)
    except DatasetError as error:
        part.find("refused", data.file, str(error))
    if (used := _texts_of(data)) is None:
        return part
    for folder in sorted(folders):
        for file in sorted(folder.glob("*.txt")):
            if file not in used and file.stem != "classes":
                part.find("label-without-image", file, f"no image of {data.file.name} is called {file.stem}")
    return part


def _texts_of(data: yolo.YoloData) -> set[Path] | None:
    """The labels and lists of all splits, which may lie in one folder; None if it cannot be known whose labels are."""
    used: set[Path] = set()
    for split, places in data.splits.items():
        used |= {place.absolute() for place in places}
        try:
            used |= {yolo.label_file_of(image) for image in yolo.images_of(data, split)}
        except DatasetError:
            if any(os.path.isfile(place) for place in places):
                return None
    return used


def _key(image: Path, folder: Path) -> str:
    """The path of an image in its data set: base names may be the same in two folders."""
    above = folder.absolute()
    return image.relative_to(above).as_posix() if image.is_relative_to(above) else image.as_posix()


def _read_labels(part: Part, data: yolo.YoloData, file: Path, image: int) -> None:
    try:
        lines = read_text(file).splitlines()
    except DatasetError:
        part.find("wrong-record", file, "it is no text in UTF-8")
        return
    seen: set[Sequence[float]] = set()
    for line, text in enumerate(lines, 1):
        if not (words := text.split()):
            continue
        try:
            row = yolo.read_line(words, data)
        except yolo.WrongLine as error:
            part.find("wrong-record", file, str(error)[:300], line=line)
            continue
        if row in seen:
            part.find("written-twice", file, "another line says the same", line=line, image=part.images[image].key)
            continue
        seen.add(row)
        part.boxes.append(Box(image, data.names[row[0]], row[1:], str(file), "", line, relative=True))


def read_csv(path: str, split: str) -> Part:
    """Read a table of boxes."""
    part = Part(layout="csv", path=path, split=split, upright=True)
    file, needs_column = find_table(Path(path), split)
    part.annotations = str(file)
    complaints = Complaints("", keep=_MANY)
    table = read_table(file, split, needs_column, complaints)
    for name, line, said in complaints.found:
        kind = "missing-image" if said.startswith("no such image") else "wrong-record"
        part.find(kind, name, said, line=line)
    for line in table.twice:
        part.find("written-twice", file, "another row says the same", line=line)
    part.images = [ImageFile(path=image, key=_key(image, file.parent)) for image in table.images]
    is_relative = table.is_relative
    for row in table.boxes:
        number = table.images[row.image]
        part.boxes.append(Box(number, row.label, row.edges, str(file), "", row.line, relative=is_relative))
    return part
