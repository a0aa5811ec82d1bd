"""Class channels without a tree: one softmax over them, a sigmoid for each, or the numbers as they are.

N boxes or images, K classes, B images, M truths of the fullest image, V truths of the batch, L labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from wordtree import WordTree
from wordtree.softmax import PathColumns
from wordtree.tables import TreeTables
from yolo9000.models.classes import BestLabels, Classes, LabelColumns, LabelReader, Outside, check_map
from yolo9000.models.output import DetectorOutput
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.tensors import to_device

FlatOver = Literal["softmax", "sigmoid", "linear"]

LEAST = 1e-6
"""A linear class number below this counts as this where its logarithm is asked for."""


@dataclass(frozen=True)
class FlatClasses:
    """Classes without a tree.

    Parameters
    ----------
    number : int
        K.
    over : {"softmax", "sigmoid", "linear"}
        One softmax over the classes, of which one is true; an independent sigmoid for each (darknet's ``softmax=0``
        of a region); or the numbers themselves, which a squared error teaches to be probabilities (YOLOv1).
    names : tuple of str, optional
        The name of each class. Labels of data are matched to the classes by these names; without names the classes are
        numbers, and only what has their numbers can be compared with them.
    map : tuple of int, optional
        Box label -> class (darknet's ``map=``).
    wnids : tuple of str, optional
        The wnid of each class, where the classes come from a tree; see `flat_classes`.
    sources : mapping, optional
        For each source of labels: the name that it has for a class -> the class. By default the `names`.
    kept : tuple of int, optional
        The only classes that a box may be labelled with.

    Raises
    ------
    Mistake
        If there is no class, the names are not one for each class and all different, or `map` or `kept` name what
        is no class.

    Examples
    --------
    >>> classes = FlatClasses(2, "sigmoid", names=("cat", "dog"))
    >>> classes.probabilities(torch.zeros(2)).tolist(), classes.label_maps
    ([0.5, 0.5], {'names': {'cat': 0, 'dog': 1}})
    """

    number: int
    over: FlatOver = "softmax"
    names: tuple[str, ...] | None = None
    map: tuple[int, ...] | None = None
    wnids: tuple[str, ...] | None = field(default=None, repr=False)
    sources: Mapping[str, Mapping[str, int]] | None = field(default=None, repr=False, hash=False)
    kept: tuple[int, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.number < 1:
            raise Mistake(f"`number` {self.number}: at least 1 class is needed")
        if self.over not in get_args(FlatOver):
            raise Mistake(f"`over` {self.over}: softmax, sigmoid or linear is needed")
        if self.names is not None:
            if len(self.names) != self.number:
                raise Mistake(f"`names`: {len(self.names)} names for {self.number} classes")
            if repeated := sorted(name for name, times in Counter(self.names).items() if times > 1):
                raise Mistake(f"`names`: {', '.join(repeated[:5])} stands there more than once")
        check_map(self)

    @property
    def tree(self) -> None:
        return None

    def probabilities(self, logits: Tensor, tables: TreeTables | None = None) -> Tensor:
        match self.over:
            case "softmax":
                return logits.softmax(dim=-1)
            case "sigmoid":
                return logits.sigmoid()
            case "linear":
                return logits.clamp(0, 1)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        logits = logits.float()
        match self.over:
            case "softmax":
                return logits.log_softmax(dim=-1)
            case "sigmoid":
                return F.logsigmoid(logits)
            case "linear":
                return logits.clamp(LEAST, 1).log()

    def conditionals(self, logits: Tensor) -> Tensor:
        return logits if self.over == "linear" else self.probabilities(logits)

    def best_labels(self, output: DetectorOutput, boxes: Tensor, threshold: float) -> BestLabels:
        probabilities = self.probabilities(output.class_logits(boxes).float())
        if self.kept is None:
            probability, nodes = probabilities.max(dim=-1)
            return BestLabels(nodes, probability)
        kept = torch.tensor(self.kept, device=probabilities.device)
        probability, place = probabilities.index_select(-1, kept).max(dim=-1)
        return BestLabels(kept[place], probability)

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
        self._refuse_linear()
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
        self._refuse_linear()
        if self.over == "softmax":
            return F.cross_entropy(logits.float(), labels, reduction="sum")
        goal = F.one_hot(labels, self.number).float()
        return F.binary_cross_entropy_with_logits(logits.float(), goal, reduction="sum")

    def _refuse_linear(self) -> None:
        if self.over == "linear":
            raise ValueError("linear class numbers have no cross-entropy; `yolov1_loss` teaches them")

    @property
    def label_maps(self) -> Mapping[str, Mapping[str, int]]:
        if self.sources is not None:
            return self.sources
        return {} if self.names is None else {"names": {name: number for number, name in enumerate(self.names)}}

    @property
    def ids(self) -> Mapping[str, int]:
        return {} if self.wnids is None else {wnid: number for number, wnid in enumerate(self.wnids)}

    def identity(self, node: int) -> dict[str, str]:
        wnid = {} if self.wnids is None else {"id": self.wnids[node]}
        return wnid if self.names is None else wnid | {"name": self.names[node]}

    def path(self, node: int) -> tuple[int, ...]:
        return ()

    def name(self, node: int) -> str:
        return str(node) if self.names is None else self.names[node]

    @property
    def description(self) -> dict[str, Any]:
        sources = None if self.sources is None else {name: dict(labels) for name, labels in self.sources.items()}
        plain: dict[str, Any] = {"over": self.over, "number": self.number, "names": self.names, "map": self.map}
        plain |= {"wnids": self.wnids, "sources": sources, **({} if self.kept is None else {"kept": self.kept})}
        return plain

    def __str__(self) -> str:
        return f"{self.number:,} classes"


def flat_classes(tree: WordTree, over: FlatOver) -> FlatClasses:
    """The labels of a tree as classes without a tree, for a net whose class numbers know none.

    Parameters
    ----------
    tree : WordTree
        What its label maps name becomes a class, in the order of the tree; in a tree without label maps every leaf.
    over : {"softmax", "sigmoid", "linear"}

    Returns
    -------
    FlatClasses
        They keep the names, the wnids and the label maps, so data are matched to them as to the tree.

    Examples
    --------
    >>> maps = {"coco": {"dog": 1, "cat": 2}}
    >>> tree = WordTree(("a", "b", "c"), ("animal", "dog", "cat"), (-1, 0, 0), label_maps=maps)
    >>> flat = flat_classes(tree, "linear")
    >>> flat.names, flat.label_maps, flat.ids
    (('dog', 'cat'), {'coco': {'dog': 0, 'cat': 1}}, {'b': 0, 'c': 1})
    """
    named = {node for labels in tree.label_maps.values() for node in labels.values()}
    nodes = sorted(named or set(range(len(tree))) - set(tree.parents))
    number = {node: place for place, node in enumerate(nodes)}
    names = [tree.names[node] for node in nodes]
    times = Counter(names)
    return FlatClasses(
        len(nodes),
        over,
        # 585 of the original tree's names stand for several concepts
        names=tuple(
            f"{name} ({tree.wnids[node]})" if times[name] > 1 else name for name, node in zip(names, nodes, strict=True)
        ),
        wnids=tuple(tree.wnids[node] for node in nodes),
        sources={
            source: {name: number[node] for name, node in labels.items()} for source, labels in tree.label_maps.items()
        },
    )
