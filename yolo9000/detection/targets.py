"""Targets of a batch, packed into tensors of fixed shape, so that the loss needs no loop over images or boxes.

Packing also finds, on the host, which class columns the loss will read: those of the sibling groups on the paths of
the batch's labels. It is the only part that looks at a tree; the loss itself is tensors in, tensors out.

B images, M truths of the fullest image, I ignored boxes, V truths of the batch, T labelled regions, K nodes,
C columns on a path, U columns that the batch reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from wordtree import WordTree
from wordtree.softmax import PathColumns, path_columns, path_groups, path_width
from wordtree.tables import TreeTables, tree_tables
from yolo9000.datasets.sample import Target
from yolo9000.models.region import RegionSpec
from yolo9000.models.region_output import host_knows

WHOLE_IMAGE = (0.5, 0.5, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Unlabelled:
    """What the sources of some detection images do not label, and what must be read to find it there."""

    images: Tensor  # (n,) detection images whose source labels some nodes only
    columns: Tensor | None  # (U,) nodes whose logits are read; None for all
    tables: TreeTables | None  # of the tree of these nodes; None for flat classes
    nodes: Tensor  # (n, U) bool: the highest nodes outside of what an image's source labels


@dataclass(frozen=True, kw_only=True)
class PackedTargets:
    """Targets of B images as tensors on the device of the net's output."""

    boxes_cxcywh: Tensor  # (B, M, 4), padded with zeros
    labels: Tensor  # (B, M) class or tree node, after the region's map; -1 where there is no truth
    ignore_boxes_cxcywh: Tensor  # (B, I, 4), padded with zeros
    is_detection: Tensor  # (B,) bool: an image with an image label is not
    truths: Tensor  # (V,) places image * M + number of the truths; of all B*M if the host does not know the labels
    groups: Tensor | None  # (B, M, D) sibling groups on the path of each truth; None without a tree
    region_images: Tensor  # (T,) image of each labelled region
    regions_cxcywh: Tensor  # (T, 4)
    columns: Tensor | None  # (U,) class columns that the labels read, ascending; None for all
    truth_paths: PathColumns | None  # (V, ...), its columns are places in `columns`; None without a tree
    region_paths: PathColumns | None  # (T, ...), likewise
    unlabelled: Unlabelled | None  # None if every source labels everything


def outside_of(labelled_nodes: Tensor, tree: WordTree) -> Tensor:
    """The highest nodes that neither contain nor lie under a labelled node: (L,) -> (K,) bool.

    They exclude each other, so their probabilities add up to that of "something that this source does not label".

    Examples
    --------
    >>> names = ("animal", "tool", "dog", "cat", "poodle", "saw")
    >>> tree = WordTree(names, names, (-1, -1, 0, 0, 2, 1))
    >>> [tree.names[node] for node in outside_of(torch.tensor([2]), tree).nonzero()]  # only dogs are labelled
    ['tool', 'cat']
    """
    labelled = labelled_nodes.new_zeros(len(tree), dtype=torch.bool).index_fill(0, labelled_nodes, True)
    tables = tree_tables(tree, labelled_nodes.device)
    on_path = tables.path >= 0
    inside = (labelled[tables.path.clamp(min=0)] & on_path).any(dim=-1)
    slots = torch.where(on_path, tables.path, len(tree))[labelled_nodes]  # one too many takes the padding
    above = labelled.new_zeros(len(tree) + 1).index_fill(0, slots.flatten(), True)[:-1]
    under_above = above[tables.parent.clamp(min=0)] | (tables.parent < 0)
    return ~inside & ~above & under_above


