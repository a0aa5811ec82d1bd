"""Detection images in PASCAL VOC's format: one XML file for each image."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.box_index import BoxIndex, IndexedSource, contents, listed, nodes_of
from yolo9000.datasets.complaints import read_text
from yolo9000.datasets.decode import size_of_file
from yolo9000.datasets.errors import DatasetError, NoSuchSplit
from yolo9000.datasets.sample import Kind

LISTS, XMLS, IMAGES = "ImageSets/Main", "Annotations", "JPEGImages"
LAYOUT = """\
VOC2007/ImageSets/Main/train.txt     the ids of the images, one a line; val.txt the same, held out
VOC2007/Annotations/000001.xml       a file for each id: size and objects, each with name and bndbox
VOC2007/JPEGImages/000001.jpg        the images"""
"""How the files lie, for messages and the documentation."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


@dataclass(frozen=True, eq=False)
class VocTruth:
    """The T boxes of a set with their difficult ones, for VOC's own evaluation.

    Parameters
    ----------
    names : tuple of str
        The file name of each image.
    images : array (T,) int64
        The index in `names` of each box's image.
    labels : array (T,) int64
        The class index or tree node of each box.
    boxes_xyxy : array (T, 4) float64
        Edges in pixels of the image.
    difficult : array (T,) bool
        True for objects that are not asked for.
    """

    names: tuple[str, ...]
    images: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float64]
    difficult: NDArray[np.bool_]


class VocSource(IndexedSource):
    """Images with boxes, in the layout of VOC2007 and VOC2012. Difficult objects become ignore boxes.

    VOC counts pixels from 1 and includes both ends: the box of the first pixel is ``1 1 1 1`` in the XML and
    ``0 0 1 1`` here.

    Parameters
    ----------
    root : str or Path
        The folder with ``ImageSets``, ``Annotations`` and ``JPEGImages`` (``VOCdevkit/VOC2007``).
    label_map : mapping of str to int
        The class index or tree node of each class name.
    split : str
        The split, listed in the file ``ImageSets/Main/<split>.txt``.
    name : str
        The name of the source in messages.
    skip_missing : bool
        Leave out classes without a node instead of raising.
    labelled_nodes : sequence of int, optional
        The nodes that are labelled exhaustively in every image; None means all.

    Attributes
    ----------
    class_names : dict of int to str
        The node of each class that has boxes -> its name in the data.

    Raises
    ------
    DatasetError
        If the layout, an XML or the label map do not fit.

    Examples
    --------
    >>> source = VocSource("VOCdevkit/VOC2007", {"dog": 0, "cat": 1}, split="trainval")  # doctest: +SKIP
    """

    kind: Kind = "detection"

    def __init__(
        self,
        root: str | Path,
        label_map: Mapping[str, int],
        *,
        split: str = "trainval",
        name: str = "voc",
        skip_missing: bool = False,
        labelled_nodes: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> None:
        root = Path(root)
        ids = _ids(root, split)
        files = _image_files(root / IMAGES, ids)
        xmls = [root / XMLS / f"{image_id}.xml" for image_id in ids]
        self._read(name, root, label_map, xmls, root / IMAGES, files, skip_missing, labelled_nodes)

    def _read(
        self,
        name: str,
        root: Path,
        label_map: Mapping[str, int],
        xmls: Sequence[Path],
        folder: Path,
        files: Sequence[str],
        skip_missing: bool,
        labelled_nodes: Sequence[int] | NDArray[np.int64] | None,
        first_pixel: int = 1,
    ) -> None:
        """Read all XMLs; `files` are the images of each in `folder`, and pixels are counted from `first_pixel`."""
        self.name = name
        self.labelled_nodes = None if labelled_nodes is None else np.asarray(labelled_nodes, np.int64)
        sizes = np.zeros((len(xmls), 2), np.int32)
        image_of: list[int] = []
        class_names: list[str] = []
        boxes: list[tuple[float, float, float, float]] = []
        difficult: list[bool] = []
        for i, xml in enumerate(xmls):
            size, objects = _read_xml(xml, first_pixel)
            sizes[i] = size or size_of_file(folder / files[i])
            for class_name, box, is_difficult in objects:
                image_of.append(i)
                class_names.append(class_name)
                boxes.append(box)
                difficult.append(is_difficult)
        distinct = sorted(set(class_names))
        node_of: dict[str, int] = {}
        if distinct:
            nodes = nodes_of(f"{name} ({root})", "classes", distinct, label_map.get, skip_missing=skip_missing)
            node_of = dict(zip(distinct, nodes, strict=True))
        self.class_names = {node: class_name for class_name, node in node_of.items() if node >= 0}
        labels = np.array([node_of[c] for c in class_names], np.int64)
        keep = labels >= 0
        self.index = BoxIndex.build(
            name,
            folder,
            files,
            sizes,
            np.array(image_of, np.int64)[keep],
            np.array(boxes, np.float64).reshape(-1, 4)[keep],
            labels[keep],
            np.array(difficult, np.bool_)[keep],
            {"without a node": int((~keep).sum())},
        )

    def truth(self) -> VocTruth:
        """Return all boxes; of the difficult ones the label as well, which `read` leaves out."""
        return VocTruth(
            names=tuple(self.index.names[number] for number in range(len(self))),
            images=np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.index.offsets)),
            labels=self.index.labels,
            boxes_xyxy=self.index.boxes_xyxy.astype(np.float64),
            difficult=self.index.ignore,
        )


