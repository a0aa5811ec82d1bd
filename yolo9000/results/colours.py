"""A colour for each class: relatives in the tree get related hues, and text on any colour can be read.

K classes.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache

import numpy as np

from wordtree import WordTree
from yolo9000.models.classes import Classes

Colour = tuple[int, int, int]

_LIGHTNESS, _CHROMA = (0.72, 0.82, 0.64), 0.17
"""OKLCH: three steps of lightness tell siblings apart whose hues are alike; more chroma leaves the screen's colours."""
_GOLDEN_RATIO = 0.6180339887


@lru_cache(maxsize=8)
def branch_hues(tree: WordTree) -> tuple[float, ...]:
    """A hue in 0..1 for each node, so that relatives look alike and branches differ.

    The leaves are laid around the colour circle in the order of a walk through the tree; an inner node takes the middle
    of its leaves. A leaf beside m - 1 others takes a part in proportion to 1 / sqrt(m), so that the 120 breeds of dogs
    that some trees have do not take the circle from everything else.

    Parameters
    ----------
    tree : WordTree

    Returns
    -------
    tuple of float (K,)

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "rock", "dog", "cat"), (-1, -1, 0, 0))
    >>> [round(hue, 2) for hue in branch_hues(tree)]
    [0.29, 0.79, 0.15, 0.44]
    """
    leaves = [node for node in range(len(tree)) if not tree.children(node)]
    beside = Counter(tree.parents[leaf] for leaf in leaves)
    part = np.zeros(len(tree))
    part[leaves] = [beside[tree.parents[leaf]] ** -0.5 for leaf in leaves]
    part /= part.sum()
    part = tree.sum_upwards(part)
    start = np.zeros(len(tree))
    taken: dict[int, float] = {}
    for node, parent in enumerate(tree.parents):
        start[node] = taken.get(parent, start[parent] if parent >= 0 else 0.0)
        taken[parent] = start[node] + part[node]
    return tuple((start + part / 2).tolist())


@lru_cache(maxsize=8)
def _places_among_siblings(tree: WordTree) -> tuple[int, ...]:
    before: dict[int, int] = {}
    found = []
    for parent in tree.parents:
        found.append(before.get(parent, 0))
        before[parent] = found[-1] + 1
    return tuple(found)


def node_colour(classes: Classes, node: int) -> Colour:
    """The colour of a label, 0..255.

    Parameters
    ----------
    classes : Classes
    node : int
        A node of the tree, or a flat class.

    Examples
    --------
    >>> from yolo9000.models import FlatClasses
    >>> node_colour(FlatClasses(3), 0)
    (247, 113, 160)
    """
    if classes.tree is None:  # steps of the golden ratio never come close to each other
        hue, place = node * _GOLDEN_RATIO % 1.0, node
    else:
        hue, place = branch_hues(classes.tree)[node], _places_among_siblings(classes.tree)[node]
    return from_oklch(_LIGHTNESS[place % len(_LIGHTNESS)], _CHROMA, hue)


def from_oklch(lightness: float, chroma: float, hue: float) -> Colour:
    """The colour of OKLCH, a space in which equal steps look equal; chroma is lowered to what a screen can show.

    Parameters
    ----------
    lightness : float
        0..1.
    chroma : float
        From 0, which is grey, to about 0.3.
    hue : float
        0..1.

    Returns
    -------
    tuple of int
        sRGB, 0..255.

    References
    ----------
    Björn Ottosson, "A perceptual color space for image processing", 2020; the matrices are his.

    Examples
    --------
    >>> from_oklch(1.0, 0.0, 0.0), from_oklch(0.628, 0.2577, 29.23 / 360)  # white and red
    ((255, 255, 255), (255, 0, 0))
    """
    linear = np.zeros(3)
    for part in range(101):
        strength = chroma * (1 - part / 100)
        a, b = strength * math.cos(2 * math.pi * hue), strength * math.sin(2 * math.pi * hue)
        cones = np.array(
            [
                lightness + 0.3963377774 * a + 0.2158037573 * b,
                lightness - 0.1055613458 * a - 0.0638541728 * b,
                lightness - 0.0894841775 * a - 1.2914855480 * b,
            ]
        )
        linear = _LMS_TO_RGB @ cones**3
        if linear.min() > -1e-3 and linear.max() < 1 + 1e-3:
            break
    linear = linear.clip(0, 1)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (round(255 * float(value)) for value in coded)
    return red, green, blue


_LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def contrast(one: Colour, other: Colour) -> float:
    """The contrast of two colours, 1 to 21, as WCAG 2 defines it; text is to have at least 4.5.

    Examples
    --------
    >>> round(contrast((0, 0, 0), (255, 255, 255)), 2)
    21.0
    """
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever is easier to read on a colour: the contrast is at least 4.5 on every colour.

    Examples
    --------
    >>> text_colour((255, 255, 0)), text_colour((0, 0, 160))
    ((0, 0, 0), (255, 255, 255))
    """
    black, white = (0, 0, 0), (255, 255, 255)
    return black if contrast(black, background) >= contrast(white, background) else white


def _luminance(colour: Colour) -> float:
    linear = [
        value / 255 / 12.92 if value / 255 <= 0.03928 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in colour
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
