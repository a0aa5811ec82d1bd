"""Detections as a picture: a box, its label in the tree, its probability."""

from __future__ import annotations

import colorsys
from collections.abc import Collection
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from wordtree import WordTree
from yolo9000.detection.results import Detections
from yolo9000.models.classes import Classes

Colour = tuple[int, int, int]


@lru_cache(maxsize=8)
def branch_hues(tree: WordTree) -> tuple[float, ...]:
    """A hue in 0..1 for each node, so that relatives look alike and branches differ.

    The leaves are laid around the colour circle in the order of a walk through the tree; an inner node takes the
    middle of its leaves.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "rock", "dog", "cat"), (-1, -1, 0, 0))
    >>> [round(hue, 2) for hue in branch_hues(tree)]
    [0.33, 0.83, 0.17, 0.5]
    """
    leaves = np.array([not tree.children(node) for node in range(len(tree))], dtype=np.int64)
    below = leaves.copy()  # leaves under each node; parents come before their children
    for node in range(len(tree) - 1, -1, -1):
        if tree.parents[node] >= 0:
            below[tree.parents[node]] += below[node]
    start = np.zeros(len(tree), dtype=np.int64)
    offset: dict[int, int] = {}
    for node, parent in enumerate(tree.parents):
        start[node] = offset.setdefault(parent, int(start[parent]) if parent >= 0 else 0)
        offset[parent] += int(below[node])
    return tuple(((start + below / 2) / leaves.sum()).tolist())


def node_colour(classes: Classes, node: int) -> Colour:
    """The colour of a label, 0..255."""
    # of flat classes: steps of the golden ratio never come close to each other
    hue = node * 0.618034 % 1.0 if classes.tree is None else branch_hues(classes.tree)[node]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_detections(
    image: Image.Image | NDArray[np.uint8],
    detections: Detections,
    boxes_xyxy: torch.Tensor,
    classes: Classes,
    *,
    text_size: int | None = None,
    starred: Collection[int] = (),
) -> Image.Image:
    """Draw boxes with label and probability on a copy of an image.

    Parameters
    ----------
    image : PIL image or (H, W, 3) uint8 array
    detections : Detections
        N boxes; the label is ``nodes``, the number beside it P(node).
    boxes_xyxy : (N, 4) tensor
        In pixels of the image.
    classes : Classes
        Give names and colours.
    text_size : int, optional
        Pixels; by default a part of the image's size.
    starred : collection of int
        Nodes whose label gets a star: those that never had a box in training.

    Returns
    -------
    PIL.Image.Image
        RGB, of the same size.
    """
    picture = (image if isinstance(image, Image.Image) else Image.fromarray(image)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    size = text_size or max(11, round(min(picture.size) / 32))
    font = ImageFont.load_default(size)
    stroke = max(2, size // 7)
    # best last, so that its label is not covered
    for row in range(len(detections) - 1, -1, -1):
        node = int(detections.nodes[row])
        colour = node_colour(classes, node)
        name = classes.name(node) + ("*" if node in starred else "")
        x0, y0, x1, y1 = boxes_xyxy[row].tolist()
        draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=colour, width=stroke)
        _label(draw, f"{name} {float(detections.probabilities[row]):.2f}", (x0, y0), colour, font, picture.size)
    return picture


def _label(
    draw: ImageDraw.ImageDraw,
    text: str,
    corner: tuple[float, float],
    colour: Colour,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    size: tuple[int, int],
) -> None:
    """A filled label above the corner; inside the box, or moved left, where the picture ends."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right - left + 6, bottom - top + 4
    x = max(0.0, min(corner[0], size[0] - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    y = max(0.0, min(y, size[1] - height))
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    draw.text((x + 3 - left, y + 2 - top), text, fill="black" if bright else "white", font=font)
