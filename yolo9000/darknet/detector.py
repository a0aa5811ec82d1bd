"""A net of darknet's in the place of our `Detector`: evaluated, used and trained further by the same engine."""

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
from yolo9000.models.model import RegionDetector
from yolo9000.models.output import RegionOutput
from yolo9000.models.region import RegionSpec
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.runtime.mistakes import Mistake


class DarknetDetector(RegionDetector):
    """The detector of a cfg, with a region as the engine needs it.

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
        The net is no detector, or `classes` are not as many as it has.

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
            raise CfgError(f"{net.cfg.file}: a classifier; a detector ends in a [region] layer")
        self.net = net
        own = net.region.classes
        self.boxed = own.map or tuple(range(own.number))
        classes = name_classes(own) if classes is None else classes
        if classes.number != own.number:
            raise CfgError(f"{net.cfg.file}: the net has {own.number} classes, and {classes.number} were given")
        self.region: RegionSpec = replace(net.region, classes=classes)

    @property
    def size(self) -> int:
        """Side of the network's input, the longer one of the cfg's."""
        return max(self.net.options.width, self.net.options.height)

    @property
    def stride(self) -> int:
        return self.net.stride

    @property
    def description(self) -> dict[str, Any]:
        return {"net": "darknet", "cfg": self.cfg_text, "region": self.region.description}

    @property
    def cfg_text(self) -> str:
        """The cfg without the tree and map files that it names."""
        layers = tuple(
            replace(layer, options={key: value for key, value in layer.options.items() if key not in ("tree", "map")})
            for layer in self.net.cfg.layers
        )
        return DarknetCfg(self.net.cfg.file, self.net.cfg.net, layers).to_text()

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


_KNOWN = {80: ("coco", coco_classes), 20: ("voc", voc_classes)}
"""Number of classes -> whose they are, in darknet's order."""


def name_classes(classes: Classes, *, tree: WordTree | None = None, names: Sequence[str] | None = None) -> Classes:
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
    if tree is not None and len(tree) != classes.number:
        raise Mistake(f"`tree`: it has {len(tree)} nodes, the net has {classes.number} classes")
    if names is None and classes.over == "softmax":
        tree = tree or class_tree(classes.number)
    if tree is not None:
        return TreeClasses(tree)
    if names is None and classes.number in _KNOWN:
        names = tuple(_KNOWN[classes.number][1]())
    own_names = None if names is None else tuple(names)
    return FlatClasses(classes.number, "sigmoid" if classes.over == "sigmoid" else "softmax", own_names)


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
