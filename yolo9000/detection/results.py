"""What was found in one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from yolo9000.models.classes import Classes


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
    """

    boxes_cxcywh: Tensor
    scores: Tensor
    nodes: Tensor
    objectness: Tensor
    probabilities: Tensor
    paths: tuple[tuple[float, ...], ...] | None = None

    def __len__(self) -> int:
        return int(self.scores.shape[0])

    def __repr__(self) -> str:
        best = f", best score {float(self.scores.max()):.3f}" if len(self) else ""
        return f"<Detections: {len(self)} boxes{best}>"

    def on_cpu(self) -> Detections:
        """The same in float32 on the CPU, without paths."""
        return Detections(
            boxes_cxcywh=self.boxes_cxcywh.float().cpu(),
            scores=self.scores.float().cpu(),
            nodes=self.nodes.cpu(),
            objectness=self.objectness.float().cpu(),
            probabilities=self.probabilities.float().cpu(),
        )

    def to_json(self, classes: Classes, boxes_xyxy: Tensor) -> list[dict[str, Any]]:
        """Plain values for a JSON file: one dict a box, with the whole path and its probabilities.

        Parameters
        ----------
        classes : Classes
            They give ids and names, as far as they have them.
        boxes_xyxy : Tensor (N, 4)
            Boxes in the unit the file shall have, as a rule pixels of the image.

        Returns
        -------
        list of dict
        """
        found = []
        for i, node in enumerate(self.nodes.tolist()):
            entry: dict[str, Any] = {
                "box_xyxy": [round(value, 2) for value in boxes_xyxy[i].tolist()],
                "score": round(float(self.scores[i]), 6),
                "objectness": round(float(self.objectness[i]), 6),
                "node": node,
                "probability": round(float(self.probabilities[i]), 6),
            }
            entry |= classes.identity(node)
            if path := classes.path(node):
                probabilities = self.paths[i] if self.paths is not None else (None,) * len(path)
                entry["path"] = [
                    {**classes.identity(n), "probability": p and round(p, 6)}
                    for n, p in zip(path, probabilities, strict=True)
                ]
            found.append(entry)
        return found
