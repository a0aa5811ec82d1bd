"""Raw numbers -> what darknet's last layers give: sigmoids, and probabilities given the parent.

B images, A priors, K classes or nodes, H x W grid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wordtree import WordTree
from wordtree.softmax import log_conditionals
from yolo9000.models.region import RegionSpec
from yolo9000.models.region_output import RegionOutput


def region_activations(output: RegionOutput | Tensor, region: RegionSpec) -> Tensor:
    """The output of darknet's region layer, of every box and class.

    Parameters
    ----------
    output
        The net's output, or its array (B, A*(5+K), H, W).
    region
        Priors and classes.

    Returns
    -------
    Tensor
        (B, A*(5+K), H, W), channel ``prior*(5+K) + entry``: sigmoid(tx), sigmoid(ty), tw, th, sigmoid(to), and the
        classes: P(node | parent) with a tree, else one softmax or sigmoids, as the region says.

    Raises
    ------
    ValueError
        If the channels do not fit the region.

    Examples
    --------
    >>> region = RegionSpec(priors=((1.0, 1.0),), num_classes=2)
    >>> region_activations(torch.zeros(1, 7, 1, 1), region).flatten().tolist()
    [0.5, 0.5, 0.0, 0.0, 0.5, 0.5, 0.5]
    """
    raw = output if isinstance(output, Tensor) else output.raw
    if raw.dim() != 4 or raw.shape[1] != region.channels:
        raise ValueError(f"output has the shape {tuple(raw.shape)}, the region needs (B, {region.channels}, H, W)")
    rows = raw.unflatten(1, (region.num_priors, -1)).movedim(2, -1)  # (B, A, H, W, 5 + K)
    xy, wh, objectness, logits = rows.split([2, 2, 1, region.num_classes], dim=-1)
    classes = (
        logits.sigmoid() if region.tree is None and not region.softmax else class_probabilities(logits, region.tree)
    )
    active = torch.cat([xy.sigmoid(), wh, objectness.sigmoid(), classes], dim=-1)
    return active.movedim(-1, 2).flatten(1, 2)


def class_probabilities(logits: Tensor, tree: WordTree | None) -> Tensor:
    """The output of darknet's softmax layer: P(node | parent) with a tree, one softmax without.

    Parameters
    ----------
    logits
        (..., K).
    tree
        Of the classes.

    Returns
    -------
    Tensor
        (..., K). For absolute probabilities see `wordtree.softmax.log_probs`.

    Examples
    --------
    >>> tree = WordTree(("a", "b", "c"), ("animal", "dog", "cat"), (-1, 0, 0))
    >>> class_probabilities(torch.zeros(3), tree).tolist()
    [1.0, 0.5, 0.5]
    """
    return logits.softmax(dim=-1) if tree is None else log_conditionals(logits, tree).exp()
