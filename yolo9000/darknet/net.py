"""Any YOLOv2-era cfg as a net.

A `DarknetNet` is what darknet would run: one module for each section, numbered as darknet numbers its layers, so that
its weights files fit (`yolo9000.models.load_darknet_weights`). `yolo9000.models.Detector` is the net to train from
scratch: the same blocks at any width, for stride 16 too, with a head that starts from rare objects. Both answer with a
`RegionOutput` and carry a `RegionSpec` as ``model.region``, so the loss, decoding and evaluation take either.

B images, A priors, K classes or nodes, H x W grid.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from wordtree import WordTree, load_tree
from yolo9000.darknet.builtin_cfg import BUILTIN_NETS, builtin_cfg
from yolo9000.darknet.cfg import DarknetCfg, Section, parse_cfg, read_cfg
from yolo9000.darknet.cfg_files import read_map_of, read_tree_of
from yolo9000.darknet.layers import DarknetMaxPool, GlobalMean, Reorg, Route, Shape
from yolo9000.darknet.net_options import NetOptions, net_options
from yolo9000.models.box_coding import BoxCoding
from yolo9000.models.classes import Classes
from yolo9000.models.darknet19 import ConvBlock
from yolo9000.models.flat_classes import FlatClasses
from yolo9000.models.output import DenseRegionOutput, RegionOutput
from yolo9000.models.region import LossConfig, RegionSpec
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.models.tree_head import TreeHead

log = logging.getLogger(__name__)

MAX_FLOATS = 2**30
"""A net of more weights than this (4 GiB) is taken for a slip of the pen."""

MAX_PRIORS = 1000
"""So is a region layer of more priors than this."""

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky": lambda: nn.LeakyReLU(0.1, inplace=True),
    "linear": nn.Identity,
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
}


@dataclass(frozen=True)
class NetOutput:
    """What a net without a region layer answers.

    Parameters
    ----------
    raw : Tensor (B, K) or (B, C, H, W)
        The logits of a classifier, before any softmax; the last layer's output if the cfg ends in another layer.
    """

    raw: Tensor


def from_cfg(cfg: str | Path, tree: WordTree | str | Path | None = None) -> DarknetNet:
    """Build the net of a cfg.

    Parameters
    ----------
    cfg : str or Path
        A ``.cfg`` file, or the name of a built-in net, which needs no file: darknet19, darknet19_448, darknet9000,
        yolo9000, yolov2, yolov2-voc, yolov2-tiny, yolov2-tiny-voc.
    tree : WordTree, str or Path, optional
        Classes in place of the cfg's: a tree, or what `wordtree.load_tree` takes. The filters of the last convolution
        follow its size; where that differs from the cfg's, a ``map=`` of the cfg, which names nodes of the other tree,
        is left out. Both are said in the log.

    Returns
    -------
    DarknetNet
        The net with fresh weights: He et al.'s, biases 0, as darknet. (Its running variances begin at 1, darknet's
        at 0.)

    Raises
    ------
    CfgError
        If the cfg makes no net; the message names file and line.
    TreeFormatError
        If a file that the cfg names holds no tree or no map.
    OSError
        If the cfg cannot be read.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):
    ...     model = from_cfg("yolo9000")
    ...     print(model(torch.zeros(1, 3, 544, 544)).raw.shape)
    torch.Size([1, 28269, 17, 17])
    >>> model.classes.number, model.classes.map[:3], model.classes.name(5177)
    (9418, (5177, 3768, 3802), 'person')
    """
    if isinstance(cfg, str) and cfg in BUILTIN_NETS:
        parsed = parse_cfg(builtin_cfg(cfg), f"built-in {cfg}")
    else:
        try:
            parsed = read_cfg(cfg)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{cfg}: no such file; the nets that need none are {', '.join(BUILTIN_NETS)}"
            ) from None
    return DarknetNet(parsed, load_tree(tree) if isinstance(tree, str | Path) else tree)


def _fitted(cfg: DarknetCfg, tree: WordTree) -> DarknetCfg:
    """The cfg with as many classes as a tree has nodes."""
    layers = list(cfg.layers)
    ends = [n for n, section in enumerate(layers) if section.name in ("region", "softmax")]
    convolutions = [n for n, section in enumerate(layers) if section.name == "convolutional"]
    if not ends or not convolutions:
        raise cfg.net.error("a tree was given, but there is no convolution with a [region] or [softmax] after it")
    end, last = layers[ends[-1]], layers[convolutions[-1]]
    filters = len(tree)
    if end.name == "region":
        filters = end.integer("num", 1, at_least=1) * (5 + len(tree))
        if end.integer("classes", 20) != len(tree) and "map" in end.options:
            log.warning("%s:%d: map=%s is for another tree and left out", cfg.file, end.line, end.text("map"))
            end = replace(end, options={key: option for key, option in end.options.items() if key != "map"})
        layers[ends[-1]] = end.with_options(classes=len(tree))
    if last.integer("filters", 1) != filters:
        log.info("%s:%d: %d filters for the %d nodes of the given tree", cfg.file, last.line, filters, len(tree))
    layers[convolutions[-1]] = last.with_options(filters=filters)
    return replace(cfg, layers=tuple(layers))


def _coding(region: Section) -> BoxCoding:
    """What the boxes of a region layer are relative to."""
    num = region.integer("num", 1, at_least=1)
    anchors = region.reals("anchors", (0.5,) * (2 * num))
    if len(anchors) != 2 * num or min(anchors) <= 0:
        raise region.error(
            f"{region.text('anchors')}: {2 * num} positive numbers are needed, a width and a height for each of "
            f"num={num}",
            "anchors",
        )
    return BoxCoding(tuple(zip(anchors[::2], anchors[1::2], strict=True)))


class DarknetNet(nn.Module):
    """The net of a cfg; made by `from_cfg`.

    Parameters
    ----------
    cfg : DarknetCfg
        The sections that it is built from.
    tree : WordTree, optional
        A tree in place of the cfg's own; the last convolution is given as many filters as it needs.

    Attributes
    ----------
    cfg : DarknetCfg
        What it was built from.
    options : NetOptions
        The input size and darknet's training options.
    region : RegionSpec or None
        The meaning of a detector's numbers; None for a classifier.
    classes : Classes or None
        The classes of a detector or a classifier; None for any other net.
    layers : ModuleList
        One layer for each section after ``[net]``.
    shapes : tuple of (int, int, int)
        The channels, height and width of each layer's output for the input size of the cfg.
    """

    def __init__(self, cfg: DarknetCfg, tree: WordTree | None = None) -> None:
        super().__init__()
        self.cfg = cfg = cfg if tree is None else _fitted(cfg, tree)
        self._given_tree = tree
        self.options: NetOptions = net_options(cfg.net)
        self.region: RegionSpec | None = None
        self.classes: Classes | None = None
        self.shapes: tuple[Shape, ...] = ()
        self.layers = nn.ModuleList()
        self._frozen = max((n for n, s in enumerate(cfg.layers) if s.flag("stopbackward")), default=-1)
        self._floats = 0
        shape: Shape = (self.options.channels, self.options.height, self.options.width)
        for section in cfg.layers:
            if self._is_classifier or self.region is not None:
                if section.name != "cost":
                    raise section.error(f"comes after the [{self._end}] layer, with which a net ends")
                log.info("%s:%d: [cost] is not used: the softmax has its own loss", section.file, section.line)
            layer, shape = self._build(section, shape)
            if min(shape) < 1:
                raise section.error(f"leaves nothing of the image: channels, height, width are {shape}")
            self.layers.append(layer)
            self.shapes += (shape,)
        if not cfg.layers:
            raise cfg.net.error("no layer follows")
        routes = [layer for layer in self.layers if isinstance(layer, Route)]
        self._kept = frozenset(number for route in routes for number in route.layers)

    @property
    def _is_classifier(self) -> bool:
        return any(section.name == "softmax" for section in self.cfg.layers[: len(self.layers)])

    @property
    def _end(self) -> str:
        return "region" if self.region is not None else "softmax"

    @property
    def stride(self) -> int:
        """Pixels of a cell of the last layer's grid."""
        return self.options.height // self.shapes[-1][1]

    def forward(self, images: Tensor) -> RegionOutput | NetOutput:
        """(B, C, H, W), RGB in 0..1 -> raw output.

        Returns
        -------
        RegionOutput or NetOutput
            What the net answers. The field ``raw`` of both is the array: (B, A*(5+K), H', W') in darknet's channel
            order, or logits (B, K).

        Raises
        ------
        ValueError
            If the images have other channels than the cfg says.
        """
        if images.dim() != 4 or images.shape[1] != self.options.channels:
            raise ValueError(f"images: (B, {self.options.channels}, H, W) is needed, got {tuple(images.shape)}")
        outputs: dict[int, Tensor] = {}
        rows = [layer.rows for layer in self.layers if isinstance(layer, TreeHead)]
        x = images
        for number, layer in enumerate(self.layers):
            match layer:
                case Route():
                    x = layer([outputs[n] for n in layer.layers])
                case TreeHead():
                    x = layer(x, *rows)
                case _:
                    x = layer(x)
            if number <= self._frozen:  # darknet's stopbackward: neither this layer nor any before it learns
                x = x.detach()
            if number in self._kept:
                outputs[number] = x
        if self.region is None:
            return NetOutput(x)
        return DenseRegionOutput(x, self.region.coding) if isinstance(x, Tensor) else x

    def _build(self, section: Section, shape: Shape) -> tuple[nn.Module, Shape]:
        channels, h, w = shape
        match section.name:
            case "convolutional":
                return self._convolution(section, shape)
            case "maxpool":
                stride = section.integer("stride", 1, at_least=1)
                size = section.integer("size", stride, at_least=1)
                try:
                    pool = DarknetMaxPool(size, stride, section.integer("padding", size - 1, at_least=0))
                except ValueError as error:
                    raise section.error(str(error)) from None
                if size > 2 * max(h, w) + 1:
                    raise section.error(f"windows of {size} are too large for an image of {h} x {w}")
                return pool, (channels, pool.length(h), pool.length(w))
            case "route":
                return self._route(section)
            case "reorg":
                stride = section.integer("stride", 1, at_least=1)
                if channels % stride**2 or h % stride or w % stride:
                    raise section.error(
                        f"stride={stride} needs channels, height and width that divide by {stride**2}, {stride} and "
                        f"{stride}; they are {shape}"
                    )
                return Reorg(stride), (channels * stride**2, h // stride, w // stride)
            case "avgpool":
                return GlobalMean(), (channels, 1, 1)
            case "softmax":
                tree = self._given_tree or read_tree_of(self.cfg, section)
                self.classes = FlatClasses(channels * h * w) if tree is None else TreeClasses(tree)
                if self.classes.number != channels * h * w:
                    raise section.error(f"{section.text('tree')} has {self.classes.number} nodes, the layer before "
                                        f"gives {channels * h * w} numbers{self._of_filters()}", "tree")  # fmt: skip
                return nn.Flatten(), (channels * h * w, 1, 1)
            case "region":
                self.region = self._region(section, shape)
                self.classes = self.region.classes
                return nn.Identity(), shape
        return nn.Identity(), shape  # [cost]

    def _convolution(self, section: Section, shape: Shape) -> tuple[nn.Module, Shape]:
        channels, h, w = shape
        filters = section.integer("filters", 1, at_least=1)
        size = section.integer("size", 1, at_least=1)
        stride = section.integer("stride", 1, at_least=1)
        padding = size // 2 if section.flag("pad") else section.integer("padding", 0, at_least=0)
        groups = section.integer("groups", 1, at_least=1)
        if channels % groups or filters % groups:
            raise section.error(f"groups={groups} divides not both {channels} input channels and {filters} filters")
        activation = section.text("activation", "logistic")
        if activation not in _ACTIVATIONS:
            raise section.error(f"{activation}: {', '.join(_ACTIVATIONS)} are supported", "activation")
        height, width = ((n + 2 * padding - size) // stride + 1 for n in (h, w))
        self._floats += filters * (channels // groups) * size**2 + 4 * filters
        if self._floats > MAX_FLOATS:
            raise section.error(f"makes a net of more than {MAX_FLOATS:,} weights")
        if min(height, width) < 1:
            raise section.error(f"size={size} is too large for an image of {h} x {w} with padding {padding}")
        plain = (size, stride, padding, groups, activation) == (1, 1, 0, 1, "linear")
        if plain and not section.flag("batch_normalize") and (head := self._head(channels, filters)) is not None:
            return head, (filters, h, w)
        block = ConvBlock(
            channels, filters, size, stride=stride, padding=padding, groups=groups,
            batch_norm=section.flag("batch_normalize"), activation=_ACTIVATIONS[activation](),
        )  # fmt: skip
        return block, (filters, height, width)

    def _head(self, channels: int, filters: int) -> TreeHead | None:
        """The last convolution as a head that computes what is read; None if it is not the last, or does not fit."""
        here = len(self.layers)
        after = self.cfg.layers[here + 1] if here + 1 < len(self.cfg.layers) else None
        if after is None or after.name != "region" or here <= self._frozen:
            return None
        num, classes = after.integer("num", 1, at_least=1), after.integer("classes", 20, at_least=1)
        if filters != num * (5 + classes):
            return None
        head = TreeHead(channels, _coding(after), classes)
        for weight, bias in head.dense_rows():
            nn.init.normal_(weight, std=math.sqrt(2 / channels))  # as every convolution of darknet's
            nn.init.zeros_(bias)
        return head

    def _route(self, section: Section) -> tuple[nn.Module, Shape]:
        here = len(self.layers)
        if "layers" not in section.options:
            raise section.error("layers= is missing")
        numbers = [n + here if n < 0 else n for n in section.integers("layers")]
        if any(not 0 <= n < here for n in numbers):
            raise section.error(f"{section.text('layers')}: this is layer {here}, only 0..{here - 1} exist", "layers")
        shapes = [self.shapes[n] for n in numbers]
        if len({shape[1:] for shape in shapes}) > 1:
            raise section.error(f"{section.text('layers')}: heights and widths differ: {shapes}", "layers")
        return Route(numbers), (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def _region(self, section: Section, shape: Shape) -> RegionSpec:
        num, classes = section.integer("num", 1, at_least=1), section.integer("classes", 20, at_least=1)
        if num > MAX_PRIORS:
            raise section.error(f"{num}: more priors than {MAX_PRIORS} are not supported", "num")
        if shape[0] != num * (5 + classes):
            raise section.error(
                f"needs num x (5 + classes) = {num} x (5 + {classes}) = {num * (5 + classes)} channels, the layer "
                f"before gives {shape[0]}{self._of_filters()}"
            )
        tree = self._given_tree or read_tree_of(self.cfg, section)
        box_map = read_map_of(self.cfg, section, classes)
        meaning: Classes
        if tree is None:
            meaning = FlatClasses(classes, "softmax" if section.flag("softmax") else "sigmoid", map=box_map)
        elif len(tree) != classes:
            raise section.error(f"{section.text('tree')} has {len(tree)} nodes, but classes={classes}", "tree")
        else:
            meaning = TreeClasses(tree, box_map)
        return RegionSpec(
            classes=meaning,
            coding=_coding(section),
            loss=LossConfig(
                object_scale=section.real("object_scale", 1.0),
                noobject_scale=section.real("noobject_scale", 1.0),
                class_scale=section.real("class_scale", 1.0),
                coord_scale=section.real("coord_scale", 1.0),
                thresh=section.real("thresh", 0.5),
                rescore=section.flag("rescore"),
                bias_match=section.flag("bias_match"),
            ),
        )

    def _of_filters(self) -> str:
        convolutions = [s for s in self.cfg.layers[: len(self.layers)] if s.name == "convolutional"]
        return f" (filters= of [convolutional] in line {convolutions[-1].line})" if convolutions else ""
