"""Drawing scenes: textured backgrounds, free places for objects, pasting. `scenes` and `tiles` share it.

Every result depends on the arguments alone, one of which is the random generator.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def textured_background(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Draw a random texture: a gradient, stripes, patches, clouds or speckle of two colours.

    Parameters
    ----------
    rng : Generator
        The source of all randomness.
    size : int
        The side of the texture in pixels.

    Returns
    -------
    array (size, size, 3) uint8

    Examples
    --------
    >>> textured_background(np.random.default_rng(0), 96).shape
    (96, 96, 3)
    """
    first = rng.integers(30, 226, 3)
    second = np.clip(first + rng.integers(-70, 71, 3), 0, 255)
    mix: NDArray[np.float32]
    match rng.integers(5):
        case 0 | 1 as pattern:
            angle = float(rng.uniform(0, 2 * np.pi))
            ramp = ((np.arange(size) / size - 0.5) / np.sqrt(2)).astype(np.float32)
            across = ramp * np.float32(np.cos(angle)) + (ramp * np.float32(np.sin(angle)))[:, None]
            mix = across + np.float32(0.5) if pattern == 0 else _stripes(across, rng)
        case 2:
            mix = _grid(rng, int(rng.integers(3, 9)), size, cv2.INTER_NEAREST)
        case 3:
            mix = _grid(rng, int(rng.integers(3, 9)), size, cv2.INTER_CUBIC)
        case _:
            mix = _grid(rng, max(size // int(rng.integers(2, 6)), 1), size, cv2.INTER_LINEAR)
    # Grain of +-4 levels, so that no surface is perfectly flat.
    grain = (rng.integers(0, 256, (size, size, 3), dtype=np.uint8) >> 5).astype(np.float32) - 4
    texture = mix[..., None] * (second - first).astype(np.float32) + (first.astype(np.float32) + grain)
    return np.asarray(np.clip(texture, 0, 255), np.uint8)


def _stripes(across: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    waves = np.sin(across * np.float32(2 * np.pi * rng.uniform(3, 14)))
    return np.asarray((waves * np.float32(rng.uniform(0.5, 4))).clip(-0.5, 0.5) + 0.5, np.float32)


def _grid(rng: np.random.Generator, cells: int, size: int, interpolation: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(rng.random((cells, cells), np.float32), (size, size), interpolation=interpolation))


def find_place(
    rng: np.random.Generator,
    width: float,
    height: float,
    size: int,
    taken_xyxy: list[tuple[float, float, float, float]],
    max_cover: float,
    *,
    tries: int = 30,
) -> tuple[float, float, float, float] | None:
    """Find a random place for a box of this width and height that overlaps no earlier box too much.

    Parameters
    ----------
    rng : Generator
        The source of all randomness.
    width, height : float
        The size of the box in pixels.
    size : int
        The side of the square image in pixels.
    taken_xyxy : list of tuple of float
        The earlier boxes in pixels.
    max_cover : float
        The largest part of the smaller of two boxes that they may share, from 0 to 1.
    tries : int
        The number of places to try before giving up.

    Returns
    -------
    tuple of float or None
        The box as ``(x0, y0, x1, y1)`` in pixels; None if it does not fit or no place was found.

    Examples
    --------
    >>> find_place(np.random.default_rng(0), 60, 60, 100, [(0, 0, 100, 100)], 0.5) is None
    True
    """
    if width > size or height > size:
        return None
    for x0, y0 in rng.random((tries, 2)) * (size - width, size - height):
        for a, b, c, d in taken_xyxy:
            shared = max(min(x0 + width, c) - max(x0, a), 0.0) * max(min(y0 + height, d) - max(y0, b), 0.0)
            if shared > max_cover * min(width * height, (c - a) * (d - b)):
                break
        else:
            return float(x0), float(y0), float(x0) + width, float(y0) + height
    return None


def paste(canvas: NDArray[np.uint8], layer: NDArray[np.uint8], left: int, top: int) -> None:
    """Lay a premultiplied RGBA layer over an RGB canvas, in place.

    Parameters
    ----------
    canvas : array (H, W, 3) uint8
        The image to paste on; it is changed.
    layer : array (h, w, 4) uint8
        The picture to paste, its colours premultiplied with alpha. It must lie wholly inside the canvas.
    left, top : int
        The column and row of the canvas that the layer's first pixel goes to.

    Examples
    --------
    >>> canvas = np.full((2, 2, 3), 200, np.uint8)
    >>> paste(canvas, np.array([[[50, 0, 0, 128]]], np.uint8), 1, 0)
    >>> canvas[0].tolist()
    [[200, 200, 200], [150, 100, 100]]
    """
    height, width = layer.shape[:2]
    region = canvas[top : top + height, left : left + width]
    through = cv2.cvtColor(255 - layer[..., 3], cv2.COLOR_GRAY2RGB)
    region[...] = cv2.add(cv2.multiply(region, through, scale=1 / 255), np.ascontiguousarray(layer[..., :3]))
