"""Class channels without a tree: one softmax over them, or a sigmoid for each.

N boxes or images, K classes, B images, M truths of the fullest image, V truths of the batch, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from wordtree.softmax import PathColumns
from wordtree.tables import TreeTables
from yolo9000.models.classes import BestLabels, Classes, LabelColumns, LabelReader, Outside, check_map
from yolo9000.models.output import DetectorOutput
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.tensors import to_device


@dataclass(frozen=True)
class FlatClasses:
    """Classes without a tree.

    Parameters
    ----------
    number : int
        K.
    over : {"softmax", "sigmoid"}
        One softmax over the classes, of which one is true, or an independent sigmoid for each (darknet's
        ``softmax=0``).
    names : tuple of str, optional
        The name of each class. Labels of data are matched to the classes by these names; without names the classes are
        numbers, and only what has their numbers can be compared with them.
    map : tuple of int, optional
        Box label -> class (darknet's ``map=``).

    Raises
    ------
    Mistake
        If there is no class, the names are not one for each class and all different, or the map names what is no
        class.

    Examples
    --------
    >>> classes = FlatClasses(2, "sigmoid", names=("cat", "dog"))
    >>> classes.probabilities(torch.zeros(2)).tolist(), classes.label_maps
    ([0.5, 0.5], {'names': {'cat': 0, 'dog': 1}})
    """

    number: int
    over: Literal["softmax", "sigmoid"] = "softmax"
    names: tuple[str, ...] | None = None
    map: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.number < 1:
            raise Mistake(f"`number` {self.number}: at least 1 class is needed")
        if self.over not in ("softmax", "sigmoid"):
            raise Mistake(f"`over` {self.over}: softmax or sigmoid is needed")
        if self.names is not None:
            if len(self.names) != self.number:
                raise Mistake(f"`names`: {len(self.names)} names for {self.number} classes")
            if repeated := sorted({name for name in self.names if self.names.count(name) > 1}):
                raise Mistake(f"`names`: {', '.join(repeated[:5])} stands there more than once")
        check_map(self)

    @property
    def tree(self) -> None:
        return None

    def probabilities(self, logits: Tensor, tables: TreeTables | None = None) -> Tensor:
        return logits.softmax(dim=-1) if self.over == "softmax" else logits.sigmoid()

    def log_probabilities(self, logits: Tensor) -> Tensor:
        logits = logits.float()
        return logits.log_softmax(dim=-1) if self.over == "softmax" else F.logsigmoid(logits)

    def conditionals(self, logits: Tensor) -> Tensor:
        return self.probabilities(logits)

    def best_labels(self, output: DetectorOutput, boxes: Tensor, threshold: float) -> BestLabels:
        probability, nodes = self.probabilities(output.class_logits(boxes).float()).max(dim=-1)
        return BestLabels(nodes, probability)

    def answers(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        probability = self.probabilities(logits)
        along, path = probability.max(dim=-1, keepdim=True)
        return probability, path, along

    def label_reader(self, output: DetectorOutput, labels: Tensor) -> LabelReader:
        def read(flat: Tensor, row: Tensor, place: Tensor) -> Tensor:
            return self.log_probabilities(output.class_logits(flat))[row, labels[place]]

        return read

    def related(self, nodes: Tensor) -> Tensor:
        """The same label."""
        return nodes[:, None] == nodes[None, :]

    def part(self, nodes: tuple[int, ...]) -> tuple[tuple[int, ...] | None, Classes]:
        return None, self

    def paths(self, device: torch.device | str) -> Tensor:
        return torch.arange(self.number, device=device)[:, None]

    def levels(self, device: torch.device | str) -> Tensor:
        return torch.zeros(self.number, dtype=torch.int64, device=device)

    def label_columns(self, labels: Tensor, truths: Tensor, area_labels: Tensor, device: torch.device) -> LabelColumns:
        return LabelColumns()

    def groups(self, labels: Tensor) -> Tensor | None:
        return None

    def outside(self, sources: Sequence[Tensor], device: torch.device) -> Outside:
        rows = [~nodes.new_zeros(self.number, dtype=torch.bool).index_fill(0, nodes, True) for nodes in sources]
        return Outside(None, None, to_device(torch.stack(rows), device), list(range(len(sources))))

    def truth_loss(
        self,
        logits: Tensor,
        *,
        labels: Tensor,
        truths: Tensor,
        groups: Tensor | None,
        paths: PathColumns | None,
        later: Tensor,
        wins: Tensor,
    ) -> Tensor:
        """Under sigmoids several truths at one box are several labels of it."""
        one_hot = F.one_hot(labels.clamp(min=0), self.number).to(logits.dtype)
        if self.over == "sigmoid":
            one_hot = (one_hot + later.transpose(1, 2).to(logits.dtype) @ one_hot).clamp(max=1)
        goal = one_hot.flatten(0, 1).index_select(0, truths)
        if self.over == "softmax":
            loss = -(logits.log_softmax(dim=-1) * goal).sum(dim=-1)
        else:
            loss = F.binary_cross_entropy_with_logits(logits, goal, reduction="none").sum(dim=-1)
        return torch.where(wins.flatten().index_select(0, truths), loss, 0.0).sum()

    def image_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.over == "softmax":
            return F.cross_entropy(logits.float(), labels, reduction="sum")
        goal = F.one_hot(labels, self.number).float()
        return F.binary_cross_entropy_with_logits(logits.float(), goal, reduction="sum")

    @property
    def label_maps(self) -> Mapping[str, Mapping[str, int]]:
        return {} if self.names is None else {"names": {name: number for number, name in enumerate(self.names)}}

    @property
    def ids(self) -> Mapping[str, int]:
        return {}

    def identity(self, node: int) -> dict[str, str]:
        return {} if self.names is None else {"name": self.names[node]}

    def path(self, node: int) -> tuple[int, ...]:
        return ()

    def name(self, node: int) -> str:
        return str(node) if self.names is None else self.names[node]

    @property
    def description(self) -> dict[str, Any]:
        return {"over": self.over, "number": self.number, "names": self.names, "map": self.map}

    def __str__(self) -> str:
        return f"{self.number:,} classes"
