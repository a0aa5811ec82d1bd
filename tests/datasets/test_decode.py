from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from yolo9000.datasets.decode import decode, image_size
from yolo9000.datasets.sample import Unreadable


def _file(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def test_grey_becomes_rgb() -> None:
    pixels = decode(_file(Image.new("L", (5, 4), 77), "PNG"), "a.png")
    assert pixels.shape == (4, 5, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == 77).all()


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    grey = np.array([[0, 256, 32768, 65535]], np.uint16)
    pixels = decode(_file(Image.fromarray(grey), "PNG"), "a.png")
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]


def test_cmyk_becomes_rgb() -> None:
    pixels = decode(_file(Image.new("RGB", (16, 16), (250, 10, 10)).convert("CMYK"), "JPEG"), "a.jpg")
    assert np.abs(pixels.reshape(-1, 3).mean(0) - [250, 10, 10]).max() < 12


def test_transparency_lies_on_grey() -> None:
    layer = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    layer.putpixel((1, 0), (200, 0, 0, 255))
    assert decode(_file(layer, "PNG"), "a.png")[0].tolist() == [[127, 127, 127], [200, 0, 0]]


def test_palette_with_transparency() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    assert decode(_file(picture, "PNG"), "a.png")[0].tolist() == [[255, 0, 0], [0, 0, 255]]
    see_through = decode(_file(picture, "PNG", transparency=bytes([0, 255])), "a.png")
    assert see_through[0].tolist() == [[127, 127, 127], [0, 0, 255]]
    assert decode(_file(picture, "GIF", transparency=1), "a.gif")[0].tolist() == [[255, 0, 0], [127, 127, 127]]


def test_exif_orientation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees"
    data = _file(Image.new("RGB", (30, 20)), "JPEG", exif=exif)
    assert decode(data, "a.jpg").shape == (20, 30, 3)
    assert image_size(data, "a.jpg") == (30, 20)


def test_draft_shrinks_large_jpegs_but_not_below() -> None:
    data = _file(Image.new("RGB", (1000, 600), (9, 200, 9)), "JPEG")
    assert decode(data, "a.jpg").shape == (600, 1000, 3)
    assert decode(data, "a.jpg", draft=200).shape == (300, 500, 3)
    assert decode(data, "a.jpg", draft=512).shape == (600, 1000, 3)


@pytest.mark.parametrize("cut", [0, 1, 20, 400, -200])
def test_truncated_is_unreadable(cut: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = _file(Image.fromarray(noise), "JPEG")
    with pytest.raises(Unreadable, match=r"^broken\.jpg: ") as caught:
        decode(data[:cut], "broken.jpg")
    assert caught.value.key == "broken.jpg"


def test_no_image_is_unreadable() -> None:
    with pytest.raises(Unreadable, match=r"page\.jpg"):
        decode(b"<html>404</html>", "page.jpg")
    with pytest.raises(Unreadable, match=r"page\.jpg"):
        image_size(b"<html>404</html>", "page.jpg")
