"""Darknet's own augmentation, exact to the last digit, for further training of nets that darknet trained.

It is one file because all of it is darknet's image.c, whose few functions serve both kinds of images.

Our own `yolo9000.datasets.transforms` crops and zooms, samples at pixel centres and works on bytes. Darknet keeps the
whole image visible: it changes the aspect ratio, puts the image somewhere on a grey canvas, changes the colours and
mirrors. For YOLOv1 it cuts a part out, which may reach beyond the image, and stretches it. The functions
follow darknet's image.c.

Legend: C channels, H height, W width. Images are floats from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from yolo9000.datasets.darknet_images import GREY, resize
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.sample import Placement, Record, Sample
from yolo9000.datasets.transforms import target_in_input

_THINNEST = 1e-3
"""Darknet leaves out a box thinner than this fraction of the input."""


@dataclass(frozen=True, kw_only=True)
class DarknetAugment:
    """How much darknet's augmentation changes an image; the defaults are those of its yolov2 and yolo9000 cfgs.

    Parameters
    ----------
    jitter : float
        Width and height each change by up to this fraction before their ratio is taken.
    hue : float
        The largest turn of the hue, as a fraction of the circle.
    saturation, exposure : float
        The largest factor on saturation and value, or its inverse: 0.75 and 1 / 0.75 mean the same.
    flip : float
        The probability of mirroring left to right.
    stretched : bool
        As for YOLOv1: each of the four sides moves on its own by up to `jitter` of the image, outwards as well, and the
        part is stretched to the input, without a letterbox.

    Raises
    ------
    DatasetError
        If a value is out of range.

    Examples
    --------
    >>> DarknetAugment(saturation=0.75).jitter
    0.2
    """

    jitter: float = 0.2
    hue: float = 0.1
    saturation: float = 1.5
    exposure: float = 1.5
    flip: float = 0.5
    stretched: bool = False

    def __post_init__(self) -> None:
        for name, high in (("jitter", 0.9), ("hue", 1), ("flip", 1)):
            if not 0 <= getattr(self, name) <= high:
                raise DatasetError(f"DarknetAugment: {name} must be from 0 to {high}, not {getattr(self, name)}")
        if not (0 < self.saturation < math.inf and 0 < self.exposure < math.inf):
            raise DatasetError("DarknetAugment: saturation and exposure are factors above 0 (1 = off)")


def augment_as_darknet(
    record: Record, size: int, rng: np.random.Generator, config: DarknetAugment | None = None
) -> Sample:
    """Place, colour and mirror a record at random as darknet's detector does; it replaces `transforms.augment`.

    The whole image stays visible, unless the configuration is `stretched` as for YOLOv1. The random numbers are not
    darknet's, and every image draws equally many. Darknet's limit of 30 boxes is not kept. In joint training, darknet
    treats images with an image label in the same way.

    Parameters
    ----------
    record : Record
        An image and its labels.
    size : int
        The side of the network's input in pixels.
    rng : Generator
        The source of all randomness.
    config : DarknetAugment, optional
        How much each step changes; by default as much as in darknet.

    Returns
    -------
    Sample

    Examples
    --------
    >>> import numpy as np
    >>> record = Record(np.zeros((60, 80, 3), np.uint8), "a.jpg", np.float32([[0, 0, 80, 60]]), np.array([7]))
    >>> sample = augment_as_darknet(record, 64, np.random.default_rng(0))
    >>> sample.image.shape, sample.target.labels
    (torch.Size([3, 64, 64]), tensor([7]))
    """
    config = DarknetAugment() if config is None else config
    *places, turn, saturate, less_s, expose, less_v, mirror = rng.random(10).tolist()
    flipped = mirror < config.flip
    pixels = record.image.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    image, placement = (_stretched if config.stretched else _placed)(pixels, size, places, config.jitter)
    image = distort(
        image,
        (2 * turn - 1) * config.hue,
        _factor(config.saturation, saturate, less_s),
        _factor(config.exposure, expose, less_v),
    )
    if flipped:
        image = np.ascontiguousarray(image[:, :, ::-1])
    placement = replace(placement, flipped=flipped)
    target = target_in_input(record, placement, thinnest=_THINNEST)
    return Sample(torch.from_numpy(image), target, record.key, placement)


Placed = tuple[NDArray[np.float32], Placement]


def _placed(pixels: NDArray[np.float32], size: int, places: Sequence[float], jitter: float) -> Placed:
    """The whole image at another aspect ratio, somewhere on a grey canvas."""
    stretch_x, stretch_y, left, top = places
    _, height, width = pixels.shape
    aspect = width * (1 + jitter * (2 * stretch_x - 1)) / (height * (1 + jitter * (2 * stretch_y - 1)))
    w, h = (size * aspect, float(size)) if aspect < 1 else (float(size), size / aspect)
    x, y = left * (size - w), top * (size - h)
    # The pixels move by whole numbers, the boxes do not.
    image = place_image(pixels, (max(1, int(w)), max(1, int(h))), (int(x), int(y)), (size, size))
    return image, Placement(width, height, w / width, h / height, x, y, size)


def _stretched(pixels: NDArray[np.float32], size: int, places: Sequence[float], jitter: float) -> Placed:
    """A part of the image, which may reach beyond it, stretched to the input."""
    _, height, width = pixels.shape
    spread = [int(jitter * side) for side in (width, width, height, height)]
    left, right, top, bottom = (int((2 * share - 1) * most) for share, most in zip(places, spread, strict=True))
    w, h = max(1, width - left - right), max(1, height - top - bottom)
    image = resize(crop_image(pixels, (left, top), (w, h)), size, size)
    return image, Placement(width, height, size / w, size / h, -left * size / w, -top * size / h, size)


def crop_image(image: NDArray[Any], corner: tuple[int, int], size: tuple[int, int]) -> NDArray[Any]:
    """Cut a part out of an image, beyond whose edges the outermost pixels go on (darknet's ``crop_image``).

    Parameters
    ----------
    image : array (C, H, W)
        The image.
    corner : tuple of int
        The left and top of the part; below 0 it lies outside.
    size : tuple of int
        The width and height of the part.

    Returns
    -------
    array (C, height, width)

    Examples
    --------
    >>> import numpy as np
    >>> crop_image(np.array([[[1.0, 2.0, 3.0]]]), (-1, 0), (3, 1)).tolist()
    [[[1.0, 1.0, 2.0]]]
    """
    columns = np.arange(corner[0], corner[0] + size[0]).clip(0, image.shape[2] - 1)
    rows = np.arange(corner[1], corner[1] + size[1]).clip(0, image.shape[1] - 1)
    part: NDArray[Any] = image[:, rows[:, None], columns]
    return part


@dataclass(frozen=True, kw_only=True)
class DarknetCrops:
    """How much darknet's augmentation of a classifier changes an image; the defaults are its darknet19 cfgs'.

    Parameters
    ----------
    crop : tuple of float
        The range of the image's shorter side, relative to the crop. Below 1 the crop is wider than the image, with
        black around it (darknet19.cfg: 128 to 448 pixels for crops of 256).
    angle : float
        The largest turn, in degrees.
    aspect : float
        The largest factor on the ratio of width to height, or its inverse.
    hue : float
        The largest turn of the hue, as a fraction of the circle.
    saturation, exposure : float
        The largest factor on saturation and value, or its inverse.
    flip : float
        The probability of mirroring left to right.

    Raises
    ------
    DatasetError
        If a value is out of range.

    Examples
    --------
    >>> DarknetCrops(angle=0).crop
    (0.5, 1.75)
    """

    crop: tuple[float, float] = (0.5, 1.75)
    angle: float = 7.0
    aspect: float = 0.75
    hue: float = 0.1
    saturation: float = 0.75
    exposure: float = 0.75
    flip: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.crop[0] <= self.crop[1]:
            raise DatasetError(f"DarknetCrops: crop must be a range of positive factors, not {self.crop}")
        for name, high in (("angle", 180), ("hue", 1), ("flip", 1)):
            if not 0 <= getattr(self, name) <= high:
                raise DatasetError(f"DarknetCrops: {name} must be from 0 to {high}, not {getattr(self, name)}")
        if min(self.aspect, self.saturation, self.exposure) <= 0:
            raise DatasetError("DarknetCrops: aspect, saturation and exposure are factors above 0 (1 = off)")


def crop_as_darknet(
    record: Record, size: int, rng: np.random.Generator, config: DarknetCrops = DarknetCrops()
) -> Sample:
    """Crop, turn, colour and mirror an image with a label at random as darknet does for its classifiers.

    The random numbers are not darknet's, and every image draws equally many.

    Parameters
    ----------
    record : Record
        An image with an `image_label`.
    size : int
        The side of the network's input in pixels.
    rng : Generator
        The source of all randomness.
    config : DarknetCrops
        How much each step changes.

    Returns
    -------
    Sample
        Its placement leaves the turn out: what an image label says has no place.

    Examples
    --------
    >>> import numpy as np
    >>> record = Record(np.zeros((60, 80, 3), np.uint8), "a.jpg", image_label=3)
    >>> sample = crop_as_darknet(record, 64, np.random.default_rng(0))
    >>> sample.image.shape, sample.target.image_label
    (torch.Size([3, 64, 64]), 3)
    """
    stretch, narrower, side, turn, left, top, mirror = rng.random(7).tolist()
    hue, saturate, less_s, expose, less_v = rng.random(5).tolist()
    height, width = record.image.shape[:2]
    aspect = _factor(config.aspect, stretch, narrower)
    low, high = (int(limit * size) for limit in config.crop)
    shorter = low + int(side * (high - low + 1))
    scale = shorter / min(height, width * aspect)
    x = (2 * left - 1) * (width * scale / aspect - size) / 2
    y = (2 * top - 1) * (height * scale - size) / 2
    pixels = record.image.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    radians = math.radians((2 * turn - 1) * config.angle)
    image = distort(
        rotate_crop(pixels, radians, scale, (size, size), (x, y), aspect),
        (2 * hue - 1) * config.hue,
        _factor(config.saturation, saturate, less_s),
        _factor(config.exposure, expose, less_v),
    )
    if flipped := mirror < config.flip:
        image = np.ascontiguousarray(image[:, :, ::-1])
    scale_x = scale / aspect
    offsets = (size / 2 - x - width / 2 * scale_x, size / 2 - y - height / 2 * scale)
    placement = Placement(width, height, scale_x, scale, *offsets, size, flipped)
    return Sample(torch.from_numpy(image), target_in_input(record, placement), record.key, placement)


def _factor(largest: float, share: float, inverse: float) -> float:
    factor = 1 + share * (largest - 1)
    return factor if inverse < 0.5 else 1 / factor


def place_image(
    image: NDArray[Any], size: tuple[int, int], offset: tuple[int, int], canvas: tuple[int, int]
) -> NDArray[np.float32]:
    """Place an image on a grey canvas (darknet's ``place_image``).

    With w the image's width on the canvas, its column x shows the image at ``x / w * W``, without an offset for pixel
    centres. Darknet interpolates with black beyond the image, so the last row and column darken if the image grows.

    Parameters
    ----------
    image : array (C, H, W) of floats
        The image.
    size : tuple of int
        The width and height of the image on the canvas, in pixels.
    offset : tuple of int
        The left and top of the image on the canvas; it may hang over the edges.
    canvas : tuple of int
        The width and height of the result.

    Returns
    -------
    array (C, H', W') float32
        H' and W' are the canvas's.

    Examples
    --------
    >>> import numpy as np
    >>> place_image(np.ones((1, 1, 2)), (4, 1), (1, 0), (6, 1)).tolist()
    [[[0.5, 1.0, 1.0, 1.0, 0.5, 0.5]]]
    """
    columns = np.arange(max(0, -offset[0]), min(size[0], canvas[0] - offset[0]))
    rows = np.arange(max(0, -offset[1]), min(size[1], canvas[1] - offset[1]))
    x, y = columns / size[0] * image.shape[2], rows / size[1] * image.shape[1]
    placed = np.full((image.shape[0], canvas[1], canvas[0]), GREY, np.float32)
    placed[:, rows[:, None] + offset[1], columns + offset[0]] = _bilinear(image, x[None, :], y[:, None])
    return placed


def rotate_crop(
    image: NDArray[Any],
    radians: float,
    scale: float,
    size: tuple[int, int],
    offset: tuple[float, float] = (0.0, 0.0),
    aspect: float = 1.0,
) -> NDArray[np.float32]:
    """Return a rotated, scaled crop around the image's centre (darknet's ``rotate_crop_image``).

    Darknet trains its classifiers on such crops. Whatever lies beyond the image is black.

    Parameters
    ----------
    image : array (C, H, W) of floats
        The image.
    radians : float
        The angle by which the crop is turned clockwise within the image.
    scale : float
        The number of pixels of the crop for one of the image; in x it is divided by `aspect`.
    size : tuple of int
        The width and height of the crop.
    offset : tuple of float
        How far the crop is moved to the right and down, in its own pixels.
    aspect : float
        The width over the height of the part of the image that one pixel of the crop shows.

    Returns
    -------
    array (C, H', W') float32
        H' and W' are the crop's.

    Examples
    --------
    The crop's centre is at half the image's width, which is the left edge of the second pixel.

    >>> import numpy as np
    >>> rotate_crop(np.array([[[1.0, 2.0], [3.0, 4.0]]]), np.pi / 2, 1.0, (2, 2)).tolist()
    [[[0.0, 0.0], [2.0, 4.0]]]
    """
    u = (np.arange(size[0])[None, :] - size[0] / 2 + offset[0]) * aspect / scale
    v = (np.arange(size[1])[:, None] - size[1] / 2 + offset[1]) / scale
    cos, sin = math.cos(radians), math.sin(radians)
    return _bilinear(image, cos * u - sin * v + image.shape[2] / 2, sin * u + cos * v + image.shape[1] / 2)


def _bilinear(image: NDArray[Any], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the image (C, H, W) interpolated at positions that broadcast to (H', W'); it is 0 beyond its edges."""
    black = np.pad(np.asarray(image, np.float32), ((0, 0), (1, 1), (1, 1)))
    left, top = np.floor(x), np.floor(y)
    across, down = (x - left).astype(np.float32), (y - top).astype(np.float32)

    def pixel(right: int, below: int) -> NDArray[np.float32]:
        # The border of zeros takes row and column 0, so every pixel moves by one.
        column = (left + 1 + right).clip(0, black.shape[2] - 1).astype(np.int64)
        row = (top + 1 + below).clip(0, black.shape[1] - 1).astype(np.int64)
        found: NDArray[np.float32] = black[:, row, column]
        return found

    upper = (1 - across) * pixel(0, 0) + across * pixel(1, 0)
    lower = (1 - across) * pixel(0, 1) + across * pixel(1, 1)
    mixed: NDArray[np.float32] = (1 - down) * upper + down * lower
    return mixed


def distort(image: NDArray[Any], hue: float, saturation: float, exposure: float) -> NDArray[np.float32]:
    """Change the colours of an RGB image (darknet's ``distort_image``).

    Red, green and blue are clipped to 0 to 1 at the end; saturation and value are not clipped before.

    Parameters
    ----------
    image : array (3, H, W) of floats
        The image, from 0 to 1.
    hue : float
        The turn of the hue, as a fraction of the circle: red becomes yellow at 1/6.
    saturation, exposure : float
        The factors on saturation and value.

    Returns
    -------
    array (3, H, W) float32

    Examples
    --------
    >>> import numpy as np
    >>> distort(np.array([1.0, 0.5, 0.5]).reshape(3, 1, 1), 1 / 3, 2.0, 0.5).ravel().tolist()
    [0.0, 0.5, 0.0]
    """
    rgb = np.asarray(image, np.float32)
    red, green, blue = rgb
    value = rgb.max(axis=0)
    span = value - rgb.min(axis=0)
    safe = np.where(span > 0, span, 1)  # a grey pixel has no hue: any value will do
    sixth = np.where(
        red == value,
        (green - blue) / safe,
        np.where(green == value, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    # A channel has the whole value up to 1 sixth of a turn from its own hue, and the least value from 2 sixths on.
    sixth = sixth + np.float32(6 * hue)
    value_then = value * np.float32(exposure)
    colour = np.divide(span, value, out=np.zeros_like(span), where=value > 0) * np.float32(saturation)
    centres = np.array([0, 2, 4], np.float32).reshape(3, 1, 1)
    away = np.abs((sixth - centres + 3) % 6 - 3)
    distorted: NDArray[np.float32] = (value_then * (1 - colour * (away - 1).clip(0, 1))).clip(0, 1).astype(np.float32)
    return distorted
