"""A sheet of held-out pictures, evaluation after evaluation: what the detector makes of them as it learns."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from yolo9000.datasets.sample import Batch, Record, Source, collate, pixels
from yolo9000.datasets.transforms import letterbox
from yolo9000.datasets.unreadable import read_or_next
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decode import detect
from yolo9000.detection.results import Detections
from yolo9000.models.classes import Classes
from yolo9000.models.model import DetectionModel
from yolo9000.results.drawing import draw_detections
from yolo9000.runtime.checkpoint import write_atomically
from yolo9000.runtime.config import Precision
from yolo9000.runtime.device import autocast, pick_precision
from yolo9000.training.callbacks import Callback, Moment

_SIDE = 240
"""The side of a picture on the sheet in pixels."""
_HEAD = 22
_GAP = 4
_COLUMNS = 5
"""The most evaluations beside each other."""
_THRESHOLD = 0.15
"""Least score of a box that is drawn: a net that has just begun to learn is not sure of anything."""


class ValidationSheet(Callback):
    """Draws ``validation.jpg``: a row for each of some held-out images, with its labels and what was found in it.

    The columns are the labels, the first evaluation, the last, and some between them.

    Parameters
    ----------
    source : Source
        Held-out images with boxes; those shown lie at equal distances in it.
    classes : Classes
        They give names and colours.
    size : int
        The side of the network's input.
    starred : sequence of int
        Labels that never had a box in training, which are marked.
    precision : Precision, optional
    images : int
        The number of images.
    """

    def __init__(
        self,
        source: Source,
        classes: Classes,
        size: int,
        *,
        starred: Sequence[int] = (),
        precision: Precision | None = None,
        images: int = 6,
    ) -> None:
        self._source, self._classes, self._size = source, classes, size
        self._starred, self._precision, self._images = starred, precision, images
        self._records: list[Record] = []
        self._columns: list[tuple[int, list[Image.Image]]] = []
        self._truths: list[Image.Image] = []

    def on_evaluation(self, at: Moment, scores: Mapping[str, float], model: nn.Module) -> None:
        """Add a column, and write the sheet anew; a classifier has nothing to show."""
        if not isinstance(model, DetectionModel):
            return
        if not self._records:
            count = min(self._images, len(self._source))
            numbers = [number * len(self._source) // count for number in range(count)]
            self._records = [read_or_next(self._source, number)[0] for number in numbers]
            self._batch = collate([letterbox(record, self._size) for record in self._records])
            self._truths = self._drawn([_truth(record, self._batch, i) for i, record in enumerate(self._records)])
        self._columns.append((at.step, self._drawn(self._found(model))))
        self._columns = _thinned(self._columns)
        sheet = _laid_out([("labels", self._truths), *((f"step {step:,}", column) for step, column in self._columns)])
        buffer = io.BytesIO()
        sheet.save(buffer, "JPEG", quality=88)
        write_atomically(at.run.sheet, buffer.getvalue())

    def _found(self, model: DetectionModel) -> list[Detections]:
        device = next(model.parameters()).device
        with torch.no_grad(), autocast(device, pick_precision(device, self._precision)):
            output = model(pixels(self._batch.images, device))
        return [found.on_cpu() for found in detect(output, self._classes, DecodeConfig(threshold=_THRESHOLD))]

    def _drawn(self, found: Sequence[Detections]) -> list[Image.Image]:
        pictures = []
        for record, placement, each in zip(self._records, self._batch.placements, found, strict=True):
            # drawn at the size that it is looked at, so that the labels can be read
            image, factor = _shrunk(record.image)
            boxes = placement.to_image(each.boxes_cxcywh.float().cpu()) * factor
            picture = draw_detections(
                image, each, boxes, self._classes, text_size=12, starred=self._starred, enlarge=False
            )
            pictures.append(picture)
        return pictures


def _truth(record: Record, batch: Batch, number: int) -> Detections:
    """The labels of an image as if they had been found."""
    boxes = batch.placements[number].to_input(torch.from_numpy(record.boxes_xyxy))
    sure = torch.ones(len(record.labels))
    return Detections(
        boxes_cxcywh=boxes, scores=sure, nodes=torch.from_numpy(record.labels), objectness=sure, probabilities=sure
    )


def _shrunk(pixels: NDArray[np.uint8]) -> tuple[Image.Image, float]:
    """An image at the size of the sheet, and its size in that of the image."""
    image = Image.fromarray(pixels)
    factor = _SIDE / max(image.size)
    width, height = (max(1, round(side * factor)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR), factor


def _thinned(columns: list[tuple[int, list[Image.Image]]]) -> list[tuple[int, list[Image.Image]]]:
    """At most `_COLUMNS`, of which the first and the last stay, and the others are spread over the steps."""
    while len(columns) > _COLUMNS:
        steps = [step for step, _ in columns]
        gaps = [steps[i + 1] - steps[i - 1] for i in range(1, len(steps) - 1)]
        columns = [column for i, column in enumerate(columns) if i != 1 + gaps.index(min(gaps))]
    return columns


def _laid_out(columns: Sequence[tuple[str, Sequence[Image.Image]]]) -> Image.Image:
    """One picture of all columns, each with its title."""
    rows = len(columns[0][1])
    heights = [max(column[row].height for _, column in columns) for row in range(rows)]
    width = max(picture.width for _, column in columns for picture in column)
    size = (len(columns) * (width + _GAP) + _GAP, _HEAD + sum(heights) + rows * _GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    font = cast(ImageFont.FreeTypeFont, ImageFont.load_default(14))
    for number, (title, column) in enumerate(columns):
        x = _GAP + number * (width + _GAP)
        draw.text((x, 2), title, fill="black", font=font)
        y = _HEAD
        for picture, height in zip(column, heights, strict=True):
            sheet.paste(picture, (x, y))
            y += height + _GAP
    return sheet
