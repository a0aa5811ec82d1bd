"""Decoding: the bytes of an image file -> RGB pixels, whatever the file's colour mode."""

from __future__ import annotations

import contextlib
import functools
import io
import struct
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from yolo9000.datasets.errors import Unreadable

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
"""The kinds of files that are opened, by Pillow's names. It opens more, some of it (EPS) with other programs, which no
stranger's file should start."""
NO_IMAGE = "no image of a kind that is read (JPEG, PNG, WebP, GIF, BMP, TIFF, JPEG 2000, AVIF, PPM)"
MOST_PIXELS = 89_478_485
"""The largest image that is decoded: a quarter of a gigabyte in RGB, and where Pillow begins to warn. A file of 20 kB
can claim a hundred times as many, so the header is asked before anything is decoded."""
MOST_SCANS = 100
"""The most scans of a JPEG. Each goes over all pixels again; encoders write 3 to 20, and a file of some kB can have
thousands."""
GREY = 127
"""The colour around an image and behind its transparent parts (darknet's .5 grey)."""
_ORIENTATION, _SHORT = 0x0112, 3
_TURNS: dict[int, tuple[bool, int | None]] = {
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, None),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}
"""EXIF orientation -> whether rows become columns, and OpenCV's flip after that: 1 left to right, 0 upside down, -1
both."""
_HEADER = 1 << 16
"""Bytes that the header of an image mostly lies in."""
_SCAN, _END_OF_JPEG = b"\xff\xda", b"\xff\xd9"
_TOO_LARGE = f"more than {MOST_PIXELS / 1e6:.0f} million pixels are not decoded"
_SHRINK = {
    1: 0,
    # Combined with IMREAD_COLOR_RGB, these flags shrink the image but keep its colours.
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


def decode(data: bytes, key: str, *, draft: int | None = None, upright: bool = True) -> NDArray[np.uint8]:
    """Decode an image to RGB.

    Grey, CMYK, palette and 16-bit images become 8-bit RGB; transparent parts become mid grey. OpenCV decodes plain
    JPEGs and Pillow decodes everything else. Both make the same pixels of a plain JPEG, and OpenCV takes four fifths
    of the time.

    Parameters
    ----------
    data : bytes
        The content of the file.
    key : str
        The name of the file, for the error.
    draft : int, optional
        Let the JPEG decoder shrink a large image by 2, 4 or 8 as long as both sides keep at least this many pixels,
        which is several times as fast. None keeps every pixel, as boxes in pixels need.
    upright : bool
        Turn the image as its EXIF orientation says. False gives the pixels as they are stored, to which the boxes of
        a data set may refer; `turn_upright` turns them later. (Pillow turns a TIFF in any case.)

    Returns
    -------
    array (H, W, 3) uint8

    Raises
    ------
    Unreadable
        If the data are empty, truncated, no image, or an image of more than `MOST_PIXELS`.

    Examples
    --------
    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("L", (3, 2), 200).save(file, "PNG")
    >>> decode(file.getvalue(), "grey.png").shape
    (2, 3, 3)
    """
    if not data:
        raise Unreadable(key, "the file is empty")
    try:
        with open_image(data, key) as image:  # 15 us: it reads the header only
            pixels = _plain_jpeg(data, image, draft)
            if pixels is None:
                if draft is not None:
                    image.draft(None, (draft, draft))
                pixels = rgb_of(image)
            if upright and "exif" in image.info:
                pixels = turn_upright(pixels, _orientation(image.info["exif"]))
            return pixels
    except (MemoryError, Unreadable):
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parsers trip over
        raise Unreadable(key, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from error


def open_image(data: bytes, key: str) -> Image.Image:
    """Read the header of an image file, and refuse what would cost too much to decode.

    Parameters
    ----------
    data : bytes
        The content of the file.
    key : str
        The name of the file, for the error.

    Returns
    -------
    PIL image
        Its pixels are not decoded yet.

    Raises
    ------
    Unreadable
        If there is no header of a known image format, or it announces more than `MOST_PIXELS` or `MOST_SCANS`.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_known_formats())
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        raise Unreadable(key, NO_IMAGE) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unreadable(key, _TOO_LARGE) from error
    except Exception as error:
        raise Unreadable(key, f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from error
    pixels = image.width * image.height
    if pixels > MOST_PIXELS:
        image.close()
        raise Unreadable(key, f"{image.width} x {image.height}: {_TOO_LARGE}")
    if data.startswith(b"\xff\xd8"):
        scans = data.count(_SCAN)  # in the data of a scan a 0 follows each ff, so that it is never one by chance
        if scans > MOST_SCANS or scans * pixels > 20 * MOST_PIXELS:
            image.close()
            raise Unreadable(key, f"a JPEG of {scans} scans; {MOST_SCANS} are the most that is decoded")
    return image


@functools.cache
def _known_formats() -> tuple[str, ...]:
    Image.init()  # AVIF comes with newer versions of Pillow, or is left out of a build
    return tuple(name for name in FORMATS if name in Image.OPEN)


def orientation_of(data: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, of an image file that `decode` reads; 1 (upright) if it names none."""
    return image_header(data, "the image")[2]


def turn_upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn the stored pixels of an image so that it stands upright.

    Parameters
    ----------
    pixels : array (H, W, 3) uint8
        The pixels as they are stored.
    orientation : int
        The EXIF orientation, 1 to 8.

    Returns
    -------
    array (H, W, 3) or (W, H, 3) uint8
        Orientations from 5 on swap the sides.

    Examples
    --------
    >>> lying = np.zeros((2, 3, 3), np.uint8)
    >>> turn_upright(lying, 6).shape, turn_upright(lying, 3).shape, turn_upright(lying, 1) is lying
    ((3, 2, 3), (2, 3, 3), True)
    """
    if orientation not in _TURNS:
        return pixels
    transposed, flip = _TURNS[orientation]
    turned = cv2.transpose(pixels) if transposed else pixels
    return np.asarray(turned if flip is None else cv2.flip(turned, flip), np.uint8)


def image_header(data: bytes, key: str) -> tuple[int, int, int]:
    """Return the width and height in pixels and the EXIF orientation that the header of an image file states.

    Parameters
    ----------
    data : bytes
        The content of the file.
    key : str
        The name of the file, for the error.

    Returns
    -------
    tuple of int

    Raises
    ------
    Unreadable
        If there is no header of a known image format, or it announces more than `MOST_PIXELS`.
    """
    with open_image(data, key) as image:
        return image.width, image.height, _orientation(image.info.get("exif", b""))


def size_of_file(path: Path) -> tuple[int, int]:
    """Return an image's width and height in pixels from its header.

    A file without a readable header gives (1, 1): reading the image reports it later.
    """
    return _header_of_file(path)[:2]


def upright_size_of_file(path: Path) -> tuple[int, int]:
    """Return the width and height of an image as it stands upright by its EXIF orientation; as `size_of_file`."""
    width, height, orientation = _header_of_file(path)
    return (height, width) if orientation >= 5 else (width, height)


def _header_of_file(path: Path) -> tuple[int, int, int]:
    """Width, height and EXIF orientation; of the usual formats no more is read than a header mostly takes."""
    try:
        with path.open("rb") as file:
            data = file.read(_HEADER)
            if len(data) == _HEADER and data.startswith((b"\xff\xd8", b"\x89PNG")):
                with contextlib.suppress(OSError):  # a longer header
                    return image_header(data, path.name)
            return image_header(data + file.read(), path.name)
    except OSError:
        return 1, 1, 1


def rgb_of(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of a picture of any mode as RGB, as they are stored; transparent parts become grey.

    Parameters
    ----------
    image : PIL image

    Returns
    -------
    array (H, W, 3) uint8

    Examples
    --------
    >>> rgb_of(Image.new("LA", (2, 1), (255, 0)))[0].tolist()
    [[127, 127, 127], [127, 127, 127]]
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return np.asarray(image)
    if image.mode.startswith("I"):
        # 16-bit grey. Pillow's own conversion clips at 255: an almost white image.
        grey = (np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        grey = np.nan_to_num(np.asarray(image)).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (GREY, GREY, GREY, 255))
        return np.asarray(Image.alpha_composite(ground, layer).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _orientation(exif: bytes) -> int:
    """Return the orientation that an EXIF block names; 1 if it names none or is damaged.

    The block is read by hand, because Pillow parses all of it, which takes longer than decoding a small image, and
    warns about flaws.
    """
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (begin,) = struct.unpack_from(f"{order}I", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, begin)
        for number in range(entries):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, begin + 2 + 12 * number)
            if tag == _ORIENTATION:
                return value if kind == _SHORT and value in _TURNS else 1
    except struct.error:  # it ends too early
        pass
    return 1


def _plain_jpeg(data: bytes, header: Image.Image, draft: int | None) -> NDArray[np.uint8] | None:
    """Return the pixels of a complete grey or RGB JPEG; None if Pillow has to decode the file."""
    # OpenCV before 5 returns the upper part of a truncated file without an error. Files of cameras that write bytes
    # after the end go to Pillow too.
    if header.format != "JPEG" or header.mode not in ("L", "RGB") or not data.endswith(_END_OF_JPEG):
        return None
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    shrink = 1
    if draft is not None:
        shrink = next(s for s in (8, 4, 2, 1) if s == 1 or s * draft <= min(header.size))
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | _SHRINK[shrink])
    width, height = (-(-side // shrink) for side in header.size)
    return np.asarray(pixels, np.uint8) if pixels is not None and pixels.shape == (height, width, 3) else None
