"""The detector (YOLOv2's and YOLO9000's form) and the classifier that its backbone starts from."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from yolo9000.models.backbones import build_backbone
from yolo9000.models.classes import Classes
from yolo9000.models.config import DetectorConfig
from yolo9000.models.darknet19 import ConvBlock, scaled
from yolo9000.models.flat_classes import FlatClasses
from yolo9000.models.model import DetectionModel, Model, RegionDetector
from yolo9000.models.output import RegionOutput
from yolo9000.models.region import RegionSpec
from yolo9000.models.tree_head import TreeHead
from yolo9000.runtime.mistakes import Mistake


def reorg(x: Tensor, stride: int = 2) -> Tensor:
    """Darknet's reorganisation: (B, C, H, W) -> (B, C*s*s, H/s, W/s).

    Not a plain space-to-depth: darknet reads the buffer as if it had C/s^2 channels (reorg_cpu in blas.c), and
    trained weights depend on that order.

    Parameters
    ----------
    x : Tensor (B, C, H, W)
        The features of the finer grid.
    stride : int
        The side s of the blocks of cells that become one.

    Returns
    -------
    Tensor (B, C*s*s, H/s, W/s)
        The same numbers on the coarser grid.

    Raises
    ------
    ValueError
        If C is no multiple of s*s, or H or W none of s.

    Examples
    --------
    >>> reorg(torch.zeros(1, 64, 26, 26)).shape
    torch.Size([1, 256, 13, 13])
    """
    b, c, h, w = x.shape
    if c % (stride * stride) or h % stride or w % stride:
        raise ValueError(f"reorg of stride {stride}: {(c, h, w)} has to divide by {(stride**2, stride, stride)}")
    cells = x.reshape(b, c // stride**2, h, stride, w, stride)
    return cells.permute(0, 3, 5, 1, 2, 4).reshape(b, c * stride**2, h // stride, w // stride)


class BackboneDetector(DetectionModel):
    """A detector on top of a backbone: what brings the features to a head, and the start from a classifier.

    Parameters
    ----------
    config : DetectorConfig
        The form of the net.
    """

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config)
        self.channels = channels = self.backbone.channels
        self.extra = nn.Sequential(*(self._block(channels, channels, 3, stride) for stride in _extra_strides(config)))
        self.passthrough: nn.Module | None = None
        self.merge: nn.Module | None = None
        if config.passthrough:
            if self.backbone.fine_is_coarse:
                raise Mistake(f"`passthrough`: with a `stride` of 16 {config.backbone} has no finer features to bring")
            from_fine = self.backbone.fine_channels
            if config.passthrough_channels:
                narrow = scaled(config.passthrough_channels, config.width)
                self.passthrough = self._block(from_fine, narrow, 1)
                from_fine = narrow
            else:
                self.passthrough = nn.Identity()
            if config.stride == 32 and from_fine % 4:
                raise Mistake(f"`passthrough_channels`: {from_fine} channels are no multiple of 4, as reorg needs")
            from_fine *= 4 if config.stride == 32 else 1
            self.merge = self._block(from_fine + channels, channels, 3)

    def _block(self, in_channels: int, out_channels: int, size: int, stride: int = 1) -> ConvBlock:
        config = self.config
        return ConvBlock(
            in_channels, out_channels, size, config.batch_norm_momentum, stride=stride, batch_norm=config.batch_norm
        )

    @property
    def stride(self) -> int:
        return self.config.stride

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in 0..1, S a multiple of the stride and of 32 -> (B, D, S/stride, S/stride)."""
        fine, coarse = self.backbone(images)
        features: Tensor = self.extra(coarse)
        if self.passthrough is not None and self.merge is not None:
            fine = self.passthrough(fine)
            if self.stride == 32:
                fine = reorg(fine)
            features = self.merge(torch.cat([fine, features], dim=1))  # darknet's order: the reorganised ones first
        return features

    def classifier(self) -> Classifier:
        """A classifier with the same backbone over the same classes. Linear ones are under a softmax there."""
        classes = self.classes
        if isinstance(classes, FlatClasses) and classes.over == "linear":
            classes = replace(classes, over="softmax")
        return Classifier(self.config, classes)

    def initialise_from(self, classifier: Model, *, same_classes: bool = True) -> None:
        """Start from a classifier: its backbone. The rest of the net starts anew."""
        if not isinstance(classifier, Classifier):
            raise ValueError(f"a {type(classifier).__name__} is no classifier of ours")
        if backbone_form(classifier.config) != backbone_form(self.config):
            raise ValueError(f"the classifier was built as {classifier.config}, the detector as {self.config}")
        self.backbone.load_state_dict(classifier.backbone.state_dict())


