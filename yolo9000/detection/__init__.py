"""From raw output to a loss or to detections.

The names below are imported when they are first asked for: the configuration in `yolo9000.detection.config` needs no
torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolo9000.datasets.sample import Target
    from yolo9000.detection.config import RECIPES, DecodeConfig, ImageLabels
    from yolo9000.detection.decode import detect, score_nodes
    from yolo9000.detection.grid_loss import yolov1_loss
    from yolo9000.detection.loss import joint_loss
    from yolo9000.detection.results import Detections
    from yolo9000.detection.squared_loss import slides_loss
    from yolo9000.models.region import RegionSpec

_HOMES = {
    "RECIPES": "yolo9000.detection.config",
    "DecodeConfig": "yolo9000.detection.config",
    "Detections": "yolo9000.detection.results",
    "ImageLabels": "yolo9000.detection.config",
    "RegionSpec": "yolo9000.models.region",
    "Target": "yolo9000.datasets.sample",
    "detect": "yolo9000.detection.decode",
    "joint_loss": "yolo9000.detection.loss",
    "score_nodes": "yolo9000.detection.decode",
    "slides_loss": "yolo9000.detection.squared_loss",
    "yolov1_loss": "yolo9000.detection.grid_loss",
}
__all__ = [
    "RECIPES",
    "DecodeConfig",
    "Detections",
    "ImageLabels",
    "RegionSpec",
    "Target",
    "detect",
    "joint_loss",
    "score_nodes",
    "slides_loss",
    "yolov1_loss",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value
