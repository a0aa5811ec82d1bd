"""Images in, pictures and JSON out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from yolo9000.datasets.decode import decode
from yolo9000.datasets.sample import Record, Sample, Unreadable, collate, pixels
from yolo9000.datasets.transforms import letterbox
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decode import detect
from yolo9000.detection.results import Detections
from yolo9000.inference.drawing import draw_detections
from yolo9000.inference.model import TrainedModel
from yolo9000.inference.prepare import prepare
from yolo9000.models.classes import Classes
from yolo9000.models.output import DetectorOutput
from yolo9000.runtime.checkpoint import write_atomically
from yolo9000.runtime.config import Precision
from yolo9000.runtime.mistakes import Mistake

Decode = Callable[[DetectorOutput, Classes, DecodeConfig | None], list[Detections]]
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")


DEFAULT_FOLDER, REPORT = "predictions", "predictions.json"


class NoImages(Mistake):
    """Nothing to predict on."""


@dataclass(frozen=True)
class Prediction:
    """What was found in one image.

    Parameters
    ----------
    key : str
        The image's file.
    image : (H, W, 3) uint8 array
        RGB, upright.
    detections : Detections
        N boxes.
    boxes_xyxy : (N, 4) tensor
        The same boxes in pixels of the image.
    """

    key: str
    image: NDArray[np.uint8]
    detections: Detections
    boxes_xyxy: torch.Tensor

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"<Prediction of {self.key}: {width} x {height} pixels, {len(self.detections)} boxes>"


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """The images that a command names; of a folder all that lie directly in it, in order of their names.

    Raises
    ------
    NoImages
        A path does not exist, or a folder holds no image; all such paths are listed.
    """
    found: list[Path] = []
    wrong: list[str] = []
    for path in map(Path, paths):
        if path.is_dir():
            images = sorted(item for item in path.iterdir() if item.suffix.lower() in IMAGE_SUFFIXES)
            found += images
            if not images:
                wrong.append(f"{path} (a folder without images)")
        elif path.is_file():
            found.append(path)
        else:
            wrong.append(f"{path} (no such file)")
    if wrong:
        raise NoImages(f"no images at {', '.join(wrong)}")
    if not found:
        raise NoImages("no images were named")
    return found


@torch.no_grad()
def predict_images(
    trained: TrainedModel,
    records: Iterable[Record],
    config: DecodeConfig | None = None,
    *,
    device: torch.device,
    precision: Precision = "float32",
    size: int | None = None,
    batch_size: int = 16,
    letterbox: Callable[[Record, int], Sample] = letterbox,
    decode: Decode = detect,
    compile: bool = False,
) -> Iterator[Prediction]:
    """Detect things in images, one after the other.

    Parameters
    ----------
    trained : TrainedModel
        Its detector is on `device`.
    records : iterable of Record
        Pixels; labels, if any, are not looked at.
    config : DecodeConfig, optional
    size : int, optional
        Side of the network's input, a multiple of 32; the one trained with by default.
    letterbox : callable
        How a record is fitted into the input; `yolo9000.datasets.darknet_images.letterbox_as_darknet` for the numbers
        of darknet.
    decode : callable
        How raw output becomes detections; `yolo9000.darknet.decoding.detect_as_darknet` for the numbers of darknet.
    compile : bool
        See `yolo9000.inference.prepare.prepare`.
    """
    side = trained.input_size(size)
    detector = prepare(trained.detector, device=device, precision=precision, compile=compile)
    waiting: list[Record] = []

    def flush() -> Iterator[Prediction]:
        batch = collate([letterbox(record, side) for record in waiting])
        output = detector(pixels(batch.images, device))
        for record, placement, found in zip(
            waiting, batch.placements, decode(output, trained.classes, config), strict=True
        ):
            yield Prediction(record.key, record.image, found, placement.to_image(found.boxes_cxcywh.float().cpu()))

    for record in records:
        waiting.append(record)
        if len(waiting) == batch_size:
            yield from flush()
            waiting = []
    if waiting:
        yield from flush()


def read_images(paths: Iterable[Path], unreadable: list[Unreadable]) -> Iterator[Record]:
    """Read files one by one, upright; those that cannot be decoded are left out and added to `unreadable`."""
    for path in paths:
        try:
            yield Record(decode(path.read_bytes(), str(path)), str(path))
        except Unreadable as error:
            unreadable.append(error)


def choose_folder(
    folder: str | Path | None = None, inputs: Iterable[str | Path] = (), *, overwrite: bool = False
) -> Path:
    """Choose or check the folder that predictions are written to, before anything is computed.

    Parameters
    ----------
    folder : str or Path, optional
        The folder that was asked for. By default ``predictions``, or the first of ``predictions-2``,
        ``predictions-3``, .. if there is something in it.
    inputs : iterable of str or Path
        The image files.
    overwrite : bool
        Also take a folder that holds something. Files of the names that are written will be replaced there.

    Returns
    -------
    Path
        The folder. It is not made yet.

    Raises
    ------
    FileExistsError
        The folder holds something, and `overwrite` was not asked for; or a picture would take the place of an input.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as photos:
    ...     Path(photos, "cat.png").touch()
    ...     choose_folder(photos)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileExistsError: ...: the folder holds something already (cat.png); name another folder, or ...
    """
    if folder is None:
        chosen, number = Path(DEFAULT_FOLDER), 1
        while not overwrite and (chosen.is_file() or _names(chosen)):
            number += 1
            chosen = Path(f"{DEFAULT_FOLDER}-{number}")
    else:
        chosen = Path(folder)
    if chosen.is_file():
        raise FileExistsError(f"{chosen}: cannot write there (File exists); name another folder with `out`")
    held = _names(chosen)
    if held and not overwrite:
        raise FileExistsError(
            f"{chosen}: the folder holds something already ({', '.join(held[:3])}{', ..' * (len(held) > 3)}); name "
            "another folder, or ask with `overwrite` to replace what an earlier prediction wrote there"
        )
    images = list(map(Path, inputs))
    kept = _identities(images)
    for name in (*(f"{image.stem}.png" for image in images), REPORT):
        _refuse_an_input(chosen / name, kept)
    return chosen


def write_predictions(
    predictions: Iterable[Prediction],
    trained: TrainedModel,
    folder: Path,
    *,
    inputs: Iterable[str | Path] | None = None,
    overwrite: bool = False,
) -> list[dict[str, Any]]:
    """Write a picture for each image, and ``predictions.json`` for all.

    Parameters
    ----------
    predictions : iterable of Prediction
    trained : TrainedModel
        Gives the classes.
    folder : Path
        Made if absent.
    inputs : iterable of str or Path, optional
        The image files, none of which is written over. Needed to overwrite anything else.
    overwrite : bool
        Replace files of the same names. Without it the folder must be empty.

    Returns
    -------
    list of dict
        What ``predictions.json`` holds: ``{"image", "picture", "width", "height", "detections": [...]}`` for each
        image; a detection has ``box_xyxy`` in pixels of the upright image, ``score``, ``objectness``, ``probability``,
        ``name`` and the whole ``path`` with the probability of each node.

    Raises
    ------
    FileExistsError
        The folder holds something, and `overwrite` was not asked for; or a file would take the place of an input.
    OSError
        The folder cannot be written to.
    """
    if overwrite and inputs is None:
        raise ValueError("inputs: the image files are needed to overwrite any other, () if there are none")
    inputs = list(inputs or ())
    choose_folder(folder, inputs, overwrite=overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{folder}: cannot write there ({error.strerror}); name another folder with `out`") from error
    kept = _identities(inputs)
    classes = trained.classes
    entries: list[dict[str, Any]] = []
    used: set[str] = set()
    for prediction in predictions:
        stem = Path(prediction.key).stem
        name, number = f"{stem}.png", 1
        while name in used:  # a/cat.jpg and b/cat.jpg
            number += 1
            name = f"{stem}-{number}.png"
        used.add(name)
        _refuse_an_input(folder / name, kept)
        picture = draw_detections(
            prediction.image, prediction.detections, prediction.boxes_xyxy, classes, starred=trained.never_boxed
        )
        picture.save(folder / name)
        height, width = prediction.image.shape[:2]
        entries.append(
            {
                "image": prediction.key,
                "picture": name,
                "width": width,
                "height": height,
                "detections": prediction.detections.to_json(classes, prediction.boxes_xyxy),
            }
        )
    _refuse_an_input(folder / REPORT, kept)
    write_atomically(folder / REPORT, (json.dumps(entries, indent=1) + "\n").encode())
    return entries


def _names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir()) if folder.is_dir() else []


def _identities(paths: Iterable[str | Path]) -> frozenset[tuple[int, int]]:
    """The files themselves, however they are called: by a link, relatively, or in other letters where that is one."""
    return frozenset(found for path in paths if (found := _identity(Path(path))) is not None)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:  # no such file: nothing that could be lost
        return None
    return status.st_dev, status.st_ino


def _refuse_an_input(path: Path, kept: frozenset[tuple[int, int]]) -> None:
    if _identity(path) in kept:
        raise FileExistsError(
            f"{path}: is one of the images to predict on and is not written over; name another folder"
        )
