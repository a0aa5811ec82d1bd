"""Detection images in COCO's format: one JSON of instances and a folder of images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.box_index import BoxIndex, IndexedSource, contents, listed, names_in, nodes_of
from yolo9000.datasets.decode import size_of_file
from yolo9000.datasets.errors import DatasetError, NoSuchSplit
from yolo9000.datasets.sample import Kind

LAYOUT = """\
coco/annotations/instances_train2017.json     lists images, annotations and categories; instances_val2017.json too
coco/train2017/000000000009.jpg               the images, in a folder named as the file (or in coco/images/train2017/)
coco/val2017/"""
"""How the files lie, for messages and the documentation."""

NUMBER = "a whole number"
# For each list of the JSON: the keys of whole numbers and the other keys that each of its entries must have.
FIELDS = (
    ("images", ("id",), ("file_name",)),
    ("categories", ("id",), ("name",)),
    ("annotations", ("image_id", "category_id"), ("bbox",)),
)


@dataclass(frozen=True, eq=False)
class CocoTruth:
    """The T boxes of an annotation file exactly as it states them, for COCO's own evaluation.

    Parameters
    ----------
    names : tuple of str
        The file name of each image.
    images : array (T,) int64
        The index in `names` of each box's image.
    labels : array (T,) int64
        The class index or tree node of each box.
    boxes_xywh : array (T, 4) float64
        Left, top, width and height of each box in pixels of the image, not clipped.
    areas : array (T,) float64
        The area of each object's outline in pixels; the area of its box if the file gives none.
    crowd : array (T,) bool
        True for boxes around a crowd.
    """

    names: tuple[str, ...]
    images: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]


class CocoSource(IndexedSource):
    """Images with boxes, from an ``instances_*.json``.

    The JSON is read once into flat arrays. Crowds become ignore boxes. An image without annotations is background.
    Boxes that are empty, not finite or outside their image are left out and counted in ``index.dropped``.

    Parameters
    ----------
    root : str or Path
        The folder that holds ``annotations/`` and the folder of images, or an annotation file itself.
    label_map : mapping of str to int
        The class index or tree node of each category name.
    split : str
        The split, such as ``"train2017"``. ``"train"`` finds the one file ``annotations/instances_train*.json``.
    images : str or Path, optional
        The folder of images. By default it is the one named like the split, beside ``annotations/`` or in ``images/``
        there, or the one of the annotation file.
    name : str
        The name of the source in messages.
    skip_missing : bool
        Leave out categories without a node instead of raising.
    labelled_nodes : sequence of int, optional
        The nodes that are labelled exhaustively in every image; None means all.

    Attributes
    ----------
    class_names : dict of int to str
        The node of each category -> its name in the file.

    Raises
    ------
    DatasetError
        If the layout, the JSON or the label map do not fit; the message says what was looked for and what was found.

    Examples
    --------
    >>> source = CocoSource("coco", {"person": 0, "bicycle": 1}, split="train2017")  # doctest: +SKIP
    >>> record = source.read(0)  # doctest: +SKIP
    """

    kind: Kind = "detection"

    def __init__(
        self,
        root: str | Path,
        label_map: Mapping[str, int],
        *,
        split: str = "train2017",
        images: str | Path | None = None,
        name: str = "coco",
        skip_missing: bool = False,
        labelled_nodes: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> None:
        self.name = name
        self.labelled_nodes = None if labelled_nodes is None else np.asarray(labelled_nodes, np.int64)
        self.annotations, folder = locate(Path(root), split, None if images is None else Path(images))
        data = _load(self.annotations)
        where = f"{name} ({self.annotations})"
        names, self.image_ids, sizes = _images(where, data["images"], folder)
        category_ids = [int(c["id"]) for c in data["categories"]]
        if twice := _repeated(category_ids):
            raise DatasetError(f"{where}: several categories have the same id: {twice}")
        names_of_categories = [str(c["name"]) for c in data["categories"]]
        nodes = nodes_of(where, "categories", names_of_categories, label_map.get, skip_missing=skip_missing)
        self._node_of = dict(zip(category_ids, nodes, strict=True))
        self.class_names = {node: name for node, name in zip(nodes, names_of_categories, strict=True) if node >= 0}
        image_of, boxes_xyxy, labels, ignore, dropped = _boxes(
            where, data["annotations"], self.image_ids, self._node_of
        )
        self.index = BoxIndex.build(name, folder, names, sizes, image_of, boxes_xyxy, labels, ignore, dropped)

    @property
    def nodes(self) -> list[int]:
        """The nodes of the categories that the file lists, whether they have boxes or not."""
        return sorted({node for node in self._node_of.values() if node >= 0})

    def truth(self) -> CocoTruth:
        """Read the annotations again, with what only COCO's own evaluation needs.

        Annotations without a box are left out, and those whose image is not listed or whose category has no node.
        Images are in the order of their ids, as pycocotools takes those of equal scores, and not in that of the file.

        Returns
        -------
        CocoTruth
        """
        order = np.argsort(self.image_ids).tolist()
        number_of = {int(self.image_ids[place]): number for number, place in enumerate(order)}
        rows = [
            (number_of[a["image_id"]], self._node_of[a["category_id"]], *_box_and_area(a), bool(a.get("iscrowd") or 0))
            for a in _load(self.annotations)["annotations"]
            if a["image_id"] in number_of and self._node_of[a["category_id"]] >= 0
        ]
        table = np.array(rows, np.float64).reshape(-1, 8)
        table = table[np.isfinite(table).all(axis=1)]
        return CocoTruth(
            names=tuple(self.index.names[place] for place in order),
            images=table[:, 0].astype(np.int64),
            labels=table[:, 1].astype(np.int64),
            boxes_xywh=table[:, 2:6],
            areas=table[:, 6],
            crowd=table[:, 7].astype(np.bool_),
        )


def category_names(root: str | Path, split: str) -> list[str]:
    """Return the names of a data set's categories in the order of their ids.

    Parameters
    ----------
    root : str or Path
        As in `CocoSource`.
    split : str
        As in `CocoSource`.

    Returns
    -------
    list of str

    Raises
    ------
    DatasetError
        If the layout or the JSON do not fit.
    """
    data = _load(locate(Path(root), split, None)[0])
    return [str(category["name"]) for category in sorted(data["categories"], key=lambda category: int(category["id"]))]


def locate(root: Path, split: str, images: Path | None) -> tuple[Path, Path]:
    """Return the annotation file and the folder of images; the arguments are those of `CocoSource`."""
    if root.is_file():
        if root.suffix != ".json":
            raise DatasetError(f"{root} is neither a folder in COCO's layout nor a .json file of annotations")
        stem = root.stem.removeprefix("instances_")
        above = root.parent.parent
        places = [above / stem, above / "images" / stem, root.parent / stem, root.parent]
        tried = [images] if images is not None else places
        for folder in tried:
            if folder.is_dir():
                return root, folder
        raise DatasetError(
            f"{root}: looked for its images in {listed([str(f) for f in tried])}, found no such folder. "
            f"Expected:\n{LAYOUT}"
        )
    folder = root / "annotations"
    pattern = f"instances_{split}.json"
    found = [folder / pattern] if (folder / pattern).is_file() else sorted(folder.glob(f"instances_{split}*.json"))
    if len(found) > 1:
        raise DatasetError(
            f"{root}: annotations/ has several files of {split}. Pass one of these as the split: "
            f"{listed([file.stem[10:] for file in found])}"
        )
    if not found:
        hint = ""
        if root.is_dir():
            below = sorted(p.parent for p in root.glob("*/annotations") if p.is_dir())
            if below:
                hint = f" That is one level too high: pass {below[0]}."
            elif (root.parent / "annotations").is_dir():
                hint = f" That is one level too low: pass {root.parent}."
        raise NoSuchSplit(
            f"{root}: looked for annotations/{pattern}, found {contents(root)}.{hint} Expected:\n{LAYOUT}"
        )
    if images is None:
        stem = found[0].stem.removeprefix("instances_")
        images = next((place for place in (root / stem, root / "images" / stem) if place.is_dir()), root / stem)
    if not images.is_dir():
        raise DatasetError(f"{root}: looked for the images in {images}, found {contents(images)}. Expected:\n{LAYOUT}")
    return found[0], images


def without_polygons(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an object of the JSON without its outlines."""
    # Polygons are nine tenths of COCO's JSON. Dropped while it is parsed, they are never in memory all at once.
    entry.pop("segmentation", None)
    return entry


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            data: Any = json.load(file, object_hook=without_polygons)
    except RecursionError:
        raise DatasetError(f"{path} is not valid JSON: lists or objects are inside each other too deeply") from None
    except ValueError as error:  # not JSON, not UTF-8, or a number of thousands of digits
        raise DatasetError(f"{path} is not valid JSON: {error}") from error
    keys = ("images", "annotations", "categories")
    missing = [key for key in keys if not isinstance(data, dict) or not isinstance(data.get(key), list)]
    if missing:
        found = listed(list(data)) if isinstance(data, dict) else f"a {type(data).__name__}"
        raise DatasetError(
            f"{path} is no COCO instances file: looked for the lists {', '.join(missing)}, found {found}"
        )
    for key, numbers, others in FIELDS:
        for i, entry in enumerate(data[key]):
            if not isinstance(entry, dict):
                raise DatasetError(f"{path}: {key}[{i}] is no object with keys, but {short(entry)}")
            lacking = [field for field in (*numbers, *others) if field not in entry]
            if lacking:
                raise DatasetError(f"{path}: {key}[{i}] has no {' and no '.join(lacking)}; it has {listed(entry)}")
            for field in numbers:
                if not is_id(entry[field]):
                    raise DatasetError(f"{path}: {key}[{i}]: {field} must be {NUMBER}, not {short(entry[field])}")
            if key == "annotations" and not is_flag(entry.get("iscrowd")):
                raise DatasetError(f"{path}: {key}[{i}]: iscrowd must be 0 or 1, not {short(entry['iscrowd'])}")
    return dict(data)


