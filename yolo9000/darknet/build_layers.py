"""One ``[section]`` of a cfg -> one layer, checked against the shape of what comes before it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from torch import nn

from yolo9000.darknet.build_ends import head_before
from yolo9000.darknet.cfg import Section
from yolo9000.darknet.connected import Connected, Local
from yolo9000.darknet.layers import Crop, DarknetMaxPool, Reorg, Route, Shape
from yolo9000.models.darknet19 import ConvBlock

log = logging.getLogger(__name__)

MAX_FLOATS = 2**30
"""A net of more weights than this (4 GiB) is taken for a slip of the pen."""

OF_IMAGES = ("convolutional", "maxpool", "reorg", "avgpool", "region", "local", "crop")
"""Layers that need an image, and not the vector that a fully connected layer gives."""
FIXED = ("local", "connected", "detection")
"""Layers with which a net takes no other size of its input than the cfg's."""

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky": lambda: nn.LeakyReLU(0.1, inplace=True),
    "linear": nn.Identity,
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
}

Built = tuple[nn.Module, Shape]


class WeightCount:
    """The weights of a net as it grows, so that a slip of the pen is found before the memory is asked for."""

    def __init__(self) -> None:
        self.floats = 0

    def add(self, section: Section, floats: int) -> None:
        """Count the weights of a layer.

        Raises
        ------
        CfgError
            There are too many.
        """
        self.floats += floats
        if self.floats > MAX_FLOATS:
            raise section.error(f"makes a net of more than {MAX_FLOATS:,} weights")


def activation_of(section: Section) -> nn.Module:
    """The activation that a section names."""
    name = section.text("activation", "logistic")
    if name not in ACTIVATIONS:
        raise section.error(f"{name}: {', '.join(ACTIVATIONS)} are supported", "activation")
    return ACTIVATIONS[name]()


