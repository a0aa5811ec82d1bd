"""Rows of whole nets at inference: yolo9000 from the image file to detections, yolov2 from images to boxes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import nets, peers
from benchmarks.harness import Goal, PeerAbsent, Row, Scale, Side
from wordtree import load_tree
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decode import detect
from yolo9000.detection.results import Detections
from yolo9000.models import DenseRegionOutput, DetectorConfig, RegionOutput
from yolo9000.runtime.config import Settings

FLOAT32 = Settings(at_once=4)
"""The reference of the answers: no engine, no other number format."""


def _threads() -> str:
    return f"{torch.get_num_threads()} threads"


def _or_absent(make: Callable[[], Side]) -> Side | PeerAbsent:
    try:
        return make()
    except PeerAbsent as absent:
        return absent


def _best_of_openvino() -> str:
    return "bf16" if nets.has_bfloat16() else "f32"


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory()))


def _yolo9000(survivors: int, scale: Scale, stack: ExitStack) -> dict[str, Side | PeerAbsent]:
    size, config, tree = 544, DetectorConfig(), nets.tree_of(9418)
    if scale.quick:
        size, config, tree = 224, DetectorConfig(width=0.05), load_tree("coco")
    folder, region = _folder(stack), nets.tree_region(tree)
    files = nets.image_files(folder, 2)
    form = nets.darknet_form(region, config, files, size, survivors, folder)
    file = files[0]

    def ours(forward: nets.Forward, settings: Settings) -> Side:
        run = partial(nets.detect_file, file, size, forward, region)
        return Side(run=run, setting=f"{nets.said(settings)}, batch 1")

    def dense(raw: peers.ToRaw, setting: str) -> Side:
        def forward(images: torch.Tensor) -> RegionOutput:
            return DenseRegionOutput(raw(images), region.coding)

        return Side(run=partial(nets.detect_file, file, size, forward, region), setting=f"{setting}, {_threads()}")

    def darknet() -> Side:
        run = peers.darknet(form.cfg, form.weights, region.classes.number, nets.THRESHOLD, stack)
        return Side(run=lambda: run(file), setting="Debian's library, the binary's own steps, float32, 1 thread")

    onnx = folder / "net.onnx"

    def in_onnxruntime() -> Side:
        return dense(peers.onnxruntime(peers.to_onnx(form.dense(), 1, size, onnx)), "float32, all optimisations")

    def in_openvino() -> Side:
        file = onnx if onnx.exists() else peers.to_onnx(form.dense(), 1, size, onnx)
        return dense(peers.openvino(file, _best_of_openvino()), f"{_best_of_openvino()}, latency hint")

    return {
        "ours": ours(*nets.chosen(form.ours(), size)),
        "ours, best engine": ours(*nets.chosen(form.ours(), size, "auto")),
        "ours, float32": ours(nets.prepared(form.ours(), FLOAT32), FLOAT32),
        "darknet": _or_absent(darknet),
        "eager": dense(peers.eager(form.dense(), channels_last=True), "float32, dense head, channels last"),
        "eager, contiguous": dense(peers.eager(form.dense(), channels_last=False), "float32, dense head"),
        "onnxruntime": _or_absent(in_onnxruntime),
        "openvino": _or_absent(in_openvino),
    }


def _found_apart(reference: Detections, other: Detections | int) -> float:
    """Detections that one side has and the other has not, as a share; of darknet only their number is compared."""
    if isinstance(other, int):
        # it counts before suppression, and the boxes that its broken tree softmax overwrites do not live
        return abs(len(reference) - other) / max(1, other)
    if not len(reference) or not len(other):
        return float(len(reference) != len(other))
    near = torch.cdist(reference.boxes_cxcywh[:, :2].float(), other.boxes_cxcywh[:, :2].float()) < 0.01
    same = near & (reference.nodes[:, None] == other.nodes[None])
    found = int(same.any(dim=1).sum()) + int(same.any(dim=0).sum())
    return 1 - found / (len(reference) + len(other))


def _yolov2(batch: int, scale: Scale, stack: ExitStack) -> dict[str, Side | PeerAbsent]:
    size, config = 416, DetectorConfig(extra_convs=2, passthrough=True)
    region, folder = nets.FLAT_80, _folder(stack)
    if scale.quick:  # lightnet's net has one width only; the input can be small
        size = 96
    files = nets.image_files(folder, batch)
    form = nets.darknet_form(region, config, files[:2], size, 20, folder)
    images = torch.cat([nets.read_input(file, size) for file in files])
    decode = DecodeConfig(nms="class")

    def side(forward: nets.Forward, setting: str) -> Side:
        return Side(run=lambda: detect(forward(images), region.classes, decode), setting=setting)

    def ours(forward: nets.Forward, settings: Settings) -> Side:
        return side(forward, nets.said(settings))

    def in_openvino() -> Side:
        precision = _best_of_openvino()
        raw = peers.openvino(peers.to_onnx(form.dense(), batch, size, folder / "net.onnx"), precision)
        return side(lambda x: DenseRegionOutput(raw(x), region.coding), f"{precision}, latency hint, {_threads()}")

    def lightnet() -> Side:
        run = peers.lightnet_yolov2(form.weights, region.classes.number, nets.THRESHOLD)
        return Side(run=lambda: run(images), setting=f"float32, channels last, {_threads()}")

    return {
        "ours": ours(*nets.chosen(form.ours(), size)),
        "ours, best engine": ours(*nets.chosen(form.ours(), size, "auto")),
        "ours, float32": ours(nets.prepared(form.ours(), FLOAT32), FLOAT32),
        "lightnet": _or_absent(lightnet),
        "openvino": _or_absent(in_openvino),
    }


def _scored_apart(reference: list[Detections], other: Any) -> float:
    """Worst difference between the sides' scores, best first, of the boxes that both would show.

    lightnet lets a box live by its score, ours by its objectness; a box whose score passes lives with both.
    """
    mine = torch.cat([found.scores[found.scores > nets.THRESHOLD].float() for found in reference])
    if isinstance(other, list):
        theirs = torch.cat([found.scores[found.scores > nets.THRESHOLD].float() for found in other])
    else:
        theirs = other[:, 5].float()
    shared = min(len(mine), len(theirs))
    apart = (mine.sort(descending=True).values[:shared] - theirs.sort(descending=True).values[:shared]).abs()
    return float(apart.max()) if shared else float(len(mine) != len(theirs))


def rows() -> list[Row]:
    """yolo9000 with 20 and 100 surviving boxes; yolov2 at batch 1 and 8."""
    whole = [
        Row(
            name=f"predict-{survivors}",
            what=f"yolo9000 at 544 px, image file to detections, {survivors} boxes survive",
            prepare=partial(_yolo9000, survivors),
            goals=(
                Goal(other="darknet", at_least=40),
                Goal(other="eager", at_least=4.5),
                Goal(other="eager, contiguous", at_least=4.5),
                Goal(other="onnxruntime", at_least=2.9 if nets.has_bfloat16() else 1.6),
                Goal(other="openvino", at_least=1.8 if nets.has_bfloat16() else 1.5),
                Goal(ours="ours, best engine", other="onnxruntime"),
                Goal(ours="ours, best engine", other="openvino"),
                Goal(other="ours, float32"),
            ),
            difference=_found_apart,
            reference="ours, float32",
            tolerance=0.01,
        )
        for survivors in (20, 100)
    ]
    return whole + [
        Row(
            name=f"yolov2-{batch}",
            what=f"yolov2 at 416 px, batch {batch}, images to boxes",
            prepare=partial(_yolov2, batch),
            goals=(
                Goal(ours="ours, best engine", other="lightnet", at_least=2.8 if nets.has_bfloat16() else 1.2),
                Goal(ours="ours, best engine", other="openvino", at_least=1.0),
                Goal(other="lightnet"),
                Goal(other="openvino"),
                Goal(other="ours, float32"),
            ),
            difference=_scored_apart,
            reference="ours, float32",
            tolerance=1e-3,
        )
        for batch in (1, 8)
    ]