def is_id(value: Any) -> bool:
    """Whether a value of the JSON is a number that can be an id.

    Examples
    --------
    >>> is_id(7), is_id(True), is_id("7"), is_id(2**70)
    (True, False, False, False)
    """
    return type(value) is int and -(2**63) <= value < 2**63


def is_flag(value: Any) -> bool:
    """Whether a value of ``iscrowd`` says yes or no; it may be absent. Text such as "0" would count as a yes.

    Examples
    --------
    >>> is_flag(None), is_flag(0), is_flag("0")
    (True, True, False)
    """
    return value is None or (isinstance(value, bool | int) and value in (0, 1))


def short(value: Any, most: int = 60) -> str:
    """A value of a file for a message, not longer than `most` letters."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "one of more than 63 bits"
    if isinstance(value, list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."


def _repeated(ids: Sequence[int]) -> str:
    unique, counts = np.unique(np.asarray(ids, np.int64), return_counts=True)
    return listed(map(str, unique[counts > 1].tolist()))


def side_of(value: Any) -> int:
    """Return the width or height that an image's entry states; 0, meaning unknown, if it is no valid number."""
    return int(value) if isinstance(value, int | float) and 0 < value < 2**31 else 0


def _checked_name(where: str, i: int, name: Any) -> str:
    if not isinstance(name, str) or not name or "\0" in name:
        raise DatasetError(f"{where}: images[{i}]: file_name must be the name of a file, not {short(name)}")
    return name


