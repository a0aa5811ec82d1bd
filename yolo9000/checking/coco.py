"""The records of a COCO file, one by one, with the line of each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yolo9000.checking.findings import Box, ImageFile, Part
from yolo9000.datasets.box_index import names_in
from yolo9000.datasets.coco import FIELDS, is_flag, is_id, locate, short, side_of, without_polygons

_BLANK = " \t\r\n"
_LISTS = tuple(name for name, _, _ in FIELDS)


class _NotJson(ValueError):
    def __init__(self, said: str, line: int) -> None:
        super().__init__(said)
        self.line = line


def read_coco(path: str, split: str) -> Part:
    """Read an annotation file and list its images.

    Parameters
    ----------
    path, split : str
        As in `yolo9000.datasets.coco.CocoSource`.

    Returns
    -------
    Part
        What is wrong with its records is among its findings.

    Raises
    ------
    DatasetError
        There is no such file or folder.
    """
    part = Part(layout="coco", path=path, split=split)
    file, folder = locate(Path(path), split, None)
    part.annotations = str(file)
    lists: dict[str, list[tuple[str, int, dict[str, Any]]]] = {name: [] for name in _LISTS}
    there: dict[str, int] = {}
    try:
        for name, number, line, entry in _entries(file):
            there[name] = number + 1
            if number < 0:
                continue
            record = f"{name}[{number}]"
            if said := _wrong(name, entry):
                part.find("wrong-record", file, said, record=record, line=line)
            else:
                lists[name].append((record, line, entry))
    except _NotJson as error:
        part.find("wrong-record", file, str(error), line=error.line)
        return part
    for name in _LISTS:
        if name not in there:
            part.find("wrong-record", file, f"there is no list {name}")
    if there.get("images") == 0:
        part.find("refused", file, "it names no image")
    image_of = _images(part, file, folder, lists["images"])
    name_of: dict[int, str] = {}
    for record, line, entry in lists["categories"]:
        if entry["id"] in name_of:
            part.find(
                "duplicate-id", file, f"the id {entry['id']} is that of another category", record=record, line=line
            )
        name_of.setdefault(entry["id"], str(entry["name"]))
    part.names = list(name_of.values())
    _boxes(part, file, lists["annotations"], image_of, name_of)
    return part


def _images(part: Part, file: Path, folder: Path, entries: list[tuple[str, int, dict[str, Any]]]) -> dict[int, int]:
    """Note the images; the place of each among them by its id, -1 for one that is not there."""
    place: dict[int, int] = {}
    first: dict[str, str] = {}
    present: dict[str, set[str]] = {"": names_in(folder)}
    for record, line, entry in entries:
        where: dict[str, Any] = {"record": record, "line": line}
        name = entry["file_name"]
        if entry["id"] in place:
            part.find("duplicate-id", file, f"the id {entry['id']} is that of another image", **where)
            continue
        above, _, own = name.rpartition("/")
        if above not in present:
            present[above] = names_in(folder / above)
        place[entry["id"]] = -1
        if own not in present[above]:
            part.find("missing-image", file, f"{name} is not in {folder}", **where)
            continue
        if name in first:
            part.find("listed-twice", file, f"{name} is {first[name]} already", image=name, **where)
        first.setdefault(name, record)
        sides = side_of(entry.get("width")), side_of(entry.get("height"))
        stated = sides if all(sides) else None
        place[entry["id"]] = len(part.images)
        part.images.append(ImageFile(path=folder / name, key=name, stated=stated, **where))
    named = {entry["file_name"] for _, _, entry in entries}
    for above, names in present.items():
        for own in sorted(names):
            name = f"{above}/{own}" if above else own
            if name not in named and own.lower().endswith((".jpg", ".jpeg", ".png", ".bmp", ".webp")):
                part.find("image-without-annotation", folder / name, f"{file.name} does not name it")
    return place


def _boxes(
    part: Part,
    file: Path,
    entries: list[tuple[str, int, dict[str, Any]]],
    image_of: dict[int, int],
    name_of: dict[int, str],
) -> None:
    ids: set[int] = set()
    for record, line, entry in entries:
        where: dict[str, Any] = {"record": record, "line": line}
        if is_id(entry.get("id")):
            if entry["id"] in ids:
                said = f"the id {entry['id']} is that of another annotation"
                part.find("duplicate-annotation-id", file, said, **where)
            ids.add(entry["id"])
        if entry["category_id"] not in name_of:
            part.find("unknown-category", file, f"there is no category {entry['category_id']}", **where)
            continue
        if entry["image_id"] not in image_of:
            part.find("annotation-without-image", file, f"there is no image {entry['image_id']}", **where)
            continue
        image = image_of[entry["image_id"]]
        if image < 0:
            continue
        try:
            x, y, width, height = (float(value) for value in entry["bbox"])
        except (TypeError, ValueError, OverflowError):
            x = y = width = height = math.nan
        crowd = bool(entry.get("iscrowd"))
        name = name_of[entry["category_id"]]
        part.boxes.append(Box(image, name, (x, y, x + width, y + height), str(file), record, line, crowd))


def _wrong(name: str, entry: Any) -> str:
    """What is wrong with a record, in the reader's words; empty if nothing is."""
    numbers, others = next((numbers, others) for each, numbers, others in FIELDS if each == name)
    if not isinstance(entry, dict):
        return f"it is no object with keys, but {short(entry)}"
    if lacking := [key for key in (*numbers, *others) if key not in entry]:
        return f"it has no {' and no '.join(lacking)}"
    if wrong := [key for key in numbers if not is_id(entry[key])]:
        return f"{wrong[0]} must be a whole number, not {short(entry[wrong[0]])}"
    if name == "images" and (not isinstance(entry["file_name"], str) or not entry["file_name"].strip("\0")):
        return f"file_name must be the name of a file, not {short(entry['file_name'])}"
    if name == "annotations" and not is_flag(entry.get("iscrowd")):
        return f"iscrowd must be 0 or 1, not {short(entry['iscrowd'])}"
    return ""


