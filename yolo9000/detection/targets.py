"""Targets of a batch, packed into tensors of fixed shape, so that the loss needs no loop over images or boxes.

Packing also finds, on the host, which class columns the loss will read: those of the sibling groups on the paths of
the batch's labels, for which it asks the `Classes`; the loss itself is tensors in, tensors out.

B images, M truths of the fullest image, I ignored boxes, V truths of the batch, T labelled areas, K nodes,
C columns on a path, U columns that the batch reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from wordtree.softmax import PathColumns
from wordtree.tables import TreeTables
from yolo9000.datasets.sample import Target
from yolo9000.models.classes import Classes
from yolo9000.models.region import RegionSpec
from yolo9000.runtime.tensors import host_knows, to_device

WHOLE_IMAGE = (0.5, 0.5, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Unlabelled:
    """What the sources of some detection images do not label, and what must be read to find it there."""

    images: Tensor  # (n,) detection images whose source labels some nodes only
    columns: Tensor | None  # (U,) nodes whose logits are read; None for all
    tables: TreeTables | None  # of the tree of these nodes; None for flat classes
    nodes: Tensor  # (n, U) bool: the highest nodes outside of what an image's source labels
    host_columns: Tensor | None = None  # (U,) on the host; None if it does not know them


@dataclass(frozen=True, kw_only=True)
class HostLabels:
    """The labels of a batch where the host can look at them."""

    truths: Tensor  # (V,) node of each truth
    area_images: Tensor  # (T,)
    areas: Tensor  # (T,) node of each labelled area


@dataclass(frozen=True, kw_only=True)
class PackedTargets:
    """Targets of B images as tensors on the device of the net's output."""

    boxes_cxcywh: Tensor  # (B, M, 4), padded with zeros
    labels: Tensor  # (B, M) class or tree node, after the classes' map; -1 where there is no truth
    ignore_boxes_cxcywh: Tensor  # (B, I, 4), padded with zeros
    is_detection: Tensor  # (B,) bool: an image with an image label is not
    truths: Tensor  # (V,) places image * M + number of the truths; of all B*M if the host does not know the labels
    groups: Tensor | None  # (B, M, D) sibling groups on the path of each truth; None without a tree
    area_images: Tensor  # (T,) image of each labelled area
    areas_cxcywh: Tensor  # (T, 4)
    columns: Tensor | None  # (U,) class columns that the labels read, ascending; None for all
    truth_paths: PathColumns | None  # (V, ...), its columns are places in `columns`; None without a tree
    area_paths: PathColumns | None  # (T, ...), likewise
    unlabelled: Unlabelled | None  # None if every source labels everything
    host: HostLabels | None = None  # None if the host does not know them


def _check_labels(name: str, labels: Tensor, count: int) -> None:
    if labels.numel():
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= count:
            raise ValueError(f"{name}: {low if low < 0 else high} is outside 0..{count - 1}")


def pack_targets(targets: Sequence[Target], region: RegionSpec, device: torch.device) -> PackedTargets:
    """Pack the targets of a batch and bring them to the device. Targets on the host cost no wait for a GPU.

    Box labels go through ``region.classes.map`` if there is one; image and area labels are nodes already and never do.

    Raises
    ------
    ValueError
        If a label is outside the classes, or an image label comes without a tree.
    """
    box_labels, boxes, ignored, images, nodes, rectangles, is_detection = [], [], [], [], [], [], []
    classes = region.classes
    table = None if classes.map is None else torch.tensor(classes.map)
    host = host_knows([target.labels for target in targets])
    for number, target in enumerate(targets):
        of_image = target.is_classification
        is_detection.append(not of_image)
        empty = target.boxes_cxcywh.new_zeros((0, 4), dtype=torch.float32)
        labels = target.labels[:0] if of_image else target.labels
        if host:
            _check_labels(f"labels of image {number}", labels, classes.number if table is None else len(table))
        labels = labels if table is None else table.to(labels.device)[labels]
        # a box of no size is no truth; one of NaN stays, or nobody would hear of it
        box_labels.append(
            labels if of_image else torch.where((target.boxes_cxcywh[:, 2:] <= 0).any(dim=-1), -1, labels)
        )
        boxes.append(empty if of_image else target.boxes_cxcywh)
        ignored.append(empty if of_image or target.ignore_boxes_cxcywh is None else target.ignore_boxes_cxcywh)
        if not of_image:
            continue
        if classes.tree is None:
            raise ValueError(f"image {number} has an image label, which needs a tree; the classes have none")
        if target.image_label is not None:
            images.append(number)
            nodes.append(torch.tensor([int(target.image_label)], device=target.labels.device))
            rectangles.append(torch.tensor([WHOLE_IMAGE], device=target.labels.device))
        elif target.areas_cxcywh is not None and target.area_labels is not None:
            images.extend([number] * len(target.area_labels))
            nodes.append(target.area_labels)
            rectangles.append(target.areas_cxcywh)
        if host:
            _check_labels(f"image label of image {number}", nodes[-1], classes.number)
    labels = pad_sequence(box_labels, batch_first=True, padding_value=-1)
    area_labels = torch.cat(nodes) if nodes else torch.zeros(0, dtype=torch.long)
    truths = torch.nonzero(labels.flatten() >= 0).squeeze(1) if host else torch.arange(labels.numel())
    columns, truth_paths, area_paths = classes.label_columns(labels, truths, area_labels, device)
    known = None
    if host:
        known = HostLabels(
            truths=labels.flatten()[truths], area_images=torch.tensor(images, dtype=torch.long), areas=area_labels
        )
    labels = to_device(labels, device)
    return PackedTargets(
        boxes_cxcywh=to_device(pad_sequence(boxes, batch_first=True), device),
        labels=labels,
        ignore_boxes_cxcywh=to_device(pad_sequence(ignored, batch_first=True), device),
        is_detection=to_device(torch.tensor(is_detection), device),
        truths=to_device(truths, device),
        groups=classes.groups(labels),
        area_images=to_device(torch.tensor(images, dtype=torch.long), device),
        areas_cxcywh=to_device(torch.cat(rectangles) if rectangles else torch.zeros(0, 4), device),
        columns=columns,
        truth_paths=truth_paths,
        area_paths=area_paths,
        unlabelled=_unlabelled(targets, classes, device),
        host=known,
    )


def _unlabelled(targets: Sequence[Target], classes: Classes, device: torch.device) -> Unlabelled | None:
    partly = [(n, t.labelled_nodes) for n, t in enumerate(targets) if not t.is_classification]
    sources = {id(nodes): nodes for _, nodes in partly if nodes is not None}  # the images of a source share one tensor
    if not sources:
        return None
    outside = classes.outside(list(sources.values()), device)
    rows = dict(zip(sources, outside.row_of_source, strict=True))
    images = [number for number, nodes in partly if nodes is not None]
    row_of_image = [rows[id(nodes)] for _, nodes in partly if nodes is not None]
    return Unlabelled(
        images=to_device(torch.tensor(images), device),
        columns=outside.columns,
        tables=outside.tables,
        nodes=outside.nodes.index_select(0, to_device(torch.tensor(row_of_image), device)),
        host_columns=outside.host_columns,
    )
