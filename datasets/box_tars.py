"""Images with boxes in tars of webdataset's kind at any URL."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.box_index import BoxIndex, IndexedSource, nodes_of
from yolo9000.datasets.complaints import Complaints
from yolo9000.datasets.sample import Kind, Record
from yolo9000.datasets.tar_records import Labels, WrongRecord, is_label, read_json
from yolo9000.datasets.tar_shards import Progress, Shards

LAYOUT = """\
zoo/train-0000.tar     members 1.jpg and 1.json, 2.jpg and 2.json, ..: a path up to its first dot is one image
zoo/train-0001.tar     {"width": 640, "height": 480, "boxes": [[34, 50, 210, 180]], "labels": ["forklift"]}
zoo/val-0000.tar       (boxes are x0, y0, x1, y1 in pixels; "ignore": [1] marks crowds and difficult objects)
zoo/classes.txt        names, one a line; needed where labels are numbers of lines, from 0"""
"""How the tars lie, for messages and the documentation."""

_RECORD = "KEY.json has width, height, boxes (x0, y0, x1, y1 in pixels) and labels, one for each box"


@dataclass(frozen=True)
class BoxRecord:
    """What a ``.json`` states of an image: its size, and for each box edges, label and whether it is ignored."""

    size: tuple[int, int]
    boxes_xyxy: list[tuple[float, float, float, float]]
    labels: list[str | int]
    ignore: list[bool]


class BoxTars(IndexedSource):
    """Images with boxes, from tars that may lie on servers.

    Boxes refer to the pixels as they are stored, unless the size that is stated only fits the image turned upright by
    its EXIF orientation. Edges are counted from 0, so that a box of the whole of a 40 x 30 image is ``0, 0, 40, 30``.

    Parameters
    ----------
    url : str
        Where the tars of all splits are, such as ``s3://bucket/zoo/{train-{0000..0146},val-{00..06}}.tar``; see
        `yolo9000.datasets.remote.RemoteFiles`.
    label_map : mapping of str to int
        The class index or tree node of each label.
    split : str
        As in `yolo9000.datasets.tar_shards.Shards`.
    name : str
        The name of the source in messages.
    skip_missing : bool
        Leave out boxes of labels without a node instead of raising.
    cache : str or Path, optional
        The folder of the indices; by default it is inside the user's cache folder.
    progress : callable
        It wraps the numbers of the tars while they are gone through, to show progress; ``tqdm`` fits.

    Attributes
    ----------
    shards : Shards
        The tars.
    class_names : dict of int to str
        The node of each label -> the label.
    nodes : list of int or None
        The nodes of the lines of ``classes.txt``, whether they have boxes or not; None without that file.

    Raises
    ------
    DatasetError
        If the tars, an annotation or the label map do not fit; wrong annotations are named with tar and member.

    Examples
    --------
    >>> source = BoxTars("zoo/{train,val}-0000.tar", {"forklift": 0})  # doctest: +SKIP
    """

    kind: Kind = "detection"
    labelled_nodes: NDArray[np.int64] | None = None

    def __init__(
        self,
        url: str,
        label_map: Mapping[str, int],
        *,
        split: str = "train",
        name: str = "box_tars",
        skip_missing: bool = False,
        cache: str | Path | None = None,
        progress: Progress = iter,
    ) -> None:
        self.name = name
        complaints = Complaints(_RECORD, of="annotations")
        self.shards, stated = read_box_tars(url, split, complaints, cache=cache, progress=progress)
        complaints.require_none()
        named = list(dict.fromkeys([*stated.names, *(self.shards.classes or ())]))
        nodes = nodes_of(f"{name} ({url})", "labels", named, label_map.get, skip_missing=skip_missing) if named else []
        self.class_names = {node: label for label, node in zip(named, nodes, strict=True) if node >= 0}
        self.nodes = None if self.shards.classes is None else sorted(set(nodes) - {-1})
        labels = np.array(nodes, np.int64)[stated.labels] if nodes else np.zeros(0, np.int64)
        keep = labels >= 0
        self.index = BoxIndex.build(
            name,
            Path(),
            self.shards.names,
            stated.sizes,
            np.repeat(np.arange(len(stated.sizes)), stated.counts)[keep],
            stated.boxes_xyxy[keep],
            labels[keep],
            stated.ignore[keep],
            {"without a node": int((~keep).sum())},
        )

    def read_bytes(self, index: int) -> bytes:
        """Return the undecoded content of image `index`. Raises `Unreadable`."""
        return self.shards.read_bytes(index)

    def read(self, index: int) -> Record:
        """Return image `index` with its boxes. Raises `Unreadable`."""
        return self.index.record(index, self.read_bytes(index), self.guard)


@dataclass(frozen=True, eq=False)
class Stated:
    """What the annotations of N images state of T boxes.

    Parameters
    ----------
    names : list of str
        The distinct labels.
    sizes : array (N, 2) int32
        The width and height of each image.
    counts : array (N,) int64
        The boxes of each image.
    boxes_xyxy : array (T, 4) float64
        Pixels.
    labels : array (T,) int64
        The index in `names` of each box's label.
    ignore : array (T,) bool
    """

    names: list[str]
    sizes: NDArray[np.int32]
    counts: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float64]
    labels: NDArray[np.int64]
    ignore: NDArray[np.bool_]


def read_box_tars(
    url: str, split: str, complaints: Complaints, *, cache: str | Path | None = None, progress: Progress = iter
) -> tuple[Shards, Stated]:
    """Read what tars state of their images; arguments as `BoxTars` has them.

    Parameters
    ----------
    url, split : str
    complaints : Complaints
        Where wrong annotations are noted; such an image counts as one of a pixel without boxes.
    cache : str or Path, optional
    progress : callable

    Returns
    -------
    Shards, Stated
    """
    met, numbers, wrong = Labels(), array("q"), dict[int, str]()
    sizes, counts, edges, ignore = array("i"), array("q"), array("d"), array("b")

    def note(annotations: Mapping[str, bytes]) -> None:
        try:
            if not annotations.get(".json"):
                raise WrongRecord("no .json belongs to it; that of an image without a box has empty lists")
            record = box_record(read_json(annotations[".json"]))
        except WrongRecord as error:
            wrong[len(counts)] = str(error)
            record = BoxRecord((1, 1), [], [], [])
        sizes.extend(record.size)
        counts.append(len(record.labels))
        for box in record.boxes_xyxy:
            edges.extend(box)
        numbers.extend(met.add(label) for label in record.labels)
        ignore.extend(record.ignore)

    shards = Shards(url, split, cache=cache, note=note, progress=progress)
    per_image = np.array(counts, np.int64)
    labels = np.array([*met.resolve(shards.classes), -1], np.int64)[np.array(numbers, np.int64)]
    keep = labels >= 0
    image_of = np.repeat(np.arange(len(per_image)), per_image)
    for box in np.flatnonzero(~keep).tolist():
        wrong.setdefault(int(image_of[box]), met.wrong[numbers[box]])
    for image, said in sorted(wrong.items()):
        complaints.add(shards.where(image), None, said)
    stated = Stated(
        met.names,
        np.array(sizes, np.int32).reshape(-1, 2),
        np.bincount(image_of[keep], minlength=len(per_image)),
        np.array(edges, np.float64).reshape(-1, 4)[keep],
        labels[keep],
        np.array(ignore, np.bool_)[keep],
    )
    return shards, stated


_LONGEST_SIDE = 1 << 20


def box_record(found: Mapping[str, Any]) -> BoxRecord:
    """Check the object of a ``.json``.

    Parameters
    ----------
    found : mapping of str to any
        Keys that are not known are passed over.

    Raises
    ------
    WrongRecord
        A key is missing or wrong.

    Examples
    --------
    >>> box_record({"width": 40, "height": 30, "boxes": [[1, 2, 30, 20]], "labels": ["cat"]}).boxes_xyxy
    [(1.0, 2.0, 30.0, 20.0)]
    """
    if missing := [key for key in ("width", "height", "boxes", "labels") if key not in found]:
        raise WrongRecord(f"its .json has no {' and no '.join(missing)}")
    for side in ("width", "height"):
        if type(found[side]) is not int or not 0 < found[side] <= _LONGEST_SIDE:
            raise WrongRecord(f"{side} must be a whole number of pixels, from 1 to {_LONGEST_SIDE:,}")
    boxes, labels, ignore = found["boxes"], found["labels"], found.get("ignore", [])
    for key, value in (("boxes", boxes), ("labels", labels), ("ignore", ignore)):
        if not isinstance(value, list):
            raise WrongRecord(f"{key} must be a list")
    if len(boxes) != len(labels) or (ignore and len(ignore) != len(boxes)):
        raise WrongRecord(
            f"{len(boxes)} boxes, {len(labels)} labels and {len(ignore)} of ignore: one for each box is needed"
        )
    if not all(isinstance(flag, bool | int) and flag in (0, 1) for flag in ignore):
        raise WrongRecord("ignore holds 0 and 1 alone")
    if not all(map(is_label, labels)):
        raise WrongRecord("a label is a name or a number")
    flags = [bool(flag) for flag in ignore] or [False] * len(boxes)
    edges = [_edges(number, box) for number, box in enumerate(boxes)]
    named = [label.strip() if isinstance(label, str) else label for label in labels]
    return BoxRecord((found["width"], found["height"]), edges, named, flags)


def _edges(number: int, box: Any) -> tuple[float, float, float, float]:
    is_four = isinstance(box, list) and len(box) == 4 and all(type(edge) in (int, float) for edge in box)
    try:
        edges = tuple(float(edge) for edge in box) if is_four else ()
    except OverflowError:  # 10**400 is no float
        edges = ()
    if len(edges) != 4 or not all(map(math.isfinite, edges)):
        raise WrongRecord(f"boxes[{number}] must be four finite numbers")
    x0, y0, x1, y1 = edges
    if x1 < x0 or y1 < y0:
        raise WrongRecord(f"boxes[{number}]: the right and lower edge come last, not width and height")
    return x0, y0, x1, y1


def box_names(url: str, split: str, cache: str | Path | None = None) -> Sequence[str]:
    """Return the labels that boxes may have: those of ``classes.txt``, or else those that there are.

    Parameters
    ----------
    url, split : str
    cache : str or Path, optional
        As in `BoxTars`.

    Raises
    ------
    DatasetError
        If the tars or an annotation cannot be read.
    """
    complaints = Complaints(_RECORD, of="annotations")
    shards, stated = read_box_tars(url, split, complaints, cache=cache)
    complaints.require_none()
    return shards.classes or sorted(stated.names)
