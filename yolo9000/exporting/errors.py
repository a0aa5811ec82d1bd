"""What can be wrong with an export."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from yolo9000.runtime.mistakes import Mistake

EXTRA_OF = {
    "huggingface_hub": "hub",
    "nncf": "openvino",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "openvino": "openvino",
    "safetensors": "export",
}
"""Package -> the optional extra of this project that brings it."""


class ExportError(Mistake):
    """A net that cannot be exported in a form, or a file that is no export of ours or is damaged."""


class EngineAbsent(ExportError):
    """A package that writes or runs a format is not installed."""


def optional_module(name: str) -> Any:
    """Import a package that is needed for some formats only.

    Parameters
    ----------
    name : str
        The module.

    Returns
    -------
    module

    Raises
    ------
    EngineAbsent
        It is not installed; the message names the extra.

    Examples
    --------
    >>> EXTRA_OF["another"] = "export"
    >>> optional_module("another.part")
    Traceback (most recent call last):
    yolo9000.exporting.errors.EngineAbsent: the package another is not installed; pip install "yolo9000[export]" ...
    >>> del EXTRA_OF["another"]
    """
    package = name.partition(".")[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs, about how they use their own dependencies
            return importlib.import_module(name)
    except ImportError as error:
        extra = EXTRA_OF[package]
        raise EngineAbsent(
            f'the package {package} is not installed; pip install "yolo9000[{extra}]", or in a checkout '
            f'pip install -e ".[{extra}]", brings it ({error})'
        ) from error
