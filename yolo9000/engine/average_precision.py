"""Average precision by pycocotools, over nodes of a tree as classes.

Which boxes of the truth belong to a class is spelt out (`EvaluatedClass`), because in a tree it is not the label
alone: for the class "dog", a box labelled "poodle" is right.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from wordtree import WordTree
from yolo9000.datasets.sample import Target
from yolo9000.detection.results import Detections

UNIT = 1000.0
"""Relative boxes are written in thousandths of the input's side; AP depends on ratios only, but COCOeval's areas
start at 0."""


@dataclass(frozen=True)
class EvaluatedClass:
    """A class of the evaluation.

    Parameters
    ----------
    node : int
        What detections of this class are labelled.
    positives : frozenset of int
        Labels of the boxes that are to be found.
    ignored : frozenset of int
        Labels of boxes that may be found or not.
    """

    node: int
    positives: frozenset[int]
    ignored: frozenset[int] = frozenset()


@dataclass(frozen=True)
class ClassScore:
    """AP of one class: at IoU .5, and averaged over .5 to .95 (COCO)."""

    node: int
    ap50: float
    ap: float
    boxes: int


def classes_at_labels(labels: Iterable[int]) -> list[EvaluatedClass]:
    """Every label is a class of its own, as in COCO's evaluation.

    Examples
    --------
    >>> classes_at_labels([4])
    [EvaluatedClass(node=4, positives=frozenset({4}), ignored=frozenset())]
    """
    return [EvaluatedClass(label, frozenset([label])) for label in sorted(set(labels))]


def classes_at_parents(tree: WordTree, labels: Collection[int], others: Collection[int] = ()) -> list[EvaluatedClass]:
    """The parents of some labels as classes: is it found as *some* kind of dog?

    A box is a positive of every such parent that is on its path. A label at the top stands for itself.

    Parameters
    ----------
    tree : WordTree
    labels : collection of int
        The labels that are evaluated.
    others : collection of int
        Labels whose boxes are neither asked for nor wrong, such as boxed classes when the never-boxed are evaluated.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c", "d"), ("animal", "dog", "cat", "poodle"), (-1, 0, 0, 1))
    >>> classes_at_parents(tree, {2, 3}, {1})
    [EvaluatedClass(node=0, positives=frozenset({2, 3}), ignored=frozenset({1})),
     EvaluatedClass(node=1, positives=frozenset({3}), ignored=frozenset({1}))]
    """
    parents = sorted({tree.parents[label] if tree.parents[label] >= 0 else label for label in labels})
    paths = {label: set(tree.path(label)) for label in (*labels, *others)}
    return [
        EvaluatedClass(
            parent,
            frozenset(label for label in labels if parent in paths[label]),
            frozenset(label for label in others if parent in paths[label] and label not in labels),
        )
        for parent in parents
    ]


def average_precision(
    detections: Sequence[Detections],
    targets: Sequence[Target],
    classes: Sequence[EvaluatedClass],
    *,
    max_detections: int = 100,
) -> list[ClassScore]:
    """AP of each class over some images.

    Parameters
    ----------
    detections : sequence of Detections
        One for each image; detections of nodes that are not evaluated are left out.
    targets : sequence of Target
        One for each image. Ignore boxes are ignored for every class.
    classes : sequence of EvaluatedClass
    max_detections : int
        Of an image and class.

    Returns
    -------
    list of ClassScore
        In the order of `classes`; NaN for a class without a box to be found.

    Raises
    ------
    ValueError
        Images and detections differ in number.
    """
    if len(detections) != len(targets):
        raise ValueError(f"{len(detections)} detections for {len(targets)} images")
    truth = _ground_truth(targets, classes)
    counts = {evaluated.node: 0 for evaluated in classes}
    for annotation in truth["annotations"]:  # type: ignore[attr-defined]
        counts[annotation["category_id"]] += not annotation["iscrowd"]
    found = _result_rows(detections, np.array([evaluated.node for evaluated in classes], np.int64))
    scores = {node: (float("nan"), float("nan")) for node in counts}
    if len(found):
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress on stdout
            coco = COCO()
            coco.dataset = truth
            coco.createIndex()
            evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
            evaluation.params.maxDets = [max_detections]
            evaluation.params.areaRng = [[0, 1e10]]
            evaluation.params.areaRngLbl = ["all"]
            evaluation.evaluate()
            evaluation.accumulate()
        precision = evaluation.eval["precision"][:, :, :, 0, 0]  # (IoU, recall, class), -1 without a positive
        for number, node in enumerate(evaluation.params.catIds):
            if counts[node]:
                scores[node] = float(precision[0, :, number].mean()), float(precision[:, :, number].mean())
    else:
        scores = {node: (0.0, 0.0) if counts[node] else pair for node, pair in scores.items()}
    return [ClassScore(c.node, *scores[c.node], counts[c.node]) for c in classes]


def mean_score(scores: Iterable[ClassScore]) -> dict[str, float]:
    """Mean over the classes that have a box to be found; NaN if there is none.

    Examples
    --------
    >>> mean_score([ClassScore(1, 0.5, 0.25, 10), ClassScore(2, float("nan"), float("nan"), 0)])
    {'ap50': 0.5, 'ap': 0.25, 'classes': 1}
    """
    known = [score for score in scores if score.boxes]
    if not known:
        return {"ap50": float("nan"), "ap": float("nan"), "classes": 0}
    return {
        "ap50": float(np.mean([score.ap50 for score in known])),
        "ap": float(np.mean([score.ap for score in known])),
        "classes": len(known),
    }


def constant_box(
    targets: Sequence[Target],
    labels: Iterable[int],
    *,
    sides: Sequence[float] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
) -> tuple[float, float]:
    """The baseline that has seen nothing: one box in the centre, told which of the labels are in the image.

    Parameters
    ----------
    targets : sequence of Target
    labels : iterable of int
        Labels that are evaluated.
    sides : sequence of float
        Relative sides of the square that are tried; the best is reported, in favour of the baseline.

    Returns
    -------
    ap50, side : float
        Mean AP at IoU .5, and the side that reached it.
    """
    classes = classes_at_labels(labels)
    wanted = torch.tensor([evaluated.node for evaluated in classes])
    results = []
    for side in sides:
        detections = []
        for target in targets:
            nodes = torch.unique(target.labels[torch.isin(target.labels, wanted)])
            ones = torch.ones(len(nodes))
            boxes = torch.tensor([[0.5, 0.5, side, side]]).expand(len(nodes), 4)
            detections.append(
                Detections(boxes_cxcywh=boxes, scores=ones, nodes=nodes, objectness=ones, probabilities=ones)
            )
        results.append((mean_score(average_precision(detections, targets, classes))["ap50"], side))
    return max(results)


def _ground_truth(targets: Sequence[Target], classes: Sequence[EvaluatedClass]) -> dict[str, object]:
    """The targets in COCO's format: categories are nodes, images are numbered from 1."""
    as_positive: dict[int, list[int]] = {}
    as_ignored: dict[int, list[int]] = {}
    for evaluated in classes:
        for label in evaluated.positives:
            as_positive.setdefault(label, []).append(evaluated.node)
        for label in evaluated.ignored:
            as_ignored.setdefault(label, []).append(evaluated.node)
    annotations: list[dict[str, object]] = []

    def add(image: int, box: list[float], node: int, ignore: bool) -> None:
        annotations.append(
            {
                "id": len(annotations) + 1,  # 0 would read as "no match"
                "image_id": image,
                "category_id": node,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": int(ignore),
            }
        )

    for image, target in enumerate(targets, 1):
        for box, label in zip(_xywh(target.boxes_cxcywh).tolist(), target.labels.tolist(), strict=True):
            for node in as_positive.get(label, ()):
                add(image, box, node, False)
            for node in as_ignored.get(label, ()):
                add(image, box, node, True)
        if target.ignore_boxes_cxcywh is not None:
            for box in _xywh(target.ignore_boxes_cxcywh).tolist():
                for evaluated in classes:
                    add(image, box, evaluated.node, True)
    return {
        "info": {},
        "images": [{"id": image} for image in range(1, len(targets) + 1)],
        "annotations": annotations,
        "categories": [{"id": evaluated.node, "name": str(evaluated.node)} for evaluated in classes],
    }


def _xywh(boxes_cxcywh: torch.Tensor) -> NDArray[np.float64]:
    """COCO's corner and size, in thousandths of the side."""
    boxes = boxes_cxcywh.detach().cpu().double().numpy() * UNIT
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)


def _result_rows(detections: Sequence[Detections], nodes: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N, 7) rows image, x, y, w, h, score, class: pycocotools' array format."""
    rows = []
    for image, found in enumerate(detections, 1):
        labels = found.nodes.cpu().numpy()
        keep = np.isin(labels, nodes)
        boxes, scores = _xywh(found.boxes_cxcywh)[keep], found.scores.detach().cpu().double().numpy()[keep]
        rows.append(np.column_stack([np.full(len(boxes), image), boxes, scores, labels[keep]]))
    return np.concatenate(rows) if rows else np.zeros((0, 7))
