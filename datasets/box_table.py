"""Detection images in a CSV: one row for each box, or for an image without one."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.box_index import (
    PIXELS,
    BoxIndex,
    IndexedSource,
    contents,
    names_in,
    nodes_of,
)
from yolo9000.datasets.complaints import Complaints, read_text
from yolo9000.datasets.decode import upright_size_of_file
from yolo9000.datasets.errors import DatasetError, NoSuchSplit
from yolo9000.datasets.sample import Kind

LAYOUT = """\
boxes.csv                 path,x0,y0,x1,y1,label,split
                          photos/0001.jpg,34,50,210,180,forklift,train
                          photos/0002.jpg,,,,,,train             an image without a box
                          photos/0003.jpg,12,8,90,77,pallet,val
photos/0001.jpg           paths are relative to the CSV; without the column split there are train.csv and val.csv"""
"""How the files lie, for messages and the documentation."""

_ROW = "a row is path,x0,y0,x1,y1,label, with the edges of the box in pixels or relative to the image"
_COLUMNS = ("path", "x0", "y0", "x1", "y1", "label")
_EDGES = (
    ("x0", "y0", "x1", "y1"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)
_PATHS = ("path", "image", "filename", "file", "file_name", "image_path")
_LABELS = ("label", "class", "class_name", "name")


@dataclass(frozen=True)
class Row:
    """One row with a box, and its line."""

    image: Path
    label: str
    edges: tuple[float, float, float, float]
    line: int


@dataclass
class Table:
    """The rows of a split: all images in the order of their first row, the boxes, and the lines that came before."""

    images: dict[Path, int] = field(default_factory=dict)
    boxes: list[Row] = field(default_factory=list)
    splits: dict[str, int] = field(default_factory=dict)
    twice: list[int] = field(default_factory=list)

    @property
    def is_relative(self) -> bool:
        """Whether edges are shares of the image: no box in pixels ends so near to the corner as all of these do."""
        return all(abs(edge) < PIXELS for box in self.boxes for edge in box.edges)


class CsvSource(IndexedSource):
    """Images with boxes from a CSV.

    The first row may name the columns, in any order and with others beside them: ``path`` (or ``image``,
    ``filename``), the edges ``x0,y0,x1,y1`` (or ``xmin,ymin,xmax,ymax``, ``x1,y1,x2,y2``, ``left,top,right,bottom``),
    ``label`` (or ``class``, ``class_name``, ``name``), and ``split``. Without such a row the columns are
    ``path,x0,y0,x1,y1,label``.

    Edges are relative to the image if all of the split are below 2, and pixels otherwise, counted from 0, so that a box
    of the whole of a 40 x 30 image is ``0,0,40,30``. They refer to the image as it stands upright by its EXIF
    orientation. A row with a path and no more is an image without a box. A row that is written twice counts once.

    Parameters
    ----------
    root : str or Path
        The CSV, whose column ``split`` says which images are whose; without that column all its images are those of
        ``train``. Or a folder with a CSV for each split: ``train.csv``, ``val.csv``.
    label_map : mapping of str to int
        The class index or tree node of each label.
    split : str
        The split.
    name : str
        The name of the source in messages.
    skip_missing : bool
        Leave out labels without a node instead of raising.
    labelled_nodes : sequence of int, optional
        The nodes that are labelled exhaustively in every image; None means all.

    Attributes
    ----------
    class_names : dict of int to str
        The node of each label -> the label.

    Raises
    ------
    DatasetError
        If a row or the label map do not fit; wrong rows are named with file and line.

    Examples
    --------
    >>> source = CsvSource("boxes.csv", {"forklift": 0, "pallet": 1})  # doctest: +SKIP
    """

    kind: Kind = "detection"

    def __init__(
        self,
        root: str | Path,
        label_map: Mapping[str, int],
        *,
        split: str = "train",
        name: str = "csv",
        skip_missing: bool = False,
        labelled_nodes: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> None:
        self.name = name
        self.labelled_nodes = None if labelled_nodes is None else np.asarray(labelled_nodes, np.int64)
        file, needs_column = find_table(Path(root), split)
        table = read_table(file, split, needs_column)
        images = list(table.images)
        distinct = sorted({box.label for box in table.boxes})
        node_of: dict[str, int] = {}
        if distinct:
            nodes = nodes_of(f"{name} ({file})", "labels", distinct, label_map.get, skip_missing=skip_missing)
            node_of = dict(zip(distinct, nodes, strict=True))
        self.class_names = {node: label for label, node in node_of.items() if node >= 0}
        sizes = np.array([upright_size_of_file(image) for image in images], np.int32).reshape(-1, 2)
        image_of = np.array([table.images[box.image] for box in table.boxes], np.int64)
        edges = np.array([box.edges for box in table.boxes], np.float64).reshape(-1, 4)
        if table.is_relative:
            edges = edges * np.tile(sizes[image_of], 2)
        labels = np.array([node_of[box.label] for box in table.boxes], np.int64)
        self.index = BoxIndex.of_files(name, images, sizes, image_of, edges, labels, written_twice=len(table.twice))


def csv_labels(root: str | Path, split: str) -> list[str]:
    """Return the labels of all splits of a CSV, or of all CSVs of boxes in a folder, sorted.

    Parameters
    ----------
    root : str or Path
    split : str
        As in `CsvSource`.

    Returns
    -------
    list of str

    Raises
    ------
    DatasetError
        If a row cannot be read.
    """
    root = Path(root)
    beside = sorted(root.glob("*.csv")) if root.is_dir() else []
    files = [file for file in beside if file.name == f"{split}.csv" or _holds_boxes(file)]
    tables = [read_table(file, None, False) for file in files or [find_table(root, split)[0]]]
    return sorted({box.label for table in tables for box in table.boxes})


def find_table(root: Path, split: str) -> tuple[Path, bool]:
    """Return the file of a split, and whether its column ``split`` is looked at."""
    if root.is_file():
        return root, True
    if (root / f"{split}.csv").is_file():
        return root / f"{split}.csv", False
    raise NoSuchSplit(
        f"{root}: looked for a CSV or a folder with {split}.csv, found {contents(root)}. Expected:\n{LAYOUT}"
    )


def read_table(file: Path, split: str | None, needs_column: bool, complaints: Complaints | None = None) -> Table:
    """Read the rows of a split, or of all splits.

    Parameters
    ----------
    file : Path
    split : str, optional
        None reads all.
    needs_column : bool
        Whether the column ``split`` says which rows are whose.
    complaints : Complaints, optional
        Where wrong rows are noted, in place of an error.

    Raises
    ------
    DatasetError
        A row is wrong, or there is none.
    """
    is_strict = complaints is None
    complaints = Complaints(_ROW) if complaints is None else complaints
    table = Table()
    columns, has_header = {name: place for place, name in enumerate(_COLUMNS)}, False
    seen: set[tuple[str, ...]] = set()
    present: dict[Path, set[str]] = {}
    is_first = True
    for line, row in _rows(file):
        if is_first:
            is_first = False
            if (named := _columns_of(file, row)) is not None:
                columns, has_header = named, True
                continue
        cells = {name: row[place] if place < len(row) else "" for name, place in columns.items()}
        own = cells.get("split", "train").lower() or "train"
        table.splits[own] = table.splits.get(own, 0) + 1
        if split is not None and needs_column and own != split:
            continue
        if len(row) > len(_COLUMNS) and not has_header:
            complaints.add(file, line, f"{len(row)} cells; name the columns in the first row if there are others")
            continue
        key = tuple(cells.values())
        if key in seen:
            table.twice.append(line)
            continue
        seen.add(key)
        _add(table, file, line, cells, complaints, present)
    if is_strict:
        complaints.require_none()
    if not table.images and not complaints.found:
        if not needs_column:
            raise DatasetError(f"{file}: has no image. Expected:\n{LAYOUT}")
        found = f"; its splits are {', '.join(table.splits)}" if table.splits else ""
        raise NoSuchSplit(f"{file}: has no image of the split {split}{found}. Expected:\n{LAYOUT}")
    return table


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(read_text(file).splitlines())
    try:
        for row in reader:
            if any(cell.strip() for cell in row) and not row[0].startswith("#"):
                yield reader.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise DatasetError(f"{file}:{reader.line_num}: is no CSV: {error}") from error


def _holds_boxes(file: Path) -> bool:
    """Whether a CSV begins as one of boxes does; other tables may lie beside it, such as that of ``tree build``."""
    row = next((row for _, row in _rows(file)), None)
    if row is None:
        return False
    try:
        if _columns_of(file, row) is not None:
            return True
    except DatasetError:
        return False
    edges = row[1:5]
    try:
        return not any(edges) or len([float(edge) for edge in edges]) == len(_EDGES[0])
    except ValueError:
        return False


def _columns_of(file: Path, row: Sequence[str]) -> dict[str, int] | None:
    """The place of each column that a first row names; None if it is a row like the others."""
    header = [cell.casefold() for cell in row]
    if len(header) == 1 and any(sign in header[0] for sign in ";\t|"):
        raise DatasetError(f"{file}:1: expected commas between the columns, found {row[0]!r}; save it with commas")
    edges = next((names for names in _EDGES if set(names) <= set(header)), None)
    path = next((name for name in _PATHS if name in header), None)
    label = next((name for name in _LABELS if name in header), None)
    if edges is None and (path is None or label is None):
        return None
    if edges is None or path is None or label is None:
        raise DatasetError(f"{file}:1: names the columns {', '.join(row)}; path, x0, y0, x1, y1 and label are needed")
    named = dict(zip(_COLUMNS, map(header.index, (path, *edges, label)), strict=True))
    return named | ({"split": header.index("split")} if "split" in header else {})


def _add(
    table: Table,
    file: Path,
    line: int,
    cells: Mapping[str, str],
    complaints: Complaints,
    present: dict[Path, set[str]],
) -> None:
    """Add a row's image and box, or say what is wrong with it."""
    if not cells["path"] or "\0" in cells["path"]:
        complaints.add(file, line, "the path is empty" if not cells["path"] else "the path holds a zero byte")
        return
    image = (file.parent / cells["path"]).absolute()
    if image.parent not in present:  # a folder is listed once: asking for each file takes minutes on a network drive
        present[image.parent] = names_in(image.parent)
    if image.name not in present[image.parent]:
        complaints.add(file, line, f"no such image: {image}")
        return
    words = [cells[name] for name in _COLUMNS[1:5]]
    if not any(words) and not cells["label"]:
        table.images.setdefault(image, len(table.images))
        return
    if not cells["label"]:
        complaints.add(file, line, "a box without a label")
        return
    try:
        x0, y0, x1, y1 = map(float, words)
    except ValueError:
        complaints.add(file, line, f"{','.join(words)}: four numbers are needed for a box")
        return
    if not all(map(math.isfinite, (x0, y0, x1, y1))):
        complaints.add(file, line, f"{','.join(words)}: a number is not finite")
    elif x1 < x0 or y1 < y0:
        complaints.add(file, line, f"{','.join(words)}: the right and lower edge come last, not width and height")
    else:
        table.images.setdefault(image, len(table.images))
        table.boxes.append(Row(image, cells["label"], (x0, y0, x1, y1), line))
