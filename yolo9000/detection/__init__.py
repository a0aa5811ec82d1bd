"""From raw output to a loss or to detections."""

from yolo9000.datasets.sample import Target
from yolo9000.detection.loss import joint_loss
from yolo9000.detection.postprocess import DecodeConfig, detect, score_nodes
from yolo9000.detection.recipes import RECIPES, Recipe
from yolo9000.detection.results import Detections
from yolo9000.models.region import RegionSpec

__all__ = [
    "RECIPES",
    "DecodeConfig",
    "Detections",
    "Recipe",
    "RegionSpec",
    "Target",
    "detect",
    "joint_loss",
    "score_nodes",
]
