"""YOLO9000: a detector trained jointly on boxes and image labels, over one tree of concepts.

Importing this package is cheap: it loads no torch until `YOLO9000` or `Results` is asked for. The parts are modules of
their own, such as :mod:`yolo9000.models`, :mod:`yolo9000.detection`, and :mod:`wordtree` beside it.

Examples
--------
>>> import yolo9000
>>> yolo9000.__version__
'0.1.0'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolo9000.api.model import YOLO9000
    from yolo9000.results.results import Results

__version__ = "0.1.0"
__all__ = ["YOLO9000", "Results", "__version__"]

_LAZY = {"YOLO9000": "yolo9000.api.model", "Results": "yolo9000.results.results"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LAZY[name]), name)
    return value
