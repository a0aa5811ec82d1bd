"""The configuration of our nets. It imports no torch, so that a command's help is there at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from tyro.conf import arg

from yolo9000.runtime.mistakes import Mistake

Priors: TypeAlias = tuple[tuple[float, float], ...]

YOLO9000_PRIORS: Priors = ((0.77871, 1.14074), (3.00525, 4.31277), (9.22725, 9.61974))
"""The three priors of ``yolo9000.cfg``, in grid cells of stride 32 (darknet)."""
YOLOV2_PRIORS: Priors = (
    (0.57273, 0.677385),
    (1.87446, 2.06253),
    (3.33843, 5.47434),
    (7.88282, 3.52778),
    (9.77052, 9.16828),
)
"""The five priors of ``yolov2.cfg`` (COCO), in grid cells of stride 32 (darknet)."""
HAND_PICKED: Priors = (
    (0.16, 0.16),
    (0.11314, 0.22627),
    (0.22627, 0.11314),
    (0.32, 0.32),
    (0.22627, 0.45255),
    (0.45255, 0.22627),
    (0.64, 0.64),
    (0.45255, 0.9051),
    (0.9051, 0.45255),
)
"""The nine anchor boxes picked by hand that table 1 of the YOLO9000 paper compares clusters with (Faster R-CNN, section
3.1.1: areas of 128, 256 and 512 pixels squared, sides 1:1, 1:2 and 2:1, in an image whose shorter side is 600).

They are parts of the input's side, not grid cells: 1 is 800 pixels there, the longer side of a 4:3 photograph, as
letterboxing makes the longer side the side of the input. Times size / stride they are grid cells.
"""


def check_priors(priors: Priors) -> None:
    """Raise a `Mistake` if there is no prior, or one has no size: a side that is not positive, infinite or NaN.

    Examples
    --------
    >>> check_priors(((1.5, 2.0), (3.0, -1.0)))
    Traceback (most recent call last):
    yolo9000.runtime.mistakes.Mistake: `priors` 3.0x-1.0: a positive width and height in grid cells are needed
    """
    if not priors:
        raise Mistake("`priors` (): at least 1 is needed")
    for prior in priors:
        if not all(0 < side < math.inf for side in prior):
            said = "x".join(map(str, prior))
            raise Mistake(f"`priors` {said}: a positive width and height in grid cells are needed")


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """The net's form; the defaults are YOLO9000's (paper section 4, yolo9000.cfg).

    Parameters
    ----------
    backbone : str
        ``darknet19`` (YOLOv2, table 6), ``extraction`` (YOLOv1, figure 3: its first 20 convolutions), or ``timm:NAME``:
        a model of the library timm, which is the optional extra ``backbones``; see `yolo9000.models.timm_backbone`.
    width : float
        Relative channels of every layer. 1.0 is the paper's net, 0.25 trains on two processor cores. A backbone of
        timm has its own.
    stride : int
        Pixels of a grid cell: 32, or 16 for small images, or 64 (YOLOv1), where one of `extra_convs` has stride 2.
    batch_norm : bool
        Batch norm after every convolution (paper section 2, "Batch Normalization"); YOLOv1 had none.
    extra_convs : int
        3x3 convolutions after the backbone: 4 in YOLOv1, 2 in YOLOv2, none in YOLO9000.
    passthrough : bool
        Bring the stride-16 features to the head (YOLOv2; paper section 2, "Fine-Grained Features"). Adds a 1x1
        convolution, a reorganisation when the stride is 32, and a 3x3 convolution that merges both.
    passthrough_channels : int
        Channels that the 1x1 convolution leaves of the stride-16 features: darknet's 64, times `width`. 0 takes them
        all without that convolution, as the paper says: 26x26x512 becomes 13x13x2048.
    head : str
        "anchors": a 1x1 convolution gives boxes relative to priors, each with classes of its own (YOLOv2). "grid": a
        1x1 convolution gives YOLOv1's numbers, some boxes and one set of classes a cell. "connected": two fully
        connected layers give them, as in YOLOv1; such a net takes images of one size.
    boxes : int
        Boxes that a cell of the heads "grid" and "connected" predicts (YOLOv1: B = 2). For "anchors" it is the number
        of priors.
    frozen_stages : int
        Stages of the backbone, counted from the image, whose weights and statistics stay as they are. Darknet-19 has 6
        (up to each pooling), Extraction 5, a model of timm as many as it gives features of.
    pretrained : bool
        Begin with the weights that timm publishes for its model; they are downloaded once.
    batch_norm_momentum : float
        How fast the running statistics follow the batches: darknet's 0.01, or more for runs of a few hundred steps.
    share_class_rows : bool
        All priors share one class row for each class, in place of a row each. With three priors that saves two thirds
        of the head's weights.

    Raises
    ------
    Mistake
        Two fields do not go together; the message says why.
    """

    backbone: Annotated[str, arg(metavar="NAME")] = "darknet19"
    width: float = 1.0
    stride: Literal[16, 32, 64] = 32
    batch_norm: bool = True
    extra_convs: int = 0
    passthrough: bool = False
    passthrough_channels: Annotated[int, arg(metavar="N")] = 64
    head: Literal["anchors", "grid", "connected"] = "anchors"
    boxes: Annotated[int, arg(metavar="B")] = 2
    frozen_stages: Annotated[int, arg(metavar="N")] = 0
    pretrained: bool = False
    batch_norm_momentum: Annotated[float, arg(metavar="M")] = 0.01
    share_class_rows: bool = False

    def __post_init__(self) -> None:
        if self.backbone not in ("darknet19", "extraction") and not self.backbone.startswith("timm:"):
            raise Mistake(f"`backbone` {self.backbone}: darknet19, extraction or timm:NAME is needed")
        if self.backbone.startswith("timm:") and not self.batch_norm:
            raise Mistake(f"`batch_norm`: {self.backbone} keeps its own; darknet19 and extraction can do without")
        if self.width <= 0:
            raise Mistake(f"`width` {self.width}: a positive number is needed")
        if self.stride not in (16, 32, 64):
            raise Mistake(f"`stride` {self.stride}: 16, 32 or 64 is needed")
        for name, least in (("extra_convs", 0), ("passthrough_channels", 0), ("boxes", 1), ("frozen_stages", 0)):
            if getattr(self, name) < least:
                raise Mistake(f"`{name}` {getattr(self, name)}: at least {least} is needed")
        if self.stride == 64 and not self.extra_convs:
            raise Mistake("`stride` 64: one of `extra_convs` has a stride of 2, and there is none; YOLOv1 has 4")
        if self.stride == 64 and self.passthrough:
            raise Mistake("`passthrough` joins cells of 16 pixels with those of 16 or 32, not with a `stride` of 64")
        if self.share_class_rows and not self.has_priors:
            raise Mistake(f"`share_class_rows`: the boxes of a cell share its classes anyway with `head` {self.head}")
        if self.pretrained and not self.backbone.startswith("timm:"):
            raise Mistake(
                f"`pretrained`: weights are published for the backbones of timm; for {self.backbone} name a file of "
                "darknet's with `init`, such as darknet19_448.conv.23"
            )

    @property
    def has_priors(self) -> bool:
        """Whether the head gives boxes with priors and classes of their own (a region), or else a cell's (a grid)."""
        return self.head == "anchors"
