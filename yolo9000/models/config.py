"""The configuration of our nets. It imports no torch, so that a command's help is there at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from tyro.conf import arg

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


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """The net's form; the defaults are YOLO9000's (paper section 4, yolo9000.cfg).

    Parameters
    ----------
    width : float
        Relative channels of every layer. 1.0 is the paper's net, 0.25 trains on two processor cores.
    stride : int
        Pixels of a grid cell: 32, or 16 for small images.
    extra_convs : int
        3x3 convolutions after the backbone: 2 in YOLOv2, none in YOLO9000.
    passthrough : bool
        Bring the stride-16 features to the head (YOLOv2; paper section 2, "Fine-Grained Features"). Adds a 1x1
        convolution, a reorganisation when the stride is 32, and a 3x3 convolution that merges both.
    batch_norm_momentum : float
        How fast the running statistics follow the batches: darknet's 0.01, or more for runs of a few hundred steps.
    share_class_rows : bool
        All priors share one class row for each class, in place of a row each. With three priors that saves two thirds
        of the head's weights.
    """

    width: float = 1.0
    stride: Literal[16, 32] = 32
    extra_convs: int = 0
    passthrough: bool = False
    batch_norm_momentum: Annotated[float, arg(metavar="M")] = 0.01
    share_class_rows: bool = False
