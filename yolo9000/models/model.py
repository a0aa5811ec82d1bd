"""What every net of ours is to the rest of the program, whatever is inside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from torch import nn

from yolo9000.models.classes import Classes
from yolo9000.models.region import RegionSpec

Objective = Literal["detection", "classification"]


class Model(nn.Module, ABC):
    """A net that is trained, kept in a checkpoint and used.

    A base class and no Protocol: whoever trains, copies or compiles one needs most of `nn.Module` as well.

    Attributes
    ----------
    objective : {"detection", "classification"}
        The loss that it is trained with. A detector answers with a `DetectorOutput`, a classifier with logits (B, K).
    """

    objective: ClassVar[Objective]

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


class RegionDetector(Model):
    """A detector with a region head.

    Attributes
    ----------
    region : RegionSpec
        What the numbers of the head mean, and the constants of its loss.
    """

    objective = "detection"
    region: RegionSpec

    @property
    def classes(self) -> Classes:
        return self.region.classes

    def classifier(self) -> Model | None:
        """A new classifier over the same classes, for `initialise_from`; None if the net cannot start from one."""
        return None

    def initialise_from(self, classifier: Model) -> None:
        """Start from a classifier over the same classes.

        Raises
        ------
        ValueError
            The net cannot start from it.
        """
        raise ValueError("a net of a cfg cannot start from a classifier of ours; leave `cfg` out")
