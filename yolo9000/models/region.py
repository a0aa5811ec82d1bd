"""What the numbers of a region head mean: priors, classes, tree, and the scales of its loss."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from wordtree import WordTree
from yolo9000.runtime.mistakes import Mistake

Net = TypeVar("Net", bound=nn.Module)

YOLO9000_PRIORS = ((0.77871, 1.14074), (3.00525, 4.31277), (9.22725, 9.61974))
"""The three priors of ``yolo9000.cfg``, in grid cells of stride 32 (darknet)."""

YOLOV2_PRIORS = (
    (0.57273, 0.677385),
    (1.87446, 2.06253),
    (3.33843, 5.47434),
    (7.88282, 3.52778),
    (9.77052, 9.16828),
)
"""The five priors of ``yolov2.cfg`` (COCO), in grid cells of stride 32 (darknet)."""


@dataclass(frozen=True, kw_only=True)
class RegionSpec:
    """Meaning of a region head's output and the constants of its loss; the defaults are yolo9000.cfg's.

    Parameters
    ----------
    priors
        Width and height of every prior ("anchor") in grid cells.
    num_classes
        Class channels K of one box: nodes of the tree, or flat classes without one.
    tree
        The WordTree whose sibling groups the class channels form; None for flat classes.
    map
        Box label -> tree node, for detection labels only (darknet's ``map=``); image labels are nodes already.
    softmax
        Without a tree: one softmax over the classes (True) or an independent sigmoid for each (False).
    object_scale, noobject_scale, class_scale, coord_scale
        Weights of the loss terms (darknet's ``[region]`` section; the paper names none).
    thresh
        A predicted box whose best IoU with a truth exceeds this is not taught to be background (darknet).
    rescore
        Objectness target of an assigned box: its IoU with the truth (True) or 1 (False) (darknet).
    bias_match
        Match truths to the priors' shapes (True) or to the predicted shapes (False) (darknet).
    prior_pull_images
        While fewer images than this were seen, every box is pulled weakly to its prior (darknet: 12,800).

    Raises
    ------
    Mistake
        If a prior is not positive, or the number of classes does not fit the tree or the map.

    Examples
    --------
    >>> RegionSpec(priors=((1.0, 2.0), (3.0, 3.0)), num_classes=20).channels
    50
    """

    priors: tuple[tuple[float, float], ...]
    num_classes: int
    tree: WordTree | None = None
    map: tuple[int, ...] | None = None
    softmax: bool = True
    object_scale: float = 5.0
    noobject_scale: float = 1.0
    class_scale: float = 1.0
    coord_scale: float = 1.0
    thresh: float = 0.6
    rescore: bool = True
    bias_match: bool = True
    prior_pull_images: int = 12_800

    def __post_init__(self) -> None:
        if not self.priors or any(min(prior) <= 0 for prior in self.priors):
            raise Mistake(f"`priors` {self.priors}: pairs of positive width and height in grid cells are needed")
        if self.num_classes < 1:
            raise Mistake(f"`num_classes` {self.num_classes}: at least 1 is needed")
        if self.tree is not None and len(self.tree) != self.num_classes:
            raise Mistake(f"`num_classes` {self.num_classes}: the tree has {len(self.tree)} nodes")
        if self.map is not None:
            outside = [node for node in self.map if not 0 <= node < self.num_classes]
            if outside:
                raise Mistake(f"map: nodes {outside[:5]} are outside 0..{self.num_classes - 1}")

    @property
    def num_priors(self) -> int:
        """Boxes A that every grid cell predicts."""
        return len(self.priors)

    @property
    def channels(self) -> int:
        """Channels A * (5 + K) of darknet's dense output."""
        return self.num_priors * (5 + self.num_classes)


def copy_of_net(net: Net) -> Net:
    """A deep copy with weights of its own; what its numbers mean (regions, trees) is shared: constant, and large.

    Examples
    --------
    >>> net = nn.Linear(1, 1)
    >>> net.region = RegionSpec(priors=((1.0, 1.0),), num_classes=2)
    >>> copied = copy_of_net(net)
    >>> copied.region is net.region, copied.weight is net.weight
    (True, False)
    """
    values = [value for module in net.modules() for value in vars(module).values()]
    return copy.deepcopy(net, {id(value): value for value in values if isinstance(value, RegionSpec | WordTree)})
