"""Where images come from: files, folders, patterns, addresses, videos, cameras, and pixels that are there already."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from yolo9000.datasets.decode import decode
from yolo9000.datasets.guarded import LeanChild, pixels_of_answer
from yolo9000.datasets.sample import Unreadable
from yolo9000.inference.addresses import Limits, fetch, is_address
from yolo9000.inference.pixels import Pixels, pixels_of
from yolo9000.runtime.mistakes import Mistake

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")

Source: TypeAlias = "str | int | os.PathLike[str] | Pixels"
"""A file, a folder, a pattern, an address, the number of a camera, or an image."""


_Item: TypeAlias = "Path | str | int | Pixels"
"""A file, an address, the number of a camera, or pixels."""


class NoImages(Mistake):
    """Nothing to predict on."""


class Frame(NamedTuple):
    """One image of a source.

    Attributes
    ----------
    name : str
        Its file or address; ``clip.mp4#12`` is the frame 12 of a video, the first being 0, ``camera0#12`` that of a
        camera, and ``image3`` the fourth of a list if it came as pixels.
    image : (H, W, 3) uint8 array
        RGB. A photograph stands upright, as its EXIF orientation says.
    """

    name: str
    image: NDArray[np.uint8]


@dataclass(eq=False)
class Sources:
    """Images one after the other, as they are asked for; made by `open_sources`.

    Attributes
    ----------
    files : list of Path
        The image and video files, which nobody may write over.
    total : int or None
        How many images there are; None where a video or a camera does not say.
    unreadable : list of Unreadable
        What could not be read so far, and why. It is left out, and a warning names it.
    rates : dict of str to float
        Frames a second of the videos and cameras that were begun, by their names.
    cameras : list of int
        The cameras among the sources; their images do not end by themselves.
    """

    files: list[Path]
    total: int | None
    unreadable: list[Unreadable] = field(default_factory=list)
    rates: dict[str, float] = field(default_factory=dict)
    _items: list[_Item] = field(default_factory=list, repr=False)
    _limits: Limits = field(default_factory=Limits, repr=False)
    _first: int = field(default=0, repr=False)  # the number of the first image, for the names of pixels

    @property
    def cameras(self) -> list[int]:
        return [item for item in self._items if isinstance(item, int)]

    def dealt(self, size: int, rank: int, world_size: int) -> list[Sources]:
        """Groups of `size` images, of which this rank takes those with the number rank, rank + world_size, and so on.

        Raises
        ------
        Mistake
            There is a video or a camera, whose images nobody can count.
        """
        if self.total is None:
            raise Mistake("`source`: videos and cameras are read by one process; leave torchrun out")
        starts = range(0, len(self._items), size)[rank::world_size]
        parts = [self._items[start : start + size] for start in starts]
        return [Sources([], len(part), _items=list(part), _limits=self._limits) for part in parts]

    def __iter__(self) -> Iterator[Frame]:
        for number, item in enumerate(self._items, self._first):
            try:
                yield from self._frames(item, number)
            except Unreadable as error:
                self.unreadable.append(error)
                log.warning("skipped: %s", error)

    def _frames(self, item: _Item, number: int) -> Iterator[Frame]:
        if isinstance(item, int):
            yield from self._camera(item)
        elif isinstance(item, Path):
            if item.suffix.lower() in VIDEO_SUFFIXES:
                yield from self._video(item)
            else:
                yield Frame(str(item), decode(_content(item), str(item)))
        elif isinstance(item, str):
            yield Frame(item, decode(fetch(item, self._limits), item))
        else:
            name = _name_of_pixels(item, number)
            yield Frame(name, pixels_of(item, name))

    def _video(self, file: Path) -> Iterator[Frame]:
        """The frames of a video, decoded by a process that may die of it."""
        name, number = str(file), 0
        with LeanChild() as child:
            rate = child.ask("open_video", name, path=str(file.absolute()))[0].get("rate")
            self.rates[name] = _plausible(rate)
            while True:
                answer, content = child.ask("next_frame", name)
                if answer.get("shape") is None:
                    break
                yield Frame(f"{name}#{number}", pixels_of_answer(answer, content, name))
                number += 1
        if number == 0:
            raise Unreadable(name, "a video without a frame that can be decoded")

    def _camera(self, place: int) -> Iterator[Frame]:
        name, number = f"camera{place}", 0
        capture = cv2.VideoCapture(place)
        try:
            if not capture.isOpened():
                raise NoImages(f"`source` {place}: no camera of this number can be opened")
            self.rates[name] = _plausible(capture.get(cv2.CAP_PROP_FPS))
            while True:
                there, image = capture.read()
                if not there:
                    break
                yield Frame(f"{name}#{number}", np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8))
                number += 1
            if number == 0:
                raise Unreadable(name, "a video without a frame that can be decoded")
        finally:
            capture.release()


def _plausible(rate: object) -> float:
    """Frames a second; cameras often do not know, and files may say anything."""
    return float(rate) if isinstance(rate, int | float) and 0 < rate < 1000 else 25.0


def open_sources(
    source: Source | Iterable[Source],
    recursive: bool = True,
    *,
    limits: Limits | None = None,
) -> Sources:
    """Find the images that somebody named, and read them one by one as they are asked for.

    Parameters
    ----------
    source : str, path, int, image, or several of them
        - An image or video file.
        - A folder: all images and videos in it, in the order of their names.
        - A pattern, such as ``photos/**/*.jpg``.
        - An address that begins with ``http://`` or ``https://``: one image.
        - The number of a camera, such as 0.
        - Pixels: a PIL image, an array (H, W, 3) in RGB, or a tensor (3, H, W), see
          `yolo9000.inference.pixels.pixels_of`; a whole batch of arrays or tensors, too.
    recursive : bool
        Take the folders inside folders as well. Hidden ones are left out.
    limits : Limits, optional
        What an address may take; 64 megabytes and 30 seconds by default.

    Returns
    -------
    Sources
        An iterable of `Frame`, which is a pair of name and RGB pixels. What cannot be read is left out, named in a
        warning and kept in ``unreadable``.

    Raises
    ------
    NoImages
        A file does not exist, a folder holds no image, or a pattern fits none; all of them are listed. A camera that
        cannot be opened raises it when its turn comes.
    Mistake
        It is nothing that could be an image. Pixels are looked at when their turn comes.

    Examples
    --------
    >>> sources = open_sources([np.zeros((2, 3, 3), np.uint8), Image.new("L", (5, 4))])
    >>> [(name, image.shape) for name, image in sources], sources.total
    ([('image0', (2, 3, 3)), ('image1', (4, 5, 3))], 2)
    """
    items: list[_Item] = []
    wrong: list[str] = []
    for each in _several(source):
        _check_source(each)
        if isinstance(each, str | os.PathLike):
            try:
                items += _named(os.fspath(each), recursive)
            except NoImages as error:
                wrong.append(str(error))
        else:
            items.append(each)
    if wrong:
        raise NoImages(f"no images at {', '.join(wrong)}")
    if not items:
        raise NoImages("no images were named")
    files = [item for item in items if isinstance(item, Path)]
    endless = any(isinstance(item, int) or (isinstance(item, Path) and is_video(item)) for item in items)
    return Sources(files, None if endless else len(items), _items=items, _limits=limits or Limits())


def open_each(images: Iterable[Source]) -> Iterator[Frame]:
    """The images of an iterator that may be endless, each opened when its turn comes and called as in a list.

    Parameters
    ----------
    images : iterable of str, path, int or image
        Each as `open_sources` takes it in a list.

    Raises
    ------
    NoImages, Mistake
        See `open_sources`; when the turn of what is wrong has come.

    Examples
    --------
    >>> [name for name, _ in open_each(np.zeros((2, 3, 3), np.uint8) for _ in range(2))]
    ['image0', 'image1']
    """
    first = 0
    for each in images:
        sources = open_sources([each])
        sources._first = first
        yield from sources
        first += len(sources._items)


def _check_source(source: object) -> None:
    """Raise `Mistake` if something is no image, and names none."""
    kinds = (str, int, os.PathLike, Image.Image, np.ndarray, torch.Tensor)
    if isinstance(source, bool) or not isinstance(source, kinds):
        hint = "; cv2.imread gives None for a file that it cannot read" if source is None else ""
        raise Mistake(f"`source`: a {type(source).__name__} is no image, file, folder, address or camera{hint}")


def is_video(path: str | Path) -> bool:
    """Whether a file's name ends as that of a video.

    Examples
    --------
    >>> is_video("clip.MP4"), is_video("photo.jpg")
    (True, False)
    """
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def _several(source: Source | Iterable[Source]) -> Sequence[Source]:
    if isinstance(source, str | int | os.PathLike | Image.Image | np.ndarray | torch.Tensor):
        if isinstance(source, np.ndarray | torch.Tensor) and source.ndim == 4:
            return list(source)
        return [source]
    if not isinstance(source, Iterable) or isinstance(source, bytes | dict):
        _check_source(source)
    return list(source)


def _named(text: str, recursive: bool) -> Sequence[Path | str | int]:
    """What a text names: files, an address or a camera."""
    if not text:  # which would be the working directory
        raise NoImages('"" (an empty name, as a variable of the shell gives that is not set)')
    path = Path(text)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = _inside(path, recursive)
        if not found:
            raise NoImages(f"{text} (a folder without images)")
        return found
    if text.isdecimal():
        return [int(text)]
    if is_address(text):
        return [text]
    if glob.has_magic(text):
        files = [Path(name) for name in sorted(glob.glob(text, recursive=True))]
        found = [file for file in files if file.is_file() and _is_image_or_video(file)]
        if not found:
            raise NoImages(f"{text} (no image or video fits the pattern)")
        return found
    raise NoImages(f"{text} (no such file)")


def _inside(folder: Path, recursive: bool) -> list[Path]:
    found: list[Path] = []
    for place, folders, files in os.walk(folder):  # links to folders are not followed: they may lead in a circle
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        inside = (Path(place, name) for name in sorted(files) if not name.startswith("."))
        found += [file for file in inside if _is_image_or_video(file)]
    return found


def _is_image_or_video(file: Path) -> bool:
    return file.suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Unreadable(str(file), error.strerror or str(error)) from error


def _name_of_pixels(item: Pixels, number: int) -> str:
    name = getattr(item, "filename", "")  # what PIL opened
    return str(name) if isinstance(name, str | os.PathLike) and str(name) else f"image{number}"
