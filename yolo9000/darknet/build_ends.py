"""The sections that a net ends in -> what its numbers mean."""

from __future__ import annotations

import logging
import math

from torch import nn

from wordtree import WordTree
from yolo9000.darknet.cfg import DarknetCfg, Section
from yolo9000.darknet.cfg_files import read_map_of, read_tree_of
from yolo9000.darknet.layers import Shape
from yolo9000.models.box_coding import BoxCoding
from yolo9000.models.classes import Classes
from yolo9000.models.flat_classes import FlatClasses
from yolo9000.models.grid import GridLossConfig, GridSpec
from yolo9000.models.region import LossConfig, RegionSpec
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.models.tree_head import TreeHead
from yolo9000.runtime.mistakes import Mistake

MAX_PRIORS = 1000
"""A region of more priors than this, or a grid of more boxes a cell, is taken for a slip of the pen."""

log = logging.getLogger(__name__)


def coding_of(region: Section) -> BoxCoding:
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


def region_of_section(
    cfg: DarknetCfg, section: Section, shape: Shape, given_tree: WordTree | None, hint: str
) -> RegionSpec:
    """The region of ``[region]``.

    Parameters
    ----------
    cfg : DarknetCfg
        Whose files are read.
    section : Section
    shape : tuple of (int, int, int)
        That of the layer before.
    given_tree : WordTree or None
        In the place of the cfg's.
    hint : str
        Which line decides the channels, for messages.
    """
    num, classes = section.integer("num", 1, at_least=1), section.integer("classes", 20, at_least=1)
    if num > MAX_PRIORS:
        raise section.error(f"{num}: more priors than {MAX_PRIORS} are not supported", "num")
    if shape[0] != num * (5 + classes):
        raise section.error(
            f"needs num x (5 + classes) = {num} x (5 + {classes}) = {num * (5 + classes)} channels, the layer "
            f"before gives {shape[0]}{hint}"
        )
    tree = given_tree or read_tree_of(cfg, section)
    box_map = read_map_of(cfg, section, classes)
    meaning: Classes
    if tree is None:
        meaning = FlatClasses(classes, "softmax" if section.flag("softmax") else "sigmoid", map=box_map)
    elif len(tree) != classes:
        raise section.error(f"{section.text('tree')} has {len(tree)} nodes, but classes={classes}", "tree")
    else:
        meaning = TreeClasses(tree, box_map)
    return RegionSpec(
        classes=meaning,
        coding=coding_of(section),
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


def head_before(region: Section, channels: int, filters: int) -> TreeHead | None:
    """The convolution before a region as a head that computes what is read; None if the filters do not fit."""
    num, classes = region.integer("num", 1, at_least=1), region.integer("classes", 20, at_least=1)
    if filters != num * (5 + classes):
        return None
    head = TreeHead(channels, coding_of(region), classes)
    for weight, bias in head.dense_rows():
        nn.init.normal_(weight, std=math.sqrt(2 / channels))  # as every convolution of darknet's
        nn.init.zeros_(bias)
    return head


def grid_of_section(section: Section, shape: Shape) -> GridSpec:
    """The grid of ``[detection]``; `shape` is that of the layer before."""
    side, num = section.integer("side", 7, at_least=1), section.integer("num", 1, at_least=1)
    classes = section.integer("classes", 1, at_least=1)
    if "coords" not in section.options:
        raise section.error("coords=4 is missing; darknet's default is 1, for which its boxes are not made")
    if num > MAX_PRIORS:
        raise section.error(f"{num}: more boxes a cell than {MAX_PRIORS} are not supported", "num")
    needed, given = side * side * (classes + 5 * num), shape[0] * shape[1] * shape[2]
    if needed != given:
        raise section.error(
            f"needs side x side x (classes + 5 x num) = {side} x {side} x ({classes} + 5 x {num}) = {needed} numbers, "
            f"the layer before gives {given}"
        )
    if section.flag("random"):
        # a matter of its first 64,000 images of training; weights that were trained with it are as good as others
        log.info("%s:%d: [detection] random=1: the best predictor learns here, from the first image on",
                 section.file, section.line)  # fmt: skip
    try:
        return GridSpec(
            classes=FlatClasses(classes, "softmax" if section.flag("softmax") else "linear"),
            num=num,
            square_root=section.flag("sqrt"),
            loss=GridLossConfig(
                object_scale=section.real("object_scale", 1.0),
                noobject_scale=section.real("noobject_scale", 1.0),
                class_scale=section.real("class_scale", 1.0),
                coord_scale=section.real("coord_scale", 1.0),
                rescore=section.flag("rescore"),
                forced=section.flag("forced"),
            ),
        )
    except Mistake as error:
        raise section.error(str(error)) from error
