"""What is kept of the boxes of an image so that their classes can be asked about later.

N boxes, K nodes (or classes), D levels, C columns that one node's path touches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wordtree.softmax import level_log_conditionals, path_columns, path_width
from yolo9000.models.classes import Classes
from yolo9000.models.output import DetectorOutput


@dataclass(frozen=True, eq=False, repr=False)
class KeptBoxes:
    """The features (or logits) of N boxes, of which the class numbers that are asked for are computed.

    Parameters
    ----------
    output : DetectorOutput
        See `DetectorOutput.only`.
    places : Tensor (N,)
        The boxes' flat indices in it.
    classes : Classes
        What the class channels mean.
    """

    output: DetectorOutput
    places: Tensor
    classes: Classes

    def __getitem__(self, rows: Any) -> KeptBoxes:
        """Some of the boxes."""
        return KeptBoxes(self.output, self.places[torch.as_tensor(rows, device=self.places.device)], self.classes)

    @torch.no_grad()
    def conditionals(self, node: int) -> NDArray[np.float64]:
        """P(child | parent) on the path to a node, from the top, of each box: (N, D).

        For a flat class there is one level, which is P(class).
        """
        tree = self.classes.tree
        if tree is None:
            probabilities = self.classes.probabilities(self.output.class_logits(self.places).double())
            return probabilities[:, [node]].cpu().numpy()
        path = path_columns(
            torch.tensor(node, device=self.places.device), tree, path_width(tree, [node])
        )  # every column once
        logits = self.output.class_logits(self.places, path.columns).double()
        levels = level_log_conditionals(logits, path)[:, : tree.depth(node) + 1]
        return levels.exp().cpu().numpy()

    @torch.no_grad()
    def probabilities(self) -> NDArray[np.float64]:
        """P of every class of each box: (N, K)."""
        logits = self.output.class_logits(self.places).double()
        return self.classes.probabilities(logits).cpu().numpy()

    @torch.no_grad()
    def label(self, tree_threshold: float) -> tuple[NDArray[np.int64], tuple[tuple[float, ...], ...]]:
        """The label of each box at another threshold of the tree, and P of each node on the path to it."""
        found = self.classes.best_labels(self.output, self.places, tree_threshold)
        nodes = found.nodes.cpu().numpy()
        paths = found.paths(range(len(nodes)))
        if paths is None:
            paths = tuple((float(each),) for each in found.probabilities)
        return nodes, paths
