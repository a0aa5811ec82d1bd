"""Images that are in memory already -> RGB pixels, upright: PIL images, NumPy arrays, tensors."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from yolo9000.datasets.decode import MOST_PIXELS, rgb_of, turn_upright
from yolo9000.runtime.mistakes import Mistake

Pixels: TypeAlias = "Image.Image | NDArray[Any] | torch.Tensor"
"""An image in memory."""


_CHANNELS = (1, 3, 4)
_ORIENTATION = 0x0112  # EXIF's tag
_ROUNDING = 1e-3
"""Floats that leave 0..1 by less than this, as after a resize, are taken for 0 and 1."""


class WrongPixels(Mistake):
    """An array, tensor or picture that cannot be an image as we take them."""


def pixels_of(image: Pixels, name: str = "the image") -> NDArray[np.uint8]:
    """Bring an image to (H, W, 3) uint8 in RGB.

    Parameters
    ----------
    image : PIL image, array or tensor
        - A PIL image of any mode. It is turned as its EXIF orientation says; transparent parts become grey.
        - An array (H, W, 3) in RGB, (H, W, 4) with transparency, or (H, W) in grey.
        - A tensor (3, H, W) in RGB, (4, H, W), (1, H, W) or (H, W), on any device.

        Numbers are uint8, or floats from 0 to 1. OpenCV reads images as BGR, which nothing in an array tells: give
        ``image[..., ::-1]``.
    name : str
        What errors call it.

    Returns
    -------
    (H, W, 3) uint8 array

    Raises
    ------
    WrongPixels
        It has another shape or other numbers; the message says what is needed.

    Examples
    --------
    >>> pixels_of(np.full((2, 3), 0.5, np.float32)).tolist()[0][0], pixels_of(torch.ones(3, 4, 5)).shape
    ([128, 128, 128], (4, 5, 3))
    >>> pixels_of(np.full((2, 3, 3), 200.0))
    Traceback (most recent call last):
    yolo9000.inference.pixels.WrongPixels: the image: floats from 200 to 200; floats are from 0 to 1; ...
    """
    if isinstance(image, Image.Image):
        return _of_pil(image, name)
    array = _of_tensor(image, name) if isinstance(image, torch.Tensor) else _of_array(image, name)
    array = _bytes_of(array, name)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        return np.repeat(array[..., None], 3, axis=2)
    if array.shape[2] == 4:
        return rgb_of(Image.fromarray(np.ascontiguousarray(array), "RGBA"))
    return np.ascontiguousarray(array)


def _of_pil(image: Image.Image, name: str) -> NDArray[np.uint8]:
    if not (image.width and image.height):
        raise WrongPixels(f"{name}: a picture of {image.width} x {image.height} has no pixels")
    if image.width * image.height > MOST_PIXELS:  # a file is decoded when its pixels are first asked for
        raise WrongPixels(
            f"{name}: {image.width} x {image.height}: more than {MOST_PIXELS / 1e6:.0f} million pixels are not decoded"
        )
    try:
        pixels = rgb_of(image)
        orientation = image.getexif().get(_ORIENTATION, 1)  # afterwards: PIL turns a TIFF as it decodes it
    except (OSError, SyntaxError, ValueError) as error:
        raise WrongPixels(f"{name}: cannot be decoded ({error})") from error
    return turn_upright(pixels, orientation)


def _of_tensor(image: torch.Tensor, name: str) -> NDArray[Any]:
    shape = tuple(image.shape)
    if image.ndim not in (2, 3) or (image.ndim == 3 and shape[0] not in _CHANNELS):
        turned = image.ndim == 3 and shape[2] in _CHANNELS and shape[0] > max(_CHANNELS)
        hint = "; (H, W, 3) is for arrays: permute(2, 0, 1) it" if turned else ""
        raise WrongPixels(f"{name}: a tensor of shape {shape}; (3, H, W) is needed, in RGB{hint}")
    if image.dtype == torch.bfloat16:  # NumPy has none
        image = image.float()
    array: NDArray[Any] = image.detach().cpu().numpy()
    return array.transpose(1, 2, 0) if array.ndim == 3 else array


def _of_array(image: NDArray[Any], name: str) -> NDArray[Any]:
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in _CHANNELS):
        turned = image.ndim == 3 and image.shape[0] in _CHANNELS and image.shape[2] > max(_CHANNELS)
        hint = "; (3, H, W) is for tensors: transpose(1, 2, 0) it" if turned else ""
        raise WrongPixels(f"{name}: an array of shape {image.shape}; (H, W, 3) is needed, in RGB{hint}")
    return image


def _bytes_of(image: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Pixels as bytes, whatever numbers they were."""
    if not image.size:
        raise WrongPixels(f"{name}: no pixels, its shape is {image.shape}")
    if image.dtype == np.uint8:
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise WrongPixels(f"{name}: numbers of the kind {image.dtype}; uint8 is needed, or floats from 0 to 1")
    low, high = float(image.min()), float(image.max())
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # also where one is no number
        hint = "; divide by 255, or give uint8" if 1 < high <= 255 and low >= 0 else ""
        raise WrongPixels(f"{name}: floats from {low:g} to {high:g}; floats are from 0 to 1{hint}")
    found: NDArray[np.uint8] = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
    return found
