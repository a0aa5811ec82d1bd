"""How the files are called that are written of an image, and how the image is called in them."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

MOST_JPEG_SIDE = 65_500
"""Pixels of the longest side that libjpeg writes."""

MOST_BYTES = 200
"""What the name of an image takes in those of the files made from it: a file system takes 255 for the whole."""


def picture_suffix(picture: Image.Image) -> str:
    """What the file of a picture ends in: jpg, or png for one that is too long for a JPEG.

    Examples
    --------
    >>> picture_suffix(Image.new("RGB", (65_500, 1))), picture_suffix(Image.new("RGB", (1, 65_501)))
    ('jpg', 'png')
    """
    return "jpg" if max(picture.size) <= MOST_JPEG_SIDE else "png"


def is_written(suffix: str) -> bool:
    """Whether a picture in colour can be written to a file with this suffix.

    Examples
    --------
    >>> is_written(".PNG"), is_written(".doc"), is_written(".mpg"), is_written(".h5")
    (True, False, False, False)
    """
    if (kind := Image.registered_extensions().get(suffix.lower())) is None:
        return False
    try:  # Pillow also registers what it only reads, what another package must write, and what has no colours
        Image.new("RGB", (1, 1)).save(io.BytesIO(), kind)
    except (KeyError, OSError, ValueError):
        return False
    return True


def stem_of(name: str) -> str:
    """What files made from an image are called, without a suffix.

    Parameters
    ----------
    name : str
        That of the image: a file, an address, or a frame such as ``clip.mp4#12``. Of a very long one it is the
        beginning, which two images may share.

    Examples
    --------
    >>> stem_of("a/cat.jpg"), stem_of("clips/clip.mp4#12"), stem_of("https://example.org/dog.png?size=2")
    ('cat', 'clip-000012', 'dog')
    """
    if name.lower().startswith(("http://", "https://")):
        return file_name(Path(urlsplit(name).path).stem or "image")
    video, _, frame = name.rpartition("#")
    if video and frame.isdecimal():
        return f"{_shortened(Path(video).stem)}-{int(frame):06d}"
    return _shortened(Path(name).stem)


def file_name(label: str) -> str:
    """A label as the name of a file or folder.

    Examples
    --------
    >>> file_name("Norfolk terrier"), file_name("A/C: on"), file_name("..")
    ('Norfolk terrier', 'A_C_ on', '_')
    """
    return _shortened(re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", label).strip(". ")[:100]) or "_"


def _shortened(name: str) -> str:
    """The beginning of a name of a file, as long as leaves place for numbers and a suffix."""
    name = name[:MOST_BYTES]
    while len(name.encode("utf-8", "surrogatepass")) > MOST_BYTES:  # what is no UTF-8 counts for more than it takes
        name = name[:-1]
    return name


def seen_from(folder: Path, name: str) -> str:
    """How a file is called from a folder; an address, or the frame of a video, is called as ever."""
    if not os.path.isfile(name):
        return name
    # Links to folders are followed first, for `..` leads out of where they lead to. The image itself keeps its name.
    file = Path(name).parent.resolve() / Path(name).name
    try:
        return Path(os.path.relpath(file, folder.resolve())).as_posix()
    except ValueError:  # on another drive, where no relative path leads
        return file.as_posix()