class Detector(BackboneDetector, RegionDetector):
    """Images -> raw region output. Training and evaluation mode differ only in batch norm.

    Parameters
    ----------
    config : DetectorConfig
        The form of the net.
    region : RegionSpec
        The classes and the box coding; it is kept as ``model.region``, for the loss and for decoding.

    Examples
    --------
    >>> from yolo9000.models import BoxCoding, FlatClasses, RegionSpec
    >>> region = RegionSpec(classes=FlatClasses(7), coding=BoxCoding(((1.0, 1.0), (2.0, 2.0))))
    >>> net = Detector(DetectorConfig(width=0.1, stride=16), region)
    >>> net(torch.zeros(1, 3, 64, 96)).objectness.shape
    torch.Size([1, 48])
    """

    def __init__(self, config: DetectorConfig, region: RegionSpec) -> None:
        super().__init__(config)
        self.region = region
        self.head = TreeHead(
            self.channels, region.coding, self.classes.number, share_class_rows=config.share_class_rows
        )

    @property
    def description(self) -> dict[str, Any]:
        return {"net": "detector", "config": plain_form(self.config), "region": self.region.description}

    def forward(self, images: Tensor) -> RegionOutput:
        """(B, 3, S, S) in 0..1, S a multiple of 32 -> raw output on an (S/stride, S/stride) grid."""
        # Before the net: autograd walks back in the reverse order, so it makes the large gradient of the class rows
        # last, when the memory of the net's activations is free again (see late_gradient.py).
        rows = self.head.rows
        output: RegionOutput = self.head(self.features(images), rows)
        return output

    def initialise_from(self, classifier: Model, *, same_classes: bool = True) -> None:
        """Start from a classifier: its backbone, and its last layer as every prior's class rows where that fits.

        It fits a classifier of the same classes, if no convolution stands between the backbone and the head.
        """
        if same_classes and classifier.classes.number != self.classes.number:
            raise ValueError(f"the classifier has {classifier.classes.number} classes, not {self.classes.number}")
        super().initialise_from(classifier)
        if not same_classes or self.config.extra_convs or self.config.passthrough:
            return
        last = classifier.last
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        self.head.set_class_rows(last.weight.detach().flatten(1), last.bias.detach())


def _extra_strides(config: DetectorConfig) -> list[int]:
    """The stride of each extra convolution: the second one (if there are several) halves a grid of stride 64."""
    halving = min(1, config.extra_convs - 1) if config.stride == 64 else -1
    return [2 if number == halving else 1 for number in range(config.extra_convs)]


def plain_form(config: DetectorConfig) -> dict[str, Any]:
    """The configuration as plain values that rebuild a net whose weights come from elsewhere: nothing is downloaded."""
    return asdict(replace(config, pretrained=False))


def backbone_form(config: DetectorConfig) -> tuple[Any, ...]:
    """What two backbones must have in common for one to take the other's weights."""
    return config.backbone, config.width, min(config.stride, 32), config.batch_norm


class Classifier(Model):
    """A backbone as an image classifier: 1x1 convolution and global mean on top of it (paper section 3).

    Parameters
    ----------
    config : DetectorConfig
        The form of the net; only that of the backbone is looked at.
    classes : Classes
        What its K logits mean.

    Examples
    --------
    >>> from yolo9000.models import FlatClasses
    >>> Classifier(DetectorConfig(width=0.1), FlatClasses(10))(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 10])
    """

    objective = "classification"

    def __init__(self, config: DetectorConfig, classes: Classes) -> None:
        super().__init__()
        self.config = config
        self._classes = classes
        self.backbone = build_backbone(config)
        self.last = nn.Conv2d(self.backbone.channels, classes.number, 1)
        nn.init.normal_(self.last.weight, std=0.01)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    @property
    def classes(self) -> Classes:
        return self._classes

    @property
    def stride(self) -> int:
        return self.config.stride

    @property
    def description(self) -> dict[str, Any]:
        return {"net": "classifier", "config": plain_form(self.config), "classes": self.classes.description}

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in 0..1 -> logits (B, K)."""
        # the mean of the products is the product of the mean, at the price of one cell in place of all
        logits: Tensor = self.last(self.backbone(images)[1].mean(dim=(2, 3), keepdim=True))
        return logits.flatten(1)
