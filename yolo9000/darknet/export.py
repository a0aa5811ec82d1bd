"""Our detector as a cfg that darknet reads."""

from __future__ import annotations

from torch import nn

from yolo9000.models.darknet19 import ConvBlock, PlainBackbone
from yolo9000.models.region import RegionSpec
from yolo9000.models.yolov1 import ConnectedHead, Yolov1
from yolo9000.models.yolov2 import BackboneDetector, Detector
from yolo9000.runtime.mistakes import Mistake


def cfg_of_detector(detector: Detector | Yolov1, size: int) -> str:
    """The cfg of a detector, ending in its ``[region]`` or ``[detection]`` section; without the tree.

    Parameters
    ----------
    detector : Detector or Yolov1
    size : int
        Side of the network's input.

    Raises
    ------
    Mistake
        The backbone or the head is none of darknet's.

    Examples
    --------
    >>> from yolo9000.models import BoxCoding, DetectorConfig, FlatClasses, RegionSpec
    >>> net = Detector(DetectorConfig(width=0.1), RegionSpec(classes=FlatClasses(3), coding=BoxCoding(((1.0, 2.0),))))
    >>> text = cfg_of_detector(net, 64)
    >>> text.count("[convolutional]"), text.count("[maxpool]"), text.splitlines()[-14:-12]
    (19, 5, ['[region]', 'anchors=1.0,2.0'])
    """
    end = _region_end(detector.region) if isinstance(detector, Detector) else _grid_end(detector)
    net = _section("net", batch=1, subdivisions=1, width=size, height=size, channels=3)
    return "\n".join([net, *_features(detector), *end])


def _features(detector: BackboneDetector) -> list[str]:
    """The sections that give the head its features."""
    backbone = detector.backbone
    if not isinstance(backbone, PlainBackbone):
        raise Mistake(
            f"`backbone` {detector.config.backbone}: darknet has no such layers; darknet19 and extraction have a cfg"
        )
    layers = _layers(backbone.fine)
    fine = len(layers) - 1  # darknet's number of the layer that the passthrough taps
    layers += _layers(backbone.coarse) + _layers(detector.extra)
    if detector.passthrough is not None and detector.merge is not None:
        deep = len(layers) - 1
        layers += [_section("route", layers=fine), *_layers(nn.Sequential(detector.passthrough))]
        if detector.stride == 32:
            layers.append(_section("reorg", stride=2))
        layers += [_section("route", layers=f"-1,{deep}"), *_layers(nn.Sequential(detector.merge))]
    return layers


def _region_end(region: RegionSpec) -> list[str]:
    head = _section("convolutional", filters=region.channels, size=1, stride=1, pad=1, activation="linear")
    options = {
        "anchors": ", ".join(f"{w},{h}" for w, h in region.coding.priors),
        "classes": region.classes.number,
        "coords": 4,
        "num": region.coding.num_priors,
        "softmax": int(region.classes.over != "sigmoid"),
        "bias_match": int(region.loss.bias_match),
        "rescore": int(region.loss.rescore),
        "object_scale": region.loss.object_scale,
        "noobject_scale": region.loss.noobject_scale,
        "class_scale": region.loss.class_scale,
        "coord_scale": region.loss.coord_scale,
        "thresh": region.loss.thresh,
        "random": 1,
    }
    return [head, _section("region", **options)]


def _grid_end(detector: Yolov1) -> list[str]:
    head, grid = detector.head, detector.detection
    if not isinstance(head, ConnectedHead):
        raise Mistake(
            f"`head` {detector.config.head}: darknet's [detection] has fully connected layers; take connected"
        )
    _, first, _, dropout, last = head
    assert isinstance(first, nn.Linear)
    assert isinstance(dropout, nn.Dropout)
    assert isinstance(last, nn.Linear)
    options = {
        "classes": grid.classes.number,
        "coords": 4,
        "rescore": int(grid.loss.rescore),
        "side": grid.side_of(last.out_features),
        "num": grid.num,
        "softmax": int(grid.classes.over == "softmax"),
        "sqrt": int(grid.square_root),
        "forced": int(grid.loss.forced),
        "object_scale": grid.loss.object_scale,
        "noobject_scale": grid.loss.noobject_scale,
        "class_scale": grid.loss.class_scale,
        "coord_scale": grid.loss.coord_scale,
    }
    return [
        _section("connected", output=first.out_features, activation="leaky"),
        _section("dropout", probability=dropout.p),
        _section("connected", output=last.out_features, activation="linear"),
        _section("detection", **options),
    ]


def _layers(modules: nn.Sequential) -> list[str]:
    sections = []
    for module in modules:
        match module:
            case ConvBlock():
                sections.append(_convolution(module))
            case nn.MaxPool2d():
                sections.append(_section("maxpool", size=2, stride=2))
            case nn.Identity():  # a passthrough that takes the features as they are
                pass
            case _:
                raise TypeError(f"a {type(module).__name__} has no section")
    return sections


def _convolution(block: ConvBlock) -> str:
    conv, activation = block[0], block[-1]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(activation, nn.LeakyReLU)  # the blocks of a Detector have no other
    size, stride, padding = conv.kernel_size[0], conv.stride[0], conv.padding[0]
    # darknet reads the scales, means and variances of a convolution that says so; one whose batch norm is folded into
    # it has none in its weights file
    normalised = any(isinstance(module, nn.BatchNorm2d) for module in block)
    return _section(
        "convolutional",
        **({"batch_normalize": 1} if normalised else {}),
        filters=conv.out_channels,
        size=size,
        stride=stride,
        **({"pad": 1} if padding == size // 2 else {"padding": padding}),
        activation="leaky",
    )


def _section(name: str, **options: object) -> str:
    return "\n".join([f"[{name}]", *(f"{key}={value}" for key, value in options.items())]) + "\n"
