"""A loss of plain squared errors that lectures on YOLOv2 show, beside darknet's.

Three mean squared errors, each over the number of boxes: of the box as it is decoded (sigmoid and exponential), of its
IoU, and of its class probabilities after the softmax. Darknet's differs in all three: it compares tw and th themselves,
weighs small boxes more, divides by images, and takes the cross-entropy of the classes. As this one divides by boxes, it
is another loss where it sees an update in parts: so no training shows it parts, see `experiment.plan.check_loss`.

The same slides print the centre of an anchor box as ``x = (t_x * w_a) - x_a``. It is ``+``: their text says that
t_x = 1 moves the box to the right by the width of the anchor, and so it does in `yolo9000.models.BoxCoding`.

B images, P boxes of an image, M truths of the fullest image, V truths of the batch, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from yolo9000.datasets.sample import Target
from yolo9000.detection.assign import assign_boxes
from yolo9000.detection.targets import pack_targets
from yolo9000.models.output import RegionOutput
from yolo9000.models.region import RegionSpec
from yolo9000.runtime.tensors import full_precision


def slides_loss(output: RegionOutput, targets: Sequence[Target], region: RegionSpec) -> dict[str, Tensor]:
    """Named terms of a batch, times B: a step that divides by the batch leaves means over the boxes.

    Parameters
    ----------
    output : RegionOutput
        The net's output for B images.
    targets : sequence of Target
        One for each image, with boxes.
    region : RegionSpec
        Classes under one softmax, box coding and scales. A box is assigned as in `joint_loss`.

    Returns
    -------
    dict of str to Tensor ()
        With N truths in the batch, at least 1: ``box``, coord_scale times the sum over assigned boxes of
        (sigmoid(tx) - x)^2 + (sigmoid(ty) - y)^2 + (exp(tw) - w / w_prior)^2 + (exp(th) - h / h_prior)^2, over N;
        ``objectness``, object_scale times that of (sigmoid(to) - IoU)^2, over N; ``background``, noobject_scale times
        the sum of sigmoid(to)^2 over the boxes that overlap no truth, over N; ``class``, class_scale times the sum over
        assigned boxes and classes of (p - [it is the label])^2, over N.

    Raises
    ------
    ValueError
        Shapes do not fit, a target is an image label, or the classes are several softmaxes.

    Examples
    --------
    >>> from yolo9000.models import BoxCoding, DenseRegionOutput, FlatClasses
    >>> region = RegionSpec(classes=FlatClasses(2), coding=BoxCoding(((2.0, 2.0),)))
    >>> truth = Target(torch.tensor([[0.5, 0.5, 1.0, 1.0]]), torch.tensor([1]))
    >>> terms = slides_loss(DenseRegionOutput(torch.zeros(1, 7, 1, 1), region.coding), [truth], region)
    >>> {name: term.item() for name, term in terms.items()}  # the box is twice as wide and high, p is .5 and .5
    {'box': 0.5, 'objectness': 0.3125, 'background': 0.0, 'class': 0.5}
    """
    if len(targets) != output.boxes.shape[0]:
        raise ValueError(f"{len(targets)} targets for {output.boxes.shape[0]} images")
    if any(target.is_classification for target in targets):
        raise ValueError("an image label has no box; this loss is of boxes alone")
    tree = region.classes.tree
    if tree is not None and len(tree.group_sizes) > 1:
        raise ValueError("the classes are several softmaxes; this loss is of one, see `WordTree.flatten`")
    raw_boxes, objectness = full_precision(output.boxes), full_precision(output.objectness)
    packed = pack_targets(targets, region, raw_boxes.device)
    found = assign_boxes(
        raw_boxes.detach(),
        output.boxes_cxcywh,
        packed.boxes_cxcywh,
        packed.labels,
        packed.ignore_boxes_cxcywh,
        region,
    )
    wins = found.wins
    share = len(targets) / found.valid.sum().clamp(min=1)  # B / N
    scales = region.loss

    def summed(errors: Tensor, where: Tensor) -> Tensor:
        return share * torch.where(where, errors, 0.0).sum()

    at_truths = raw_boxes.reshape(-1, 4)[found.box_index.flatten()].view(found.raw_target.shape)
    box = (_sized(region.coding.activate(at_truths)) - _sized(found.raw_target)).square().sum(dim=-1)
    probability = objectness.sigmoid()
    surest = probability.flatten()[found.box_index.flatten()].view(wins.shape)
    # losers and places without a truth write to one slot too many, which is cut off
    slot = torch.where(wins, found.box_index, probability.numel()).flatten()
    assigned = probability.new_zeros(probability.numel() + 1).scatter(0, slot, 1.0)[:-1].view(probability.shape) > 0
    classes = region.classes.probabilities(full_precision(output.class_logits(found.box_index.flatten())))
    is_label = torch.arange(region.classes.number, device=classes.device) == packed.labels.flatten()[:, None]
    wrong = (classes - is_label.to(classes.dtype)).square().sum(dim=-1).view(wins.shape)
    return {
        "box": scales.coord_scale * summed(box, wins),
        "objectness": scales.object_scale * summed((surest - found.iou).square(), wins),
        "background": scales.noobject_scale * summed(probability.square(), found.is_background & ~assigned),
        "class": scales.class_scale * summed(wrong, wins),
    }


def _sized(activated: Tensor) -> Tensor:
    """The last two of four box numbers as factors on the prior: (..., 4) -> (..., 4)."""
    return torch.cat([activated[..., :2], activated[..., 2:].exp()], dim=-1)
