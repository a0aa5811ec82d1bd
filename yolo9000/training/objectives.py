"""The losses of the usual phases, as the training loop calls them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from yolo9000.datasets.sample import Target
from yolo9000.detection.config import ImageLabels
from yolo9000.detection.grid_loss import yolov1_loss
from yolo9000.detection.loss import joint_loss
from yolo9000.detection.squared_loss import slides_loss
from yolo9000.models.classes import Classes
from yolo9000.models.grid import GridSpec
from yolo9000.models.output import RegionOutput
from yolo9000.models.region import RegionSpec
from yolo9000.runtime.tensors import to_device
from yolo9000.training.phases import Loss


def detection_objective(
    spec: RegionSpec | GridSpec, image_labels: ImageLabels = ImageLabels(), truth_offsets: Tensor | None = None
) -> Loss:
    """The loss of a detector, by what its numbers mean.

    Parameters
    ----------
    spec : RegionSpec or GridSpec
        A region has the joint loss, which is YOLOv2's on batches of images with boxes alone; a grid has YOLOv1's.
    image_labels : ImageLabels
        What an image label teaches, in the joint loss.
    truth_offsets : Tensor (K,), optional
        Added to the class logits of the boxes of truths there, see `yolo9000.detection.loss.offsets_of_truths`.
    """
    if isinstance(spec, GridSpec):
        grid = spec
        return lambda output, targets, images_seen: yolov1_loss(output, targets, grid)
    region = spec
    if region.loss.form == "slides":
        return lambda output, targets, images_seen: slides_loss(output, targets, region)

    def loss(output: RegionOutput, targets: Sequence[Target], images_seen: int) -> dict[str, Tensor]:
        offsets = None if truth_offsets is None else to_device(truth_offsets, output.objectness.device)
        return joint_loss(output, targets, region, images_seen=images_seen, recipe=image_labels, truth_offsets=offsets)

    return loss


def classification_objective(classes: Classes) -> Loss:
    """Negative log-probability of each image's label: down its path in the tree, or as a flat class.

    The model answers logits (B, K).

    Raises
    ------
    ValueError
        An image has no image label.
    """

    def loss(logits: Tensor, targets: Sequence[Target], images_seen: int) -> dict[str, Tensor]:
        labels = [target.image_label for target in targets]
        if any(label is None for label in labels):
            raise ValueError("the classification phase needs images with an image label, and no mosaics of them")
        nodes = to_device(torch.tensor(labels, dtype=torch.long), logits.device)
        return {"label": classes.image_loss(logits, nodes)}

    return loss
