"""Nets: images -> raw numbers. They know neither targets nor losses."""

from yolo9000.models.activations import region_activations
from yolo9000.models.box_coding import BoxCoding
from yolo9000.models.builtin_cfg import BUILTIN_NETS, builtin_cfg
from yolo9000.models.classes import Classes
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
from yolo9000.models.net_options import NetOptions, net_options
from yolo9000.models.region import YOLO9000_PRIORS, YOLOV2_PRIORS, LossConfig, RegionSpec
from yolo9000.models.region_output import DenseRegionOutput, DetectorOutput, RegionOutput, SparseRegionOutput
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.models.tree_head import TreeHead
from yolo9000.models.yolov2 import Classifier, Detector, DetectorConfig, reorg

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
    "builtin_cfg",
    "from_cfg",
    "load_darknet_weights",
    "name_classes",
    "net_options",
    "parse_cfg",
    "read_cfg",
    "read_darknet_header",
    "region_activations",
    "reorg",
    "save_darknet_weights",
]
