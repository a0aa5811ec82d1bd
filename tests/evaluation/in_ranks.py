"""What the test of an evaluation over several processes runs in each of them."""

from __future__ import annotations

import json

import numpy as np
import torch

from wordtree import WordTree
from yolo9000.datasets.loader import make_evaluation_loader
from yolo9000.datasets.sample import Record
from yolo9000.evaluation.detector import evaluate_detector, held_out_loss
from yolo9000.models import BoxCoding, Detector, DetectorConfig, RegionSpec, TreeClasses
from yolo9000.runtime.distributed import Processes
from yolo9000.training.objectives import detection_objective

CPU = torch.device("cpu")
TREE = WordTree(("a", "v", "d", "c"), ("animal", "vehicle", "dog", "cat"), (-1, -1, 0, 0))


class Noise:
    name, kind, labelled_nodes = "noise", "detection", None

    def __len__(self) -> int:
        return 9

    def read(self, index: int) -> Record:
        drawn = np.random.default_rng(index)
        image = drawn.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        return Record(image, f"{index}", np.array([[4, 4, 40, 50]], np.float32), np.array([2 + index % 2]))


def evaluated(processes: Processes) -> str:
    """All figures of an evaluation of nine images in batches of two, as text."""
    torch.manual_seed(0)
    region = RegionSpec(coding=BoxCoding(((1.0, 1.0), (2.0, 2.0))), classes=TreeClasses(TREE))
    net = Detector(DetectorConfig(width=0.05), region).eval()
    loader = make_evaluation_loader(
        Noise(),
        64,
        batch_size=2,
        rank=processes.rank,
        world_size=processes.world_size,  # type: ignore[arg-type]
    )
    report = evaluate_detector(
        net, loader, region.classes, boxed=[2], never_boxed=[3], device=CPU, diagnosis=True, processes=processes
    )
    report["loss"] = held_out_loss(net, loader, detection_objective(region), device=CPU, processes=processes)
    return json.dumps(report, default=str)
