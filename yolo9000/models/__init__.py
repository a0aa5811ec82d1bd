"""Nets: images -> raw numbers. They know neither targets nor losses."""

from yolo9000.models.darknet19 import Darknet19
from yolo9000.models.region import YOLO9000_PRIORS, YOLOV2_PRIORS, RegionSpec
from yolo9000.models.tree_head import DenseRegionOutput, RegionOutput, TreeHead
from yolo9000.models.yolov2 import Classifier, Detector, DetectorConfig, reorg

__all__ = [
    "YOLO9000_PRIORS",
    "YOLOV2_PRIORS",
    "Classifier",
    "Darknet19",
    "DenseRegionOutput",
    "Detector",
    "DetectorConfig",
    "RegionOutput",
    "RegionSpec",
    "TreeHead",
    "reorg",
]
