"""Images in memory -> RGB pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from yolo9000.inference.pixels import WrongPixels, pixels_of

COLOURS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[0, 0, 0], [51, 51, 51], [255, 255, 255]]], np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        COLOURS,
        COLOURS[:, ::-1][:, ::-1],  # a view with negative strides
        COLOURS / 255,
        (COLOURS / 255).astype(np.float16),
        np.dstack([COLOURS, np.full((2, 3), 255, np.uint8)]),
        Image.fromarray(COLOURS),
        Image.fromarray(COLOURS).convert("RGBA"),
        torch.from_numpy(COLOURS).permute(2, 0, 1),
        torch.from_numpy(COLOURS).permute(2, 0, 1) / 255,
        (torch.from_numpy(COLOURS).permute(2, 0, 1) / 255).requires_grad_(),
    ],
)
def test_the_same_pixels_come_in_many_forms(image: Any) -> None:
    found = pixels_of(image)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert np.array_equal(found, COLOURS)


def test_grey_becomes_rgb() -> None:
    grey = np.array([[0, 100], [200, 255]], np.uint8)
    for image in (grey, grey[..., None], Image.fromarray(grey), torch.from_numpy(grey), torch.from_numpy(grey)[None]):
        assert np.array_equal(pixels_of(image), np.stack([grey] * 3, axis=2))


def test_transparent_parts_become_grey() -> None:
    clear = np.zeros((1, 1, 4), np.uint8)
    assert pixels_of(clear).tolist() == pixels_of(Image.fromarray(clear)).tolist() == [[[127, 127, 127]]]


@pytest.mark.parametrize("form", ["jpeg", "tiff"])
def test_a_picture_of_pil_is_turned_upright_once(form: str) -> None:
    """Pillow turns a TIFF itself as it decodes it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = np.zeros((16, 48, 3), np.uint8)
    lying[:, :16] = 255  # upright, this is the upper third
    file = io.BytesIO()
    Image.fromarray(lying).save(file, form, exif=exif)
    found = pixels_of(Image.open(io.BytesIO(file.getvalue())))
    assert found.shape == (48, 16, 3)
    assert found[:14].min() > 240
    assert found[18:].max() < 15


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 5, 2), np.uint8), r"an array of shape \(4, 5, 2\); \(H, W, 3\) is needed, in RGB$"),
        (np.zeros((3, 4, 5), np.uint8), r"\(3, H, W\) is for tensors: transpose\(1, 2, 0\) it"),
        (torch.zeros(6, 5, 3), r"\(H, W, 3\) is for arrays: permute\(2, 0, 1\) it"),
        (torch.zeros(2, 4, 5), r"a tensor of shape \(2, 4, 5\); \(3, H, W\) is needed, in RGB$"),
        (np.zeros(5, np.uint8), r"an array of shape \(5,\)"),
        (np.zeros((4, 5, 3), np.int64), "numbers of the kind int64; uint8 is needed, or floats from 0 to 1"),
        (np.full((4, 5, 3), 255.0), "floats from 255 to 255; floats are from 0 to 1; divide by 255, or give uint8"),
        (np.full((4, 5, 3), -0.5), "floats from -0.5 to -0.5; floats are from 0 to 1$"),
        (np.full((4, 5, 3), np.nan), "floats from nan to nan"),
        (np.zeros((0, 5, 3), np.uint8), r"no pixels, its shape is \(0, 5, 3\)"),
        (torch.zeros(3, 0, 0), r"no pixels"),
        (Image.new("RGB", (0, 3)), "a picture of 0 x 3 has no pixels"),
        (np.zeros((4, 5, 3), dtype=object), "numbers of the kind object"),
    ],
)
def test_what_is_no_image_is_refused_by_name(image: Any, message: str) -> None:
    with pytest.raises(WrongPixels, match=f"^third: .*{message}"):
        pixels_of(image, "third")


def test_a_torn_file_that_pil_has_opened_is_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(file, "PNG")
    torn = Image.open(io.BytesIO(file.getvalue()[:2000]))
    with pytest.raises(WrongPixels, match="the image: cannot be decoded"):
        pixels_of(torn)
