"""Darknet's nets: their cfgs, weights, layers and arithmetic.

The names below are imported when they are first asked for. A function that has the name of its module (`builtin_cfg`,
`net_options`) is not among them: once the module is imported, the name is the module's.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolo9000.darknet.activations import region_activations
    from yolo9000.darknet.builtin_cfg import BUILTIN_NETS
    from yolo9000.darknet.cfg import CfgError, DarknetCfg, parse_cfg, read_cfg
    from yolo9000.darknet.detector import DarknetDetector, DarknetGridDetector, name_classes
    from yolo9000.darknet.net import DarknetNet, NetOutput, from_cfg
    from yolo9000.darknet.net_options import NetOptions
    from yolo9000.darknet.weights import (
        DarknetHeader,
        WeightsError,
        load_darknet_weights,
        read_darknet_header,
        save_darknet_weights,
    )

_HOMES = {
    "BUILTIN_NETS": "yolo9000.darknet.builtin_cfg",
    "CfgError": "yolo9000.darknet.cfg",
    "DarknetCfg": "yolo9000.darknet.cfg",
    "DarknetDetector": "yolo9000.darknet.detector",
    "DarknetGridDetector": "yolo9000.darknet.detector",
    "DarknetHeader": "yolo9000.darknet.weights",
    "DarknetNet": "yolo9000.darknet.net",
    "NetOptions": "yolo9000.darknet.net_options",
    "NetOutput": "yolo9000.darknet.net",
    "WeightsError": "yolo9000.darknet.weights",
    "from_cfg": "yolo9000.darknet.net",
    "load_darknet_weights": "yolo9000.darknet.weights",
    "name_classes": "yolo9000.darknet.detector",
    "parse_cfg": "yolo9000.darknet.cfg",
    "read_cfg": "yolo9000.darknet.cfg",
    "read_darknet_header": "yolo9000.darknet.weights",
    "region_activations": "yolo9000.darknet.activations",
    "save_darknet_weights": "yolo9000.darknet.weights",
}
__all__ = [
    "BUILTIN_NETS",
    "CfgError",
    "DarknetCfg",
    "DarknetDetector",
    "DarknetGridDetector",
    "DarknetHeader",
    "DarknetNet",
    "NetOptions",
    "NetOutput",
    "WeightsError",
    "from_cfg",
    "load_darknet_weights",
    "name_classes",
    "parse_cfg",
    "read_cfg",
    "read_darknet_header",
    "region_activations",
    "save_darknet_weights",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value
