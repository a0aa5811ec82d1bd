"""Targets of a batch, packed into tensors of fixed shape, so that the loss needs no loop over images or boxes.

B images, M truths of the fullest image, I ignored boxes, T labelled regions, K nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._guards import detect_fake_mode
from torch.nn.utils.rnn import pad_sequence

from wordtree.softmax import path_width, tree_tables
from yolo9000.datasets.sample import Target
from yolo9000.models.region import RegionSpec

WHOLE_IMAGE = (0.5, 0.5, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class PackedTargets:
    """Targets of B images as tensors on the device of the net's output."""

    boxes_cxcywh: Tensor  # (B, M, 4), padded with zeros
    labels: Tensor  # (B, M) class or tree node, after the region's map; -1 where there is no truth
    ignore_boxes_cxcywh: Tensor  # (B, I, 4), padded with zeros
    is_detection: Tensor  # (B,) bool: an image with an image label is not
    region_images: Tensor  # (T,) image of each labelled region
    region_labels: Tensor  # (T,) node
    regions_cxcywh: Tensor  # (T, 4)
    partly_images: Tensor  # (n,) detection images whose source labels some nodes only
    unlabelled: Tensor  # (n, K) bool: the highest nodes outside of what each of them labels
    box_width: int | None  # columns that the widest path of a box label needs; None: not known on the host
    region_width: int | None  # the same for the region labels


def readable(tensor: Tensor) -> bool:
    """Whether the host may look at the values: they lie in its memory, and are more than shapes to be followed."""
    return tensor.device.type == "cpu" and detect_fake_mode([tensor]) is None


def outside_of(labelled_nodes: Tensor, region: RegionSpec) -> Tensor:
    """The highest nodes that neither contain nor lie under a labelled node: (L,) -> (K,) bool.

    They exclude each other, so their probabilities add up to that of "something that this source does not label".

    Examples
    --------
    >>> from wordtree import WordTree
    >>> names = ("animal", "tool", "dog", "cat", "poodle", "saw")
    >>> tree = WordTree(names, names, (-1, -1, 0, 0, 2, 1))
    >>> region = RegionSpec(priors=((1, 1),), num_classes=6, tree=tree)
    >>> [tree.names[node] for node in outside_of(torch.tensor([2]), region).nonzero()]  # only dogs are labelled
    ['tool', 'cat']
    """
    labelled = labelled_nodes.new_zeros(region.num_classes, dtype=torch.bool).index_fill(0, labelled_nodes, True)
    if region.tree is None:
        return ~labelled
    tables = tree_tables(region.tree, labelled_nodes.device)
    on_path = tables.path >= 0
    inside = (labelled[tables.path.clamp(min=0)] & on_path).any(dim=-1)
    slots = torch.where(on_path, tables.path, region.num_classes)[labelled_nodes]  # one too many takes the padding
    above = labelled.new_zeros(region.num_classes + 1).index_fill(0, slots.flatten(), True)[:-1]
    under_above = above[tables.parent.clamp(min=0)] | (tables.parent < 0)
    return ~inside & ~above & under_above


def _check_labels(name: str, labels: Tensor, count: int) -> None:
    if labels.numel() and readable(labels):
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= count:
            raise ValueError(f"{name}: {low if low < 0 else high} is outside 0..{count - 1}")


def _width(region: RegionSpec, labels: Tensor) -> int | None:
    if region.tree is None or not labels.numel() or not readable(labels):
        return None
    return path_width(region.tree, labels[labels >= 0].tolist())


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on another device, without making the host wait for a GPU."""
    if device.type == "cuda" and readable(tensor) and torch.cuda.is_available():
        tensor = tensor.pin_memory()  # a copy from pageable memory would make the host wait
    return tensor.to(device, non_blocking=True)


def pack_targets(targets: Sequence[Target], region: RegionSpec, device: torch.device) -> PackedTargets:
    """Pack the targets of a batch and bring them to the device. Targets on the host cost no wait for a GPU.

    Box labels go through ``region.map`` if there is one; image and region labels are nodes already and never do.

    Raises
    ------
    ValueError
        If a label is outside the classes, or an image label comes without a tree.
    """
    box_labels, boxes, ignored, images, nodes, rectangles, is_detection = [], [], [], [], [], [], []
    table = None if region.map is None else torch.tensor(region.map)
    for number, target in enumerate(targets):
        weak = target.is_classification
        is_detection.append(not weak)
        empty = target.boxes_cxcywh.new_zeros((0, 4), dtype=torch.float32)
        labels = target.labels[:0] if weak else target.labels
        _check_labels(f"labels of image {number}", labels, region.num_classes if table is None else len(table))
        box_labels.append(labels if table is None else table.to(labels.device)[labels])
        boxes.append(empty if weak else target.boxes_cxcywh)
        ignored.append(empty if weak or target.ignore_boxes_cxcywh is None else target.ignore_boxes_cxcywh)
        if not weak:
            continue
        if region.tree is None:
            raise ValueError(f"image {number} has an image label, which needs a tree; the region has none")
        if target.image_label is not None:
            images.append(number)
            nodes.append(torch.tensor([int(target.image_label)], device=target.labels.device))
            rectangles.append(torch.tensor([WHOLE_IMAGE], device=target.labels.device))
        elif target.regions_cxcywh is not None and target.region_labels is not None:
            images.extend([number] * len(target.region_labels))
            nodes.append(target.region_labels)
            rectangles.append(target.regions_cxcywh)
        _check_labels(f"image label of image {number}", nodes[-1], region.num_classes)
    labels = pad_sequence(box_labels, batch_first=True, padding_value=-1)
    region_labels = torch.cat(nodes) if nodes else torch.zeros(0, dtype=torch.long)
    partly = [n for n, t in enumerate(targets) if t.labelled_nodes is not None and not t.is_classification]
    distinct: dict[int, Tensor] = {}  # the images of a source share one tensor
    for nodes_of_source in (targets[number].labelled_nodes for number in partly):
        if nodes_of_source is not None and id(nodes_of_source) not in distinct:
            distinct[id(nodes_of_source)] = outside_of(nodes_of_source, region)
    rows = [distinct[id(targets[number].labelled_nodes)] for number in partly]

    return PackedTargets(
        boxes_cxcywh=to_device(pad_sequence(boxes, batch_first=True), device),
        labels=to_device(labels, device),
        ignore_boxes_cxcywh=to_device(pad_sequence(ignored, batch_first=True), device),
        is_detection=to_device(torch.tensor(is_detection), device),
        region_images=to_device(torch.tensor(images, dtype=torch.long), device),
        region_labels=to_device(region_labels, device),
        regions_cxcywh=to_device(torch.cat(rectangles) if rectangles else torch.zeros(0, 4), device),
        partly_images=to_device(torch.tensor(partly, dtype=torch.long), device),
        unlabelled=to_device(
            torch.stack(rows) if rows else torch.zeros(0, region.num_classes, dtype=torch.bool), device
        ),
        box_width=_width(region, labels),
        region_width=_width(region, region_labels),
    )