def _ids(root: Path, split: str) -> list[str]:
    path = root / LISTS / f"{split}.txt"
    if not path.is_file():
        hint = ""
        below = sorted(p.parents[1] for p in [*root.glob(f"*/{LISTS}"), *root.glob(f"*/*/{LISTS}")])
        above = next((p for p in root.resolve().parents if (p / LISTS).is_dir()), None)
        if (root / LISTS).is_dir():
            splits = sorted(p.stem for p in (root / LISTS).glob("*.txt") if "_" not in p.stem)
            hint = f" Splits there: {listed(splits) or 'none'}."
        elif below:
            hint = f" That is too high: pass {' or '.join(map(str, below))}."
        elif above:
            hint = f" That is too low: pass {above}."
        raise NoSuchSplit(f"{root}: looked for {LISTS}/{split}.txt, found {contents(root)}.{hint} Expected:\n{LAYOUT}")
    # The list of a single class ("dog_train.txt") has a second column.
    ids = [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
    if not ids:
        raise DatasetError(f"{path} names no image")
    if twice := sorted(image_id for image_id, times in Counter(ids).items() if times > 1):
        raise DatasetError(f"{path} names images more than once: {listed(twice)}")
    missing = sorted(set(ids) - {p.stem for p in (root / XMLS).glob("*.xml")})
    if missing:
        expected = "" if (root / XMLS).is_dir() else f". Expected:\n{LAYOUT}"
        raise DatasetError(
            f"{path}: {len(missing)} of its {len(ids)} images have no {XMLS}/*.xml: {listed(missing)}{expected}"
        )
    return ids


def _image_files(folder: Path, ids: Sequence[str]) -> list[str]:
    files: dict[str, str] = {}
    if folder.is_dir():
        for name in os.listdir(folder):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in IMAGE_SUFFIXES:
                files[stem] = min(name, files.get(stem, name))  # independent of the file system's order
    missing = [image_id for image_id in ids if image_id not in files]
    if missing:
        expected = "" if folder.is_dir() else f". Expected:\n{LAYOUT}"
        raise DatasetError(f"{len(missing)} of {len(ids)} images are not in {folder}: {listed(missing)}{expected}")
    return [files[image_id] for image_id in ids]


def parse_xml(path: Path) -> ElementTree.Element:
    """Read an XML without a document type, which an annotation needs none of: entities in it can be a billion letters.

    Raises
    ------
    ElementTree.ParseError, ValueError, LookupError
        It is no such XML.
    """
    data = path.read_bytes()
    if b"\0" in data:  # UTF-16, in which the next line would find nothing
        raise ValueError("save the XML as UTF-8")
    if b"<!DOCTYPE" in data:
        raise ValueError("a document type (<!DOCTYPE ..>) is not read, as it may define entities without end")
    return ElementTree.fromstring(data)


def _read_xml(
    path: Path, first_pixel: int
) -> tuple[tuple[int, int] | None, list[tuple[str, tuple[float, float, float, float], bool]]]:
    """Return the image's size, if given, and the class name, box (xyxy, pixel edges) and difficulty of each object."""
    try:
        top = parse_xml(path)
        width, height = (int(float(top.findtext(f"size/{side}") or 0)) for side in ("width", "height"))
        if max(width, height) >= 2**31:
            raise ValueError(f"a size of {width} x {height}")
        objects: list[tuple[str, tuple[float, float, float, float], bool]] = []
        for thing in top.iter("object"):
            class_name = (thing.findtext("name") or "").strip()
            if not class_name:
                raise ValueError(f"object {len(objects) + 1} has no <name>")
            # This path finds the object's own box only; a <part> has one too.
            x0, y0, x1, y1 = (float(thing.findtext(f"bndbox/{side}") or "nan") for side in SIDES)
            last = 1 - first_pixel  # the last pixel belongs to the box
            box = (x0 - first_pixel, y0 - first_pixel, x1 + last, y1 + last)
            objects.append((class_name, box, (thing.findtext("difficult") or "0").strip() == "1"))
    except (ElementTree.ParseError, ValueError, OverflowError, LookupError) as error:  # LookupError: no such encoding
        raise DatasetError(f"{path}: {error}") from error
    return ((width, height) if width > 0 and height > 0 else None), objects


SIDES = ("xmin", "ymin", "xmax", "ymax")
