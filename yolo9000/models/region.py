"""What the numbers of a region head mean: classes, boxes, and the scales of their loss."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

from torch import nn

from yolo9000.models.box_coding import BoxCoding
from yolo9000.models.classes import Classes
from yolo9000.models.flat_classes import FlatClasses
from yolo9000.models.grid import GridSpec
from yolo9000.models.tree_classes import TreeClasses

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The constants of a region's loss; the defaults are yolo9000.cfg's.

    Parameters
    ----------
    object_scale, noobject_scale, class_scale, coord_scale : float
        The weights of the loss terms (darknet's ``[region]`` section; the paper names none).
    thresh : float
        A predicted box whose best IoU with a truth exceeds this is not taught to be background (darknet).
    rescore : bool
        Whether the objectness of an assigned box is taught its IoU with the truth, or else 1 (darknet).
    bias_match : bool
        Whether truths are matched to the priors' shapes, or else to the predicted shapes (darknet).
    prior_pull_images : int
        While fewer images than this were seen, every box is pulled weakly to its prior (darknet: 12,800).
    form : {"darknet", "slides"}
        What darknet's region layer does; or the plain squared errors of a loss that is shown in lectures, see
        `yolo9000.detection.slides_loss`.
    """

    object_scale: float = 5.0
    noobject_scale: float = 1.0
    class_scale: float = 1.0
    coord_scale: float = 1.0
    thresh: float = 0.6
    rescore: bool = True
    bias_match: bool = True
    prior_pull_images: int = 12_800
    form: Literal["darknet", "slides"] = "darknet"


@dataclass(frozen=True, kw_only=True)
class RegionSpec:
    """The meaning of a region head's output, and the constants of its loss.

    Parameters
    ----------
    classes : Classes
        What the class channels of a box mean.
    coding : BoxCoding
        What its four box numbers mean.
    loss : LossConfig
        The constants of its loss.

    Examples
    --------
    >>> RegionSpec(classes=FlatClasses(20), coding=BoxCoding(((1.0, 2.0), (3.0, 3.0)))).channels
    50
    """

    classes: Classes
    coding: BoxCoding
    loss: LossConfig = LossConfig()

    @property
    def description(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {"classes": self.classes.description, "coding": asdict(self.coding), "loss": asdict(self.loss)}

    @property
    def channels(self) -> int:
        """Channels A * (5 + K) of darknet's dense output."""
        return self.coding.num_priors * (5 + self.classes.number)


def copy_of_net(net: Net) -> Net:
    """A deep copy with weights of its own; what its numbers mean (regions, classes) is shared: constant, and large.

    Examples
    --------
    >>> net = nn.Linear(1, 1)
    >>> net.region = RegionSpec(classes=FlatClasses(2), coding=BoxCoding(((1.0, 1.0),)))
    >>> copied = copy_of_net(net)
    >>> copied.region is net.region, copied.weight is net.weight
    (True, False)
    """
    constant = RegionSpec | GridSpec | TreeClasses | FlatClasses
    values = [value for module in net.modules() for value in vars(module).values()]
    return copy.deepcopy(net, {id(value): value for value in values if isinstance(value, constant)})