def _check_labels(name: str, labels: Tensor, count: int) -> None:
    if labels.numel():
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= count:
            raise ValueError(f"{name}: {low if low < 0 else high} is outside 0..{count - 1}")


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on another device, without making the host wait for a GPU."""
    if device.type == "cuda" and host_knows([tensor]) and torch.cuda.is_available():
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
    host = host_knows([target.labels for target in targets])
    for number, target in enumerate(targets):
        weak = target.is_classification
        is_detection.append(not weak)
        empty = target.boxes_cxcywh.new_zeros((0, 4), dtype=torch.float32)
        labels = target.labels[:0] if weak else target.labels
        if host:
            _check_labels(f"labels of image {number}", labels, region.num_classes if table is None else len(table))
        labels = labels if table is None else table.to(labels.device)[labels]
        # a box of no size is no truth
        box_labels.append(labels if weak else torch.where((target.boxes_cxcywh[:, 2:] > 0).all(dim=-1), labels, -1))
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
        if host:
            _check_labels(f"image label of image {number}", nodes[-1], region.num_classes)
    labels = pad_sequence(box_labels, batch_first=True, padding_value=-1)
    region_labels = torch.cat(nodes) if nodes else torch.zeros(0, dtype=torch.long)
    truths = torch.nonzero(labels.flatten() >= 0).squeeze(1) if host else torch.arange(labels.numel())
    columns, truth_paths, region_paths = _paths(labels, truths, region_labels, region.tree, device)
    labels = to_device(labels, device)
    return PackedTargets(
        boxes_cxcywh=to_device(pad_sequence(boxes, batch_first=True), device),
        labels=labels,
        ignore_boxes_cxcywh=to_device(pad_sequence(ignored, batch_first=True), device),
        is_detection=to_device(torch.tensor(is_detection), device),
        truths=to_device(truths, device),
        groups=None if region.tree is None else path_groups(labels, region.tree),
        region_images=to_device(torch.tensor(images, dtype=torch.long), device),
        regions_cxcywh=to_device(torch.cat(rectangles) if rectangles else torch.zeros(0, 4), device),
        columns=columns,
        truth_paths=truth_paths,
        region_paths=region_paths,
        unlabelled=_unlabelled(targets, region, device),
    )


def _paths(
    labels: Tensor, truths: Tensor, region_labels: Tensor, tree: WordTree | None, device: torch.device
) -> tuple[Tensor | None, PathColumns | None, PathColumns | None]:
    """Which columns the batch's labels read, and the paths of truths and regions in places of these columns."""
    if tree is None:
        return None, None, None
    of_truths = labels.flatten()[truths.to(labels.device)]
    if not host_knows([labels, region_labels]):
        paths = [path_columns(to_device(nodes, device), tree) for nodes in (of_truths, region_labels)]
        return None, paths[0], paths[1]
    read = np.flatnonzero(tree.read_along(torch.cat([of_truths, region_labels]).numpy()))
    columns = to_device(torch.from_numpy(read), device)
    paths = []
    for nodes in (of_truths, region_labels):
        path = path_columns(to_device(nodes, device), tree, path_width(tree, nodes.tolist()))
        places = torch.searchsorted(columns, path.columns).clamp(max=max(0, len(read) - 1))  # padding: any place
        paths.append(replace(path, columns=places))
    return columns, paths[0], paths[1]


def _unlabelled(targets: Sequence[Target], region: RegionSpec, device: torch.device) -> Unlabelled | None:
    partly = [(n, t.labelled_nodes) for n, t in enumerate(targets) if not t.is_classification]
    sources = {id(nodes): nodes for _, nodes in partly if nodes is not None}  # the images of a source share one tensor
    if not sources:
        return None
    numbers = {key: number for number, key in enumerate(sources)}
    columns, tables = None, None
    if region.tree is None:
        rows = [~nodes.new_zeros(region.num_classes, dtype=torch.bool).index_fill(0, nodes, True)
                for nodes in sources.values()]  # fmt: skip
        outside = to_device(torch.stack(rows), device)
    elif host_knows(list(sources.values())):
        content = {key: nodes.numpy().tobytes() for key, nodes in sources.items()}
        # in an order of their own, or each order in which a batch happens to show its sources would be worked out anew
        keys = tuple(sorted(set(content.values())))
        numbers = {key: keys.index(nodes) for key, nodes in content.items()}
        columns, tables, outside = _outside_of_sources(keys, region.tree, device)
    else:
        tables = tree_tables(region.tree, device)
        outside = torch.stack([outside_of(to_device(nodes, device), region.tree) for nodes in sources.values()])
    images = [number for number, nodes in partly if nodes is not None]
    source_of_image = [numbers[id(nodes)] for _, nodes in partly if nodes is not None]
    return Unlabelled(
        images=to_device(torch.tensor(images), device),
        columns=columns,
        tables=tables,
        nodes=outside.index_select(0, to_device(torch.tensor(source_of_image), device)),
    )


@lru_cache(maxsize=64)
def _outside_of_sources(
    sources: tuple[bytes, ...], tree: WordTree, device: torch.device
) -> tuple[Tensor, TreeTables, Tensor]:
    """Columns, tables and nodes of `Unlabelled`, a row for each source; its labelled nodes come as int64 bytes.

    Whatever lies highest outside of the labelled nodes stands beside a node on one of their paths, so only these
    sibling groups need be read: for COCO's 80 classes a tenth of the tree.
    """
    labelled = [np.frombuffer(nodes, np.int64) for nodes in sources]
    part = tree.closure(np.unique(np.concatenate(labelled)).tolist() or [0])
    place = np.asarray(part.old_to_new)
    with torch.inference_mode(False):
        rows = [outside_of(torch.from_numpy(place[nodes]), part.tree) for nodes in labelled]
        columns = torch.tensor(part.new_to_old)
        return columns.to(device), tree_tables(part.tree, device), torch.stack(rows).to(device)
