"""What the test of an evaluation over several processes runs in each of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import cast

import numpy as np
import torch

from wordtree import WordTree
from yolo9000.datasets.excerpt import Excerpt
from yolo9000.datasets.loader import make_evaluation_loader
from yolo9000.datasets.sample import Batch, Kind, Record, Unreadable
from yolo9000.evaluation.classifier import classification_top1
from yolo9000.evaluation.detector import HeldOutLoss, evaluate_detector
from yolo9000.models import BoxCoding, Detector, DetectorConfig, RegionSpec, TreeClasses
from yolo9000.runtime.distributed import Processes
from yolo9000.training.objectives import detection_objective

CPU = torch.device("cpu")
TREE = WordTree(("a", "v", "d", "c"), ("animal", "vehicle", "dog", "cat"), (-1, -1, 0, 0))


class Noise:
    name, labelled_nodes = "noise", None

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return 9

    def read(self, index: int) -> Record:
        drawn = np.random.default_rng(index)
        image = drawn.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        node = 2 + index % 2
        if self.kind == "classification":
            return Record(image, f"{index}", image_label=node)
        return Record(image, f"{index}", np.array([[4, 4, 40, 50]], np.float32), np.array([node]))


def evaluated(processes: Processes) -> str:
    """All figures of an evaluation of nine images in batches of two, as text."""
    torch.manual_seed(0)
    region = RegionSpec(coding=BoxCoding(((1.0, 1.0), (2.0, 2.0))), classes=TreeClasses(TREE))
    net = Detector(DetectorConfig(width=0.05), region).eval()
    boxes, labels = (
        cast(
            "Iterable[Batch]",
            make_evaluation_loader(
                Noise(kind),
                64,
                batch_size=2,
                rank=processes.rank,
                world_size=processes.world_size,
            ),
        )
        for kind in ("detection", "classification")
    )
    asked: list[int] = []
    net.register_forward_pre_hook(lambda _, images: asked.append(len(images[0])))
    losses = {name: HeldOutLoss(detection_objective(region), processes) for name in ("loss", "of labels", "of nothing")}
    report = evaluate_detector(
        net,
        boxes,
        region.classes,
        boxed=[2],
        never_boxed=[3],
        device=CPU,
        diagnosis=True,
        look=losses["loss"].look,
        processes=processes,
    )
    assert asked == [len(batch.targets) for batch in boxes]  # each image of this process's once, for the loss as well
    report["top1"] = classification_top1(
        net, labels, region.classes, [2, 3], device=CPU, look=losses["of labels"].look, processes=processes
    )
    report |= {name: each.read() for name, each in losses.items()}
    return json.dumps(report, default=str)


class Torn(Noise):
    """The same, where the images of the first two batches of the second of two processes cannot be read."""

    def read(self, index: int) -> Record:
        if index in (2, 3, 6, 7):
            raise Unreadable(f"{index}", "made so")
        return super().read(index)


def counted(processes: Processes) -> int:
    """How many images an evaluation has of nine, of which four cannot be read."""
    torch.manual_seed(0)
    region = RegionSpec(coding=BoxCoding(((1.0, 1.0), (2.0, 2.0))), classes=TreeClasses(TREE))
    net = Detector(DetectorConfig(width=0.05), region).eval()
    batches = make_evaluation_loader(
        Excerpt(Torn("detection"), 9), 64, batch_size=2, rank=processes.rank, world_size=processes.world_size
    )
    report = evaluate_detector(net, batches, region.classes, boxed=[2, 3], device=CPU, processes=processes)
    images: int = report["images"]
    return images
