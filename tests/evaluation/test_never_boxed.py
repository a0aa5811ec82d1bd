"""Training never sees a box of a never-boxed class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from wordtree import WordTree
from yolo9000.datasets.loader import make_loader
from yolo9000.datasets.mixed import MixedDataset
from yolo9000.datasets.pictograms import read_classes
from yolo9000.datasets.sample import Record, pixels
from yolo9000.datasets.scenes import SceneConfig, SceneSource
from yolo9000.models import BoxCoding, Detector, DetectorConfig, RegionSpec, TreeClasses
from yolo9000.training.objectives import detection_objective

CLASSES = read_classes()
TREE = WordTree(tuple(c.wnid for c in CLASSES), tuple(c.name for c in CLASSES), (-1,) * len(CLASSES))


class CorruptedBoxes(SceneSource):
    """Classification images whose boxes and box labels are wrong."""

    def read(self, index: int) -> Record:
        record = super().read(index)
        assert len(record.boxes_xyxy) == 1  # there is something to corrupt
        rng = np.random.default_rng(index)
        boxes = rng.uniform(0, 48, (3, 4)).astype(np.float32)
        boxes[:, 2:] += boxes[:, :2]
        return replace(record, boxes_xyxy=boxes, labels=rng.integers(0, len(CLASSES), 3))


def weights_after(source: type[SceneSource]) -> dict[str, torch.Tensor]:
    config = SceneConfig(size=64)
    images = source(config, kind="classification", length=64, with_boxes=True)
    images.name = "images"
    dataset = MixedDataset(
        SceneSource(config, length=64), images, batch_size=4, sizes=[64], ratio=(1, 1), mosaic=0.5, seed=3
    )
    torch.manual_seed(0)
    region = RegionSpec(coding=BoxCoding(((1.0, 1.0), (2.0, 2.0))), classes=TreeClasses(TREE))
    net = Detector(DetectorConfig(width=0.05, stride=16), region)
    loss = detection_objective(region)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for step, batch in enumerate(make_loader(dataset, stop=16), 1):
        torch.stack(list(loss(net(pixels(batch.images)), batch.targets, 4 * step).values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return net.state_dict()


def test_corrupting_the_boxes_of_labelled_images_changes_no_weight() -> None:
    # equal to the bit: in one process, on as many threads, the same sums come in the same order
    clean, corrupted = weights_after(SceneSource), weights_after(CorruptedBoxes)
    assert all(torch.equal(clean[name], corrupted[name]) for name in clean)


def test_training_scenes_hold_boxes_of_boxed_classes_only() -> None:
    scenes = SceneSource(SceneConfig(size=32), length=200)
    labels = {int(label) for i in range(200) for label in scenes.read(i).labels}
    assert labels <= {i for i, c in enumerate(CLASSES) if c.boxed}
    assert len(labels) > 40
