"""The joint loss of boxes and image labels over one tree (YOLO9000 paper, section 4; darknet).

Pure functions of the net's output and the targets. Terms are *sums over the batch*, as darknet's; divide by the full
batch size for a step. Their gradients are darknet's: squared errors carry a factor of one half, class terms are
cross-entropies.

B images, A priors, H x W grid, P = A*H*W boxes of an image, M truths, T labelled areas, S boxes that share a label,
C columns on a path, D levels, K nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from yolo9000.datasets.sample import Target
from yolo9000.detection.assign import Assignment, assign_boxes
from yolo9000.detection.config import DEFAULT_RECIPE, ImageLabels, find_recipe
from yolo9000.detection.image_labels import AreaPick, image_label_terms, log_probs_at_picks, pick_for_areas
from yolo9000.detection.targets import PackedTargets, Unlabelled, pack_targets
from yolo9000.models.class_shards import ShardedRegionOutput
from yolo9000.models.output import DenseRegionOutput, RegionOutput
from yolo9000.models.region import RegionSpec
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.runtime.tensors import full_precision

PRIOR_PULL_SCALE = 0.01  # darknet, region_layer.c: the first 12,800 images
MAX_DOUBTFUL = 32  # boxes of an image that are looked at for things that its source does not label
NO_SIBLING = -1e4  # added to a logit that is to take no probability
CONFIDENTLY_UNLABELLED = 0.5  # a box is no background if it more probably shows what its source does not label


def joint_loss(
    output: RegionOutput | Tensor,
    targets: Sequence[Target],
    region: RegionSpec,
    *,
    images_seen: int,
    recipe: str | ImageLabels = DEFAULT_RECIPE,
    truth_offsets: Tensor | None = None,
) -> dict[str, Tensor]:
    """Named loss terms of a batch of images with boxes and images with a label, summed over the batch.

    Parameters
    ----------
    output : RegionOutput or Tensor (B, A*(5+K), H, W)
        The net's output, or darknet's dense array.
    targets : sequence of Target
        One for each image. One with an image label (or areas that have one) never gives a box loss, and its boxes, if
        any, are ignored.
    region : RegionSpec
        Classes, box coding and scales.
    images_seen : int
        Images seen so far, this batch included. Below ``region.loss.prior_pull_images`` every box of an image with
        boxes is pulled to its prior.
    recipe : str or ImageLabels
        What an image label teaches: a name of :data:`RECIPES`, or an :class:`ImageLabels`.
    truth_offsets : Tensor (K,), optional
        Added to the class logits of the boxes of truths, in the loss alone, see `offsets_of_truths`.

    Returns
    -------
    dict of str to Tensor ()
        Scalars, always the same keys: ``box`` (assigned boxes), ``prior_pull``, ``objectness`` (assigned boxes),
        ``background`` (all others of images with boxes), ``class`` (assigned boxes, along the label's path, nothing
        below the label), ``image_class`` and ``image_objectness`` (image labels).

    Raises
    ------
    ValueError
        If shapes do not fit, a label is out of range, or an image label comes without a tree.

    Examples
    --------
    >>> import torch
    >>> from yolo9000.datasets.sample import Target
    >>> from yolo9000.models import BoxCoding, FlatClasses, RegionSpec
    >>> region = RegionSpec(classes=FlatClasses(3), coding=BoxCoding(((1.0, 1.0),)))
    >>> truth = Target(torch.tensor([[0.5, 0.5, 0.25, 0.25]]), torch.tensor([2]))
    >>> terms = joint_loss(torch.zeros(1, 8, 4, 4), [truth], region, images_seen=64_000)
    >>> round(terms["class"].item(), 4)  # ln 3: three classes, all equally likely
    1.0986
    """
    chosen = find_recipe(recipe)
    if isinstance(output, Tensor):
        if output.shape[1] != region.channels:
            raise ValueError(f"output has {output.shape[1]} channels, the region needs {region.channels}")
        output = DenseRegionOutput(output, region.coding)
    if len(targets) != output.boxes.shape[0]:
        raise ValueError(f"{len(targets)} targets for {output.boxes.shape[0]} images")
    packed = pack_targets(targets, region, output.boxes.device)
    pull = images_seen < region.loss.prior_pull_images
    return packed_loss(output, packed, region, pull=pull, recipe=chosen, truth_offsets=truth_offsets)


def packed_loss(
    output: RegionOutput,
    packed: PackedTargets,
    region: RegionSpec,
    *,
    pull: bool,
    recipe: ImageLabels,
    truth_offsets: Tensor | None = None,
) -> dict[str, Tensor]:
    """`joint_loss` of targets that are packed already: tensors in, tensors out, no value read by the host.

    Parameters
    ----------
    output : RegionOutput
        The net's output.
    packed : PackedTargets
        The targets, packed on the device of the output.
    region : RegionSpec
        Classes, box coding and scales.
    pull : bool
        Whether the boxes of images with boxes are pulled to their priors.
    recipe : ImageLabels
        What an image label teaches.
    truth_offsets : Tensor (K,), optional
        As in `joint_loss`.

    Returns
    -------
    dict of str to Tensor ()
    """
    raw_boxes, objectness = full_precision(output.boxes), full_precision(output.objectness)
    predicted = output.boxes_cxcywh
    assignment = assign_boxes(
        raw_boxes.detach(), predicted, packed.boxes_cxcywh, packed.labels, packed.ignore_boxes_cxcywh, region
    )
    box_terms = _box_terms(raw_boxes, packed, assignment, region, pull=pull)
    is_background = assignment.is_background
    if packed.unlabelled is not None:
        is_background = is_background & ~_shows_unlabelled(output, objectness.detach(), packed.unlabelled, region)
    elif isinstance(output, ShardedRegionOutput):
        output.logits_at_columns(packed.truths[:0], torch.zeros(0, dtype=torch.long))  # others may ask
    pick = pick_for_areas(output, predicted, objectness.detach(), packed, recipe)
    # one call for all that is read of the classes, so that their weights have one gradient
    boxes = assignment.box_index.flatten().index_select(0, packed.truths)
    boxes = boxes if pick is None else torch.cat([boxes, pick.box_index.flatten()])
    if isinstance(output, ShardedRegionOutput):
        class_loss, label_log_prob = _along_paths(output, boxes, packed, assignment, region, pick, truth_offsets)
    else:
        logits = full_precision(output.class_logits(boxes, packed.columns))
        truth_logits, area_logits = logits.split([len(packed.truths), len(boxes) - len(packed.truths)])
        if truth_offsets is not None:
            truth_logits = truth_logits + (truth_offsets if packed.columns is None else truth_offsets[packed.columns])
        class_loss = region.classes.truth_loss(
            truth_logits,
            labels=packed.labels,
            truths=packed.truths,
            groups=packed.groups,
            paths=packed.truth_paths,
            later=assignment.later_at_same_box,
            wins=assignment.wins,
        )
        label_log_prob = log_probs_at_picks(area_logits, pick, packed)
    return {
        **box_terms,
        **_objectness_terms(objectness, packed, assignment, is_background, region),
        "class": region.loss.class_scale * class_loss,
        **image_label_terms(label_log_prob, pick, objectness, packed, region, recipe),
    }


def _along_paths(
    output: ShardedRegionOutput,
    boxes: Tensor,
    packed: PackedTargets,
    assignment: Assignment,
    region: RegionSpec,
    pick: AreaPick | None,
    truth_offsets: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """The loss of the truths' boxes and log P of the areas' labels, (T, S), of class rows that are spread."""
    assert isinstance(region.classes, TreeClasses)
    assert packed.host is not None
    assert packed.groups is not None
    truths, areas = packed.host.truths, packed.host.areas
    shared = pick.box_index.shape[1] if pick is not None else 0
    labels = torch.cat([truths, areas.repeat_interleave(shared)])
    is_truth = torch.arange(len(labels)) < len(truths)
    found = output.along_paths(boxes, labels, is_truth, truth_offsets)
    of_truths, of_areas = found.split([len(truths), len(labels) - len(truths)])
    loss = region.classes.path_loss(
        of_truths, truths=packed.truths, groups=packed.groups, later=assignment.later_at_same_box
    )
    return loss, None if pick is None else of_areas.sum(dim=-1).view(pick.box_index.shape)


def offsets_of_truths(share_with_boxes: Tensor, unboxed_weight: float) -> Tensor | None:
    """What the boxes of truths add to their class logits, so that classes without boxes count less among siblings.

    Where a node stands for classes a part of which never comes as a box, P(node | it came as a box) is proportional to
    that part times P(node). So the log of the part is added in the loss of boxes, and P(node) itself is what is learnt
    (as for class frequencies in Ren et al., "Balanced meta-softmax", 2020).

    Parameters
    ----------
    share_with_boxes : Tensor (K,)
        Which share of the labels at and under each node has boxes.
    unboxed_weight : float
        How much the others count, see `ImageLabels`.

    Returns
    -------
    Tensor (K,), optional
        None if nothing is added. A node that does not count has -1e4, for infinities would have no gradient.

    Examples
    --------
    >>> offsets_of_truths(torch.tensor([1.0, 0.5, 0.0]), 0.5)
    tensor([ 0.0000, -0.2877, -0.6931])
    """
    counts = share_with_boxes + (1 - share_with_boxes) * unboxed_weight
    return None if bool((counts == 1).all()) else counts.log().clamp(min=NO_SIBLING)


def _box_terms(
    raw_boxes: Tensor, packed: PackedTargets, assignment: Assignment, region: RegionSpec, *, pull: bool
) -> dict[str, Tensor]:
    """Squared errors on the box numbers of the assigned boxes as they are coded, weight 2 - w*h (darknet)."""
    rows = raw_boxes.reshape(-1, 4)
    at_truths = rows.index_select(0, assignment.box_index.flatten()).view(assignment.raw_target.shape)
    area = (packed.boxes_cxcywh[..., 2] * packed.boxes_cxcywh[..., 3]).to(rows.dtype)
    scale = region.loss.coord_scale * (2 - area) * assignment.wins
    # a double `where`, for the box of a truth that is none may be anything
    error = torch.where(assignment.wins[..., None], assignment.raw_target - region.coding.activate(at_truths), 0.0)
    terms = {"box": (0.5 * scale[..., None] * error.square()).sum()}
    if not pull:
        return terms | {"prior_pull": terms["box"].new_zeros(())}
    b = raw_boxes.shape[0]
    free = ~_at_boxes(assignment, assignment.wins, len(rows)).reshape(b, -1) & packed.is_detection[:, None]
    pulled = (region.coding.rest(rows) - region.coding.activate(rows)).square().sum(dim=-1).reshape(b, -1)
    return terms | {"prior_pull": (0.5 * PRIOR_PULL_SCALE * pulled * free).sum()}


def _at_boxes(assignment: Assignment, value: Tensor, count: int) -> Tensor:
    """Write one value a winning truth (B, M) to its box: -> (count,), zero elsewhere."""
    # losers write to one slot too many, which is cut off
    slot = torch.where(assignment.wins, assignment.box_index, count)
    return value.new_zeros(count + 1).scatter(0, slot.flatten(), value.flatten())[:count]


def _objectness_terms(
    objectness: Tensor, packed: PackedTargets, assignment: Assignment, is_background: Tensor, region: RegionSpec
) -> dict[str, Tensor]:
    """Assigned boxes are pulled to their IoU (or 1), the others to 0, unless they overlap a truth (darknet)."""
    goal = assignment.iou if region.loss.rescore else torch.ones_like(assignment.iou)
    probability = objectness.sigmoid()
    goal_of_box = _at_boxes(assignment, goal, objectness.numel()).reshape(objectness.shape)
    assigned = _at_boxes(assignment, assignment.wins, objectness.numel()).reshape(objectness.shape)
    positive = assigned * (goal_of_box - probability).square()
    background = is_background & ~assigned & packed.is_detection[:, None]
    return {
        "objectness": 0.5 * region.loss.object_scale * positive.sum(),
        "background": 0.5 * region.loss.noobject_scale * (background * probability.square()).sum(),
    }


@torch.no_grad()
def _shows_unlabelled(output: RegionOutput, objectness: Tensor, unlabelled: Unlabelled, region: RegionSpec) -> Tensor:
    """(B, P) bool: the box more probably shows something that the image's source does not label.

    Only the surest boxes of an image are looked at: the background loss hardly moves the others, and class
    probabilities for each box of the batch would cost more than the net.
    """
    per_image = objectness.shape[1]
    images = unlabelled.images[:, None]
    surest = objectness[unlabelled.images].topk(min(MAX_DOUBTFUL, per_image), dim=-1).indices  # (n, S)
    boxes = (images * per_image + surest).flatten()
    if isinstance(output, ShardedRegionOutput):
        assert unlabelled.host_columns is not None
        logits = output.logits_at_columns(boxes, unlabelled.host_columns)
    else:
        logits = full_precision(output.class_logits(boxes, unlabelled.columns))
    probability = region.classes.probabilities(logits, unlabelled.tables)
    elsewhere = (probability.unflatten(0, surest.shape) * unlabelled.nodes[:, None]).sum(dim=-1)
    shows = torch.zeros_like(objectness, dtype=torch.bool)
    return shows.index_put((images, surest), elsewhere > CONFIDENTLY_UNLABELLED)
