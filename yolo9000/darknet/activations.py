"""Raw numbers -> what darknet's region layer gives: sigmoids, and probabilities given the parent.

B images, A priors, K classes or nodes, H x W grid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from yolo9000.models.output import RegionOutput
from yolo9000.models.region import RegionSpec


def region_activations(output: RegionOutput | Tensor, region: RegionSpec) -> Tensor:
    """The output of darknet's region layer, of every box and class.

    Parameters
    ----------
    output : RegionOutput or Tensor (B, A*(5+K), H, W)
        The net's output, or its array.
    region : RegionSpec
        The classes and the box coding.

    Returns
    -------
    Tensor (B, A*(5+K), H, W)
        Channel ``prior*(5+K) + entry`` holds sigmoid(tx), sigmoid(ty), tw, th, sigmoid(to), and the classes:
        P(node | parent) with a tree, else one softmax or sigmoids.

    Raises
    ------
    ValueError
        If the channels do not fit the region.

    Examples
    --------
    >>> from yolo9000.models import BoxCoding, FlatClasses
    >>> region = RegionSpec(classes=FlatClasses(2), coding=BoxCoding(((1.0, 1.0),)))
    >>> region_activations(torch.zeros(1, 7, 1, 1), region).flatten().tolist()
    [0.5, 0.5, 0.0, 0.0, 0.5, 0.5, 0.5]
    """
    raw = output if isinstance(output, Tensor) else output.raw
    if raw.dim() != 4 or raw.shape[1] != region.channels:
        raise ValueError(f"output has the shape {tuple(raw.shape)}, the region needs (B, {region.channels}, H, W)")
    rows = raw.unflatten(1, (region.coding.num_priors, -1)).movedim(2, -1)  # (B, A, H, W, 5 + K)
    boxes, objectness, logits = rows.split([4, 1, region.classes.number], dim=-1)
    active = torch.cat(
        [region.coding.activate(boxes), objectness.sigmoid(), region.classes.conditionals(logits)], dim=-1
    )
    return active.movedim(-1, 2).flatten(1, 2)
