"""A net of darknet's in the place of our `Detector`: evaluated, used and trained further by the same engine."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from wordtree import WordTree
from wordtree.labels import coco_classes, voc_classes
from yolo9000.models.darknet_cfg import CfgError, DarknetCfg, parse_cfg
from yolo9000.models.darknet_net import DarknetNet
from yolo9000.models.region import RegionSpec
from yolo9000.models.region_output import RegionOutput
from yolo9000.models.yolov2 import Detector


class DarknetDetector(nn.Module):
    """The detector of a cfg, with a region as the engine needs it.

    Parameters
    ----------
    net : DarknetNet
        Made by `from_cfg`; it must end in a region layer.
    tree : WordTree, optional
        Names the classes of a net without a tree, see `class_tree`; by default COCO's names for 80 classes and VOC's
        for 20.

    Attributes
    ----------
    net : DarknetNet
    region : RegionSpec
        As in the cfg, but without its map: the labels of our data are nodes already.
    boxed : tuple of int
        The labels that had boxes in darknet's training: those of the map, without one all.

    Raises
    ------
    CfgError
        The net is no detector.

    Examples
    --------
    >>> import torch
    >>> from yolo9000.models import from_cfg
    >>> with torch.device("meta"):
    ...     detector = DarknetDetector(from_cfg("yolov2-tiny-voc"))
    >>> detector.region.tree.names[:3], detector.size
    (('aeroplane', 'bicycle', 'bird'), 416)
    """

    def __init__(self, net: DarknetNet, tree: WordTree | None = None) -> None:
        super().__init__()
        if net.region is None:
            raise CfgError(f"{net.cfg.file}: a classifier; a detector ends in a [region] layer")
        self.net = net
        region = net.region
        self.boxed = region.map or tuple(range(region.num_classes))
        if region.tree is None and region.softmax:
            region = replace(region, tree=tree or class_tree(region.num_classes))
        self.region: RegionSpec = replace(region, map=None)

    @property
    def size(self) -> int:
        """Side of the network's input, the longer one of the cfg's."""
        return max(self.net.options.width, self.net.options.height)

    @property
    def stride(self) -> int:
        """Pixels of a grid cell."""
        return self.net.stride

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
        detector = cls(DarknetNet(parse_cfg(cfg_text, file)), region.tree)
        detector.region = region
        return detector

    def forward(self, images: Tensor) -> RegionOutput:
        """(B, 3, H, W) in 0..1 -> raw output."""
        output: RegionOutput = self.net(images)
        return output


AnyDetector = Detector | DarknetDetector


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
    sources = {80: ("coco", coco_classes), 20: ("voc", voc_classes)}
    if classes not in sources:
        return None
    source, read = sources[classes]
    found = read()
    label_map = {name: node for node, name in enumerate(found)}
    return WordTree(tuple(found.values()), tuple(found), (-1,) * classes, label_maps={source: label_map})
