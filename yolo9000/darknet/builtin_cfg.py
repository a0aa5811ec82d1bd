"""The nets of the two papers as cfg text, put together from their tables; every one by its darknet name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from yolo9000.models.config import YOLO9000_PRIORS, YOLOV2_PRIORS
from yolo9000.models.darknet19 import DARKNET19
from yolo9000.runtime.mistakes import Mistake

Priors = tuple[tuple[float, float], ...]
Layers = Sequence[tuple[int, int] | Literal["M"]]

YOLOV2_VOC_PRIORS: Priors = (
    (1.3221, 1.73145), (3.19275, 4.00944), (5.05587, 8.09892), (9.47112, 4.84053), (11.2364, 10.0071),
)  # fmt: skip
"""The five priors of ``yolov2-voc.cfg``, in grid cells of stride 32 (darknet)."""

TINY_VOC_PRIORS: Priors = ((1.08, 1.19), (3.42, 4.41), (6.63, 11.38), (9.42, 5.11), (16.62, 10.52))
"""The five priors of ``yolov2-tiny-voc.cfg``, in grid cells of stride 32 (darknet)."""


def _section(name: str, **options: object) -> str:
    return "\n".join([f"[{name}]", *(f"{key}={value}" for key, value in options.items())]) + "\n"


def _convolution(filters: int, size: int) -> str:
    return _section("convolutional", batch_normalize=1, filters=filters, size=size, stride=1, pad=1, activation="leaky")


def _body(layers: Layers) -> list[str]:
    return [_section("maxpool", size=2, stride=2) if layer == "M" else _convolution(*layer) for layer in layers]


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


_TEXTS: dict[str, Callable[[], list[str]]] = {
    "darknet19": _darknet19,
    "darknet19_448": lambda: _at_448(1000),
    "darknet9000": lambda: _at_448(9418, tree="data/9k.tree"),
    "yolo9000": _yolo9000,
    "yolov2": lambda: _yolov2(608, YOLOV2_PRIORS, 80, 500_200, "400000,450000"),
    "yolov2-voc": lambda: _yolov2(416, YOLOV2_VOC_PRIORS, 20, 80_200, "40000,60000"),
    "yolov2-tiny": lambda: _tiny(_detector_net(416, 500_200, "400000,450000"), 512, YOLOV2_PRIORS, 80, rescore=0),
    "yolov2-tiny-voc": _tiny_voc,
}
BUILTIN_NETS = tuple(_TEXTS)
"""Names that `builtin_cfg` and `yolo9000.models.from_cfg` know."""


def builtin_cfg(name: str) -> str:
    """The cfg of a net of the papers, as text that darknet reads too.

    Where darknet's own file has a ``[cost]`` section after the softmax, which would count the loss twice, ours has
    none.

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
