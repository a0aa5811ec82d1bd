"""From the detections of some images to figures, whatever found them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolo9000.datasets.coco import CocoTruth
from yolo9000.datasets.sample import Batch, Placement, Target, pixels
from yolo9000.datasets.voc import VocTruth
from yolo9000.detection.results import Detections
from yolo9000.evaluation.average_precision import (
    ClassScore,
    average_precision,
    classes_at_labels,
    constant_box,
    mean_score,
)
from yolo9000.evaluation.coco import CocoSummary, FoundBoxes, TruthBoxes, coco_summary, evaluate_boxes
from yolo9000.evaluation.voc import VocEvaluation, voc_average_precision
from yolo9000.models.classes import Classes
from yolo9000.runtime.distributed import Processes, dealt


@torch.no_grad()
def find_in_batches(
    find: Callable[[Tensor], Sequence[Detections]],
    batches: Iterable[Batch],
    *,
    device: torch.device,
    processes: Processes = Processes(),
) -> tuple[list[Detections], list[Target], dict[str, tuple[int, Placement]]]:
    """Run a detector that answers with detections over batches.

    Parameters
    ----------
    find : callable
        (B, 3, S, S) in 0..1, on `device` -> what is found in each image.
    batches : iterable of Batch
    device : torch.device
    processes : Processes
        They share the batches, of which these are this process's, and each gets what all have found.

    Returns
    -------
    detections : list of Detections
        For each image; on the CPU.
    targets : list of Target
        For each image; on the CPU.
    images : dict
        Key of each image -> its number, and where it lies in the network's input.
    """
    detections: list[Detections] = []
    targets: list[Target] = []
    images: dict[str, tuple[int, Placement]] = {}

    def each(batch: Batch) -> tuple[list[Detections], list[Target], list[tuple[str, Placement]]]:
        found = [one.on_cpu() for one in find(pixels(batch.images, device, non_blocking=True))]
        places = list(zip(batch.keys, batch.placements, strict=True))
        return found, [target.to("cpu") for target in batch.targets], places

    for found, of_batch, places in dealt(each, batches, processes):
        for number, (key, placement) in enumerate(places, len(targets)):
            images[key] = (number, placement)
        detections += found
        targets += of_batch
    return detections, targets, images


def score_detections(
    detections: Sequence[Detections],
    targets: Sequence[Target],
    images: Mapping[str, tuple[int, Placement]],
    classes: Classes,
    *,
    boxed: Collection[int],
    never_boxed: Collection[int] = (),
    baseline: bool = False,
    coco: CocoTruth | None = None,
    voc: VocTruth | None = None,
    max_detections: int = 100,
) -> dict[str, Any]:
    """Average precision of the classes that had boxes in training and of those that had none.

    Parameters
    ----------
    detections : sequence of Detections
        One for each image; boxes may come under several labels.
    targets : sequence of Target
        One for each image, with the boxes that are to be found.
    images : mapping
        Key of each image -> its place in `detections`, and where it lies in the network's input.
    classes : Classes
        They name the labels.
    boxed, never_boxed : collection of int
        Labels. Those without a box in `targets` do not enter a mean.
    baseline : bool
        Also score the constant box that is told the label.
    coco : CocoTruth, optional
        Also give COCO's twelve numbers: against the boxes, areas and crowds of the annotation file, in pixels of the
        image, over all the labels. The other figures are measured in the network's input, where a crowd of one class
        is ignored for all.
    voc : VocTruth, optional
        Also give VOC's average precisions, see `yolo9000.evaluation.voc`: in pixels of the image, with the objects that
        are difficult. Its own code knows no `max_detections`.
    max_detections : int
        The most detections that an image keeps in a class.

    Returns
    -------
    dict
        ``{"images": n, "boxed": {"ap50", "ap", "classes"}, "never_boxed": {..}, "constant_box": {"boxed": {"ap50",
        "side"}, ..}, "coco": {"ap", "ap50", "ap75", "ap_small", .., "ar_large"}, "voc": {"all": {"voc07", "voc10",
        "classes"}, "boxed": {..}, "never_boxed": {..}}, "classes": [{"node", "boxed", "ap50", "ap", "boxes", "id",
        "name", "voc07", "voc10"}, ..]}``. A mean over no class is NaN.
    """
    sets = {"boxed": sorted(set(boxed)), "never_boxed": sorted(set(never_boxed) - set(boxed))}
    labels = sorted(sets["boxed"] + sets["never_boxed"])
    scores = average_precision(detections, targets, classes_at_labels(labels), max_detections=max_detections)
    is_boxed = set(sets["boxed"])
    report: dict[str, Any] = {
        "images": len(targets),
        "boxed": mean_score(score for score in scores if score.node in is_boxed),
        "never_boxed": mean_score(score for score in scores if score.node not in is_boxed),
    }
    if baseline:
        best = {name: constant_box(targets, group) for name, group in sets.items()}
        report["constant_box"] = {name: {"ap50": ap50, "side": side} for name, (ap50, side) in best.items()}
    if coco is not None:
        report["coco"] = coco_numbers(detections, images, coco, labels)._asdict()
    report["classes"] = [_class_row(score, classes, score.node in is_boxed) for score in scores]
    if voc is not None:
        found = voc_numbers(detections, images, voc, labels)
        for row, voc07, voc10 in zip(report["classes"], found.voc07.tolist(), found.voc10.tolist(), strict=True):
            row |= {"voc07": voc07, "voc10": voc10}
        report["voc"] = {
            name: _voc_means(found, np.isin(np.array(labels), list(group)))
            for name, group in ({"all": labels} | sets).items()
        }
    return report


def _class_row(score: ClassScore, classes: Classes, boxed: bool) -> dict[str, Any]:
    row = {"node": score.node, "boxed": boxed, "ap50": score.ap50, "ap": score.ap, "boxes": score.boxes}
    return row | classes.identity(score.node)


def coco_numbers(
    detections: Sequence[Detections],
    images: Mapping[str, tuple[int, Placement]],
    coco: CocoTruth,
    labels: Collection[int],
) -> CocoSummary:
    """COCO's twelve numbers, as its own code gives them for the same detections in pixels of the image.

    Parameters
    ----------
    detections : sequence of Detections
    images : mapping
        Key of each image -> its place in `detections`, and where it lies in the network's input.
    coco : CocoTruth
        Has images of these keys; others of its images do not count.
    labels : collection of int
        The classes.
    """
    classes = np.array(sorted(set(labels)), np.int64)
    own = _own_boxes(coco, images, classes)
    truth = TruthBoxes(
        coco.images[own],
        np.searchsorted(classes, coco.labels[own]),
        coco.boxes_xywh[own],
        coco.areas[own],
        coco.crowd[own],
    )
    return coco_summary(evaluate_boxes(truth, _in_pixels(detections, images, coco, classes), len(classes)))


def voc_numbers(
    detections: Sequence[Detections],
    images: Mapping[str, tuple[int, Placement]],
    voc: VocTruth,
    labels: Collection[int],
) -> VocEvaluation:
    """VOC's average precisions of each label, ascending, as its devkit gives them for the same detections.

    Parameters
    ----------
    detections : sequence of Detections
    images : mapping
        Key of each image -> its place in `detections`, and where it lies in the network's input.
    voc : VocTruth
        Has images of these keys; others of its images do not count.
    labels : collection of int
        The classes.
    """
    classes = np.array(sorted(set(labels)), np.int64)
    own = _own_boxes(voc, images, classes)
    boxes_xywh = np.concatenate([voc.boxes_xyxy[:, :2], voc.boxes_xyxy[:, 2:] - voc.boxes_xyxy[:, :2]], axis=1)[own]
    truth = TruthBoxes(
        voc.images[own],
        np.searchsorted(classes, voc.labels[own]),
        boxes_xywh,
        boxes_xywh[:, 2] * boxes_xywh[:, 3],
        voc.difficult[own],
    )
    # both are edges of pixels, see `voc_average_precision`
    return voc_average_precision(truth, _in_pixels(detections, images, voc, classes), len(classes))


def _voc_means(found: VocEvaluation, among: NDArray[np.bool_]) -> dict[str, float]:
    known = among & (found.positives > 0)
    means = [float(values[known].mean()) if known.any() else float("nan") for values in (found.voc07, found.voc10)]
    return {"voc07": means[0], "voc10": means[1], "classes": int(known.sum())}


def _own_boxes(
    truth: CocoTruth | VocTruth, images: Mapping[str, tuple[int, Placement]], classes: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which boxes are of these images and classes."""
    number_of = {name: number for number, name in enumerate(truth.names)}
    return np.isin(truth.labels, classes) & np.isin(truth.images, [number_of[key] for key in images])


def _in_pixels(
    detections: Sequence[Detections],
    images: Mapping[str, tuple[int, Placement]],
    truth: CocoTruth | VocTruth,
    classes: NDArray[np.int64],
) -> FoundBoxes:
    """The detections of the images in their pixels; images are numbered as in the truth, classes by their place."""
    number_of = {name: number for number, name in enumerate(truth.names)}
    images_found, nodes, boxes, scores = [], [], [], []
    for key, (place, placement) in images.items():
        found = detections[place]
        images_found += [number_of[key]] * len(found)
        nodes.append(found.nodes)
        boxes.append(placement.to_image(found.boxes_cxcywh.double()))
        scores.append(found.scores.double())
    boxes_xyxy = torch.cat(boxes).numpy() if boxes else np.zeros((0, 4))
    labels = torch.cat(nodes).numpy() if nodes else np.zeros(0, np.int64)
    asked = np.isin(labels, classes)
    return FoundBoxes(
        np.array(images_found, np.int64)[asked],
        np.searchsorted(classes, labels[asked]),
        np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)[asked],
        (torch.cat(scores).numpy() if scores else np.zeros(0))[asked],
    )
