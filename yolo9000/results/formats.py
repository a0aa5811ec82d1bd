"""`Results` in other formats: JSON, COCO, YOLO's text, CSV, pandas, supervision, FiftyOne, and cut-out pictures.

Every format has the same numbers: they are rounded in one place. Coordinates are pixels of the upright image unless the
format wants others. N boxes.
"""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from yolo9000.results.file_names import file_name, picture_suffix, seen_from, stem_of
from yolo9000.runtime.mistakes import Mistake

if TYPE_CHECKING:  # its methods `to_json` and so on import this module
    from yolo9000.models.classes import Classes
    from yolo9000.results.results import Results

COORDINATES = "pixels of the upright image"
"""What a JSON file says of its boxes: a photograph is turned as its EXIF orientation says before it is looked at."""

CROP_QUALITY = 95
"""That of a JPEG: a picture cut out may be looked at closely, or be trained on."""

_COLUMNS = ("image", "x0", "y0", "x1", "y1", "label", "node", "id", "score", "objectness", "probability", "path")


def to_json(results: Results) -> dict[str, Any]:
    """What ``predictions.json`` holds of an image.

    Parameters
    ----------
    results : Results

    Returns
    -------
    dict
        ``{"image", "width", "height", "coordinates", "detections": [...]}`` of plain values; a detection has
        ``box_xyxy``, ``score``, ``objectness``, ``node``, ``probability``, the ``id`` and ``name`` of the label as far
        as the classes have them, ``never_boxed`` if it had no box in training, and with a tree the whole ``path`` with
        the probability of each node.
    """
    width, height = results.size
    return {
        "image": results.path,
        "width": width,
        "height": height,
        "coordinates": COORDINATES,
        "detections": [_detection(results, row) for row in range(len(results))],
    }


def _detection(results: Results, row: int) -> dict[str, Any]:
    node = int(results.nodes[row])
    found: dict[str, Any] = {
        "box_xyxy": [round(value, 2) for value in results.boxes.xyxy[row].tolist()],
        "score": round(float(results.boxes.score[row]), 6),
        "objectness": round(float(results.boxes.objectness[row]), 6),
        "node": node,
        "probability": round(float(results.boxes.probability[row]), 6),
        **results.classes.identity(node),
    }
    if node in results.never_boxed:
        found["never_boxed"] = True
    if results.tree is not None:
        found["path"] = [
            {**results.classes.identity(step.node), "probability": round(float(step.probability), 6)}
            for step in results.paths[row]
        ]
    return found


