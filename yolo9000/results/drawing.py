"""Boxes on a picture, each with a label that can be read: its name in the tree and a number."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from yolo9000.results.colours import Colour, node_colour, text_colour
from yolo9000.results.label_places import covered, gap, place_labels
from yolo9000.runtime.mistakes import Mistake

if TYPE_CHECKING:
    from torch import Tensor

    from yolo9000.detection.results import Detections
    from yolo9000.models.classes import Classes
    from yolo9000.results.results import Results  # which imports this module

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

LEAST_SIDE = 384
"""Pictures whose longer side has fewer pixels are drawn enlarged: no label can be read on 64 of them."""
LEAST_TEXT = 10
"""Pixels; smaller letters run together."""
_ROOM = 0.3
"""The part of a picture that labels may take before their letters get smaller."""


@dataclass(frozen=True)
class Mark:
    """What is drawn for one box.

    Parameters
    ----------
    box_xyxy : tuple of 4 floats
        In pixels of the image.
    name : str
        Shortened where the picture is too narrow.
    number : str
        Stands behind the name and is never shortened; may be empty.
    colour : tuple of int
    further : tuple of str
        Lines below the name, such as the path to it; the last are left out where there is no room.
    dashed : bool
        The box is drawn with a broken line.
    """

    box_xyxy: tuple[float, float, float, float]
    name: str
    number: str
    colour: Colour
    further: tuple[str, ...] = ()
    dashed: bool = False


def draw_results(
    results: Results,
    *,
    path: bool = False,
    text_size: int | None = None,
    enlarge: bool = True,
    font: str | None = None,
) -> Image.Image:
    """Draw what was found in an image on a copy of it.

    The number beside a name is the box's score. A star and a broken line mark classes that never had a box in training.

    Parameters
    ----------
    results : Results
    path : bool
        Below each name also the way up the tree from it, with the probability of each node in per cent.
    text_size : int, optional
    enlarge : bool
    font : str, optional
        See `draw_marks`.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    return draw_marks(results.image, marks_of(results, path=path), text_size=text_size, enlarge=enlarge, font=font)


def marks_of(results: Results, *, path: bool = False) -> list[Mark]:
    """What is drawn for each box of an image, the best first.

    Parameters
    ----------
    results : Results
    path : bool
        With the way up the tree.
    """
    marks = []
    for row, node in enumerate(results.nodes.tolist()):
        mark = _mark(results.classes, node, results.boxes.xyxy[row], results.boxes.score[row], results.never_boxed)
        if path:
            steps = reversed(results.paths[row])
            mark = replace(mark, further=tuple(f"{step.probability:.0%} {step.name}" for step in steps))
        marks.append(mark)
    return marks


