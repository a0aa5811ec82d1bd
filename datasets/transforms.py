"""Transforms of images and their boxes: random augmentation for training, letterboxing for evaluation.

It is one file because all of them place images by the same maps, and boxes must follow each in the same way.

One affine map for each axis moves an image, ``input = pixel * scale + offset`` (see `Placement`), and the image may be
mirrored; boxes go through the same map. Coordinates are edges: the first pixel covers 0 to 1. Pixels stay bytes in
rows of RGB, as the decoder leaves them; a `Sample` views them as (3, H, W) without copying.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolo9000.datasets.decode import GREY
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.sample import Placement, Record, Sample, Target

_SHRINK = 0.6
"""Below this scale bilinear sampling would skip pixels, so the image is shrunk by area."""
_THINNEST = 1e-3
"""Training leaves out boxes that are thinner than this fraction of the input, as darknet does."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How images are augmented.

    Parameters
    ----------
    scale : tuple of float
        The range of the image's size, as a factor on the largest size that fits into the input. The factor is drawn
        log-uniformly; above 1 the image is cropped. Darknet keeps 1; the paper does not say how large its "random
        crops" are.
    aspect : float
        The largest fraction by which width and height each change before the image is fitted (darknet's jitter=.2).
    flip : float
        The probability of mirroring left to right (darknet .5).
    hue : float
        The largest turn of the hue, as a fraction of the circle (darknet .1).
    saturation, exposure : float
        The largest factor on saturation and value; its inverse is the smallest (darknet 1.5).
    min_visible : float
        The least fraction of a box's area that must be left in the input. A box with less becomes an ignore box: a
        detector should neither have to find the tip of a tail nor be punished for it.

    Examples
    --------
    >>> AugmentConfig(flip=0).flip
    0
    """

    scale: tuple[float, float] = (0.75, 1.5)
    aspect: float = 0.2
    flip: float = 0.5
    hue: float = 0.1
    saturation: float = 1.5
    exposure: float = 1.5
    min_visible: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise DatasetError(f"AugmentConfig: scale must be a range of positive factors, not {self.scale}")
        for name, low, high in (("aspect", 0, 0.9), ("flip", 0, 1), ("hue", 0, 0.5), ("min_visible", 0, 1)):
            if not low <= getattr(self, name) <= high:
                raise DatasetError(f"AugmentConfig: {name} must be from {low} to {high}, not {getattr(self, name)}")
        if self.saturation < 1 or self.exposure < 1:
            raise DatasetError("AugmentConfig: saturation and exposure are largest factors, at least 1 (1 = off)")


DETECTION = AugmentConfig()
CLASSIFICATION = AugmentConfig(scale=(0.75, 1.75))


def augment(record: Record, size: int, rng: np.random.Generator, config: AugmentConfig = DETECTION) -> Sample:
    """Place, mirror and colour a record at random.

    A record with an `image_label` gives a target without boxes, even if it has boxes. The random numbers drawn do not
    depend on the boxes.

    Parameters
    ----------
    record : Record
        An image and its labels.
    size : int
        The side of the network's input in pixels.
    rng : Generator
        The source of all randomness.
    config : AugmentConfig
        How much each step changes.

    Returns
    -------
    Sample

    Examples
    --------
    >>> import numpy as np
    >>> record = Record(np.zeros((60, 80, 3), np.uint8), "a.jpg", np.float32([[10, 10, 50, 40]]), np.array([7]))
    >>> sample = augment(record, 64, np.random.default_rng(0))
    >>> sample.image.shape, sample.target.labels
    (torch.Size([3, 64, 64]), tensor([7]))
    """
    canvas = np.full((size, size, 3), GREY, np.uint8)
    placement = _draw(record.image, canvas, rng, config)
    return Sample(
        _tensor(canvas), target_in_input(record, placement, config.min_visible, _THINNEST), record.key, placement
    )


def mosaic(records: Sequence[Record], size: int, rng: np.random.Generator, config: AugmentConfig) -> Sample:
    """Lay n x n images with image labels side by side: each label holds somewhere inside its area.

    The borders between the areas are drawn at random. Each image is augmented by itself.

    Parameters
    ----------
    records : sequence of Record
        The n * n records, each with an `image_label`.
    size : int
        The side of the network's input in pixels.
    rng : Generator
        The source of all randomness.
    config : AugmentConfig
        How much the augmentation of each image changes.

    Returns
    -------
    Sample
        Its target has the areas and their labels, and no boxes.

    Raises
    ------
    ValueError
        If the number of records is no square or one of them has no `image_label`.

    Examples
    --------
    >>> import numpy as np
    >>> tiles = [Record(np.zeros((8, 8, 3), np.uint8), f"{i}.jpg", image_label=i) for i in range(4)]
    >>> target = mosaic(tiles, 64, np.random.default_rng(0), CLASSIFICATION).target
    >>> target.area_labels, target.areas_cxcywh.shape, target.image_label
    (tensor([0, 1, 2, 3]), torch.Size([4, 4]), None)
    """
    n = round(len(records) ** 0.5)
    if n * n != len(records) or not records:
        raise ValueError(f"mosaic: the number of images must be a square, not {len(records)}")
    labels = [record.image_label for record in records if record.image_label is not None]
    if len(labels) < len(records):
        raise ValueError("mosaic: every image needs an image_label")
    columns, rows = _borders(n, size, rng), _borders(n, size, rng)
    canvas = np.full((size, size, 3), GREY, np.uint8)
    areas = []
    for i, record in enumerate(records):
        (y0, y1), (x0, x1) = rows[i // n : i // n + 2], columns[i % n : i % n + 2]
        _draw(record.image, canvas[y0:y1, x0:x1], rng, config)
        areas.append(((x0 + x1) / 2 / size, (y0 + y1) / 2 / size, (x1 - x0) / size, (y1 - y0) / size))
    target = Target(
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.int64),
        areas_cxcywh=torch.tensor(areas, dtype=torch.float32),
        area_labels=torch.tensor(labels, dtype=torch.int64),
    )
    key = "+".join(record.key for record in records)
    return Sample(_tensor(canvas), target, key, Placement(size, size, 1.0, 1.0, 0.0, 0.0, size))


def box_mosaic(records: Sequence[Record], size: int, rng: np.random.Generator, config: AugmentConfig) -> Sample:
    """Lay n x n images with boxes side by side, each cut off at the borders of its cell.

    The borders between the cells are drawn at random, and each image is augmented by itself: its size is a factor on
    the largest that fits into its cell. So a net sees several photographs at once, and smaller things than they show
    (Bochkovskiy et al. 2020, YOLOv4, section 3.3).

    Parameters
    ----------
    records : sequence of Record
        The n * n records.
    size : int
        The side of the network's input in pixels.
    rng : Generator
        The source of all randomness.
    config : AugmentConfig
        How much the augmentation of each image changes.

    Returns
    -------
    Sample
        Its target has the boxes of all images, and what every one of them labels exhaustively.

    Raises
    ------
    ValueError
        If the number of records is no square or one of them has an `image_label`.

    Examples
    --------
    >>> import numpy as np
    >>> record = Record(np.zeros((8, 8, 3), np.uint8), "a.jpg", np.float32([[0, 0, 8, 8]]), np.array([7]))
    >>> box_mosaic([record] * 4, 64, np.random.default_rng(0), AugmentConfig(scale=(1, 1))).target.labels
    tensor([7, 7, 7, 7])
    """
    n = round(len(records) ** 0.5)
    if n * n != len(records) or not records:
        raise ValueError(f"box_mosaic: the number of images must be a square, not {len(records)}")
    if any(record.image_label is not None for record in records):
        raise ValueError("box_mosaic: images with boxes are needed, and one has an image_label")
    columns, rows = _borders(n, size, rng), _borders(n, size, rng)
    canvas = np.full((size, size, 3), GREY, np.uint8)
    boxes, labels, ignored = [], [], []
    for i, record in enumerate(records):
        (y0, y1), (x0, x1) = rows[i // n : i // n + 2], columns[i % n : i % n + 2]
        inside = _draw(record.image, canvas[y0:y1, x0:x1], rng, config)
        # a mirrored cell is mirrored about its own middle, and a placement about that of the input
        left = size - x1 if inside.flipped else x0
        placement = replace(inside, offset_x=inside.offset_x + left, offset_y=inside.offset_y + y0, size=size)
        cell = np.array([x0, y0, x1, y1]) / size
        target = target_in_input(record, placement, config.min_visible, _THINNEST, cell)
        boxes.append(target.boxes_cxcywh)
        labels.append(target.labels)
        if target.ignore_boxes_cxcywh is not None:
            ignored.append(target.ignore_boxes_cxcywh)
    everywhere = Target(
        torch.cat(boxes), torch.cat(labels), ignore_boxes_cxcywh=torch.cat(ignored) if ignored else None
    )
    key = "+".join(record.key for record in records)
    return Sample(_tensor(canvas), everywhere, key, Placement(size, size, 1.0, 1.0, 0.0, 0.0, size))


def letterbox(record: Record, size: int) -> Sample:
    """Scale a record to the largest size that fits and centre it on grey.

    Parameters
    ----------
    record : Record
        An image and its labels.
    size : int
        The side of the network's input in pixels.

    Returns
    -------
    Sample
        Its `placement` maps boxes back to the record's pixels.

    Examples
    --------
    >>> import numpy as np
    >>> sample = letterbox(Record(np.zeros((100, 200, 3), np.uint8), "a.jpg"), 100)
    >>> sample.placement.scale_x, sample.placement.offset_y
    (0.5, 25.0)
    """
    height, width = record.image.shape[:2]
    scale = min(size / width, size / height)
    w, h = max(1, min(size, round(width * scale))), max(1, min(size, round(height * scale)))
    x, y = (size - w) // 2, (size - h) // 2
    image = np.full((size, size, 3), GREY, np.uint8)
    image[y : y + h, x : x + w] = _resize(record.image, w, h)
    placement = Placement(width, height, w / width, h / height, float(x), float(y), size)
    return Sample(_tensor(image), target_in_input(record, placement), record.key, placement)


def _draw(
    image: NDArray[np.uint8], canvas: NDArray[np.uint8], rng: np.random.Generator, config: AugmentConfig
) -> Placement:
    """Draw the image on a grey canvas, which is changed, and return its placement."""
    # Every image draws equally many numbers in the same order, so that no image changes the next one's numbers.
    stretch_x, stretch_y, zoom, left, top, mirror = rng.random(6).tolist()
    height, width = image.shape[:2]
    stretch_x, stretch_y = (1 + config.aspect * (2 * stretch - 1) for stretch in (stretch_x, stretch_y))
    low, high = (math.log(limit) for limit in config.scale)
    largest = min(canvas.shape[1] / (width * stretch_x), canvas.shape[0] / (height * stretch_y))
    scale = largest * math.exp(low + zoom * (high - low))
    block = 1
    # It never shrinks so far that it has to grow again: training on blurred images hurts on sharp ones.
    while max(stretch_x, stretch_y) * scale * block <= 0.5 and 2 * block <= min(width, height):
        block *= 2
    x = _Stretch.draw(width, stretch_x * scale, canvas.shape[1], left, block)
    y = _Stretch.draw(height, stretch_y * scale, canvas.shape[0], top, block)
    shown = _resized(image[y.source, x.source], block, x.shown, y.shown)
    shown = _distort(shown, rng, config)  # before it is on the canvas, whose grey must stay a letterbox's
    columns, flipped = x.target, mirror < config.flip
    if flipped:
        shown = np.asarray(cv2.flip(shown, 1), np.uint8)
        columns = slice(canvas.shape[1] - columns.stop, canvas.shape[1] - columns.start)
    canvas[y.target, columns] = shown
    return Placement(width, height, x.scale, y.scale, x.offset, y.offset, canvas.shape[1], flipped)


@dataclass(frozen=True)
class _Stretch:
    """A map from pixels of an image to pixels of the canvas, along one axis.

    Both ends are whole pixels, so plain resizing suffices: it takes a third of the time of an affine warp, and no edge
    mixes with its surroundings. Rounding changes the scale by a fraction of a pixel over the image's length; boxes use
    the rounded scale.
    """

    source: slice
    target: slice

    @classmethod
    def draw(cls, length: int, scale: float, canvas: int, share: float, block: int) -> _Stretch:
        """Place an image inside the canvas, or a larger one so that it covers the canvas.

        The place is `share` of the way, 0 to 1. Whole blocks are shown, so up to a block of pixels at the end is cut
        off.
        """
        blocks = length // block
        if length * scale <= canvas:
            count = blocks * block
            shown = min(canvas, max(1, round(count * scale)))
            first, start = 0, round(share * (canvas - shown))
        else:
            count = min(blocks, max(1, round(canvas / scale / block))) * block
            shown = canvas
            first, start = round(share * (length - count)), 0
        return cls(slice(first, first + count), slice(start, start + shown))

    @property
    def shown(self) -> int:
        return int(self.target.stop - self.target.start)

    @property
    def scale(self) -> float:
        return self.shown / int(self.source.stop - self.source.start)

    @property
    def offset(self) -> float:
        return float(self.target.start - self.source.start * self.scale)


def _resized(image: NDArray[np.uint8], block: int, width: int, height: int) -> NDArray[np.uint8]:
    """Shrink each `block` x `block` pixels to one, then resize the image."""
    while block > 1:
        # Halving is exact and 15 times as fast as shrinking by area to another size, which then has less to do.
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8)
        block //= 2
    skips = min(width / image.shape[1], height / image.shape[0]) < _SHRINK
    how = cv2.INTER_AREA if skips else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def _borders(n: int, size: int, rng: np.random.Generator) -> list[int]:
    """Return n + 1 borders of cells from 0 to `size`; each inner one moves by up to a quarter of a cell."""
    moves = rng.uniform(-0.25, 0.25, n - 1)
    return [0, *(round((i + 1 + move) * size / n) for i, move in enumerate(moves)), size]


def _resize(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    shrinks = width < image.shape[1] or height < image.shape[0]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def _distort(image: NDArray[np.uint8], rng: np.random.Generator, config: AugmentConfig) -> NDArray[np.uint8]:
    """Turn the hue and multiply saturation and value at random, within darknet's kind of ranges."""
    turn, saturate, grow_s, expose, grow_v = rng.random(5).tolist()
    hue = (2 * turn - 1) * config.hue
    s = (1 + saturate * (config.saturation - 1)) ** (1 if grow_s < 0.5 else -1)
    v = (1 + expose * (config.exposure - 1)) ** (1 if grow_v < 0.5 else -1)
    if hue == 0 and s == 1 and v == 1:
        return image
    hsv = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), np.uint8)
    turned = np.zeros(hsv.shape[1:], np.uint8)
    turned[:, 0] = round(hue * 256) % 256
    hsv += turned  # bytes wrap around, as hues do; adding whole rows takes a quarter of the time of every third byte
    hsv = np.asarray(cv2.transform(hsv, np.diag([1.0, s, v])), np.uint8)  # stops at 255; a sixth of a table's time
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), np.uint8)


