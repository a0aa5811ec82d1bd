"""What every net of ours is to the rest of the program, whatever is inside."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from torch import nn

from yolo9000.models.classes import Classes
from yolo9000.models.flat_classes import FlatClasses
from yolo9000.models.grid import GridSpec
from yolo9000.models.region import RegionSpec

Objective = Literal["detection", "classification"]


class Model(nn.Module, ABC):
    """A net that is trained, kept in a checkpoint and used.

    A base class and no Protocol: whoever trains, copies or compiles one needs most of `nn.Module` as well.

    Attributes
    ----------
    objective : {"detection", "classification"}
        The loss that it is trained with. A detector answers with a `DetectorOutput`, a classifier with logits (B, K).
    has_engine : bool
        Whether its convolutions are in a file that an engine of its own runs, such as onnxruntime. It is ready for
        inference as it is, and cannot be trained.
    """

    objective: ClassVar[Objective]
    has_engine: ClassVar[bool] = False

    @property
    @abstractmethod
    def classes(self) -> Classes:
        """What its class channels mean."""

    @property
    @abstractmethod
    def stride(self) -> int:
        """Pixels of a grid cell."""

    @property
    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Plain values that rebuild the net, without its weights; ``"net"`` names its kind."""


class DetectionModel(Model):
    """A detector of any kind. It answers with a `DetectorOutput`, whose numbers `spec` gives a meaning."""

    objective = "detection"

    @property
    @abstractmethod
    def spec(self) -> RegionSpec | GridSpec:
        """What the numbers of its output mean, and the constants of its loss."""

    @property
    def classes(self) -> Classes:
        return self.spec.classes

    @abstractmethod
    def set_classes(self, classes: Classes) -> None:
        """Let the class numbers mean other classes, of which there are as many."""

    @property
    def only_size(self) -> int | None:
        """The side of its input in pixels, if it takes no other; None if any multiple of the stride will do."""
        return None

    @property
    def decodes_inside(self) -> bool:
        """Whether it answers with detections in place of raw numbers, as an exported file may."""
        return False

    @property
    def learns_image_labels(self) -> bool:
        """Whether its loss takes images with a label and no boxes: that needs a tree, and boxes with own classes."""
        return False

    def classifier(self) -> Model | None:
        """A new classifier over the same classes, for `initialise_from`; None if the net cannot start from one."""
        return None

    def initialise_from(self, classifier: Model, *, same_classes: bool = True) -> None:
        """Start from a classifier.

        Parameters
        ----------
        classifier : Model
        same_classes : bool
            Its classes are those of this net, so that its last layer may be taken as well.

        Raises
        ------
        ValueError
            The net cannot start from it.
        """
        raise ValueError("a net of a cfg cannot start from a classifier of ours; leave `cfg` out")


class RegionDetector(DetectionModel):
    """A detector with a region head: YOLOv2's and YOLO9000's.

    Attributes
    ----------
    region : RegionSpec
        What the numbers of the head mean, and the constants of its loss.
    """

    region: RegionSpec

    @property
    def spec(self) -> RegionSpec:
        return self.region

    def set_classes(self, classes: Classes) -> None:
        self.region = dataclasses.replace(self.region, classes=classes)

    @property
    def learns_image_labels(self) -> bool:
        return self.region.classes.tree is not None and self.region.loss.form == "darknet"


class GridDetector(DetectionModel):
    """A detector with YOLOv1's output.

    Attributes
    ----------
    detection : GridSpec
        What the numbers of the output mean, and the constants of its loss. It has darknet's name for the layer.
    """

    detection: GridSpec

    @property
    def spec(self) -> GridSpec:
        return self.detection

    def set_classes(self, classes: Classes) -> None:
        assert isinstance(classes, FlatClasses)  # YOLOv1's form no tree
        self.detection = dataclasses.replace(self.detection, classes=classes)