def draw_detections(
    image: Image.Image | NDArray[np.uint8],
    detections: Detections,
    boxes_xyxy: Tensor,
    classes: Classes,
    *,
    starred: Collection[int] = (),
    text_size: int | None = None,
    enlarge: bool = True,
) -> Image.Image:
    """Draw detections that are no `Results`, as those of an evaluation, in the same way.

    Parameters
    ----------
    image : PIL image or (H, W, 3) uint8 array
    detections : Detections
        N boxes, best score first.
    boxes_xyxy : Tensor (N, 4)
        The same boxes in pixels of the image.
    classes : Classes
        Give names and colours.
    starred : collection of int
        Labels that never had a box in training.
    text_size : int, optional
    enlarge : bool
        See `draw_marks`.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    rows = zip(detections.nodes.tolist(), boxes_xyxy.tolist(), detections.scores.tolist(), strict=True)
    marks = [_mark(classes, node, box, score, starred) for node, box, score in rows]
    return draw_marks(image, marks, text_size=text_size, enlarge=enlarge)


def _mark(classes: Classes, node: int, box_xyxy: Iterable[float], score: float, never_boxed: Collection[int]) -> Mark:
    x0, y0, x1, y1 = map(float, box_xyxy)
    new = node in never_boxed
    name = classes.name(node) + "*" * new
    return Mark((x0, y0, x1, y1), name, f"{score:.2f}", node_colour(classes, node), dashed=new)


def draw_marks(
    image: Image.Image | NDArray[np.uint8],
    marks: Sequence[Mark],
    *,
    text_size: int | None = None,
    enlarge: bool = True,
    font: str | None = None,
) -> Image.Image:
    """Draw boxes and their labels on a copy of an image.

    Labels lie in the picture altogether and beside each other as long as there is room (`place_labels`); a line leads
    to the box from a label that found no place at it. Where labels would take more than three tenths of the picture,
    they lose their further lines, and then their letters get smaller, down to 10 pixels.

    Parameters
    ----------
    image : PIL image or (H, W, 3) uint8 array
    marks : sequence of Mark
        Best first: the first choose their places first and are drawn over the others.
    text_size : int, optional
        Height of the letters in pixels of the picture, at most a third of its shorter side; by default it follows the
        size of the picture.
    enlarge : bool
        Enlarge a picture whose longer side is below 384 pixels by a whole factor, so that labels can be read.
    font : str, optional
        A TrueType file, for names in a script that the built-in font does not have.

    Returns
    -------
    PIL.Image.Image
        RGB, of the size of the image unless it was enlarged.

    Examples
    --------
    >>> mark = Mark((8, 20, 40, 60), "dog", "0.83", (255, 200, 0))
    >>> draw_marks(np.zeros((64, 48, 3), np.uint8), [mark]).size
    (288, 384)
    """
    picture = (image if isinstance(image, Image.Image) else Image.fromarray(image)).convert("RGB")
    factor = math.ceil(LEAST_SIDE / max(picture.size)) if enlarge else 1
    if factor > 1:
        picture = picture.resize((factor * picture.width, factor * picture.height), Image.Resampling.BICUBIC)
    boxes = np.array([mark.box_xyxy for mark in marks], np.float64).reshape(-1, 4) * factor
    boxes = boxes.clip(0, np.array([*picture.size, *picture.size]))
    labels, places = _fit(marks, boxes, picture.size, text_size, font)
    draw = ImageDraw.Draw(picture)
    stroke = max(2, round(labels.text_size / 7))
    worst_first = range(len(marks) - 1, -1, -1)
    for row in worst_first:
        _box(draw, boxes[row].tolist(), marks[row].colour, stroke, dashed=marks[row].dashed)
    for row in worst_first:
        label = np.concatenate([places[row], places[row] + labels.sizes[row]])
        _leader(draw, label, boxes[row], marks[row].colour, stroke)
    for row in worst_first:
        labels.write(draw, row, places[row], marks[row].colour)
    return picture


@dataclass(frozen=True)
class _Labels:
    """The lines of N labels in letters of one size, and how large that makes them."""

    text_size: int
    font: Font
    lines: list[list[str]]
    sizes: NDArray[np.int64]

    def write(self, draw: ImageDraw.ImageDraw, row: int, place: NDArray[np.int64], colour: Colour) -> None:
        if not self.lines[row]:
            return
        (x0, y0), (x1, y1) = place.tolist(), (place + self.sizes[row]).tolist()
        draw.rectangle((x0, y0, x1 - 2, y1 - 2), fill=colour)  # a line of the picture is left between neighbours
        pad, (top, height) = _padding(self.text_size), _line(self.font)
        for number, line in enumerate(self.lines[row]):
            draw.text((x0 + pad, y0 + 1 - top + number * height), line, fill=text_colour(colour), font=self.font)


def _fit(
    marks: Sequence[Mark],
    boxes_xyxy: NDArray[np.float64],
    picture: tuple[int, int],
    text_size: int | None,
    font: str | None,
) -> tuple[_Labels, NDArray[np.int64]]:
    """As many lines, and then as large letters, as leave most of the picture free and cover no label; their places."""
    usual = max(12, round(math.sqrt(picture[0] * picture[1]) / 38))
    wanted = min(text_size or usual, max(LEAST_TEXT, min(picture) // 3))
    tries = [(wanted, lines) for lines in range(max((len(mark.further) for mark in marks), default=0), -1, -1)]
    while text_size is None and tries[-1][0] > LEAST_TEXT:
        tries.append((max(LEAST_TEXT, round(0.85 * tries[-1][0])), 0))
    for number, (size, lines) in enumerate(tries, 1):
        labels = _measured(marks, picture, size, load_font(size, font), lines)
        if number < len(tries) and labels.sizes.prod(axis=1).sum() > _ROOM * picture[0] * picture[1]:
            continue
        places = place_labels(labels.sizes, boxes_xyxy, picture)
        if not covered(labels.sizes, places):
            break
    return labels, places


def _measured(marks: Sequence[Mark], picture: tuple[int, int], text_size: int, font: Font, further: int) -> _Labels:
    pad, (_, height) = _padding(text_size), _line(font)
    width, most = picture[0] - 2 * pad - 1, max(0, (picture[1] - 3) // height)
    lines: list[list[str]] = []
    sizes = []
    for mark in marks:
        texts = [_shortened(mark.name, mark.number, width, font)]
        texts += [_shortened(line, "", width, font) for line in mark.further[:further]]
        texts = [text for text in texts if text][:most]
        longest = max((math.ceil(font.getlength(text)) for text in texts), default=0)
        lines.append(texts)
        sizes.append((longest + 2 * pad + 1, len(texts) * height + 3) if texts else (0, 0))
    return _Labels(text_size, font, lines, np.array(sizes, np.int64).reshape(-1, 2))


def _shortened(name: str, number: str, width: int, font: Font) -> str:
    """The name and the number; the name ends in an ellipsis where both are too wide, and nothing is left at worst."""
    whole = f"{name} {number}".strip()
    if font.getlength(whole) <= width:
        return whole
    for length in range(len(name) - 1, 0, -1):
        text = f"{name[:length].rstrip()}… {number}".strip()
        if font.getlength(text) <= width:
            return text
    return number if font.getlength(number) <= width else ""


@lru_cache(maxsize=64)
def load_font(size: int, file: str | None = None) -> Font:
    """The built-in font, or that of a TrueType file.

    Raises
    ------
    Mistake
        The file is none.
    """
    try:
        return ImageFont.load_default(size) if file is None else ImageFont.truetype(file, size)
    except OSError as error:
        raise Mistake(f"`font` {file}: no TrueType file can be read there ({error})") from error


def _line(font: Font) -> tuple[int, int]:
    """The upper edge of the letters of a line, and its height, the same for all lines."""
    _, top, _, bottom = font.getbbox("ÅÊgjpqy|")
    return math.floor(top), math.ceil(bottom) - math.floor(top) + 1


def _padding(text_size: int) -> int:
    return max(2, text_size // 4)


def _box(draw: ImageDraw.ImageDraw, box_xyxy: Sequence[float], colour: Colour, stroke: int, *, dashed: bool) -> None:
    x0, y0, x1, y1 = box_xyxy
    # pixel x0 is the first inside, and the pixel before x1 the last
    x1, y1 = max(x0, x1 - 1), max(y0, y1 - 1)
    if not dashed:
        draw.rectangle((x0, y0, x1, y1), outline=colour, width=stroke)
        return
    dash = 4 * stroke
    for start, end in _dashes(x0, x1, dash):
        draw.rectangle((start, y0, end, min(y0 + stroke - 1, y1)), fill=colour)
        draw.rectangle((start, max(y1 - stroke + 1, y0), end, y1), fill=colour)
    for start, end in _dashes(y0, y1, dash):
        draw.rectangle((x0, start, min(x0 + stroke - 1, x1), end), fill=colour)
        draw.rectangle((max(x1 - stroke + 1, x0), start, x1, end), fill=colour)


def _dashes(start: float, end: float, dash: int) -> Iterable[tuple[float, float]]:
    """Dashes and gaps of about one length, with a dash at both ends."""
    pairs = max(1, round((end - start) / (2 * dash)))
    step = (end - start) / (2 * pairs + 1)
    return [(start + 2 * number * step, start + (2 * number + 1) * step) for number in range(pairs + 1)]


def _leader(
    draw: ImageDraw.ImageDraw, label: NDArray[np.int64], box: NDArray[np.float64], colour: Colour, stroke: int
) -> None:
    """A line from a label to its box, if they are apart."""
    if gap(label, box.round().astype(np.int64)) < 2:
        return
    start = label.reshape(2, 2).mean(axis=0)
    draw.line((*start, *start.clip(box[:2], box[2:])), fill=colour, width=max(1, stroke // 2))
