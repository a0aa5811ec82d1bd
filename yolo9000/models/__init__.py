"""Nets: images -> raw numbers. They know neither targets nor losses.

The names below are imported when they are first asked for: `yolo9000.models.config` needs no torch. A function that
has the name of its module (`builtin_cfg`, `net_options`) is not among them: once the module is imported, the name is
the module's.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolo9000.models.activations import region_activations
    from yolo9000.models.box_coding import BoxCoding
    from yolo9000.models.builtin_cfg import BUILTIN_NETS
    from yolo9000.models.classes import Classes
    from yolo9000.models.config import YOLO9000_PRIORS, YOLOV2_PRIORS, DetectorConfig
    from yolo9000.models.darknet19 import Darknet19
    from yolo9000.models.darknet_cfg import CfgError, DarknetCfg, parse_cfg, read_cfg
    from yolo9000.models.darknet_detector import DarknetDetector, name_classes
    from yolo9000.models.darknet_net import DarknetNet, NetOutput, from_cfg
    from yolo9000.models.darknet_weights import (
        DarknetHeader,
        WeightsError,
        load_darknet_weights,
        read_darknet_header,
        save_darknet_weights,
    )
    from yolo9000.models.flat_classes import FlatClasses
    from yolo9000.models.model import Model, RegionDetector
    from yolo9000.models.net_options import NetOptions
    from yolo9000.models.region import LossConfig, RegionSpec
    from yolo9000.models.region_output import DenseRegionOutput, DetectorOutput, RegionOutput, SparseRegionOutput
    from yolo9000.models.tree_classes import TreeClasses
    from yolo9000.models.tree_head import TreeHead
    from yolo9000.models.yolov2 import Classifier, Detector, reorg

_HOMES = {
    "BUILTIN_NETS": "yolo9000.models.builtin_cfg",
    "YOLO9000_PRIORS": "yolo9000.models.config",
    "YOLOV2_PRIORS": "yolo9000.models.config",
    "BoxCoding": "yolo9000.models.box_coding",
    "CfgError": "yolo9000.models.darknet_cfg",
    "Classes": "yolo9000.models.classes",
    "Classifier": "yolo9000.models.yolov2",
    "Darknet19": "yolo9000.models.darknet19",
    "DarknetCfg": "yolo9000.models.darknet_cfg",
    "DarknetDetector": "yolo9000.models.darknet_detector",
    "DarknetHeader": "yolo9000.models.darknet_weights",
    "DarknetNet": "yolo9000.models.darknet_net",
    "DenseRegionOutput": "yolo9000.models.region_output",
    "Detector": "yolo9000.models.yolov2",
    "DetectorConfig": "yolo9000.models.config",
    "DetectorOutput": "yolo9000.models.region_output",
    "FlatClasses": "yolo9000.models.flat_classes",
    "LossConfig": "yolo9000.models.region",
    "Model": "yolo9000.models.model",
    "NetOptions": "yolo9000.models.net_options",
    "NetOutput": "yolo9000.models.darknet_net",
    "RegionDetector": "yolo9000.models.model",
    "RegionOutput": "yolo9000.models.region_output",
    "RegionSpec": "yolo9000.models.region",
    "SparseRegionOutput": "yolo9000.models.region_output",
    "TreeClasses": "yolo9000.models.tree_classes",
    "TreeHead": "yolo9000.models.tree_head",
    "WeightsError": "yolo9000.models.darknet_weights",
    "from_cfg": "yolo9000.models.darknet_net",
    "load_darknet_weights": "yolo9000.models.darknet_weights",
    "name_classes": "yolo9000.models.darknet_detector",
    "parse_cfg": "yolo9000.models.darknet_cfg",
    "read_cfg": "yolo9000.models.darknet_cfg",
    "read_darknet_header": "yolo9000.models.darknet_weights",
    "region_activations": "yolo9000.models.activations",
    "reorg": "yolo9000.models.yolov2",
    "save_darknet_weights": "yolo9000.models.darknet_weights",
}
__all__ = [
    "BUILTIN_NETS",
    "YOLO9000_PRIORS",
    "YOLOV2_PRIORS",
    "BoxCoding",
    "CfgError",
    "Classes",
    "Classifier",
    "Darknet19",
    "DarknetCfg",
    "DarknetDetector",
    "DarknetHeader",
    "DarknetNet",
    "DenseRegionOutput",
    "Detector",
    "DetectorConfig",
    "DetectorOutput",
    "FlatClasses",
    "LossConfig",
    "Model",
    "NetOptions",
    "NetOutput",
    "RegionDetector",
    "RegionOutput",
    "RegionSpec",
    "SparseRegionOutput",
    "TreeClasses",
    "TreeHead",
    "WeightsError",
    "from_cfg",
    "load_darknet_weights",
    "name_classes",
    "parse_cfg",
    "read_cfg",
    "read_darknet_header",
    "region_activations",
    "reorg",
    "save_darknet_weights",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value
