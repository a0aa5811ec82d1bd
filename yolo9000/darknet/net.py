"""Any cfg of YOLO's and YOLOv2's time as a net.

A `DarknetNet` is what darknet would run: one module for each section, numbered as darknet numbers its layers, so that
its weights files fit (`yolo9000.darknet.load_darknet_weights`). `yolo9000.models.Detector` and `Yolov1` are the nets to
train from scratch: the same blocks at any width, with heads that start from rare objects. A net with a region answers
with a `RegionOutput` and carries a `RegionSpec` as ``model.region``, one of YOLOv1's with a `GridOutput` and a
`GridSpec` as ``model.detection``; so the losses, decoding and evaluation take either.

B images, A priors, K classes or nodes, H x W grid, S x S cells, n boxes of a cell.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from wordtree import WordTree, load_tree
from yolo9000.darknet.build_ends import grid_of_section, region_of_section
from yolo9000.darknet.build_layers import (
    FIXED,
    OF_IMAGES,
    WeightCount,
    build_connected,
    build_convolution,
    build_crop,
    build_dropout,
    build_local,
    build_maxpool,
    build_reorg,
    build_route,
)
from yolo9000.darknet.builtin_cfg import BUILTIN_NETS, builtin_cfg
from yolo9000.darknet.cfg import DarknetCfg, Section, parse_cfg, read_cfg
from yolo9000.darknet.cfg_files import read_tree_of
from yolo9000.darknet.connected import Connected
from yolo9000.darknet.layers import GlobalMean, Route, Shape
from yolo9000.darknet.net_options import NetOptions, net_options
from yolo9000.models.classes import Classes
from yolo9000.models.flat_classes import FlatClasses
from yolo9000.models.grid import GridOutput, GridSpec
from yolo9000.models.output import DenseRegionOutput, RegionOutput
from yolo9000.models.region import RegionSpec
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.models.tree_head import TreeHead

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NetOutput:
    """What a net answers that is no detector.

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
        yolo9000, yolov2, yolov2-voc, yolov2-tiny, yolov2-tiny-voc, extraction, yolov1, yolov1-tiny, yolov1-paper.
    tree : WordTree, str or Path, optional
        Classes in place of the cfg's: a tree, or what `wordtree.load_tree` takes. The filters of the last convolution
        follow its size; where that differs from the cfg's, a ``map=`` of the cfg, which names nodes of the other tree,
        is left out. Both are said in the log.

    Returns
    -------
    DarknetNet
        The net with fresh weights: He et al.'s, biases 0, as darknet. (Its running variances begin at 1, darknet's
        at 0; and it draws all weights of a ``[local]`` layer, where darknet leaves most at 0.)

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
    if layers and layers[-1].name == "detection":
        raise layers[-1].error("its classes form no tree; give their `names`")
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
        The meaning of the numbers of a detector with a region; None for any other net.
    detection : GridSpec or None
        The meaning of the numbers of a detector of YOLOv1's; None for any other net.
    classes : Classes or None
        The classes of a detector or a classifier; None for any other net.
    layers : ModuleList
        One layer for each section after ``[net]``.
    shapes : tuple of (int, int, int)
        The channels, height and width of each layer's output for the input size of the cfg. A vector has a height and
        a width of 1.
    """

    def __init__(self, cfg: DarknetCfg, tree: WordTree | None = None) -> None:
        super().__init__()
        self.cfg = cfg = cfg if tree is None else _fitted(cfg, tree)
        self._given_tree = tree
        self.options: NetOptions = net_options(cfg.net)
        self.region: RegionSpec | None = None
        self.detection: GridSpec | None = None
        self.classes: Classes | None = None
        self.shapes: tuple[Shape, ...] = ()
        self.layers = nn.ModuleList()
        self._vectors: list[bool] = []  # of each layer, whether it gives vectors and no images
        self._frozen = max((n for n, s in enumerate(cfg.layers) if s.flag("stopbackward")), default=-1)
        self._count = WeightCount()
        options = self.options
        shape: Shape = (options.inputs, 1, 1) if options.inputs else (options.channels, options.height, options.width)
        for section in cfg.layers:
            if self._end is not None:
                if section.name != "cost":
                    raise section.error(f"comes after the [{self._end}] layer, with which a net ends")
                log.info("%s:%d: [cost] is not used: the softmax has its own loss", section.file, section.line)
            is_vector = self._vectors[-1] if self._vectors else options.inputs > 0
            if is_vector and section.name in OF_IMAGES:
                raise section.error("needs an image, and the layer before gives a vector")
            layer, shape = self._build(section, shape)
            if min(shape) < 1:
                raise section.error(f"leaves nothing of the image: channels, height, width are {shape}")
            self.layers.append(layer)
            self.shapes += (shape,)
            self._vectors.append(self._gives_vectors(section, layer, is_vector))
        if not cfg.layers:
            raise cfg.net.error("no layer follows")
        routes = [layer for layer in self.layers if isinstance(layer, Route)]
        self._kept = frozenset(number for route in routes for number in route.layers)

    @property
    def _end(self) -> str | None:
        """The section that a net can end in and that is already there."""
        here = [section.name for section in self.cfg.layers[: len(self.layers)]]
        return next((name for name in ("region", "detection", "softmax") if name in here), None)

    def _gives_vectors(self, section: Section, layer: nn.Module, before: bool) -> bool:
        if isinstance(layer, Route):
            kinds = {self._vectors[number] for number in layer.layers}
            if len(kinds) > 1:
                raise section.error(f"{section.text('layers')}: images and vectors cannot be joined", "layers")
            return kinds.pop()
        return before or section.name in ("connected", "softmax", "detection")

    @property
    def stride(self) -> int:
        """Pixels of a cell of the last layer's grid."""
        side = self.shapes[-1][1] if self.detection is None else self.detection.side_of(self.shapes[-1][0])
        return max(1, self.options.height // side)

    @property
    def is_fixed(self) -> bool:
        """Whether the net takes no other size of its input than the cfg's, as it has a weight for each place."""
        return any(section.name in FIXED for section in self.cfg.layers)

    def clip_connected_deltas(self, limit: float | None) -> None:
        """Clip what every fully connected layer is given in the backward pass, as darknet does on a GPU.

        Darknet clips each number of it to -1..1 before the derivative of the activation. With the detection layer's
        scale of 5 for coordinates, an error above .2 then teaches no more than one of .2 does.

        Parameters
        ----------
        limit : float or None
            The largest absolute value: 1 for darknet's, if the loss is the sum over a batch; of a mean over B images
            it is 1 / B. None, as in a new net, clips nothing.

        Examples
        --------
        >>> import torch
        >>> text = "[net]\\ninputs=2\\n[connected]\\noutput=1\\nactivation=linear\\n"
        >>> net = DarknetNet(parse_cfg(text))
        >>> net.clip_connected_deltas(1.0)
        >>> (100 * net(torch.ones(1, 2)).raw).sum().backward()
        >>> net.layers[0][1].bias.grad.item()
        1.0
        """
        if limit is not None and not limit > 0:
            raise ValueError(f"limit {limit}: a positive number is needed, or None")
        for layer in self.layers:
            if isinstance(layer, Connected):
                layer.largest_delta = limit

    def forward(self, images: Tensor) -> RegionOutput | GridOutput | NetOutput:
        """(B, C, H, W), RGB in 0..1 -> raw output.

        Returns
        -------
        RegionOutput, GridOutput or NetOutput
            What the net answers. The field ``raw`` of each is the array: (B, A*(5+K), H', W') in darknet's channel
            order, the vector (B, S*S*(K + 5n)) that ``[detection]`` is given, or logits (B, K).

        Raises
        ------
        ValueError
            If the images have other channels than the cfg says, or a size that the net cannot take.
        """
        self._check(images)
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
        if self.detection is not None:
            return GridOutput(x, self.detection)
        if self.region is None:
            return NetOutput(x)
        return DenseRegionOutput(x, self.region.coding) if isinstance(x, Tensor) else x

    def _check(self, images: Tensor) -> None:
        options = self.options
        if options.inputs:
            if images.dim() != 2 or images.shape[1] != options.inputs:
                raise ValueError(f"(B, {options.inputs}) is needed, got {tuple(images.shape)}")
            return
        if images.dim() != 4 or images.shape[1] != options.channels:
            raise ValueError(f"images: (B, {options.channels}, H, W) is needed, got {tuple(images.shape)}")
        if self.is_fixed and images.shape[2:] != (options.height, options.width):
            raise ValueError(
                f"images of {options.height} x {options.width} are needed, got {tuple(images.shape[2:])}: a layer of "
                "the net has weights for each place"
            )

    def _build(self, section: Section, shape: Shape) -> tuple[nn.Module, Shape]:
        numbers = shape[0] * shape[1] * shape[2]
        match section.name:
            case "convolutional":
                return self._convolution(section, shape)
            case "maxpool":
                return build_maxpool(section, shape)
            case "route":
                return build_route(section, self.shapes)
            case "reorg":
                return build_reorg(section, shape)
            case "avgpool":
                return GlobalMean(), (shape[0], 1, 1)
            case "local":
                return build_local(section, shape, self._count)
            case "connected":
                return build_connected(section, shape, self._count)
            case "dropout":
                return build_dropout(section, shape)
            case "crop":
                return build_crop(section, shape)
            case "softmax":
                tree = self._given_tree or read_tree_of(self.cfg, section)
                self.classes = FlatClasses(numbers) if tree is None else TreeClasses(tree)
                if self.classes.number != numbers:
                    raise section.error(f"{section.text('tree')} has {self.classes.number} nodes, the layer before "
                                        f"gives {numbers} numbers{self._of_filters()}", "tree")  # fmt: skip
                return nn.Flatten(), (numbers, 1, 1)
            case "region":
                self.region = region_of_section(self.cfg, section, shape, self._given_tree, self._of_filters())
                self.classes = self.region.classes
                return nn.Identity(), shape
            case "detection":
                self.detection = grid_of_section(section, shape)
                self.classes = self.detection.classes
                return nn.Flatten(), (numbers, 1, 1)
        return nn.Identity(), shape  # [cost]

    def _convolution(self, section: Section, shape: Shape) -> tuple[nn.Module, Shape]:
        """A convolution; if it is the last one before a region, a head that computes what is read."""
        here = len(self.layers)
        after = self.cfg.layers[here + 1] if here + 1 < len(self.cfg.layers) else None
        is_head = after is not None and after.name == "region" and here > self._frozen
        return build_convolution(section, shape, self._count, region=after if is_head else None)

    def _of_filters(self) -> str:
        convolutions = [s for s in self.cfg.layers[: len(self.layers)] if s.name == "convolutional"]
        return f" (filters= of [convolutional] in line {convolutions[-1].line})" if convolutions else ""
