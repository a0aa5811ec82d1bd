"""What the benchmarks that train small nets on drawn scenes have in common."""

from __future__ import annotations

from wordtree import WordTree
from yolo9000.datasets.sample import Source
from yolo9000.datasets.scenes import SCENE_AUGMENT, SCENE_IMAGE_AUGMENT
from yolo9000.detection.priors import cluster_priors
from yolo9000.experiment.config import Joint, NetConfig, PlanConfig, RunConfig
from yolo9000.experiment.data import Data, box_shapes
from yolo9000.models import BoxCoding, DetectorConfig, RegionSpec, TreeClasses
from yolo9000.runtime.config import Precision
from yolo9000.training.config import OptimiserConfig, TrainConfig

SIZE = 96
NET = DetectorConfig(width=0.25, stride=16, batch_norm_momentum=0.1)
OPTIMISER = OptimiserConfig(
    optimizer="adamw", learning_rate=2e-3, weight_decay=0.02, schedule="cosine", burn_in=50, burn_in_power=1.0
)


def region_of(scenes: Source, tree: WordTree, seed: int) -> RegionSpec:
    """Three priors clustered from the scenes' boxes, over a tree."""
    relative, _ = cluster_priors(box_shapes(scenes), 3, seed=seed)
    priors = tuple((float(w), float(h)) for w, h in relative * (SIZE / NET.stride))
    return RegionSpec(coding=BoxCoding(priors), classes=TreeClasses(tree))


def data_of(tree: WordTree, detection: Source, classification: Source, labels: list[int]) -> Data:
    """Scenes with boxes of all labels, and images with a label for the classification start."""
    return Data(
        classes=TreeClasses(tree),
        detection=detection,
        classification=classification,
        val_detection=None,
        val_classification=None,
        boxed=tuple(labels),
        never_boxed=(),
        image_labels=tuple(labels),
        evaluated=tuple(labels),
        detection_augment=SCENE_AUGMENT,
        classification_augment=SCENE_IMAGE_AUGMENT,
    )


def config_of(steps: int, seed: int, precision: Precision, *, start_steps: int = 0) -> RunConfig:
    """Steps as a classifier at 64 pixels, then on boxes alone; averaged weights, and no checkpoint on the way."""
    return RunConfig(
        plan=PlanConfig(
            classification_steps=start_steps,
            steps=steps,
            joint=Joint(enabled=False),
            size=SIZE,
            classification_size=64,
            classification_learning_rate=OPTIMISER.learning_rate,
        ),
        net=NetConfig(detector=NET),
        optimiser=OPTIMISER,
        train=TrainConfig(batch_size=32, ema_decay=0.99, save_every=0, precision=precision),
        seed=seed,
    )
