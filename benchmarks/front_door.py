"""Rows of the front door from Python: a net that is prepared once, and one that is restricted to a few classes.

``python -m benchmarks.front_door`` measures the same in processor time of one thread, which other work on the machine
disturbs little, and the parts of a prediction apart.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import nets
from benchmarks.harness import Goal, Row, Scale, Side, Sides
from yolo9000.api.model import YOLO9000
from yolo9000.datasets.decode import decode
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decode import detect
from yolo9000.inference.model import TrainedModel
from yolo9000.inference.prepare import prepare
from yolo9000.inference.restrict import restrict
from yolo9000.models import Detector, DetectorConfig
from yolo9000.results.results import Results

KEPT = ("dog", "cat", "truck")
SURVIVORS = 20
SURE = 0.73
SPREAD = 300
"""How many times larger than those of a new net the weights of objectness are, so that boxes differ."""
SURE_LABEL = 12.0
"""The logits on the path of a label."""


def _asked(trained: TrainedModel) -> YOLO9000:
    return YOLO9000.of(trained, device="cpu", precision="float32")


def _prepared_anew(trained: TrainedModel, image: NDArray[np.uint8]) -> Results:
    return _asked(trained).predict(image)[0]


def _trained(config: DetectorConfig, nodes: int, size: int, image: NDArray[np.uint8]) -> TrainedModel:
    """A net that is sure of some boxes of an image, and of a leaf of the tree."""
    torch.manual_seed(0)
    net = Detector(config, nets.tree_region(nets.tree_of(nodes))).eval()
    trained = TrainedModel(net, size, (), (), 0, {}, Path("made up"))
    with torch.no_grad():
        assert net.classes.tree is not None
        label = net.classes.tree.leaves[0]
        net.head.class_bias.view(-1, net.classes.number)[:, list(net.classes.tree.path(label))] = SURE_LABEL
        objectness_rows = net.head.box_weight.view(-1, 5, net.channels)[:, 4]
        objectness_rows.mul_(SPREAD)
        found = _asked(trained).predict(image, threshold=0.0, nms_iou=1.0, max_boxes=10_000)[0]
        objectness = np.sort(found.boxes.objectness)[-min(SURVIVORS, len(found))]
        raised = np.log(SURE / (1 - SURE)) - np.log(objectness / (1 - objectness))
        net.head.box_bias.view(-1, 5)[:, 4].add_(float(raised))
    return trained


def _photo(stack: ExitStack) -> NDArray[np.uint8]:
    (file,) = nets.image_files(Path(stack.enter_context(tempfile.TemporaryDirectory())))
    return decode(file.read_bytes(), str(file))


def _job(scale: Scale, image: NDArray[np.uint8], *, large: bool) -> TrainedModel:
    if scale.quick:
        return _trained(DetectorConfig(width=0.05), 9418 if large else 60, 64, image)
    if large:
        return _trained(DetectorConfig(), 9418, 544, image)
    return _trained(DetectorConfig(width=0.25, stride=16), 80, 96, image)


def _once(large: bool, scale: Scale, stack: ExitStack) -> Sides:
    image = _photo(stack)
    trained = _job(scale, image, large=large)
    model = _asked(trained)
    boxes = len(model.predict(image)[0])
    return {
        "ours": Side(
            run=lambda: model.predict(image)[0],
            setting=f"float32, {torch.get_num_threads()} threads, {boxes} boxes",
        ),
        "anew": Side(run=partial(_prepared_anew, trained, image), setting="prepared at every call"),
    }


def _restricted(scale: Scale, stack: ExitStack) -> Sides:
    image = _photo(stack)
    whole = _job(scale, image, large=True)
    sides = {}
    for name, trained in (("ours", restrict(whole, KEPT)), ("whole", whole)):
        model = _asked(trained)
        weights = sum(parameter.numel() for parameter in trained.detector.get_submodule("head").parameters())
        threads = f"float32, {torch.get_num_threads()} threads"
        setting = f"{trained.classes.number} nodes, head of {4 * weights / 1e6:.1f} MB, {threads}"
        sides[name] = Side(run=partial(model.predict, image, threshold=0.0, nms_iou=1.0), setting=setting)
    return sides


def _apart(reference: Results, other: Results) -> float:
    """The largest difference of a score."""
    if reference.labels != other.labels:
        return 1.0
    return float(np.abs(reference.boxes.score - other.boxes.score).max(initial=0))


def rows() -> list[Row]:
    """One image a call, and a head of three classes."""
    return [
        *(
            Row(
                name=f"python-{name}",
                what=f"YOLO9000.predict of one array, {what}",
                prepare=partial(_once, large),
                goals=(Goal(other="anew", at_least=2),),
                difference=_apart,
            )
            for name, large, what in (
                ("small", False, "width 1/4 at 96 px, 80 nodes"),
                ("9418", True, "yolo9000 at 544 px, 9,418 nodes"),
            )
        ),
        Row(
            name="python-restricted",
            what=f"YOLO9000.predict restricted to {', '.join(KEPT)} and below, yolo9000 at 544 px, every box labelled",
            prepare=_restricted,
            goals=(Goal(other="whole"),),
        ),
    ]


def _in_turn(what: str, sides: Mapping[str, Callable[[], Any]], rounds: int) -> None:
    """Print the median processor time of each side in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for measured in (False, *[True] * rounds):
        for name, run in sides.items():
            begun = time.process_time()
            run()
            if measured:
                times[name].append(1000 * (time.process_time() - begun))
    print(
        f"{what}: {', '.join(f'{name} {statistics.median(each):.1f} ms' for name, each in times.items())}", flush=True
    )


@torch.no_grad()
def main() -> None:
    """Measure predictions and their parts in processor time of one thread."""
    torch.set_num_threads(1)
    with ExitStack() as stack:
        image = _photo(stack)
        for large, rounds in ((False, 15), (True, 5)):
            whole = _job(Scale(quick=False, rounds=rounds), image, large=large)
            model, net = _asked(whole), prepare(whole.detector, device=nets.CPU)
            batch = torch.rand(1, 3, whole.size, whole.size)
            sides: dict[str, Callable[[], Any]] = {
                "prepared once": partial(model.predict, image),
                "at every call": partial(_prepared_anew, whole, image),
                "forward alone": partial(net, batch),
            }
            boxes = len(model.predict(image)[0])
            _in_turn(f"{whole.classes}, {whole.size} px, {boxes} boxes", sides, rounds)
        small = restrict(whole, KEPT)
        outputs = {
            "restricted": (prepare(small.detector, device=nets.CPU)(batch), small),
            "whole": (net(batch), whole),
        }
        every = DecodeConfig(threshold=0.0)
        decoded = {name: partial(detect, output, each.classes, every) for name, (output, each) in outputs.items()}
        _in_turn(f"labels of {outputs['whole'][0].objectness.numel()} boxes", decoded, 5)
        dense = {name: partial(getattr, output, "raw") for name, (output, _) in outputs.items()}
        _in_turn("all raw numbers", dense, 3)


if __name__ == "__main__":
    main()