def _images(
    where: str, entries: list[dict[str, Any]], folder: Path
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int32]]:
    """Return file names, ids and sizes of the images, after checking that each file is there."""
    if not entries:
        raise DatasetError(f"{where} names no image")
    names = [_checked_name(where, i, entry["file_name"]) for i, entry in enumerate(entries)]
    ids = np.array([int(entry["id"]) for entry in entries], np.int64)
    if twice := _repeated(ids.tolist()):
        raise DatasetError(f"{where}: several images have the same id: {twice}")
    # Each folder is listed once: a stat call for each file would take minutes on a network drive.
    present: dict[str, set[str]] = {}
    missing = []
    for name in names:
        parent, _, file = name.rpartition("/")
        if parent not in present:
            present[parent] = names_in(folder / parent)
        if file not in present[parent]:
            missing.append(name)
    if missing:
        raise DatasetError(
            f"{where}: {len(missing)} of its {len(names)} images are not in {folder}: {listed(missing)}. "
            f"Found there: {contents(folder, most=3)}"
        )
    sizes = np.array([(side_of(entry.get("width")), side_of(entry.get("height"))) for entry in entries], np.int32)
    for i in np.flatnonzero((sizes <= 0).any(axis=1)):
        sizes[i] = size_of_file(folder / names[i])
    return names, ids, sizes


def _boxes(
    where: str, annotations: list[dict[str, Any]], image_ids: NDArray[np.int64], node_of: dict[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_], dict[str, int]]:
    """Return image index, box, node and crowd flag of each annotation that has an image and a node; count the rest."""
    category = np.array([a["category_id"] for a in annotations], np.int64)
    image_id = np.array([a["image_id"] for a in annotations], np.int64)
    crowd = np.array([bool(a.get("iscrowd") or 0) for a in annotations], np.bool_)
    unknown = sorted(set(category.tolist()) - set(node_of))
    if unknown:
        raise DatasetError(f"{where}: annotations of categories that it does not list: {listed(map(str, unknown))}")
    boxes = np.array([_corners(a["bbox"]) for a in annotations], np.float64).reshape(-1, 4)
    order = np.argsort(image_ids)
    place = np.searchsorted(image_ids[order], image_id).clip(max=len(order) - 1)
    image_of = order[place]
    known = image_ids[image_of] == image_id
    nodes = np.array([node_of[c] for c in category.tolist()], np.int64)
    keep = known & (nodes >= 0)
    unmapped = known & (nodes < 0)
    dropped = {"of an image that is not listed": int((~known).sum()), "without a node": int(unmapped.sum())}
    return image_of[keep], boxes[keep], nodes[keep], crowd[keep], dropped


def _xywh(bbox: Any) -> tuple[float, float, float, float]:
    """Return COCO's x, y, w, h as numbers; NaN if it is no box at all."""
    try:
        x, y, w, h = (float(value) for value in bbox)
    except (TypeError, ValueError, OverflowError):  # no list of four numbers; 10**400 is no float
        return (np.nan,) * 4
    return x, y, w, h


def _corners(bbox: Any) -> tuple[float, float, float, float]:
    """Return x0, y0, x1, y1 of COCO's x, y, w, h; NaN if it is no box at all."""
    x, y, w, h = _xywh(bbox)
    return x, y, x + w, y + h


def _box_and_area(annotation: dict[str, Any]) -> tuple[float, float, float, float, float]:
    x, y, w, h = _xywh(annotation["bbox"])
    area = annotation.get("area")
    return x, y, w, h, float(area) if isinstance(area, float) or (area is not None and is_id(area)) else w * h