def _entries(file: Path) -> Iterator[tuple[str, int, int, Any]]:
    """List, number, line and value of each record of the three lists."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _NotJson(f"it is no UTF-8: {error.reason}", file.read_bytes().count(b"\n", 0, error.start) + 1) from None
    decoder = json.JSONDecoder(object_hook=without_polygons)
    at = line_at = 0
    line = 1
    try:
        at = _expect(text, 0, "{")
        while text[at] != "}":
            name, at = decoder.raw_decode(text, at)
            if not isinstance(name, str):
                raise ValueError(f"a key in quotes is due, not {short(name)}")
            at = _expect(text, at, ":")
            if name in _LISTS and text[at] == "[":
                at = _skip(text, at + 1)
                yield name, -1, line, None  # the list is there, whether it has entries or not
                number = 0
                while text[at] != "]":
                    line, line_at = line + text.count("\n", line_at, at), at
                    value, end = decoder.raw_decode(text, at)
                    yield name, number, line, value
                    number, at = number + 1, _skip(text, end)
                    at = _next(text, at, "]")
                at = _skip(text, at + 1)
            else:
                _, at = decoder.raw_decode(text, at)
                at = _skip(text, at)
            at = _next(text, at, "}")
        if rest := text[at + 1 :].strip():
            raise ValueError(f"{short(rest)} comes after its end")
    except json.JSONDecodeError as error:
        raise _NotJson(f"it is not valid JSON: {error.msg}", error.lineno) from None
    except RecursionError:
        raise _NotJson("lists or objects are inside each other too deeply", line) from None
    except (IndexError, ValueError) as error:
        said = "it ends too early" if isinstance(error, IndexError) else f"it is not valid JSON: {error}"
        raise _NotJson(said, text.count("\n", 0, at) + 1) from None


def _skip(text: str, at: int) -> int:
    while text[at] in _BLANK:
        at += 1
    return at


def _next(text: str, at: int, closing: str) -> int:
    """Where the next member begins, or where the closing bracket is: no comma stands before that."""
    if text[at] == closing:
        return at
    begin = _expect(text, at, ",")
    if text[begin] == closing:
        raise ValueError(f"there is a comma before {closing!r}")
    return begin


def _expect(text: str, at: int, sign: str) -> int:
    at = _skip(text, at)
    if text[at] != sign:
        raise ValueError(f"{sign!r} is due, not {text[at]!r}")
    return _skip(text, at + 1)
