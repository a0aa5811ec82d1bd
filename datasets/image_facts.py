"""What there is to say of an image file before one trains on it: one dictionary of plain values for each."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from yolo9000.datasets.decode import decode, open_image, orientation_of
from yolo9000.datasets.errors import Unreadable

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp",),
    "DIB": (".bmp", ".dib"),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "AVIF": (".avif", ".avifs"),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpc"),
}
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b"\x3b"}
_BITS_OF_TIFF = 258
_LOOK = 16
"""The side of the small grey picture by which images are compared."""


def read_part(said: dict[str, Any]) -> bytes:
    """Read a file, or ``size`` bytes of it from ``offset`` on."""
    try:
        with Path(said["path"]).open("rb") as file:
            if said.get("offset", -1) < 0:
                return file.read()
            file.seek(said["offset"])
            return file.read(said["size"])
    except OSError as error:
        raise Unreadable(said["key"], error.strerror or str(error)) from error


def facts_of(data: bytes, key: str) -> dict[str, Any]:
    """Look at an image file.

    Parameters
    ----------
    data : bytes
        Its content.
    key : str
        Its name, of which the suffix is compared with what it holds.

    Returns
    -------
    dict
        ``problems``, a list of pairs (kind, text); ``digest`` of its bytes; and if it can be decoded ``size`` as it is
        stored, whether it ``lies`` on its side, its difference hash ``hash`` and a small grey picture of it, ``look``
        (both as hexadecimal text; None if all of it has one colour).

    Examples
    --------
    >>> facts_of(b"", "a.jpg")["problems"]
    [('unreadable', 'the file is empty')]
    """
    facts: dict[str, Any] = {"problems": [], "digest": hashlib.blake2b(data, digest_size=16).hexdigest()}
    problems: list[tuple[str, str]] = facts["problems"]
    if not data:
        problems.append(("unreadable", "the file is empty"))
        return facts
    try:
        with open_image(data, key) as image:
            form = image.format or ""
            problems += _oddities(image, data, key, form)
            facts["size"] = [image.width, image.height]
    except Unreadable as error:
        is_large = "million pixels" in error.reason or "scans" in error.reason
        problems.append(("too-large" if is_large else "unreadable", error.reason))
        return facts
    try:
        pixels = decode(data, key, upright=False)
    except Unreadable as error:
        end = _ENDS.get(form)
        cut = "truncat" in error.reason.lower() or (end is not None and end not in data[-64:])
        problems.append(("truncated" if cut else "unreadable", error.reason))
        return facts
    orientation = orientation_of(data)
    if orientation != 1:
        problems.append(("exif-rotated", f"its EXIF orientation is {orientation}"))
    facts["lies"] = orientation >= 5
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    look = cv2.resize(grey, (_LOOK, _LOOK), interpolation=cv2.INTER_AREA)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = np.packbits((np.diff(small, axis=1) > 0).ravel())
    is_plain = float(look.std()) < 2
    facts["hash"], facts["look"] = (None, None) if is_plain else (bits.tobytes().hex(), look.tobytes().hex())
    return facts


def _oddities(image: Image.Image, data: bytes, key: str, form: str) -> list[tuple[str, str]]:
    """What is unusual about a file that can be read."""
    found = []
    suffix = Path(key).suffix.lower()
    if suffix and suffix not in _SUFFIXES.get(form, ()):
        found.append(("mislabelled", f"it is called {suffix} and is {form}"))
    if image.mode == "CMYK":
        found.append(("cmyk", "it has the four colours of print"))
    bits = getattr(image, "tag_v2", {}).get(_BITS_OF_TIFF, 8) if form == "TIFF" else 8
    deepest = max(bits) if isinstance(bits, tuple) else bits
    if image.mode.startswith("I") or (form == "PNG" and data[24:25] == b"\x10") or deepest == 16:
        found.append(("16-bit", "it has 16 bits a colour"))
    frames = getattr(image, "n_frames", 1) if form != "MPO" else 1
    if frames > 1:
        found.append(("animated", f"it has {frames} pictures"))
    return found
