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
    boxes_cxcywh
        (N, 4), relative to the network's input; ``Placement.to_image`` brings them back to pixels of the image.
    scores
        (N,) objectness * P(node).
    nodes
        (N,) class: a node of the tree, or a flat class.
    objectness
        (N,) how sure the net is that there is a thing.
    probabilities
        (N,) P(node), given that there is a thing.
    paths
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

    def to_json(self, classes: Classes, boxes_xyxy: Tensor) -> list[dict[str, Any]]:
        """Plain values for a JSON file: one dict a box, with the whole path and its probabilities.

        Parameters
        ----------
        classes
            Gives ids and names, as far as the classes have them.
        boxes_xyxy
            (N, 4) in the unit the file shall have, as a rule pixels of the image.
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
