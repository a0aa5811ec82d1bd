"""A net of darknet's in the place of one of ours: evaluated, used and trained further by the same engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from wordtree import WordTree
from wordtree.labels import coco_classes, voc_classes
from yolo9000.darknet.cfg import CfgError, DarknetCfg, parse_cfg
from yolo9000.darknet.net import DarknetNet
from yolo9000.models.classes import Classes
from yolo9000.models.flat_classes import FlatClasses
from yolo9000.models.grid import GridOutput, GridSpec
from yolo9000.models.model import DetectionModel, GridDetector, RegionDetector
from yolo9000.models.output import RegionOutput
from yolo9000.models.region import RegionSpec
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.runtime.mistakes import Mistake


class CfgDetector(DetectionModel):
    """What the detectors of cfgs have in common.

    Attributes
    ----------
    net : DarknetNet
    boxed : tuple of int
        The labels that had boxes in darknet's training.
    """

    net: DarknetNet
    boxed: tuple[int, ...]

    @property
    def size(self) -> int:
        """Side of the network's input, the longer one of the cfg's."""
        return max(self.net.options.width, self.net.options.height)

    @property
    def only_size(self) -> int | None:
        return self.size if self.net.is_fixed else None

    @property
    def stride(self) -> int:
        return self.net.stride

    @property
    def cfg_text(self) -> str:
        """The cfg without the tree and map files that it names."""
        layers = tuple(
            replace(layer, options={key: value for key, value in layer.options.items() if key not in ("tree", "map")})
            for layer in self.net.cfg.layers
        )
        return DarknetCfg(self.net.cfg.file, self.net.cfg.net, layers).to_text()


class DarknetDetector(CfgDetector, RegionDetector):
    """The detector of a cfg that ends in ``[region]``, with a region as the engine needs it.

    Parameters
    ----------
    net : DarknetNet
        Made by `from_cfg`; it must end in a region layer.
    classes : Classes, optional
        As many as the net has, see `name_classes`; by default those of the cfg as far as their names are known.

    Attributes
    ----------
    net : DarknetNet
    region : RegionSpec
        As in the cfg, but without its map: the labels of our data are classes already.
    boxed : tuple of int
        The labels that had boxes in darknet's training: those of the map, without one all.

    Raises
    ------
    CfgError
        The net is no such detector, or `classes` are not as many as it has.

    Examples
    --------
    >>> import torch
    >>> from yolo9000.darknet import from_cfg
    >>> with torch.device("meta"):
    ...     detector = DarknetDetector(from_cfg("yolov2-tiny-voc"))
    >>> [detector.classes.name(number) for number in range(3)], detector.size
    (['aeroplane', 'bicycle', 'bird'], 416)
    """

    def __init__(self, net: DarknetNet, classes: Classes | None = None) -> None:
        super().__init__()
        if net.region is None:
            raise CfgError(f"{net.cfg.file}: a classifier; a detector ends in a [region] or [detection] layer")
        self.net = net
        own = net.region.classes
        self.boxed = own.map or tuple(range(own.number))
        self.region: RegionSpec = replace(net.region, classes=_as_many(net, own, classes))

    @property
    def description(self) -> dict[str, Any]:
        return {"net": "darknet", "cfg": self.cfg_text, "region": self.region.description}

    @classmethod
    def from_text(cls, cfg_text: str, region: RegionSpec, file: str) -> DarknetDetector:
        """Rebuild a detector from `cfg_text` and `region`; `file` is for messages."""
        detector = cls(DarknetNet(parse_cfg(cfg_text, file)), region.classes)
        detector.region = region
        return detector

    def forward(self, images: Tensor) -> RegionOutput:
        """(B, 3, H, W) in 0..1 -> raw output."""
        output: RegionOutput = self.net(images)
        return output


class DarknetGridDetector(CfgDetector, GridDetector):
    """The detector of a cfg that ends in ``[detection]``: YOLOv1's.

    Parameters
    ----------
    net : DarknetNet
        Made by `from_cfg`; it must end in a detection layer, and take square images.
    classes : Classes, optional
        As many as the net has, and without a tree; by default those of the cfg as far as their names are known.

    Attributes
    ----------
    net : DarknetNet
    detection : GridSpec
        As in the cfg.
    boxed : tuple of int
        All classes.

    Raises
    ------
    CfgError
        The net is no such detector, or `classes` are not as many as it has.

    Examples
    --------
    >>> import torch
    >>> from yolo9000.darknet import from_cfg
    >>> with torch.device("meta"):
    ...     detector = DarknetGridDetector(from_cfg("yolov1-tiny"))
    >>> detector.classes.name(14), detector.only_size, detector.stride
    ('person', 448, 64)
    """

    def __init__(self, net: DarknetNet, classes: Classes | None = None) -> None:
        super().__init__()
        if net.detection is None:
            raise CfgError(f"{net.cfg.file}: a detector of YOLOv1's ends in a [detection] layer")
        if net.options.width != net.options.height or net.options.width == 0:
            raise CfgError(f"{net.cfg.file}: square images are needed, and the net takes no others than its own")
        self.net = net
        own = net.detection.classes
        self.boxed = tuple(range(own.number))
        named = _as_many(net, own, classes)
        if not isinstance(named, FlatClasses):
            raise CfgError(f"{net.cfg.file}: the classes of [detection] form no tree; give their `names`")
        # what a data set says of its classes, and what the cfg says of their numbers
        self.detection: GridSpec = replace(net.detection, classes=replace(named, over=own.over, map=None))

    @property
    def description(self) -> dict[str, Any]:
        return {"net": "darknet", "cfg": self.cfg_text, "detection": self.detection.description}

    @classmethod
    def from_text(cls, cfg_text: str, detection: GridSpec, file: str) -> DarknetGridDetector:
        """Rebuild a detector from `cfg_text` and `detection`; `file` is for messages."""
        detector = cls(DarknetNet(parse_cfg(cfg_text, file)), detection.classes)
        detector.detection = detection
        return detector

    def forward(self, images: Tensor) -> GridOutput:
        """(B, 3, S, S) in 0..1 -> raw output."""
        output: GridOutput = self.net(images)
        return output


def detector_of(net: DarknetNet, classes: Classes | None = None) -> DarknetDetector | DarknetGridDetector:
    """The detector of a net, by the layer that it ends in.

    Raises
    ------
    CfgError
        The net is no detector, or the classes do not fit it.
    """
    return DarknetDetector(net, classes) if net.detection is None else DarknetGridDetector(net, classes)


def _as_many(net: DarknetNet, own: Classes, given: Classes | None) -> Classes:
    """The classes that are given, or those of the net by the names that they are known by."""
    if given is None:
        return name_classes(own, flat=net.detection is not None)
    if given.number != own.number:
        raise CfgError(f"{net.cfg.file}: the net has {own.number} classes, and {given.number} were given")
    return given


_KNOWN = {80: ("coco", coco_classes), 20: ("voc", voc_classes)}
"""Number of classes -> whose they are, in darknet's order."""


