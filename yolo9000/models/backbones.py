"""Which backbone a configuration names. A new one is a file with a `Backbone` and a case here."""

from __future__ import annotations

from yolo9000.models.backbone import Backbone
from yolo9000.models.config import DetectorConfig
from yolo9000.models.darknet19 import Darknet19


def build_backbone(config: DetectorConfig) -> Backbone:
    """The backbone of a configuration, with fresh weights unless `pretrained` says otherwise.

    A net of stride 64 has a backbone of stride 32 and halves the grid behind it.

    Raises
    ------
    Mistake
        There is no such backbone, or it has no features of these strides.

    Examples
    --------
    >>> backbone = build_backbone(DetectorConfig(width=0.1))
    >>> backbone.stride, backbone.channels, backbone.fine_channels
    (32, 104, 56)
    """
    return Darknet19(config.width, min(config.stride, 32), config.batch_norm_momentum, batch_norm=config.batch_norm)
