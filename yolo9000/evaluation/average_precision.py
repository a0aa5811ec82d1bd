"""Average precision by COCO's rules, over nodes of a tree as classes.

Which boxes of the truth belong to a class is spelt out (`EvaluatedClass`), because in a tree it is not the label
alone: for the class "dog", a box labelled "poodle" is right.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from wordtree import WordTree
from yolo9000.datasets.sample import Target
from yolo9000.detection.results import Detections
from yolo9000.evaluation.coco import AREA_RANGES, FoundBoxes, TruthBoxes, evaluate_boxes
from yolo9000.evaluation.ranges import rows_between

UNIT = 1000.0
"""Boxes are in thousandths of the input's side. COCO's sizes in pixels are not known here, so that only its "all" is
evaluated; any unit would do, but an IoU of exactly .5 rounds to one side or the other of it by the unit."""


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
    asked = set(labels)
    positives: dict[int, list[int]] = {parent: [] for parent in parents}
    ignored: dict[int, list[int]] = {parent: [] for parent in parents}
    for label in asked.union(others):  # up from the labels: asking every parent about every label takes seconds
        for parent in tree.path(label):
            if parent in positives:
                (positives if label in asked else ignored)[parent].append(label)
    return [EvaluatedClass(parent, frozenset(positives[parent]), frozenset(ignored[parent])) for parent in parents]


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
        The most detections that an image keeps in a class.

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
    nodes = _nodes_of(classes)
    found = _found_boxes(detections, nodes)
    truth = _with_ignore_boxes(_labelled_boxes(targets, classes, nodes), targets, found)
    return _scores(truth, found, classes, nodes, max_detections)


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
    nodes = _nodes_of(classes)
    truth = _labelled_boxes(targets, classes, nodes)
    images, numbers = np.divmod(np.unique(truth.images * len(nodes) + truth.classes), max(len(nodes), 1))
    results: list[tuple[float, float]] = []
    for side in sides:
        box_xywh = _xywh(torch.tensor([[0.5, 0.5, side, side]]))
        found = FoundBoxes(images, numbers, np.repeat(box_xywh, len(images), axis=0), np.ones(len(images)))
        if not results:  # the boxes to be ignored depend on where detections are, which is the same for every side
            truth = _with_ignore_boxes(truth, targets, found)
        results.append((mean_score(_scores(truth, found, classes, nodes, 1))["ap50"], side))
    return max(results)


def _nodes_of(classes: Sequence[EvaluatedClass]) -> NDArray[np.int64]:
    """The nodes of the classes, rising: a class is evaluated under its place in this list."""
    return np.array(sorted({evaluated.node for evaluated in classes}), np.int64)


def _scores(
    truth: TruthBoxes,
    found: FoundBoxes,
    classes: Sequence[EvaluatedClass],
    nodes: NDArray[np.int64],
    max_detections: int,
) -> list[ClassScore]:
    evaluation = evaluate_boxes(truth, found, len(nodes), area_ranges=AREA_RANGES[:1], max_detections=[max_detections])
    precision, boxes = evaluation.precision[0], evaluation.positives[0]
    columns = zip(nodes.tolist(), precision[0].tolist(), precision.mean(axis=0).tolist(), boxes.tolist(), strict=True)
    score_of = {node: ClassScore(node, ap50, ap, count) for node, ap50, ap, count in columns}
    return [score_of[evaluated.node] for evaluated in classes]


def _labelled_boxes(
    targets: Sequence[Target], classes: Sequence[EvaluatedClass], nodes: NDArray[np.int64]
) -> TruthBoxes:
    """Each box once for every class that it belongs to, as a crowd where it is to be ignored."""
    number_of = {node: number for number, node in enumerate(nodes.tolist())}
    belongs = sorted(
        {(label, number_of[c.node], False) for c in classes for label in c.positives}
        | {(label, number_of[c.node], True) for c in classes for label in c.ignored}
    )
    labels, numbers, ignored = np.array(belongs, np.int64).reshape(-1, 3).T
    own = _in_a_row([target.labels for target in targets], torch.zeros(0, dtype=torch.int64)).numpy()
    boxes, places = rows_between(np.searchsorted(labels, own, side="left"), np.searchsorted(labels, own, side="right"))
    images = np.repeat(np.arange(len(targets)), [len(target.labels) for target in targets])
    boxes_xywh = _xywh(_in_a_row([target.boxes_cxcywh for target in targets], torch.zeros(0, 4)))[boxes]
    areas = boxes_xywh[:, 2] * boxes_xywh[:, 3]
    return TruthBoxes(images[boxes], numbers[places], boxes_xywh, areas, ignored[places].astype(bool))


def _with_ignore_boxes(truth: TruthBoxes, targets: Sequence[Target], found: FoundBoxes) -> TruthBoxes:
    """Add every image's ignore boxes for each class that was found in it.

    They hold for all classes, but to one that was not found they make no difference, and at the nodes of a tree they
    would outnumber all other boxes.
    """
    regions = [t.boxes_cxcywh[:0] if t.ignore_boxes_cxcywh is None else t.ignore_boxes_cxcywh for t in targets]
    images = np.repeat(np.arange(len(targets)), [len(region) for region in regions])
    if not len(images):
        return truth
    inside = np.isin(found.images, images)
    found_image, found_class = np.unique(np.stack([found.images, found.classes])[:, inside], axis=1)
    boxes, places = rows_between(
        np.searchsorted(found_image, images, side="left"), np.searchsorted(found_image, images, side="right")
    )
    boxes_xywh = _xywh(_in_a_row(regions, torch.zeros(0, 4)))[boxes]
    added = TruthBoxes(
        images[boxes],
        found_class[places],
        boxes_xywh,
        boxes_xywh[:, 2] * boxes_xywh[:, 3],
        np.ones(len(boxes), bool),
    )
    names = [column.name for column in fields(TruthBoxes)]
    return TruthBoxes(*(np.concatenate([getattr(truth, name), getattr(added, name)]) for name in names))


def _found_boxes(detections: Sequence[Detections], nodes: NDArray[np.int64]) -> FoundBoxes:
    """The detections of the evaluated nodes."""
    images = np.repeat(np.arange(len(detections)), [len(found) for found in detections])
    labels = _in_a_row([found.nodes for found in detections], torch.zeros(0, dtype=torch.int64)).numpy()
    scores = _in_a_row([found.scores for found in detections], torch.zeros(0)).double().numpy()
    boxes_xywh = _xywh(_in_a_row([found.boxes_cxcywh for found in detections], torch.zeros(0, 4)))
    keep = np.isin(labels, nodes)
    return FoundBoxes(images[keep], np.searchsorted(nodes, labels[keep]), boxes_xywh[keep], scores[keep])


def _in_a_row(tensors: Sequence[torch.Tensor], nothing: torch.Tensor) -> torch.Tensor:
    """All rows in one tensor on the CPU; `nothing` stands for no image at all."""
    return torch.cat(list(tensors)).detach().cpu() if tensors else nothing


def _xywh(boxes_cxcywh: torch.Tensor) -> NDArray[np.float64]:
    """COCO's corner and size, in `UNIT`."""
    boxes = boxes_cxcywh.double().numpy() * UNIT
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)
