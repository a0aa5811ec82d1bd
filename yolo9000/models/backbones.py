"""Which backbone a configuration names. A new one is a file with a `Backbone` and a case here."""

from __future__ import annotations

from yolo9000.models.backbone import Backbone
from yolo9000.models.config import DetectorConfig
from yolo9000.models.darknet19 import Darknet19
from yolo9000.models.extraction import Extraction
from yolo9000.models.timm_backbone import TimmBackbone


def build_backbone(config: DetectorConfig) -> Backbone:
    """The backbone of a configuration, with fresh weights unless `pretrained` says otherwise.

    A net of stride 64 has a backbone of stride 32 and halves the grid behind it.

    Raises
    ------
    Mistake
        There is no such backbone, it has no features of these strides, or too few stages to freeze.

    Examples
    --------
    >>> backbone = build_backbone(DetectorConfig(width=0.1))
    >>> backbone.stride, backbone.channels, backbone.fine_channels
    (32, 104, 56)
    """
    width, stride, momentum = config.width, min(config.stride, 32), config.batch_norm_momentum
    backbone: Backbone
    match config.backbone.partition(":"):
        case "extraction", *_:
            backbone = Extraction(width, stride, momentum, batch_norm=config.batch_norm)
        case "timm", _, name:
            backbone = TimmBackbone(name, stride, momentum, pretrained=config.pretrained)
        case _:
            backbone = Darknet19(width, stride, momentum, batch_norm=config.batch_norm)
    backbone.freeze(config.frozen_stages)
    return backbone
