"""Our numbers beside darknet's own, array for array: what ``tools/darknet_parity.py`` prints.

A folder of golden files holds, for each case, an ``.npz`` of arrays, its ``.cfg`` and the ``.weights`` of a whole net.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from yolo9000.darknet.activations import region_activations
from yolo9000.darknet.cfg import parse_cfg
from yolo9000.darknet.decoding import (
    absolute_probabilities,
    darknet_scores,
    suppress_by_class,
    top_prediction,
    undo_letterbox,
)
from yolo9000.darknet.net import DarknetNet, from_cfg
from yolo9000.darknet.net_options import net_options
from yolo9000.darknet.weights import load_darknet_weights
from yolo9000.datasets.darknet_augment import crop_image, distort, place_image, rotate_crop
from yolo9000.datasets.darknet_images import letterbox_image, resize
from yolo9000.datasets.sample import Placement, Record, Target
from yolo9000.datasets.transforms import target_in_input
from yolo9000.detection.boxes import iou
from yolo9000.detection.grid_loss import yolov1_loss
from yolo9000.detection.grid_targets import pack_grid_targets
from yolo9000.detection.loss import joint_loss
from yolo9000.experiment.schedule import optimiser_of_cfg
from yolo9000.models.flat_classes import FlatClasses
from yolo9000.models.grid import GridSpec
from yolo9000.models.region import RegionSpec
from yolo9000.models.yolov2 import reorg
from yolo9000.training.optimiser import learning_rate

Pairs = Iterator[tuple[str, Any, Any]]  # array, ours, darknet's
NETS = {"net_darknet19_tree40": "net_darknet19_40", "net_darknet19_softmax": "net_darknet19_10"}
"""Cases whose weights have another name."""

_CASE = re.compile(
    r"(?<=_th)[\d.]+|(?<=_hier)[\d.]+|(?<=_nms)[\d.]+|(?<=^L)\d+|(?<=^train_L)\d+|(?<=^trainclip_L)\d+|(?<=^truth)\d|(?<=^crop)\d|\d+x\d+|(?<=^img)\d|(?<=^boxes_out)\d|(?<=^place_).*|(?<=^(?:distort|rotcrop)_).*"
)


@dataclass(frozen=True)
class Difference:
    """How far one array, or one kind of arrays of a file, is from darknet's.

    Parameters
    ----------
    array : str
        ``file: array``; ``*`` for sizes, thresholds and images, over which the worst is taken.
    absolute : float
        Largest difference.
    relative : float
        Largest difference, as a fraction of 1 + the value.
    largest : float
        Largest value of darknet's.
    """

    array: str
    absolute: float
    relative: float
    largest: float


def compare_golden(folder: Path) -> list[Difference]:
    """Compute every array that a folder holds and this program can compute.

    Left out are those that document a bug of darknet's (``raw_cpubn``, the constant rate of yolov2-tiny-voc), its
    logged costs, gradients of single convolutions, and what depends on random numbers (YOLOv1's dropout).
    """
    found: dict[str, list[Difference]] = {}
    rates = folder / "lr.json"
    for file in sorted(folder.glob("*.npz")):
        for name, ours, darknets in _compared(file, dict(np.load(file))):
            _add(found, f"{file.stem}: {_CASE.sub('*', name)}", ours, darknets)
    if rates.is_file():
        for name, ours, darknets in _rates(json.loads(rates.read_text())):
            _add(found, f"lr: {name}", ours, darknets)
    return [
        Difference(array, *(max(getattr(each, key) for each in cases) for key in ("absolute", "relative", "largest")))
        for array, cases in found.items()
    ]


def _add(found: dict[str, list[Difference]], array: str, ours: Any, darknets: Any) -> None:
    ours, darknets = (np.asarray(each, np.float64) for each in (ours, darknets))
    if ours.shape != darknets.shape:
        raise ValueError(f"{array}: the shape is {ours.shape}, darknet's {darknets.shape}")
    off = np.abs(ours - darknets)
    worst = Difference(
        array, float(off.max()), float((off / (1 + np.abs(darknets))).max()), float(np.abs(darknets).max())
    )
    found.setdefault(array, []).append(worst)


def _compared(file: Path, z: dict[str, Any]) -> Pairs:
    cfg, weights = file.with_suffix(".cfg"), file.with_name(f"{NETS.get(file.stem, file.stem)}.weights")
    if file.stem == "imageops":
        yield from _images(z)
    elif file.stem == "detection_truth":
        yield from _cells(z)
        yield from _crops(z)
    elif file.stem == "reorg":
        yield "output", reorg(torch.tensor(z["input"])), z["output"]
    elif cfg.exists():
        net = from_cfg(cfg).eval()
        if weights.exists():
            load_darknet_weights(net, weights)
        if net.detection is not None:
            yield from _grid(net, net.detection, z)
        else:
            yield from _classifier(net, z) if net.region is None else _detector(net, net.region, z)


def _images(z: dict[str, Any]) -> Pairs:
    images = {"wide": z["image"], "tall": z["image"].transpose(0, 2, 1)}
    for name in z:
        if match := re.fullmatch(r"(letterbox|resize)_(wide|tall)_(\d+)x(\d+)", name):
            function = letterbox_image if match[1] == "letterbox" else resize
            yield name, function(images[match[2]], int(match[3]), int(match[4])), z[name]
        number = r"(-?[\d.]+)"
        if match := re.fullmatch(r"place_nw(\d+)_nh(\d+)_dx(-?\d+)_dy(-?\d+)", name):
            nw, nh, dx, dy = map(int, match.groups())
            yield name, place_image(z["image"], (nw, nh), (dx, dy), z[name].shape[:0:-1]), z[name]
        if match := re.fullmatch(f"distort_hue{number}_sat{number}_exp{number}", name):
            yield name, distort(z["image"], *map(float, match.groups())), z[name]
        if match := re.fullmatch(f"rotcrop_rad{number}_s{number}_dx{number}_dy{number}_aspect{number}", name):
            radians, scale, x, y, aspect = map(float, match.groups())
            yield name, rotate_crop(z["image"], radians, scale, z[name].shape[:0:-1], (x, y), aspect), z[name]
        if match := re.fullmatch(r"boxes_out(\d)", name):
            yield name, *_moved_boxes(z["boxes_in"], z[f"boxes_args{match[1]}"], z[name])
    yield "iou", iou(torch.tensor(z["iou_a"]), torch.tensor(z["iou_b"])), z["iou"]


def _moved_boxes(boxes: Any, arguments: Any, darknets: Any) -> tuple[Any, Any]:
    marked = (boxes[:, :2] == 0).all(axis=1)  # darknet's way to write that only the image has a label
    boxes = boxes[~marked]
    return _moved(boxes, np.arange(len(boxes)), arguments).boxes_cxcywh, darknets[~marked]


def _moved(boxes: Any, labels: Any, arguments: Any) -> Target:
    dx, dy, sx, sy, flip = map(float, arguments)
    boxes = boxes.astype(np.float64)
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    record = Record(np.zeros((1, 1, 3), np.uint8), "", corners, labels.astype(np.int64))
    return target_in_input(record, Placement(1, 1, sx, sy, -dx, -dy, 1, flipped=bool(flip)))


def _detector(net: DarknetNet, region: RegionSpec, z: dict[str, Any]) -> Pairs:
    with torch.no_grad():
        output = net(torch.tensor(z["input" if "input" in z else "raw"]))
        if "input" in z:
            yield "raw_gpubn", output.raw, z["raw_gpubn"]
        if "output" in z:
            yield "output", region_activations(output, region), z["output"]
        if "train_raw" in z:
            net.train()
            trained = net(torch.tensor(z["input"])).raw
            yield "train_raw", trained, z["train_raw"]
            yield "train_output", region_activations(trained, region), z["train_output"]
    for name in [name for name in z if "delta_in" in name]:
        raw = torch.tensor(z["train_raw" if "train_raw" in z else "raw"], requires_grad=True)
        seen = int((re.findall(r"seen(\d+)", name) or [64000])[0])
        terms = joint_loss(raw, _targets(z["truth"]), region, images_seen=seen, recipe="darknet")
        delta = _delta(torch.stack(list(terms.values())).sum(), raw)
        yield name, delta, z[name]
        before = name.replace("delta_in", "delta_out")
        if before in z:
            yield before, delta / _slopes(raw.detach(), region), z[before]
    size = net.options.width, net.options.height
    for name in z:
        if match := re.fullmatch(r"img(\d)_boxes_(\d+)x(\d+)_rel(\d)", name):
            image, width, height, relative = map(int, match.groups())
            boxes = darknet_scores(output, region.classes, threshold=0.5)[image].boxes_cxcywh
            yield name, undo_letterbox(boxes, size, (width, height), relative=bool(relative)), z[name]
        if match := re.fullmatch(r"img(\d)_th([\d.]+?)(?:_hier([\d.]+))?_(obj|prob|nms_prob)", name):
            least, sure = float(match[2]), float(match[3] or 0.5)
            found = darknet_scores(output, region.classes, threshold=least, tree_threshold=sure)[int(match[1])]
            ours = {"obj": found.objectness, "prob": found.scores, "nms_prob": suppress_by_class(found)}[match[4]]
            yield name, ours, z[name]


def _grid(net: DarknetNet, grid: GridSpec, z: dict[str, Any]) -> Pairs:
    """A net of YOLOv1's, or its detection layer alone."""
    with torch.no_grad():
        x = torch.tensor(z["input"])
        output = net(x)
        if "output_test" in z:
            classes = grid.classes.conditionals(output.cell_classes).flatten(1)
            yield "output_test", torch.cat([classes, output.raw[:, classes.shape[1] :]], dim=1), z["output_test"]
        for number, layer in enumerate(net.layers):
            x = layer(x)
            if f"L{number}_output" in z:
                yield f"L{number}_output", x, z[f"L{number}_output"]
    raw = torch.tensor(z["train_raw" if "train_raw" in z else "input"], requires_grad=True)
    loss = torch.stack(list(yolov1_loss(raw, _targets_of_cells(z["truth"], grid), grid, form="darknet").values())).sum()
    name = "train_delta" if "train_delta" in z else "delta"
    yield name, _delta(loss, raw), z[name]
    if "train_raw" in z:
        yield from _grid_step(net, grid, z)
    for name in z:
        if match := re.fullmatch(r"img(\d)_boxes_(\d+)x(\d+)", name):
            boxes = darknet_scores(output, grid.classes, threshold=0.5)[int(match[1])].boxes_cxcywh
            yield name, boxes * boxes.new_tensor([int(match[2]), int(match[3])] * 2), z[name]
        if match := re.fullmatch(r"img(\d)_obj", name):
            yield name, darknet_scores(output, grid.classes, threshold=0.5)[int(match[1])].objectness, z[name]
        if match := re.fullmatch(r"img(\d)_th([\d.]+?)(?:_nms([\d.]+))?_prob", name):
            found = darknet_scores(output, grid.classes, threshold=float(match[2]))[int(match[1])]
            yield name, suppress_by_class(found, float(match[3])) if match[3] else found.scores, z[name]


def _grid_step(net: DarknetNet, grid: GridSpec, z: dict[str, Any]) -> Pairs:
    """A pass in training mode without dropout, as on a processor and with the clipped deltas of a GPU."""
    for prefix, limit in (("train", None), ("trainclip", 1.0)):
        net.zero_grad()
        net.clip_connected_deltas(limit)
        for layer in net.layers:
            layer.train(not isinstance(layer, torch.nn.Dropout))
        raw = net(torch.tensor(z["input"])).raw
        if limit is None:
            yield "train_raw", raw.detach(), z["train_raw"]
        loss = yolov1_loss(raw, _targets_of_cells(z["truth"], grid), grid, form="darknet")
        torch.stack(list(loss.values())).sum().backward()
        for number, layer in enumerate(net.layers):
            if f"{prefix}_L{number}_dW" in z:
                (weight,) = (p.grad for p in layer.parameters() if p.dim() > 1)
                assert weight is not None
                yield f"{prefix}_L{number}_dW", -weight, z[f"{prefix}_L{number}_dW"]


def _targets_of_cells(truth: Any, grid: GridSpec) -> list[Target]:
    """Darknet's cells (S*S, 1 + C + 4) -> boxes of the image."""
    side, number, targets = round(truth.shape[1] ** 0.5), grid.classes.number, []
    for image in truth:
        cells = np.flatnonzero(image[:, 0])
        rows = image[cells].astype(np.float64)
        centres = (np.stack([cells % side, cells // side], axis=1) + rows[:, -4:-2]) / side
        one_hot = rows[:, 1 : 1 + number]
        labels = np.where(one_hot.any(axis=1), one_hot.argmax(axis=1), -1)  # -1: an object of no class
        targets.append(Target(torch.tensor(np.concatenate([centres, rows[:, -2:]], axis=1)), torch.tensor(labels)))
    return targets


def _cells(z: dict[str, Any]) -> Pairs:
    """Boxes of an image -> darknet's cells."""
    side, number = map(int, z["side_classes"])
    grid = GridSpec(classes=FlatClasses(number, "linear"))
    for name in [name for name in z if re.fullmatch(r"truth\d", name)]:
        target = _moved(z["boxes"][:, 1:], z["boxes"][:, 0], z[f"args{name[-1]}"])
        found = pack_grid_targets([target], grid, side, torch.device("cpu"), least_side=0.005)
        one_hot = found.labels[0][:, None] == torch.arange(number)
        yield name, torch.cat([found.present[0][:, None], one_hot, found.boxes[0]], dim=1), z[name]


def _crops(z: dict[str, Any]) -> Pairs:
    """The part of an image that is stretched to the input of a net of YOLOv1's in training."""
    for name in [name for name in z if re.fullmatch(r"crop\d", name)]:
        left, top, w, h, width, height, flip = map(int, z[f"crop_args{name[-1]}"])
        part = resize(crop_image(z["image"], (left, top), (w, h)), width, height)
        yield name, part[:, :, ::-1] if flip else part, z[name]


def _classifier(net: DarknetNet, z: dict[str, Any]) -> Pairs:
    classes = net.classes
    assert classes is not None
    tree = classes.tree
    with torch.no_grad():
        logits = net(torch.tensor(z["input"])).raw
        yield "logits", logits, z["logits"]
        conditional = classes.conditionals(logits)
        yield "output", conditional, z["output"]
        if tree is not None:
            yield "hier_abs", absolute_probabilities(conditional, tree), z["hier_abs"]
            leaves = absolute_probabilities(conditional, tree, only_leaves=True)
            yield "hier_abs_leaves", leaves, z["hier_abs_leaves"]
            for name in [name for name in z if name.startswith("top_conditional_th")]:
                walk = top_prediction(conditional, tree, float(name.removeprefix("top_conditional_th")))
                yield name, walk, z[name]
        logits = net.train()(torch.tensor(z["input"])).raw
        yield "train_logits", logits, z["train_logits"]
        if "train_output" in z:
            yield "train_output", classes.conditionals(logits), z["train_output"]
    trained = torch.tensor(z["train_logits"], requires_grad=True)
    loss = classes.image_loss(trained, torch.tensor(z["label"]))
    yield "train_delta", _delta(loss, trained), z["train_delta"]


def _slopes(raw: Tensor, region: RegionSpec) -> Tensor:
    """Derivative of the sigmoids of x, y and objectness, by which darknet's ``delta_out`` becomes ``delta_in``."""
    per_anchor = raw.unflatten(1, (region.coding.num_priors, -1)).double()
    slopes = torch.ones_like(per_anchor)
    squashed = [0, 1, 4]
    slopes[:, :, squashed] = per_anchor[:, :, squashed].sigmoid() * (-per_anchor[:, :, squashed]).sigmoid()
    return slopes.flatten(1, 2)


def _delta(loss: Tensor, of: Tensor) -> Tensor:
    """Darknet's delta: minus the gradient."""
    return -torch.autograd.grad(loss, of)[0]


def _targets(truth: Any) -> list[Target]:
    targets = []
    for rows in truth:
        rows = rows[: int(np.argmin(rows[:, 0] != 0))]  # the list ends at the first x of 0
        of_image = rows[:, 0] > 100_000
        boxes, label = rows[~of_image], int(rows[of_image][0, 4]) if of_image.any() else None
        targets.append(Target(torch.tensor(boxes[:, :4]), torch.tensor(boxes[:, 4]).long(), image_label=label))
    return targets


def _rates(table: dict[str, Any]) -> Pairs:
    for name, text in table["net_options"].items():
        if name == "yolov2-tiny-voc":
            continue  # darknet's constant is a bug: it takes the step -1 for a huge number
        cfg = parse_cfg(f"[net]\nwidth=32\nheight=32\nchannels=3\n{text}", name)
        options = net_options(cfg.net)
        config = optimiser_of_cfg(options)
        rates = [learning_rate(config, batch, options.max_batches) for batch in table["batch_num"]]
        yield name, rates, table["rate"][name]
