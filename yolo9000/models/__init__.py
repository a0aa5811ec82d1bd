"""Nets: images -> raw numbers. They know neither targets nor losses.

The names below are imported when they are first asked for: `yolo9000.models.config` needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolo9000.models.box_coding import BoxCoding
    from yolo9000.models.classes import Classes
    from yolo9000.models.config import YOLO9000_PRIORS, YOLOV2_PRIORS, DetectorConfig
    from yolo9000.models.darknet19 import Darknet19
    from yolo9000.models.flat_classes import FlatClasses
    from yolo9000.models.grid import GridLossConfig, GridOutput, GridSpec
    from yolo9000.models.model import DetectionModel, GridDetector, Model, RegionDetector
    from yolo9000.models.output import DenseRegionOutput, DetectorOutput, RegionOutput, SparseRegionOutput
    from yolo9000.models.region import LossConfig, RegionSpec
    from yolo9000.models.tree_classes import TreeClasses
    from yolo9000.models.tree_head import TreeHead
    from yolo9000.models.yolov1 import Yolov1
    from yolo9000.models.yolov2 import BackboneDetector, Classifier, Detector, reorg

_HOMES = {
    "BackboneDetector": "yolo9000.models.yolov2",
    "Yolov1": "yolo9000.models.yolov1",
    "GridSpec": "yolo9000.models.grid",
    "GridOutput": "yolo9000.models.grid",
    "GridLossConfig": "yolo9000.models.grid",
    "GridDetector": "yolo9000.models.model",
    "DetectionModel": "yolo9000.models.model",
    "BoxCoding": "yolo9000.models.box_coding",
    "Classes": "yolo9000.models.classes",
    "Classifier": "yolo9000.models.yolov2",
    "Darknet19": "yolo9000.models.darknet19",
    "DenseRegionOutput": "yolo9000.models.output",
    "Detector": "yolo9000.models.yolov2",
    "DetectorConfig": "yolo9000.models.config",
    "DetectorOutput": "yolo9000.models.output",
    "FlatClasses": "yolo9000.models.flat_classes",
    "LossConfig": "yolo9000.models.region",
    "Model": "yolo9000.models.model",
    "RegionDetector": "yolo9000.models.model",
    "RegionOutput": "yolo9000.models.output",
    "RegionSpec": "yolo9000.models.region",
    "SparseRegionOutput": "yolo9000.models.output",
    "TreeClasses": "yolo9000.models.tree_classes",
    "TreeHead": "yolo9000.models.tree_head",
    "YOLO9000_PRIORS": "yolo9000.models.config",
    "YOLOV2_PRIORS": "yolo9000.models.config",
    "reorg": "yolo9000.models.yolov2",
}
__all__ = [
    "YOLO9000_PRIORS",
    "YOLOV2_PRIORS",
    "BackboneDetector",
    "BoxCoding",
    "Classes",
    "Classifier",
    "Darknet19",
    "DenseRegionOutput",
    "DetectionModel",
    "Detector",
    "DetectorConfig",
    "DetectorOutput",
    "FlatClasses",
    "GridDetector",
    "GridLossConfig",
    "GridOutput",
    "GridSpec",
    "LossConfig",
    "Model",
    "RegionDetector",
    "RegionOutput",
    "RegionSpec",
    "SparseRegionOutput",
    "TreeClasses",
    "TreeHead",
    "Yolov1",
    "reorg",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value
