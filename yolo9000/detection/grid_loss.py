"""YOLOv1's loss: what darknet's ``[detection]`` layer does, and equation 3 of the paper as it is printed.

Pure functions of the net's output and the targets. Terms are *sums over the batch*, as darknet's; divide by the full
batch size for a step.

In both forms a cell has one object, the first of the targets, and the confidence of its responsible predictor is taught
the IoU of its box as it is now (`rescore`), through which no gradient passes. They differ:

* Equation 3 sums squared errors, times lambda. Darknet's gradient is that of half of it. (The cost that darknet prints
  is another number, with the squares of the scales.)
* Equation 3 takes the roots of predicted widths and heights. Darknet's net predicts the roots themselves (``sqrt=1``),
  and the truth's roots are its targets; with ``sqrt=0`` nothing has a root.
* Equation 3 leaves open who is responsible where no box overlaps the truth; here it is the first predictor. Darknet
  takes the box that is nearest; and with ``forced=1`` the truth's size decides.
* Darknet's reader of data drops boxes less than .005 wide or high without a word.
* Under ``softmax=1``, which the paper does not know, darknet's class gradient is that of the cross-entropy. Equation 3
  stays the squared error, of the softmax's probabilities.

B images, S x S grid, n predictors of a cell, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from yolo9000.datasets.sample import Target
from yolo9000.detection.grid_targets import (
    DARKNETS_LEAST_SIDE,
    GridAssignment,
    GridTruths,
    assign_predictors,
    pack_grid_targets,
)
from yolo9000.models.grid import GridOutput, GridSpec
from yolo9000.runtime.tensors import full_precision

LEAST_ROOTED = 1e-4
"""Below this width the root of equation 3, whose slope has no end, goes on as a straight line to 0."""


def yolov1_loss(
    output: GridOutput | Tensor,
    targets: Sequence[Target],
    spec: GridSpec,
    *,
    form: Literal["darknet", "paper"] | None = None,
) -> dict[str, Tensor]:
    """Named loss terms of a batch of images with boxes, summed over the batch.

    Parameters
    ----------
    output : GridOutput or Tensor (B, S*S*(C + 5n))
        The net's output, or darknet's vector.
    targets : sequence of Target
        One for each image. A label outside of 0..C-1 stands for an object of no class, as in darknet: its box and
        confidence are taught, and all its class numbers are taught 0. A predictor whose box lies in an ignored area by
        more than half is not taught to be background. `labelled_nodes` are not looked at.
    spec : GridSpec
        Classes, meaning of the box numbers, and scales.
    form : {"darknet", "paper"}, optional
        What darknet does, or equation 3 of the paper; by default what ``spec.loss.form`` says.

    Returns
    -------
    dict of str to Tensor ()
        Scalars, always the same keys: ``box`` (responsible predictors), ``objectness`` (their confidences),
        ``background`` (the confidences of all others), ``class`` (cells that have an object).

    Raises
    ------
    Mistake
        A target has an image label.
    ValueError
        The numbers make no grid, or there are not as many targets as images.

    Examples
    --------
    A single cell whose box is right already; it is sure of it by half, and its classes are 0.

    >>> from yolo9000.models import FlatClasses
    >>> spec = GridSpec(classes=FlatClasses(2, "linear"), num=1)
    >>> truth = Target(torch.tensor([[0.5, 0.5, 0.25, 0.25]]), torch.tensor([1]))
    >>> raw = torch.tensor([[0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 0.5]])
    >>> {name: term.item() for name, term in yolov1_loss(raw, [truth], spec, form="paper").items()}
    {'box': 0.0, 'objectness': 0.25, 'background': 0.0, 'class': 1.0}
    >>> {name: term.item() for name, term in yolov1_loss(raw, [truth], spec, form="darknet").items()}
    {'box': 0.0, 'objectness': 0.125, 'background': 0.0, 'class': 0.5}
    """
    form = form or spec.loss.form
    output = GridOutput(output if isinstance(output, Tensor) else output.raw, spec)
    if len(targets) != len(output.raw):
        raise ValueError(f"{len(targets)} targets for {len(output.raw)} images")
    least = DARKNETS_LEAST_SIDE if form == "darknet" else 0.0
    truths = pack_grid_targets(targets, spec, output.side, output.raw.device, least_side=least)
    return packed_yolov1_loss(output, truths, spec, form)


def packed_yolov1_loss(
    output: GridOutput, truths: GridTruths, spec: GridSpec, form: Literal["darknet", "paper"]
) -> dict[str, Tensor]:
    """`yolov1_loss` of targets that are packed already: tensors in, tensors out, no value read by the host."""
    boxes, confidences = full_precision(output.boxes), full_precision(output.confidences)
    assignment = assign_predictors(boxes.detach(), output.boxes_cxcywh, truths, spec, form)
    factor = 0.5 if form == "darknet" else 1.0
    goal = assignment.iou if spec.loss.rescore else torch.ones_like(assignment.iou)
    errors = torch.where(assignment.responsible, goal - confidences, 0.0).square().sum()
    others = torch.where(assignment.is_background, confidences, 0.0).square().sum()
    return {
        "box": factor * spec.loss.coord_scale * _box_error(boxes, truths, assignment, spec, form),
        "objectness": factor * spec.loss.object_scale * errors,
        "background": factor * spec.loss.noobject_scale * others,
        "class": spec.loss.class_scale * _class_error(full_precision(output.cell_classes), truths, spec, form),
    }


def _box_error(
    boxes: Tensor, truths: GridTruths, assignment: GridAssignment, spec: GridSpec, form: Literal["darknet", "paper"]
) -> Tensor:
    """Squared errors of the box numbers of the responsible predictors."""
    centre, size = truths.boxes.split([2, 2], dim=-1)
    rooted = spec.square_root or form == "paper"
    goal = torch.cat([centre, size.sqrt() if rooted else size], dim=-1).to(boxes.dtype)[:, :, None]
    if rooted and not spec.square_root:
        boxes = torch.cat([boxes[..., :2], _root(boxes[..., 2:])], dim=-1)
    return torch.where(assignment.responsible[..., None], goal - boxes, 0.0).square().sum()


def _root(size: Tensor) -> Tensor:
    """The root of the absolute value, with the sign of the number: a width below 0 is wrong by more than 0 is."""
    large = size.abs() > LEAST_ROOTED
    root = torch.where(large, size.abs(), 1.0).sqrt() * size.sign()  # a double `where`: no infinite slope at 0
    return torch.where(large, root, size / math.sqrt(LEAST_ROOTED))


def _class_error(numbers: Tensor, truths: GridTruths, spec: GridSpec, form: Literal["darknet", "paper"]) -> Tensor:
    """The class error of the cells that have an object."""
    classes = torch.arange(spec.classes.number, device=numbers.device)
    goal = (truths.labels[..., None] == classes).to(numbers.dtype)  # no class is 1 for an object of none
    if form == "darknet" and spec.classes.over == "softmax":
        # the cross-entropy, which for an object of no class goes on as what darknet's gradient is that of
        error = numbers.logsumexp(dim=-1) - (goal * numbers).sum(dim=-1)
        return torch.where(truths.present, error, 0.0).sum()
    error = (goal - spec.classes.conditionals(numbers)).square().sum(dim=-1)
    return (0.5 if form == "darknet" else 1.0) * torch.where(truths.present, error, 0.0).sum()
