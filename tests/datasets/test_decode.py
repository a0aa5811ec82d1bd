from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from yolo9000.datasets.decode import decode, image_header, orientation_of
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


# An upright picture of three rows and two columns, and what a camera stores of it in each orientation. Each letter is a
# colour, and a block of 8 x 8 pixels, so that JPEG does not blur it.
COLOURS = {
    "R": (255, 0, 0),
    "G": (0, 255, 0),
    "B": (0, 0, 255),
    "K": (0, 0, 0),
    "W": (255, 255, 255),
    "Y": (255, 255, 0),
}
UPRIGHT = ["RG", "BK", "WY"]
STORED = {
    1: ["RG", "BK", "WY"],
    2: ["GR", "KB", "YW"],
    3: ["YW", "KB", "GR"],
    4: ["WY", "BK", "RG"],
    5: ["RBW", "GKY"],
    6: ["GKY", "RBW"],
    7: ["YKG", "WBR"],
    8: ["WBR", "YKG"],
}


def _blocks(rows: list[str]) -> Image.Image:
    pixels = np.array([[COLOURS[letter] for letter in row] for row in rows], np.uint8)
    return Image.fromarray(pixels.repeat(8, axis=0).repeat(8, axis=1))


def _letters(pixels: NDArray[np.uint8]) -> list[str]:
    """The blocks of a picture; every pixel of a block must be nearest to the same colour."""
    names, values = list(COLOURS), np.array(list(COLOURS.values()))
    nearest = np.abs(pixels[:, :, None].astype(int) - values).sum(axis=-1).argmin(axis=-1)
    rows = [nearest[y : y + 8].reshape(8, -1, 8) for y in range(0, len(nearest), 8)]
    assert all((row == row[:1, :, :1]).all() for row in rows)
    return ["".join(names[block] for block in row[0, :, 0]) for row in rows]


def _exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    """An EXIF block of two entries: the width, and the orientation."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    entries = struct.pack(f"{order}HHII", 0x0100, 4, 1, 24) + struct.pack(
        f"{order}HHIHH", 0x0112, kind, 1, orientation, 0
    )
    return b"Exif\0\0" + head + struct.pack(f"{order}H", 2) + entries + bytes(4)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_jpeg_is_turned_upright(orientation: int, order: str) -> None:
    picture = _blocks(STORED[orientation])
    data = _file(picture, "JPEG", quality=95, subsampling=0, exif=_exif(orientation, order))
    pixels = decode(data, "a.jpg")
    assert _letters(pixels) == UPRIGHT
    assert pixels.flags.c_contiguous
    assert _letters(decode(data, "a.jpg", upright=False)) == STORED[orientation]
    assert orientation_of(data) == orientation
    assert image_header(data, "a.jpg") == (*picture.size, orientation)  # as it is stored


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("form", ["PNG", "WEBP", "MPO", "TIFF", "JPEG of four colours"])
def test_other_files_are_turned_upright_as_well(orientation: int, form: str) -> None:
    picture = _blocks(STORED[orientation])
    match form:
        case "WEBP":
            data = _file(picture, form, lossless=True, exif=_exif(orientation))
        case "MPO":
            sharp: dict[str, Any] = {"quality": 95, "subsampling": 0, "exif": _exif(orientation)}
            data = _file(picture, form, save_all=True, append_images=[picture], **sharp)
        case "TIFF":
            data = _file(picture, form, tiffinfo={0x0112: orientation})
        case "JPEG of four colours":
            data = _file(picture.convert("CMYK"), "JPEG", quality=95, exif=_exif(orientation))
        case _:
            data = _file(picture, form, exif=_exif(orientation))
    assert _letters(decode(data, "a")) == UPRIGHT


def test_a_jpeg_that_is_shrunk_is_turned_too() -> None:
    large = _blocks(STORED[6]).resize((24 * 4, 16 * 4), Image.Resampling.NEAREST)
    pixels = decode(_file(large, "JPEG", quality=95, subsampling=0, exif=_exif(6)), "a.jpg", draft=16)
    assert pixels.shape == (24, 16, 3)
    assert _letters(pixels) == UPRIGHT


@pytest.mark.parametrize(
    "exif",
    [
        _exif(0),
        _exif(9),
        _exif(6, kind=2),  # a text
        _exif(6)[:20],  # it ends too early
        b"Exif\0\0II*\0\xff\xff\xff\x7f",  # begins behind its end
        b"Exif\0\0no block at all",
        b"Exif\0\0",
    ],
)
def test_an_orientation_that_makes_no_sense_is_none(exif: bytes) -> None:
    # without a resolution Pillow itself would look into the block, and warn
    data = _file(_blocks(UPRIGHT), "JPEG", quality=95, subsampling=0, dpi=(72, 72), exif=exif)
    assert _letters(decode(data, "a.jpg")) == UPRIGHT
    assert orientation_of(data) == 1


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
        image_header(b"<html>404</html>", "page.jpg")
