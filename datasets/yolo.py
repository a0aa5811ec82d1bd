"""Detection images in YOLO's format, as Ultralytics and Roboflow write it: data.yaml and a text file for each image."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.box_index import (
    PIXELS,
    BoxIndex,
    IndexedSource,
    contents,
    listed,
    nodes_of,
)
from yolo9000.datasets.complaints import Complaints, read_text
from yolo9000.datasets.decode import upright_size_of_file
from yolo9000.datasets.errors import DatasetError, NoSuchSplit
from yolo9000.datasets.sample import Kind

LAYOUT = """\
data.yaml                 path: . | train: images/train | val: images/val | names: [forklift, pallet]
images/train/0001.jpg     (or train/images/0001.jpg, as Roboflow exports it)
labels/train/0001.txt     a line for each box: CLASS CENTRE_X CENTRE_Y WIDTH HEIGHT, relative to the image, 0 to 1
images/val/, labels/val/  the same, held out"""
"""How the files lie, for messages and the documentation."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_LINE = "a line is CLASS CENTRE_X CENTRE_Y WIDTH HEIGHT, or CLASS and the corners of a polygon, relative to the image"
_MOST_BYTES = 1 << 20
_OTHER_NAMES = {"val": "valid", "valid": "val", "validation": "val"}


@dataclass(frozen=True)
class YoloData:
    """What a ``data.yaml`` says.

    Parameters
    ----------
    file : Path
        The file.
    names : tuple of str
        The names of the classes, in the order of their numbers.
    splits : dict of str to tuple of Path
        Each split -> the folders and lists of its images.
    concepts : dict of str to str
        What names mean, as far as the key ``concepts`` says so.
    has_keypoints : bool
        Whether the boxes of a line are followed by keypoints (``kpt_shape``).
    """

    file: Path
    names: tuple[str, ...]
    splits: dict[str, tuple[Path, ...]]
    concepts: dict[str, str]
    has_keypoints: bool = False


