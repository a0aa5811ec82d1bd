from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from yolo9000.datasets.decode import decode, image_size
from yolo9000.datasets.sample import Unreadable


def _file(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _by_pillow(data: bytes, draft: int | None = None) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        image.draft(None, None if draft is None else (draft, draft))
        return np.asarray(image.convert("RGB"))


def _photo(width: int = 83, height: int = 61) -> Image.Image:
    """Something with edges, gradients and noise, of odd sides."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    noise = np.random.default_rng(0).integers(0, 40, (height, width))
    pixels = np.stack([x * 2 + noise, y * 3, (x // 9 + y // 7) % 2 * 200 + noise], axis=-1)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


JPEGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "progressive": {"progressive": True},
    "optimised": {"optimize": True},
    "subsampled": {"subsampling": "4:2:0"},
    "subsampled in x": {"subsampling": "4:2:2"},
    "not subsampled": {"subsampling": "4:4:4"},
    "coarse": {"quality": 5},
    "stored as RGB": {"keep_rgb": True},
    "with restarts": {"restart_marker_blocks": 1},
    "with a comment": {"comment": b"\xff\xd9 is not the end"},
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("grey", [False, True])
def test_a_jpegs_pixels_are_pillows(grey: bool, options: dict[str, Any]) -> None:
    if grey:
        options = {name: value for name, value in options.items() if name != "keep_rgb"}
    data = _file(_photo().convert("L" if grey else "RGB"), "JPEG", **options)
    pixels = decode(data, "a.jpg")
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels, _by_pillow(data))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (8, 1000), (1001, 601), (1007, 1500)])
@pytest.mark.parametrize("draft", [1, 100, 125, 126, 250, 251, 300, 301, 600, 2000])
def test_a_shrunk_jpegs_pixels_are_pillows(width: int, height: int, draft: int) -> None:
    data = _file(_photo(width, height), "JPEG")
    assert np.array_equal(decode(data, "a.jpg", draft=draft), _by_pillow(data, draft))


def test_an_unusual_jpeg_is_pillows() -> None:
    data = _file(_photo(), "JPEG")
    assert np.array_equal(decode(data + b"written by a camera", "a.jpg"), _by_pillow(data))
    stereo = _file(_photo(), "MPO", save_all=True, append_images=[_photo()])
    assert np.array_equal(decode(stereo, "a.mpo"), _by_pillow(stereo))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_a_jpeg_cut_off_anywhere_is_named(progressive: bool, share: float) -> None:
    data = _file(_photo(400, 300), "JPEG", progressive=progressive)
    cut = data[: int(len(data) * share)]
    for broken in (cut, cut + bytes(16)):
        with pytest.raises(Unreadable, match="broken.jpg"):
            decode(broken, "broken.jpg")


def test_a_cut_that_ends_with_a_thumbnails_end_is_named() -> None:
    # the thumbnail in the EXIF block is a JPEG of its own, with an end of its own
    exif = b"Exif\x00\x00" + _file(_photo(16, 16), "JPEG")
    data = _file(_photo(), "JPEG", exif=exif)
    end = data.index(b"\xff\xd9") + 2
    assert end < len(data)
    with pytest.raises(Unreadable, match="thumb.jpg"):
        decode(data[:end], "thumb.jpg")


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