def build_convolution(section: Section, shape: Shape, count: WeightCount, *, region: Section | None = None) -> Built:
    """Build ``[convolutional]``; before a region that it fits, as a head that computes only what is read."""
    channels, h, w = shape
    filters = section.integer("filters", 1, at_least=1)
    size = section.integer("size", 1, at_least=1)
    stride = section.integer("stride", 1, at_least=1)
    padding = size // 2 if section.flag("pad") else section.integer("padding", 0, at_least=0)
    groups = section.integer("groups", 1, at_least=1)
    if channels % groups or filters % groups:
        raise section.error(f"groups={groups} divides not both {channels} input channels and {filters} filters")
    activation = activation_of(section)
    count.add(section, filters * (channels // groups) * size**2 + 4 * filters)
    height, width = _sides(section, shape, size, stride, padding)
    batch_norm = section.flag("batch_normalize")
    is_plain = (size, stride, padding, groups, batch_norm) == (1, 1, 0, 1, False) and isinstance(
        activation, nn.Identity
    )
    if region is not None and is_plain and (head := head_before(region, channels, filters)) is not None:
        return head, (filters, h, w)
    block = ConvBlock(
        channels, filters, size, stride=stride, padding=padding, groups=groups,
        batch_norm=batch_norm, activation=activation,
    )  # fmt: skip
    return block, (filters, height, width)


def _sides(section: Section, shape: Shape, size: int, stride: int, padding: int) -> tuple[int, int]:
    """Height and width of the output."""
    _, h, w = shape
    height, width = ((n + 2 * padding - size) // stride + 1 for n in (h, w))
    if min(height, width) < 1:
        raise section.error(f"size={size} is too large for an image of {h} x {w} with padding {padding}")
    return height, width


def build_maxpool(section: Section, shape: Shape) -> Built:
    """Build ``[maxpool]``."""
    channels, h, w = shape
    stride = section.integer("stride", 1, at_least=1)
    size = section.integer("size", stride, at_least=1)
    try:
        pool = DarknetMaxPool(size, stride, section.integer("padding", size - 1, at_least=0))
    except ValueError as error:
        raise section.error(str(error)) from None
    if size > 2 * max(h, w) + 1:
        raise section.error(f"windows of {size} are too large for an image of {h} x {w}")
    return pool, (channels, pool.length(h), pool.length(w))


def build_reorg(section: Section, shape: Shape) -> Built:
    """Build ``[reorg]``."""
    channels, h, w = shape
    stride = section.integer("stride", 1, at_least=1)
    if channels % stride**2 or h % stride or w % stride:
        raise section.error(
            f"stride={stride} needs channels, height and width that divide by {stride**2}, {stride} and "
            f"{stride}; they are {shape}"
        )
    return Reorg(stride), (channels * stride**2, h // stride, w // stride)


def build_route(section: Section, shapes: Sequence[Shape]) -> Built:
    """Build ``[route]`` behind layers whose outputs have these shapes."""
    here = len(shapes)
    if "layers" not in section.options:
        raise section.error("layers= is missing")
    numbers = [n + here if n < 0 else n for n in section.integers("layers")]
    if any(not 0 <= n < here for n in numbers):
        raise section.error(f"{section.text('layers')}: this is layer {here}, only 0..{here - 1} exist", "layers")
    routed = [shapes[n] for n in numbers]
    if len({shape[1:] for shape in routed}) > 1:
        raise section.error(f"{section.text('layers')}: heights and widths differ: {routed}", "layers")
    return Route(numbers), (sum(shape[0] for shape in routed), *routed[0][1:])


def build_local(section: Section, shape: Shape, count: WeightCount) -> Built:
    """Build ``[local]``; its ``pad`` is the number of zeros on each side, and no flag as that of a convolution."""
    filters = section.integer("filters", 1, at_least=1)
    size = section.integer("size", 1, at_least=1)
    stride = section.integer("stride", 1, at_least=1)
    padding = section.integer("pad", 0, at_least=0)
    if padding and 2 * padding != size - 1:
        raise section.error(
            f"{padding}: darknet reads beside its windows unless pad is 0 or (size - 1) / 2; size is {size}", "pad"
        )
    activation = activation_of(section)
    height, width = _sides(section, shape, size, stride, padding)
    count.add(section, height * width * filters * (shape[0] * size**2 + 1))
    return Local(shape, filters, size, stride, padding, activation), (filters, height, width)


def build_connected(section: Section, shape: Shape, count: WeightCount) -> Built:
    """Build ``[connected]``."""
    inputs, outputs = shape[0] * shape[1] * shape[2], section.integer("output", 1, at_least=1)
    activation = activation_of(section)
    count.add(section, inputs * outputs + 4 * outputs)
    batch_norm = section.flag("batch_normalize")
    return Connected(inputs, outputs, batch_norm=batch_norm, activation=activation), (outputs, 1, 1)


def build_dropout(section: Section, shape: Shape) -> Built:
    """Build ``[dropout]``."""
    probability = section.real("probability", 0.5)
    if not 0 <= probability < 1:
        raise section.error(f"{section.text('probability')}: 0 <= probability < 1 is needed", "probability")
    return nn.Dropout(probability), shape


def build_crop(section: Section, shape: Shape) -> Built:
    """Build ``[crop]``; the colours and angles that it names belong to the data here, as the log says."""
    channels, h, w = shape
    height, width = section.integer("crop_height", 1, at_least=1), section.integer("crop_width", 1, at_least=1)
    if height > h or width > w:
        raise section.error(f"{height} x {width} is larger than the image of {h} x {w}")
    still = {"angle": 0, "saturation": 1, "exposure": 1, "shift": 0}
    if drawn := [key for key, value in still.items() if section.real(key, value) != value]:
        log.info("%s:%d: [crop] %s: augment the data instead", section.file, section.line, ", ".join(drawn))
    crop = Crop(height, width, flip=section.flag("flip"), adjust=not section.flag("noadjust"))
    return crop, (channels, height, width)
