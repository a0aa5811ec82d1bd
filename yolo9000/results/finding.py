"""Images in, `Results` out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from yolo9000.datasets.sample import Record
from yolo9000.detection.config import DecodeConfig
from yolo9000.inference.predictor import Found, Predictor
from yolo9000.models.classes import Classes
from yolo9000.models.output import DetectorOutput
from yolo9000.results.boxes import Boxes, paths_of
from yolo9000.results.kept import KeptBoxes
from yolo9000.results.results import Results


def find_in_images(
    predictor: Predictor,
    records: Iterable[Record],
    config: DecodeConfig | None = None,
    *,
    size: int | None = None,
    batch_size: int = 16,
) -> Iterator[Results]:
    """Find things in images, one batch after the other as the results are asked for.

    Parameters
    ----------
    predictor : Predictor
    records : iterable of Record
        Pixels and names; labels, if any, are not looked at.
    config : DecodeConfig, optional
    size : int, optional
        Side of the network's input; the one trained with by default.
    batch_size : int
        Images that go through the net at once.

    Yields
    ------
    Results
        One for each image, in their order.
    """
    waiting: list[Record] = []

    def flush() -> Iterator[Results]:
        for found in predictor.find(waiting, config, size=size):
            yield results_of(
                found,
                predictor.trained.classes,
                threshold=(config or DecodeConfig()).threshold,
                never_boxed=predictor.trained.never_boxed,
            )
        waiting.clear()

    for record in records:
        waiting.append(record)
        if len(waiting) == batch_size:
            yield from flush()
    yield from flush()


def results_of(found: Found, classes: Classes, *, threshold: float = 0.0, never_boxed: Iterable[int] = ()) -> Results:
    """What was found in one image as a user gets it; the rest of its batch is let go.

    Parameters
    ----------
    found : Found
    classes : Classes
        What the class channels mean.
    threshold : float
        Boxes of a lower score were not kept.
    never_boxed : iterable of int
        Labels that had no box in training.
    """
    detections = found.detections
    nodes = detections.nodes.cpu().numpy().astype(np.int64)
    probabilities = detections.probabilities.float().cpu().numpy()
    boxes = Boxes(
        xyxy=found.boxes_xyxy.float().cpu().numpy(),
        objectness=detections.objectness.float().cpu().numpy(),
        probability=probabilities,
        score=detections.scores.float().cpu().numpy(),
    )
    along = detections.paths or tuple((float(probability),) for probability in probabilities)
    return Results(
        image=found.record.image,
        path=found.record.key,
        boxes=boxes,
        nodes=nodes,
        paths=paths_of(classes, nodes.tolist(), along),
        classes=classes,
        threshold=threshold,
        never_boxed=frozenset(never_boxed),
        kept=_kept(found.output, detections.places, classes),
    )


def _kept(output: DetectorOutput, places: torch.Tensor | None, classes: Classes) -> KeptBoxes | None:
    if places is None or not hasattr(output, "only"):  # a net that finds boxes and labels by itself
        return None
    return KeptBoxes(*output.only(places), classes)
