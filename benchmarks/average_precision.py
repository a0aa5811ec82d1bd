"""Rows of the evaluation against pycocotools, and of one that pycocotools cannot do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks import peers
from benchmarks.harness import Goal, PeerAbsent, Row, Scale, Side
from benchmarks.memory import peak_megabytes
from yolo9000.datasets.sample import Target
from yolo9000.detection.results import Detections
from yolo9000.evaluation.average_precision import average_precision, classes_at_labels

SIDE = 1000.0
"""Sides of the images in the peer's pixels; AP depends on ratios alone."""


def made_up(classes: int, images: int, *, boxes: int = 7, found: int = 100) -> tuple[list[Detections], list[Target]]:
    """Truths, and detections of which some are truths moved a little, as a detector's are.

    Returns
    -------
    detections, targets
        One of each an image.
    """
    rng = np.random.default_rng(0)
    detections, targets = [], []
    for _ in range(images):
        truth = np.concatenate([rng.uniform(0.2, 0.8, (boxes, 2)), rng.uniform(0.05, 0.4, (boxes, 2))], axis=1)
        labels = rng.integers(0, classes, boxes)
        of = rng.integers(0, boxes, found)
        moved = truth[of] * rng.uniform(0.85, 1.15, (found, 4))
        right = rng.random(found) < 0.5
        nodes = np.where(right, labels[of], rng.integers(0, classes, found))
        scores = torch.from_numpy(rng.random(found))
        detections.append(
            Detections(
                boxes_cxcywh=torch.from_numpy(moved),
                scores=scores,
                nodes=torch.from_numpy(nodes),
                objectness=scores,
                probabilities=torch.ones(found),
            )
        )
        targets.append(Target(torch.from_numpy(truth), torch.from_numpy(labels)))
    return detections, targets


def _corner_size(boxes_cxcywh: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    boxes = boxes_cxcywh.double().numpy() * SIDE
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)


def as_coco(
    detections: list[Detections], targets: list[Target], classes: int
) -> tuple[dict[str, Any], np.ndarray[Any, np.dtype[np.float64]]]:
    """The same in COCO's format: the data set, and rows image, x, y, w, h, score, class."""
    annotations: list[dict[str, Any]] = []
    found = []
    for image, (detection, target) in enumerate(zip(detections, targets, strict=True), 1):
        for box, label in zip(_corner_size(target.boxes_cxcywh).tolist(), target.labels.tolist(), strict=True):
            entry = {"id": len(annotations) + 1, "image_id": image, "category_id": label, "iscrowd": 0}
            annotations.append(entry | {"bbox": box, "area": box[2] * box[3]})
        columns = [np.full(len(detection), image), _corner_size(detection.boxes_cxcywh), detection.scores.numpy()]
        found.append(np.column_stack([*columns, detection.nodes.numpy()]))
    dataset = {
        "info": {},
        "images": [{"id": image} for image in range(1, len(targets) + 1)],
        "annotations": annotations,
        "categories": [{"id": number, "name": str(number)} for number in range(classes)],
    }
    return dataset, np.concatenate(found)


def _ours(detections: list[Detections], targets: list[Target], classes: int) -> dict[int, float]:
    scores = average_precision(detections, targets, classes_at_labels(range(classes)))
    return {score.node: score.ap for score in scores if score.boxes}


def _against_pycocotools(scale: Scale, stack: ExitStack) -> dict[str, Side | PeerAbsent]:
    classes, images = (6, 5) if scale.quick else (1200, 2000)
    detections, targets = made_up(classes, images)
    dataset, found = as_coco(detections, targets, classes)
    return {
        "ours": Side(run=partial(_ours, detections, targets, classes), setting="from tensors, 1 thread"),
        "pycocotools": Side(
            run=partial(peers.pycocotools_scores, dataset, found),
            setting="from COCO's format, all areas, 100 detections, AP only, 1 thread",
        ),
    }


def _apart(reference: dict[int, float], other: dict[int, float]) -> float:
    if reference.keys() != other.keys():
        return float("inf")
    return max(abs(reference[node] - other[node]) for node in reference)


def memory_job(mark: Callable[[], None], classes: int, images: int) -> None:
    """The evaluation, for `benchmarks.memory`; detections and targets are there before."""
    _ours(*made_up(2, 2), 2)
    detections, targets = made_up(classes, images)
    mark()
    _ours(detections, targets, classes)


LIMIT_SECONDS, LIMIT_MEGABYTES = 180, 4096


def _large(scale: Scale) -> tuple[int, int]:
    return (30, 10) if scale.quick else (9418, 5000)


def _large_seconds(scale: Scale, stack: ExitStack) -> dict[str, Side]:
    classes, images = _large(scale)
    detections, targets = made_up(classes, images)
    return {"ours": Side(run=partial(_ours, detections, targets, classes), setting="1 thread")}


def _large_memory(scale: Scale, stack: ExitStack) -> dict[str, Side]:
    measure = partial(peak_megabytes, memory_job, *_large(scale))
    return {"ours": Side(run=measure, setting="what the evaluation adds to its input")}


def rows() -> list[Row]:
    """1,200 classes against pycocotools; 9,418 classes against the clock and the memory."""
    large = "AP evaluation, 9,418 classes x 5,000 images"
    return [
        Row(
            name="ap-peer",
            what="AP evaluation, 1,200 classes x 2,000 images",
            prepare=_against_pycocotools,
            goals=(Goal(other="pycocotools", at_least=20),),
            difference=_apart,
            tolerance=1e-9,
        ),
        Row(
            name="ap-large",
            what=large,
            prepare=_large_seconds,
            goals=(Goal(limit=1e3 * LIMIT_SECONDS),),
        ),
        Row(
            name="ap-large-memory",
            what=f"{large}, peak",
            prepare=_large_memory,
            goals=(Goal(limit=LIMIT_MEGABYTES),),
            unit="MB",
        ),
    ]
