"""Resizing and letterboxing exactly as darknet does them, for nets whose numbers are compared with darknet's.

Our own `yolo9000.datasets.transforms` shrinks by area and works on bytes. Darknet's image.c works on floats, maps
corner pixels to corner pixels, and skips pixels when it shrinks; a net that darknet trained saw such images.

Legend: C channels, H height, W width.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from yolo9000.datasets.sample import Placement, Record, Sample
from yolo9000.datasets.transforms import target_in_input

GREY = 0.5
"""The value around an image, on a scale from 0 to 1."""


def fitted_size(width: int, height: int, net_width: int, net_height: int) -> tuple[int, int]:
    """Return width and height of an image scaled to the largest size that fits, rounded down as in darknet.

    Parameters
    ----------
    width, height : int
        The size of the image in pixels.
    net_width, net_height : int
        The size to fit it into, in pixels.

    Returns
    -------
    tuple of int

    Examples
    --------
    >>> fitted_size(640, 480, 416, 416), fitted_size(333, 500, 416, 416)
    ((416, 312), (277, 416))
    """
    # darknet compares two float32 quotients and divides integers
    if np.float32(net_width) / np.float32(width) < np.float32(net_height) / np.float32(height):
        return net_width, max(1, height * net_width // width)
    return max(1, width * net_height // height), net_height


def resize(image: NDArray[Any], width: int, height: int) -> NDArray[np.float32]:
    """Resize an image bilinearly, corner pixels to corner pixels (darknet's ``resize_image``).

    Parameters
    ----------
    image : array (C, H, W) of floats
        The image.
    width, height : int
        The size of the result in pixels.

    Returns
    -------
    array (C, height, width) float32

    Examples
    --------
    >>> import numpy as np
    >>> resize(np.array([[[0.0, 1.0, 4.0]]]), 5, 1).tolist()
    [[[0.0, 0.5, 1.0, 2.5, 4.0]]]
    """
    return _along(_along(np.asarray(image, np.float32), width, -1), height, -2)


def _along(image: NDArray[np.float32], length: int, axis: Literal[-1, -2]) -> NDArray[np.float32]:
    before = image.shape[axis]
    # If the result has one column only, it is the last one, which darknet copies without interpolating.
    step = np.float32(before - 1) / np.float32(length - 1) if length > 1 else np.float32(0)
    place = np.arange(length, dtype=np.float32) * step
    left = np.minimum(place.astype(np.int64), before - 1)
    left[-1] = before - 1
    share = place - left.astype(np.float32)
    share[-1] = 0
    if axis == -2:
        share = share[:, None]
    # `take` and sums in place need half the time of indexing and give the same bits.
    mixed: NDArray[np.float32] = image.take(left, axis)
    mixed *= 1 - share
    right = image.take(np.minimum(left + 1, before - 1), axis)
    right *= share
    mixed += right
    return mixed


def letterbox_image(image: NDArray[Any], width: int, height: int) -> NDArray[np.float32]:
    """Scale an image to the largest size that fits and centre it on a grey canvas (darknet's ``letterbox_image``).

    Parameters
    ----------
    image : array (C, H, W) of floats
        The image, from 0 to 1.
    width, height : int
        The size of the canvas in pixels.

    Returns
    -------
    array (C, height, width) float32

    Examples
    --------
    >>> import numpy as np
    >>> letterbox_image(np.ones((1, 1, 3)), 3, 3)[0].tolist()
    [[0.5, 0.5, 0.5], [1.0, 1.0, 1.0], [0.5, 0.5, 0.5]]
    """
    w, h = fitted_size(image.shape[2], image.shape[1], width, height)
    left, top = (width - w) // 2, (height - h) // 2
    canvas = np.full((image.shape[0], height, width), GREY, np.float32)
    canvas[:, top : top + h, left : left + w] = resize(image, w, h)
    return canvas


def stretch_as_darknet(record: Record, size: int) -> Sample:
    """Return the record as an input of a net of YOLOv1's, for which darknet stretches the image to the whole input.

    Parameters
    ----------
    record : Record
        An image and its labels.
    size : int
        The side of the network's input in pixels.

    Returns
    -------
    Sample

    Examples
    --------
    >>> import numpy as np
    >>> placement = stretch_as_darknet(Record(np.zeros((100, 400, 3), np.uint8), "a.jpg"), 64).placement
    >>> placement.scale_x, placement.scale_y, placement.offset_x, placement.offset_y
    (0.16, 0.64, 0.0, 0.0)
    """
    height, width = record.image.shape[:2]
    pixels = record.image.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    placement = Placement(width, height, size / width, size / height, 0.0, 0.0, size)
    image = torch.from_numpy(resize(pixels, size, size))
    return Sample(image, target_in_input(record, placement), record.key, placement)


def letterbox_as_darknet(record: Record, size: int) -> Sample:
    """Return the record as an input of a darknet net; it replaces `transforms.letterbox` there.

    Boxes go through darknet's formula, which does not round the image's offset, while the letterbox rounds it down.
    So boxes equal darknet's, and may lie half a pixel beside the image.

    Parameters
    ----------
    record : Record
        An image and its labels.
    size : int
        The side of the network's input in pixels.

    Returns
    -------
    Sample

    Examples
    --------
    >>> import numpy as np
    >>> letterbox_as_darknet(Record(np.zeros((100, 333, 3), np.uint8), "a.jpg"), 64).placement.offset_y
    22.5
    """
    height, width = record.image.shape[:2]
    pixels = record.image.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    w, h = fitted_size(width, height, size, size)
    placement = Placement(width, height, w / width, h / height, (size - w) / 2, (size - h) / 2, size)
    image = torch.from_numpy(letterbox_image(pixels, size, size))
    return Sample(image, target_in_input(record, placement), record.key, placement)
