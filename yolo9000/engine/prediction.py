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
from yolo9000.detection.postprocess import DecodeConfig, detect
from yolo9000.detection.results import Detections
from yolo9000.engine.drawing import draw_detections
from yolo9000.engine.inference import prepare
from yolo9000.engine.snapshot import TrainedModel
from yolo9000.runtime.checkpoint import write_atomically
from yolo9000.runtime.device import Precision
from yolo9000.runtime.mistakes import Mistake

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")


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
        RGB.
    detections : Detections
        N boxes.
    boxes_xyxy : (N, 4) tensor
        The same boxes in pixels of the image.
    """

    key: str
    image: NDArray[np.uint8]
    detections: Detections
    boxes_xyxy: torch.Tensor


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
    compile : bool
        See `yolo9000.engine.inference.prepare`.
    """
    detector = prepare(trained.detector, device=device, precision=precision, compile=compile)
    waiting: list[Record] = []

    def flush() -> Iterator[Prediction]:
        batch = collate([letterbox(record, size or trained.size) for record in waiting])
        output = detector(pixels(batch.images, device))
        for record, placement, found in zip(
            waiting, batch.placements, detect(output, trained.classes, config), strict=True
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
    """Read files one by one; those that cannot be decoded are left out and added to `unreadable`."""
    for path in paths:
        try:
            yield Record(decode(path.read_bytes(), str(path)), str(path))
        except Unreadable as error:
            unreadable.append(error)


def write_predictions(predictions: Iterable[Prediction], trained: TrainedModel, folder: Path) -> list[dict[str, Any]]:
    """Write a picture for each image, and ``predictions.json`` for all.

    Parameters
    ----------
    predictions : iterable of Prediction
    trained : TrainedModel
        Gives the classes.
    folder : Path
        Made if absent.

    Returns
    -------
    list of dict
        What ``predictions.json`` holds: ``{"image", "picture", "width", "height", "detections": [...]}`` for each
        image; a detection has ``box_xyxy`` in pixels, ``score``, ``objectness``, ``probability``, ``name`` and the
        whole ``path`` with the probability of each node.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{folder}: cannot write there ({error.strerror}); name another folder with `out`") from error
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
    write_atomically(folder / "predictions.json", (json.dumps(entries, indent=1) + "\n").encode())
    return entries
