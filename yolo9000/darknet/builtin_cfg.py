"""The nets of the three papers as cfg text, put together from their tables; every one by its darknet name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from yolo9000.models.config import YOLO9000_PRIORS, YOLOV2_PRIORS
from yolo9000.models.darknet19 import DARKNET19
from yolo9000.models.extraction import EXTRACTION
from yolo9000.runtime.mistakes import Mistake

Priors = tuple[tuple[float, float], ...]
Layers = Sequence[tuple[int, int] | tuple[int, int, int] | Literal["M"]]
"""Filters, size and stride of convolutions, "M" = 2x2 max pooling."""

YOLOV2_VOC_PRIORS: Priors = (
    (1.3221, 1.73145), (3.19275, 4.00944), (5.05587, 8.09892), (9.47112, 4.84053), (11.2364, 10.0071),
)  # fmt: skip
"""The five priors of ``yolov2-voc.cfg``, in grid cells of stride 32 (darknet)."""

TINY_VOC_PRIORS: Priors = ((1.08, 1.19), (3.42, 4.41), (6.63, 11.38), (9.42, 5.11), (16.62, 10.52))
"""The five priors of ``yolov2-tiny-voc.cfg``, in grid cells of stride 32 (darknet)."""


def _section(name: str, **options: object) -> str:
    return "\n".join([f"[{name}]", *(f"{key}={value}" for key, value in options.items())]) + "\n"


def _convolution(filters: int, size: int, stride: int = 1, *, batch_norm: bool = True) -> str:
    norm = {"batch_normalize": 1} if batch_norm else {}
    return _section("convolutional", **norm, filters=filters, size=size, stride=stride, pad=1, activation="leaky")


def _body(layers: Layers, *, batch_norm: bool = True) -> list[str]:
    pool = _section("maxpool", size=2, stride=2)
    return [pool if layer == "M" else _convolution(*layer, batch_norm=batch_norm) for layer in layers]


def _last(filters: int) -> str:
    return _section("convolutional", filters=filters, size=1, stride=1, pad=1, activation="linear")


def _net(side: int, batch: int, subdivisions: int, **options: object) -> str:
    common = {"batch": batch, "subdivisions": subdivisions, "width": side, "height": side, "channels": 3}
    return _section("net", **common, momentum=0.9, decay=0.0005, **options)


def _detector_net(side: int, max_batches: int, steps: str, colour: float = 1.5) -> str:
    augmentation = {"angle": 0, "saturation": colour, "exposure": colour, "hue": 0.1}
    schedule = {"burn_in": 1000, "max_batches": max_batches, "policy": "steps", "steps": steps, "scales": ".1,.1"}
    return _net(side, 64, 8, **augmentation, learning_rate=0.001, **schedule)


def _head(priors: Priors, classes: int, jitter: float = 0.2, rescore: int = 1, **tree: str) -> list[str]:
    options = {
        "anchors": ", ".join(f"{w},{h}" for w, h in priors),
        "bias_match": 1, "classes": classes, "coords": 4, "num": len(priors), "softmax": 1, "jitter": jitter,
        "rescore": rescore, "object_scale": 5, "noobject_scale": 1, "class_scale": 1, "coord_scale": 1,
        "thresh": 0.6, "absolute": 1, "random": 1, **tree,
    }  # fmt: skip
    return [_last(len(priors) * (5 + classes)), _section("region", **options)]


def _classifier(classes: int, net: str, **softmax: str) -> list[str]:
    return [net, *_body(DARKNET19), _last(classes), _section("avgpool"), _section("softmax", groups=1, **softmax)]


def _darknet19() -> list[str]:
    net = _net(256, 128, 1, burn_in=1000, learning_rate=0.1, policy="poly", power=4, max_batches=800_000,
               min_crop=128, max_crop=448, angle=7, hue=0.1, saturation=0.75, exposure=0.75, aspect=0.75)  # fmt: skip
    return _classifier(1000, net)


def _at_448(classes: int, **softmax: str) -> list[str]:
    net = _net(448, 128, 4, learning_rate=0.001, policy="poly", power=4, max_batches=100_000, max_crop=512,
               angle=7, hue=0.1, saturation=0.75, exposure=0.75, aspect=0.75)  # fmt: skip
    return _classifier(classes, net, **softmax)


def _yolo9000() -> list[str]:
    head = _head(YOLO9000_PRIORS, 9418, tree="data/9k.tree", map="data/coco9k.map")
    return [_detector_net(544, 500_200, "400000,450000", colour=0.75), *_body(DARKNET19), *head]


def _yolov2(side: int, priors: Priors, classes: int, max_batches: int, steps: str) -> list[str]:
    passthrough = [
        _section("route", layers=-9),  # the stride-16 features
        _convolution(64, 1),
        _section("reorg", stride=2),
        _section("route", layers="-1,-4"),  # the reorganised ones first
        _convolution(1024, 3),
    ]
    body = [*_body(DARKNET19), *_body([(1024, 3), (1024, 3)]), *passthrough]
    return [_detector_net(side, max_batches, steps), *body, *_head(priors, classes, jitter=0.3)]


def _tiny(net: str, last: int, priors: Priors, classes: int, rescore: int) -> list[str]:
    layers: Layers = [(16, 3), "M", (32, 3), "M", (64, 3), "M", (128, 3), "M", (256, 3), "M", (512, 3)]
    unstrided = _section("maxpool", size=2, stride=1)
    return [
        net, *_body(layers), unstrided, *_body([(1024, 3), (last, 3)]), *_head(priors, classes, 0.2, rescore),
    ]  # fmt: skip


def _tiny_voc() -> list[str]:
    net = _net(416, 64, 8, saturation=1.5, exposure=1.5, hue=0.1, learning_rate=0.001, max_batches=40_200,
               policy="steps", steps="-1,100,20000,30000", scales=".1,10,.1,.1")  # fmt: skip
    return _tiny(net, 1024, TINY_VOC_PRIORS, 20, rescore=1)


def _extraction() -> list[str]:
    net = _net(224, 128, 4, max_crop=320, learning_rate=0.1, policy="poly", power=4, max_batches=1_600_000)
    # darknet's last convolution has a leaky activation
    last = _section("convolutional", filters=1000, size=1, stride=1, pad=1, activation="leaky")
    return [net, *_body(EXTRACTION), last, _section("avgpool"), _section("softmax", groups=1)]


def _yolov1_net(subdivisions: int, rate: float, steps: str, scales: str, **colours: float) -> str:
    return _net(448, 64, subdivisions, **colours, learning_rate=rate, policy="steps", steps=steps, scales=scales,
                max_batches=40_000)  # fmt: skip


def _yolov1_end(num: int) -> list[str]:
    return [
        _section("connected", output=7 * 7 * (20 + 5 * num), activation="linear"),
        _section(
            "detection", classes=20, coords=4, rescore=1, side=7, num=num, softmax=0, sqrt=1, jitter=0.2,
            object_scale=1, noobject_scale=0.5, class_scale=1, coord_scale=5,
        ),
    ]  # fmt: skip


_YOLOV1: Layers = (*EXTRACTION, (1024, 3), (1024, 3, 2), (1024, 3), (1024, 3))
_DROPOUT = _section("dropout", probability=0.5)


def _yolov1() -> list[str]:
    net = _yolov1_net(8, 0.0005, "200,400,600,20000,30000", "2.5,2,2,.1,.1", saturation=1.5, exposure=1.5, hue=0.1)
    local = _section("local", size=3, stride=1, pad=1, filters=256, activation="leaky")
    return [net, *_body(_YOLOV1), local, _DROPOUT, *_yolov1_end(3)]


def _yolov1_tiny() -> list[str]:
    net = _yolov1_net(8, 0.0005, "200,400,600,800,20000,30000", "2.5,2,2,2,.1,.1", saturation=0.75, exposure=0.75,
                      hue=0.1)  # fmt: skip
    layers: Layers = [layer for filters in (16, 32, 64, 128, 256, 512) for layer in ((filters, 3), "M")]
    return [net, *_body(layers), *_body([(1024, 3), (256, 3)]), *_yolov1_end(2)]


def _yolov1_paper() -> list[str]:
    crop = _section("crop", crop_width=448, crop_height=448, flip=0, angle=0, saturation=1.5, exposure=1.5)
    hidden = _section("connected", output=4096, activation="leaky")
    net = _yolov1_net(2, 0.001, "200,400,600,20000,30000", "2.5,2,2,.1,.1")
    return [net, crop, *_body(_YOLOV1, batch_norm=False), hidden, _DROPOUT, *_yolov1_end(2)]


_TEXTS: dict[str, Callable[[], list[str]]] = {
    "darknet19": _darknet19,
    "darknet19_448": lambda: _at_448(1000),
    "darknet9000": lambda: _at_448(9418, tree="data/9k.tree"),
    "yolo9000": _yolo9000,
    "yolov2": lambda: _yolov2(608, YOLOV2_PRIORS, 80, 500_200, "400000,450000"),
    "yolov2-voc": lambda: _yolov2(416, YOLOV2_VOC_PRIORS, 20, 80_200, "40000,60000"),
    "yolov2-tiny": lambda: _tiny(_detector_net(416, 500_200, "400000,450000"), 512, YOLOV2_PRIORS, 80, rescore=0),
    "yolov2-tiny-voc": _tiny_voc,
    "extraction": _extraction,
    "yolov1": _yolov1,
    "yolov1-tiny": _yolov1_tiny,
    "yolov1-paper": _yolov1_paper,
}
BUILTIN_NETS = tuple(_TEXTS)
"""Names that `builtin_cfg` and `yolo9000.darknet.from_cfg` know. "yolov1-paper" is the net of the YOLO paper itself."""


def builtin_cfg(name: str) -> str:
    """The cfg of a net of the papers, as text that darknet reads too.

    Where darknet's own file has a ``[cost]`` section after the softmax, which would count the loss twice, ours has
    none. Darknet's own yolov1.cfg has a fully connected layer and batch norms otherwise than the paper: "yolov1" is the
    net of the file, and "yolov1-paper" that of the paper, as darknet had it in 2015.

    Raises
    ------
    Mistake
        If there is no such net.

    Examples
    --------
    >>> print(builtin_cfg("darknet9000")[-119:])
    [convolutional]
    filters=9418
    size=1
    stride=1
    pad=1
    activation=linear
    <BLANKLINE>
    [avgpool]
    <BLANKLINE>
    [softmax]
    groups=1
    tree=data/9k.tree
    <BLANKLINE>
    """
    if name not in _TEXTS:
        raise Mistake(f"{name!r}: no built-in net; there are {', '.join(BUILTIN_NETS)}")
    return "\n".join(_TEXTS[name]())
