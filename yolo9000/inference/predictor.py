"""A detector that is prepared once and asked many times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from yolo9000.datasets.sample import Record, collate, pixels
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decode import detect
from yolo9000.detection.results import Detections
from yolo9000.inference.darknet_files import Letterbox, letterbox_of
from yolo9000.inference.model import TrainedModel
from yolo9000.inference.prepare import prepare_with, usual_at_once
from yolo9000.models.classes import Classes
from yolo9000.models.output import DetectorOutput
from yolo9000.runtime.config import Settings

Decode = Callable[[DetectorOutput, Classes, DecodeConfig | None], list[Detections]]


class Found(NamedTuple):
    """What was found in one image.

    Attributes
    ----------
    record : Record
        The image.
    detections : Detections
        N boxes.
    boxes_xyxy : Tensor (N, 4)
        The same boxes in pixels of the image.
    output : DetectorOutput
        What the net answered for the batch, of which ``detections.places`` are these boxes.
    """

    record: Record
    detections: Detections
    boxes_xyxy: Tensor
    output: DetectorOutput


class Predictor:
    """A trained detector, prepared for inference.

    Preparing takes several times as long as answering for one image, so one predictor serves all calls.

    Parameters
    ----------
    trained : TrainedModel
        Its detector stays as it is.
    device : torch.device
        Where the copy works.
    settings : Settings, optional
        How it is computed; `yolo9000.exporting.running.ready` finds the best. By default in float32, channels last.
    letterbox : callable, optional
        How a record is fitted into the input; by default as the net was trained, see
        `yolo9000.inference.darknet_files.letterbox_of`.
    decode : callable
        How raw output becomes detections; `yolo9000.darknet.decoding.detect_as_darknet` for the numbers of darknet.

    Attributes
    ----------
    trained : TrainedModel

    Raises
    ------
    DeviceError, CheckpointError
        See `prepare`; or the net is a classifier.
    """

    def __init__(
        self,
        trained: TrainedModel,
        *,
        device: torch.device,
        settings: Settings | None = None,
        letterbox: Letterbox | None = None,
        decode: Decode = detect,
    ) -> None:
        self.trained = trained
        self.device = device
        self._letterbox = letterbox or letterbox_of(trained)
        self._decode = decode
        usual = Settings(at_once=usual_at_once(device))
        self._net = prepare_with(trained.detector, settings or usual, device=device)

    @torch.no_grad()
    def find(
        self, records: Sequence[Record], config: DecodeConfig | None = None, *, size: int | None = None
    ) -> list[Found]:
        """Find things in some images, which go through the net together.

        Parameters
        ----------
        records : sequence of Record
            Pixels; labels, if any, are not looked at.
        config : DecodeConfig, optional
        size : int, optional
            Side of the network's input; the one trained with by default.

        Returns
        -------
        list of Found
            One for each image.

        Raises
        ------
        Mistake
            The net does not take that size.
        """
        if not records:
            return []
        side = self.trained.input_size(size)
        batch = collate([self._letterbox(record, side) for record in records])
        output = self._net(pixels(batch.images, self.device))
        detections = self._decode(output, self.trained.classes, config)
        placed = [
            placement.to_image(found.boxes_cxcywh.float().cpu())
            for placement, found in zip(batch.placements, detections, strict=True)
        ]
        return [Found(*each, output) for each in zip(records, detections, placed, strict=True)]
