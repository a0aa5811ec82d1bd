"""What was found in one image."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Detections:
    """N boxes of one image, best score first.

    Parameters
    ----------
    boxes_cxcywh : Tensor (N, 4)
        Relative to the network's input; ``Placement.to_image`` brings them back to pixels of the image.
    scores : Tensor (N,)
        Objectness * P(node).
    nodes : Tensor (N,)
        The class of each box: a node of the tree, or a flat class.
    objectness : Tensor (N,)
        How sure the net is that there is a thing.
    probabilities : Tensor (N,)
        P(node), given that there is a thing.
    paths : tuple of tuples of float, optional
        For every box P of each node on the path to its label, from the top; None for flat classes.
    places : Tensor (N,), optional
        The flat index of each box in the output of its batch, by which more can be asked of it.
    """

    boxes_cxcywh: Tensor
    scores: Tensor
    nodes: Tensor
    objectness: Tensor
    probabilities: Tensor
    paths: tuple[tuple[float, ...], ...] | None = None
    places: Tensor | None = None

    def __len__(self) -> int:
        return int(self.scores.shape[0])

    def __repr__(self) -> str:
        best = f", best score {float(self.scores.max()):.3f}" if len(self) else ""
        return f"<Detections: {len(self)} boxes{best}>"

    def on_cpu(self) -> Detections:
        """The same in float32 on the CPU, without paths and places."""
        return Detections(
            boxes_cxcywh=self.boxes_cxcywh.float().cpu(),
            scores=self.scores.float().cpu(),
            nodes=self.nodes.cpu(),
            objectness=self.objectness.float().cpu(),
            probabilities=self.probabilities.float().cpu(),
        )