def _tensor(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


def target_in_input(
    record: Record,
    placement: Placement,
    min_visible: float = 0.0,
    thinnest: float = 0.0,
    cell: NDArray[np.float64] | None = None,
) -> Target:
    """Return the target of a record whose image was placed in the network's input.

    Parameters
    ----------
    record : Record
        The image's labels, with boxes in its pixels.
    placement : Placement
        The map from the image's pixels to the input.
    min_visible : float
        The least fraction of a box's area that must be left in the input; a box with less becomes an ignore box.
    thinnest : float
        The least side of a box, as a fraction of the input; a thinner box is left out.
    cell : array (4,), optional
        Left, top, right and bottom of the part of the input that shows the image, 0..1; all of it if None.

    Returns
    -------
    Target
    """
    if record.image_label is not None:
        return Target.of_image(record.image_label)
    cell = np.array([0.0, 0.0, 1.0, 1.0]) if cell is None else cell
    boxes, visible = _place(record.boxes_xyxy, placement, thinnest, cell)
    ignore, ignore_visible = _place(record.ignore_boxes_xyxy, placement, thinnest, cell)
    keep = (visible >= min_visible) & (visible > 0)
    ignore = np.concatenate([ignore[ignore_visible > 0], boxes[~keep & (visible > 0)]])
    return Target(
        torch.from_numpy(boxes[keep]),
        torch.from_numpy(np.asarray(record.labels, np.int64)[keep]),
        ignore_boxes_cxcywh=torch.from_numpy(ignore) if len(ignore) else None,
    )


def _place(
    boxes_xyxy: NDArray[np.float32], placement: Placement, thinnest: float, cell: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the boxes as cxcywh in the input, clipped to their cell, and the fraction of each area that is left."""
    if not len(boxes_xyxy):
        return np.zeros((0, 4), np.float32), np.zeros(0)
    whole = placement.to_input(torch.from_numpy(np.asarray(boxes_xyxy, np.float64))).numpy()
    low, high = whole[:, :2] - whole[:, 2:] / 2, whole[:, :2] + whole[:, 2:] / 2
    low, high = low.clip(cell[:2], cell[2:]), high.clip(cell[:2], cell[2:])
    clipped = np.concatenate([(low + high) / 2, high - low], axis=1)
    area = whole[:, 2] * whole[:, 3]
    left = clipped[:, 2] * clipped[:, 3]
    left = np.where((clipped[:, 2:] < thinnest).any(axis=1), 0.0, left)
    return clipped.astype(np.float32), np.divide(left, area, out=np.zeros_like(left), where=area > 0)