def to_coco(results: Results | Iterable[Results], *, folder: str | Path | None = None) -> dict[str, Any]:
    """The detections as a data set in COCO's format, with a ``score`` for each annotation.

    Its annotations are what ``pycocotools`` takes by ``loadRes``; the whole is what annotation tools and our own
    `CocoSource` read, for the categories state their wnids.

    Parameters
    ----------
    results : Results, or several
        The id of an image is its number in COCO's file names (``000000000139.jpg``) if all have one, else its place
        from 1 on. The id of a category is its node plus 1, for some tools take 0 for the background.
    folder : str or Path, optional
        Where the JSON will lie. The name of an image that is a file then leads to it from there.

    Returns
    -------
    dict
        ``{"images", "annotations", "categories"}`` of plain values.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories: dict[int, dict[str, Any]] = {}
    each = _several(results)
    stems = [stem_of(one.path) for one in each]
    # an id of more than 63 bits is none to readers: a timestamp is no number of an image
    numbered = all(stem.isdecimal() and len(stem) < 19 for stem in stems)
    numbered = numbered and len({int(stem) for stem in stems}) == len(stems)
    for place, (one, stem) in enumerate(zip(each, stems, strict=True), 1):
        image_id = int(stem) if numbered else place
        width, height = one.size
        name = one.path if folder is None else seen_from(Path(folder), one.path)
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for detection in to_json(one)["detections"]:
            x0, y0, x1, y1 = detection["box_xyxy"]
            category = detection["node"] + 1
            categories[category] = _category(one.classes, detection["node"])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category,
                    "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
                    "area": round((x1 - x0) * (y1 - y0), 2),
                    "iscrowd": 0,
                    "score": detection["score"],
                }
            )
    return {"images": images, "annotations": annotations, "categories": [categories[key] for key in sorted(categories)]}


def _category(classes: Classes, node: int) -> dict[str, Any]:
    found = {"id": node + 1, "name": classes.name(node)}
    if wnid := classes.identity(node).get("id"):
        found["wnid"] = wnid
    if len(path := classes.path(node)) > 1:
        found["supercategory"] = classes.name(path[-2])
    return found


def to_txt(results: Results) -> str:
    """YOLO's text: a line ``class cx cy w h score`` for each box, with coordinates relative to the image.

    Parameters
    ----------
    results : Results

    Returns
    -------
    str
        The class is the node; `class_names` says what it is called.
    """
    width, height = results.size
    lines = []
    for detection in to_json(results)["detections"]:
        x0, y0, x1, y1 = detection["box_xyxy"]
        relative = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
        lines.append(f"{detection['node']} {' '.join(f'{value:.6f}' for value in relative)} {detection['score']:.6f}\n")
    return "".join(lines)


def class_names(classes: Classes) -> str:
    """The name of each class of `to_txt`, one a line, the first being class 0.

    Examples
    --------
    >>> from yolo9000.models import FlatClasses
    >>> class_names(FlatClasses(2, names=("dog", "cat")))
    'dog\\ncat\\n'
    """
    return "".join(f"{classes.name(node)}\n" for node in range(classes.number))


def to_csv(results: Results | Iterable[Results]) -> str:
    """A table with a line for each box; see `to_pandas` for its columns.

    Parameters
    ----------
    results : Results, or several
    """
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(row for each in _several(results) for row in _rows(each))
    return text.getvalue()


def to_pandas(results: Results | Iterable[Results]) -> Any:
    """A table with a row for each box.

    Parameters
    ----------
    results : Results, or several

    Returns
    -------
    pandas.DataFrame
        Columns ``image x0 y0 x1 y1 label node id score objectness probability path``; ``id`` is a wnid, and ``path``
        has the names from the top to the label.

    Raises
    ------
    Mistake
        pandas is not installed.
    """
    pandas = _optional("pandas", "tables")
    return pandas.DataFrame([row for each in _several(results) for row in _rows(each)], columns=list(_COLUMNS))


def _rows(results: Results) -> list[dict[str, Any]]:
    rows = []
    for row, detection in enumerate(to_json(results)["detections"]):
        corners = dict(zip(("x0", "y0", "x1", "y1"), detection["box_xyxy"], strict=True))
        numbers = {key: detection[key] for key in ("node", "score", "objectness", "probability")}
        names = {"image": results.path, "label": results.labels[row], "id": detection.get("id", "")}
        names["path"] = " > ".join(step.name for step in results.paths[row])
        rows.append(corners | numbers | names)
    return rows


def to_supervision(results: Results) -> Any:
    """What Roboflow's supervision takes to draw, track and count.

    Parameters
    ----------
    results : Results

    Returns
    -------
    supervision.Detections
        ``confidence`` is the score and ``class_id`` the node; ``data`` has ``class_name``, ``objectness``,
        ``probability`` and ``path``.

    Raises
    ------
    Mistake
        supervision is not installed.
    """
    supervision = _optional("supervision", "supervision")
    return supervision.Detections(
        xyxy=results.boxes.xyxy.astype(np.float32).reshape(-1, 4),
        confidence=results.boxes.score.astype(np.float32),
        class_id=results.nodes.astype(int),
        data={
            "class_name": np.array(results.labels, dtype=object),
            "objectness": results.boxes.objectness,
            "probability": results.boxes.probability,
            "path": np.array([" > ".join(step.name for step in path) for path in results.paths], dtype=object),
        },
    )


def to_fiftyone(results: Results) -> Any:
    """What FiftyOne keeps for a sample, as in ``sample["predictions"] = to_fiftyone(results)``.

    Parameters
    ----------
    results : Results

    Returns
    -------
    fiftyone.Detections
        ``confidence`` is the score; each also has ``objectness``, ``probability`` and ``path``.

    Raises
    ------
    Mistake
        FiftyOne is not installed.
    """
    fiftyone = _optional("fiftyone", "fiftyone")
    width, height = results.size
    found = []
    for row, detection in enumerate(to_json(results)["detections"]):
        x0, y0, x1, y1 = detection["box_xyxy"]
        found.append(
            fiftyone.Detection(
                label=results.labels[row],
                bounding_box=[x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
                confidence=detection["score"],
                objectness=detection["objectness"],
                probability=detection["probability"],
                path=" > ".join(step.name for step in results.paths[row]),
            )
        )
    return fiftyone.Detections(detections=found)


def save_crops(results: Results, folder: str | Path) -> list[Path]:
    """Cut the boxes out of the image, and write each to a folder of its label: ``FOLDER/dog/photo-1.jpg``.

    Parameters
    ----------
    results : Results
    folder : str or Path
        Made if absent. A file that is there already is left alone, and the next number taken.

    Returns
    -------
    list of Path
        The files that were written, as `picture_suffix` says; a box of less than a pixel has none.
    """
    written = []
    for label, crop in cut_out(results):
        place = Path(folder) / label
        place.mkdir(parents=True, exist_ok=True)
        stem, suffix, number = stem_of(results.path), picture_suffix(crop), 1
        while (file := place / f"{stem}-{number}.{suffix}").exists():
            number += 1
        crop.save(file, quality=CROP_QUALITY)
        written.append(file)
    return written


def cut_out(results: Results) -> Iterator[tuple[str, Image.Image]]:
    """The folder and the pixels of each box that has a pixel at least; the folder is called as the label."""
    width, height = results.size
    for row, (x0, y0, x1, y1) in enumerate(results.boxes.xyxy.tolist()):
        left, upper = max(0, int(np.floor(x0))), max(0, int(np.floor(y0)))
        right, lower = min(width, int(np.ceil(x1))), min(height, int(np.ceil(y1)))
        if right > left and lower > upper:
            yield file_name(results.labels[row]), Image.fromarray(results.image[upper:lower, left:right])


def _several(results: Results | Iterable[Results]) -> list[Results]:
    from yolo9000.results.results import Results  # here, for it imports this module as well

    # one is an iterable itself, of its boxes
    return [results] if isinstance(results, Results) else list(results)


def _optional(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Mistake(f'{module} is needed for this and is not installed: pip install "yolo9000[{extra}]"') from error