def name_classes(
    classes: Classes, *, tree: WordTree | None = None, names: Sequence[str] | None = None, flat: bool = False
) -> Classes:
    """The classes of a cfg as our data name them.

    Parameters
    ----------
    classes : Classes
        Those of the cfg. Their map is left out: the labels of our data are classes already.
    tree : WordTree, optional
        The classes of a net that has no tree, as many as it has. A net that has one keeps it.
    names : sequence of str, optional
        The names of the classes of a net without a tree, in the order of the cfg. Without `tree` and `names`, 80
        classes are taken for COCO's and 20 for VOC's, and those of other nets have no names.
    flat : bool
        Whether they stay without a tree, as those of YOLOv1 must. Those of one softmax otherwise become a group of
        siblings.

    Raises
    ------
    Mistake
        `tree` or `names` do not fit the classes.

    Examples
    --------
    >>> name_classes(FlatClasses(2), names=["person", "car"]).name(1)
    'car'
    """
    if isinstance(classes, TreeClasses):
        if names is not None:
            raise Mistake("`names`: the classes are the nodes of a tree, which names them")
        return replace(classes, map=None)
    if tree is not None and classes.over == "sigmoid":
        raise Mistake("`tree`: the classes have a sigmoid each (softmax=0) and form no tree; give their `names`")
    if tree is not None and flat:
        raise Mistake("`tree`: the classes of YOLOv1's output form no tree; give their `names`")
    if tree is not None and len(tree) != classes.number:
        raise Mistake(f"`tree`: it has {len(tree)} nodes, the net has {classes.number} classes")
    if names is None and classes.over == "softmax" and not flat:
        tree = tree or class_tree(classes.number)
    if tree is not None:
        return TreeClasses(tree)
    assert isinstance(classes, FlatClasses)
    if names is not None or classes.number not in _KNOWN:
        return FlatClasses(classes.number, classes.over, None if names is None else tuple(names))
    source, read = _KNOWN[classes.number]
    found = read()
    if not flat:
        return FlatClasses(classes.number, classes.over, tuple(found))
    maps = {source: {name: number for number, name in enumerate(found)}}
    return FlatClasses(classes.number, classes.over, tuple(found), wnids=tuple(found.values()), sources=maps)


def class_tree(classes: int) -> WordTree | None:
    """Classes without a tree as one group of siblings, whose softmax is the same as the classes'.

    Returns
    -------
    WordTree or None
        80 classes are taken for COCO's and 20 for VOC's, in darknet's order; otherwise None.

    Examples
    --------
    >>> tree = class_tree(80)
    >>> tree.names[2], len(tree.group_sizes), tree.label_maps["coco"]["car"]
    ('car', 1, 2)
    """
    if classes not in _KNOWN:
        return None
    source, read = _KNOWN[classes]
    found = read()
    label_map = {name: node for node, name in enumerate(found)}
    return WordTree(tuple(found.values()), tuple(found), (-1,) * classes, label_maps={source: label_map})
