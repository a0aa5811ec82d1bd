"""From plain values, of a checkpoint or of a configuration, to a net with fresh weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from wordtree.formats import from_json
from yolo9000.darknet.detector import DarknetDetector, DarknetGridDetector
from yolo9000.models.box_coding import BoxCoding
from yolo9000.models.classes import Classes
from yolo9000.models.config import DetectorConfig
from yolo9000.models.flat_classes import FlatClasses
from yolo9000.models.grid import GridLossConfig, GridSpec
from yolo9000.models.model import DetectionModel, Model
from yolo9000.models.region import LossConfig, RegionSpec
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.models.yolov1 import Yolov1
from yolo9000.models.yolov2 import Classifier, Detector
from yolo9000.runtime.checkpoint import CheckpointError


def build_model(description: Mapping[str, Any], where: str = "the checkpoint") -> Model:
    """The net of a `Model.description`, with fresh weights.

    Raises
    ------
    CheckpointError
        No such net is known; the message begins with `where`.

    Examples
    --------
    >>> from yolo9000.models import FlatClasses
    >>> net = Classifier(DetectorConfig(width=0.1), FlatClasses(3))
    >>> build_model(net.description).classes
    FlatClasses(number=3, over='softmax', names=None, map=None)
    """
    match description["net"]:
        case "detector" | "yolov1":
            form = DetectorConfig(**description["config"])
            return build_detector(form, spec_of(description), int(description.get("size", 0)))
        case "darknet" if "detection" in description:
            return DarknetGridDetector.from_text(description["cfg"], grid_of(description["detection"]), where)
        case "darknet":
            return DarknetDetector.from_text(description["cfg"], region_of(description["region"]), where)
        case "classifier":
            # a detector that starts from it shall begin with the random numbers of its seed
            with torch.random.fork_rng(devices=[]):
                return Classifier(DetectorConfig(**description["config"]), classes_of(description["classes"]))
        case other:
            raise CheckpointError(f"{where}: it is of a net {other!r}, which is not known")


def build_detector(config: DetectorConfig, spec: RegionSpec | GridSpec, size: int) -> DetectionModel:
    """A detector of ours with fresh weights, for a new run and for a checkpoint alike; each kind of head has a case.

    Parameters
    ----------
    config : DetectorConfig
        The form of the net.
    spec : RegionSpec or GridSpec
        What the numbers of its output mean: a region where the head has priors, else a grid.
    size : int
        The side of the images in pixels, for a head that takes no other.

    Examples
    --------
    >>> from yolo9000.models import FlatClasses
    >>> region = RegionSpec(classes=FlatClasses(3), coding=BoxCoding(((1.0, 1.0),)))
    >>> type(build_detector(DetectorConfig(width=0.1), region, 416)).__name__
    'Detector'
    """
    match config.head, spec:
        case "anchors", RegionSpec():
            return Detector(config, spec)
        case "grid" | "connected", GridSpec():
            return Yolov1(config, spec, size)
    raise ValueError(f"a head {config.head!r} does not give the numbers of a {type(spec).__name__}")


def spec_of(description: Mapping[str, Any]) -> RegionSpec | GridSpec:
    """What the numbers of the net of a `DetectionModel.description` mean."""
    return region_of(description["region"]) if "region" in description else grid_of(description["detection"])


def region_of(description: Mapping[str, Any]) -> RegionSpec:
    """The region of a `RegionSpec.description`."""
    coding = description["coding"]
    return RegionSpec(
        classes=classes_of(description["classes"]),
        coding=BoxCoding(tuple(tuple(prior) for prior in coding["priors"]), coding["kind"]),
        loss=LossConfig(**description["loss"]),
    )


def grid_of(description: Mapping[str, Any]) -> GridSpec:
    """The grid of a `GridSpec.description`."""
    classes = classes_of(description["classes"])
    assert isinstance(classes, FlatClasses)
    plain = {name: value for name, value in description.items() if name not in ("classes", "loss")}
    return GridSpec(classes=classes, loss=GridLossConfig(**description["loss"]), **plain)


def classes_of(description: Mapping[str, Any]) -> Classes:
    """The classes of a `Classes.description`.

    Examples
    --------
    >>> from yolo9000.models import FlatClasses
    >>> classes_of(FlatClasses(3).description)
    FlatClasses(number=3, over='softmax', names=None, map=None)
    """
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in description.items()}
    if values["over"] == "tree":
        return TreeClasses(from_json(values["tree"], "the checkpoint"), values["map"], values.get("kept"))
    return FlatClasses(**values)