class YoloSource(IndexedSource):
    """Images with boxes in YOLO's format.

    A line with a polygon gives the smallest box around it. An image without a label file, or with an empty one, is
    background. Boxes refer to the image as it stands upright by its EXIF orientation, as Ultralytics reads it. A line
    that is written twice counts once.

    Parameters
    ----------
    root : str or Path
        The ``data.yaml``, or its folder.
    label_map : mapping of str to int
        The class index or tree node of each class name.
    split : str
        A key of the file: ``train``, ``val`` or ``test``.
    name : str
        The name of the source in messages.
    skip_missing : bool
        Leave out classes without a node instead of raising.
    labelled_nodes : sequence of int, optional
        The nodes that are labelled exhaustively in every image; None means all.

    Attributes
    ----------
    class_names : dict of int to str
        The node of each class -> its name in the file.

    Raises
    ------
    DatasetError
        If the layout, a line or the label map do not fit; wrong lines are named with their file.

    Examples
    --------
    >>> source = YoloSource("warehouse/data.yaml", {"forklift": 0, "pallet": 1})  # doctest: +SKIP
    """

    kind: Kind = "detection"

    def __init__(
        self,
        root: str | Path,
        label_map: Mapping[str, int],
        *,
        split: str = "train",
        name: str = "yolo",
        skip_missing: bool = False,
        labelled_nodes: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> None:
        data = read_data_yaml(root)
        self.name = name
        self.labelled_nodes = None if labelled_nodes is None else np.asarray(labelled_nodes, np.int64)
        nodes = nodes_of(f"{name} ({data.file})", "classes", data.names, label_map.get, skip_missing=skip_missing)
        self.nodes = sorted({node for node in nodes if node >= 0})
        self.class_names = {node: name for node, name in zip(nodes, data.names, strict=True) if node >= 0}
        images = images_of(data, split)
        there = require_labels(data, images, split)
        sizes = np.array([upright_size_of_file(image) for image in images], np.int32).reshape(-1, 2)
        complaints = Complaints(_LINE)
        rows: list[tuple[int, int, float, float, float, float]] = []
        twice = 0
        for number, (image, is_there) in enumerate(zip(images, there, strict=True)):
            found = _read_labels(label_file_of(image), data, complaints) if is_there else []
            distinct = dict.fromkeys(found)
            twice += len(found) - len(distinct)
            rows += [(number, *row) for row in distinct]
        complaints.require_none()
        table = np.array(rows, np.float64).reshape(-1, 6)
        image_of = table[:, 0].astype(np.int64)
        labels = np.array(nodes, np.int64)[table[:, 1].astype(np.int64)]
        boxes = table[:, 2:] * np.tile(sizes[image_of], 2)
        self.index = BoxIndex.of_files(name, images, sizes, image_of, boxes, labels, written_twice=twice)


def require_labels(data: YoloData, images: Sequence[Path], split: str) -> list[bool]:
    """Return whether each image of a split has a file of labels; if none has, they are looked for at a wrong place."""
    there = [label_file_of(image).is_file() for image in images]
    if not any(there):
        raise DatasetError(
            f"{data.file}: none of the {len(images)} images of {split} has a file of labels; looked for "
            f"{label_file_of(images[0])} and its like. Expected:\n{LAYOUT}"
        )
    return there


def read_data_yaml(root: str | Path) -> YoloData:
    """Read a ``data.yaml``.

    Paths are relative to the key ``path``, which is relative to the file's folder (or, if there is none such, to the
    working directory). ``../train/images``, as Roboflow writes it, is looked for beside the file as well. A split is a
    folder, a text file with a list of images, or several of these.

    Parameters
    ----------
    root : str or Path
        The file, or the folder that holds it.

    Returns
    -------
    YoloData

    Raises
    ------
    DatasetError
        The file is absent or says nothing that can be read so; the message names the key.
    """
    file = _find(Path(root))
    content = _parse(file)
    names = _names(file, content)
    concepts = content.get("concepts") or {}
    if not isinstance(concepts, dict) or not all(isinstance(said, str) for pair in concepts.items() for said in pair):
        raise DatasetError(f"{file}: concepts must give a synset for names, such as 'crane: crane.n.04'")
    if unknown := [name for name in concepts if name not in names]:
        raise DatasetError(f"{file}: concepts gives {listed(unknown)}, which names has not")
    base = _base(file, content.get("path"))
    splits = {}
    for key, value in content.items():
        if key in ("train", "val", "valid", "validation", "test") and value:
            entries = value if isinstance(value, list) else [value]
            if not all(isinstance(entry, str) and "\0" not in entry for entry in entries):
                raise DatasetError(f"{file}: {key} must be a folder, a file with a list of images, or several of them")
            splits[key] = tuple(_resolved(base, entry) for entry in entries)
    if not splits:
        raise DatasetError(f"{file}: has neither the key train nor val, with a folder of images. Expected:\n{LAYOUT}")
    return YoloData(file, names, splits, dict(concepts), "kpt_shape" in content)


def _find(root: Path) -> Path:
    if root.is_file():
        if root.suffix.lower() not in (".yaml", ".yml"):
            raise DatasetError(f"{root}: a data.yaml is needed. Expected:\n{LAYOUT}")
        return root
    files = sorted([*root.glob("*.yaml"), *root.glob("*.yml")]) if root.is_dir() else []
    if root / "data.yaml" in files:
        return root / "data.yaml"
    if len(files) == 1:
        return files[0]
    several = f", of which one is meant: name it ({listed([each.name for each in files])})" if files else ""
    raise DatasetError(f"{root}: looked for data.yaml, found {contents(root)}{several}. Expected:\n{LAYOUT}")


def _parse(file: Path) -> dict[str, Any]:
    import yaml  # here, as only this format needs it

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
        """An alias may stand for a text or a number, but for no list: nine of them in nine more are a billion."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            is_alias = self.check_event(yaml.events.AliasEvent)
            mark = self.peek_event().start_mark
            node = super().compose_node(parent, index)
            if is_alias and not isinstance(node, yaml.ScalarNode):
                raise yaml.composer.ComposerError(None, None, "an alias of a list; write the list out", mark)
            return node

    if file.stat().st_size > _MOST_BYTES:
        raise DatasetError(f"{file}: more than {_MOST_BYTES >> 20} MB; a data.yaml has some lines")
    try:
        content = yaml.load(file.read_text(encoding="utf-8-sig"), Loader)
    except RecursionError:
        raise DatasetError(f"{file}: is no YAML that can be read: lists are inside each other too deeply") from None
    except Exception as error:  # YAMLError, and what its numbers and dates raise
        raise DatasetError(f"{file}: is no YAML that can be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{file}: must hold keys such as train, val and names. Expected:\n{LAYOUT}")
    return content


def _names(file: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise DatasetError(
                f"{file}: names must number the classes from 0 without a gap, not {listed(map(_said, names))}"
            )
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DatasetError(f"{file}: names must list the names of the classes, such as [forklift, pallet]")
    for number, name in enumerate(names):
        if isinstance(name, bool) or not isinstance(name, str | int | float) or not str(name).strip():
            raise DatasetError(f"{file}: names: class {number} reads as {_said(name)} in YAML; put the name in quotes")
    said = tuple(str(name).strip() for name in names)
    if twice := sorted(name for name, times in Counter(said).items() if times > 1):
        raise DatasetError(f"{file}: names has {listed(twice)} more than once; each class has a name of its own")
    count = content.get("nc", len(said))
    if count != len(said):
        raise DatasetError(f"{file}: nc is {_said(count)}, but names has {len(said)}; put right which of them is wrong")
    return said


def _said(value: Any) -> str:
    """A value as a message shows it."""
    text = f"a {type(value).__name__}" if isinstance(value, list | dict | set | tuple) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _base(file: Path, path: Any) -> Path:
    if path is None:
        return file.parent
    if not isinstance(path, str) or "\0" in path:
        raise DatasetError(f"{file}: path must be a folder, not {_said(path)}")
    beside = file.parent / path
    if os.path.isdir(beside):
        return beside
    if os.path.isdir(path):
        return Path(path)
    if (file.parent / "images").is_dir():  # where the file came with its images, and names a folder of somebody else's
        return file.parent
    raise DatasetError(f"{file}: path {path}: no such folder, neither beside the file nor in the working directory")


def _resolved(base: Path, entry: str) -> Path:
    found = base / entry
    if not os.path.exists(found) and entry.startswith("../") and os.path.exists(base / entry[3:]):
        return base / entry[3:]
    return found


def images_of(data: YoloData, split: str) -> list[Path]:
    """The images of a split, in the order of their names."""
    key = split if split in data.splits else _OTHER_NAMES.get(split, split)
    if key not in data.splits:
        raise NoSuchSplit(f"{data.file}: has no key {split}; its splits are {listed(data.splits)}")
    images: dict[Path, None] = {}
    for place in data.splits[key]:
        if os.path.isdir(place):  # what a file says may be too long for a path, at which Path raises
            images.update(dict.fromkeys(sorted(_images_below(place))))
        elif os.path.isfile(place) and place.suffix.lower() == ".txt":
            images.update(dict.fromkeys(_listed_images(place)))
        else:
            found = "a file that is no list of images" if os.path.isfile(place) else _held(place)
            raise DatasetError(f"{data.file}: {key}: looked for images in {place}, found {found}. Expected:\n{LAYOUT}")
    if not images:
        raise DatasetError(f"{data.file}: {key}: there is no image in {listed(map(str, data.splits[key]))}")
    return [image.absolute() for image in images]


def _held(place: Path) -> str:
    try:
        return contents(place)
    except OSError as error:
        return error.strerror or str(error)


def _images_below(folder: Path) -> Iterable[Path]:
    """All images, also behind links to folders, each of which counts once: a link may lead up to where it lies."""
    entered: set[str] = set()
    waiting = [str(folder)]
    while waiting:  # folders before the links to them, as the labels lie beside the folders
        links = []
        for start in waiting:
            for above, folders, files in os.walk(start):
                if (real := os.path.realpath(above)) in entered:
                    folders.clear()
                    continue
                entered.add(real)
                places = [os.path.join(above, name) for name in sorted(folders)]
                links += [place for place in places if os.path.islink(place)]
                for file in files:
                    if file.lower().endswith(IMAGE_SUFFIXES) and not file.startswith("."):
                        yield Path(above, file)
        waiting = sorted(links)


def _listed_images(file: Path) -> list[Path]:
    images = []
    complaints = Complaints("a line of the list is the path of an image, relative to the list or the working directory")
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if "\0" in line:
            complaints.add(file, number, "is no path")
        elif line.strip():
            places = (file.parent / line.strip(), Path(line.strip()))
            image = next((place for place in places if os.path.isfile(place)), places[0])
            if not os.path.isfile(image):
                complaints.add(file, number, f"no such file: {image}")
            images.append(image)
    complaints.require_none()
    return images


def label_file_of(image: Path) -> Path:
    """``images/`` becomes ``labels/`` where it stands last in the path; without it the two lie beside each other."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _read_labels(file: Path, data: YoloData, complaints: Complaints) -> list[tuple[int, float, float, float, float]]:
    """Class and edges (relative to the image) of each line."""
    rows = []
    for number, line in enumerate(read_text(file).splitlines(), 1):
        if words := line.split():
            try:
                rows.append(read_line(words, data))
            except WrongLine as error:
                complaints.add(file, number, str(error))
    return rows


class WrongLine(DatasetError):
    """One line of a file of labels."""


def read_line(words: Sequence[str], data: YoloData) -> tuple[int, float, float, float, float]:
    """Class and edges of a line."""
    values = []
    for word in words:
        try:
            values.append(float(word))
        except ValueError:
            raise WrongLine(f"{word!r} is no number") from None
    number, places = values[0], values[1:5] if data.has_keypoints else values[1:]
    if not (number.is_integer() and 0 <= number < len(data.names)):
        last = len(data.names) - 1
        raise WrongLine(f"class {words[0]}, but {data.file.name} names {len(data.names)} classes, 0 to {last}")
    if len(places) == 5:
        raise WrongLine("6 numbers: leave out the last one, which may be how sure a detector was")
    if len(places) < 4 or len(places) % 2:
        raise WrongLine(f"{len(words)} numbers")
    if not all(map(math.isfinite, places)):
        raise WrongLine("a number is not finite")
    if max(map(abs, places)) >= PIXELS:
        raise WrongLine(f"{max(places, key=abs):g} looks like pixels; divide by the width or height of the image")
    if len(places) == 4:
        x, y, width, height = places
        return int(number), x - width / 2, y - height / 2, x + width / 2, y + height / 2
    xs, ys = places[0::2], places[1::2]
    return int(number), min(xs), min(ys), max(xs), max(ys)
