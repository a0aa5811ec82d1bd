"""A detector of another kind, without grid and priors, is decoded, prepared, scored and judged by the same code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from yolo9000.darknet.decoding import detect_as_darknet
from yolo9000.datasets.loader import make_evaluation_loader
from yolo9000.datasets.sample import Target
from yolo9000.detection import detect, score_nodes
from yolo9000.evaluation.detector import evaluate_detector
from yolo9000.evaluation.observation import observe
from yolo9000.inference.prepare import prepare
from yolo9000.models import Classes, FlatClasses, Model, TreeClasses
from yolo9000.models.output import joined

CAT, CAR = 3, 4


@dataclass(frozen=True)
class ListedBoxes:
    """P boxes of each image as they are: (B, P, 4), objectness (B, P) and class logits (B, P, K)."""

    boxes_cxcywh: Tensor
    objectness: Tensor
    logits: Tensor

    def decoded(self, dtype: torch.dtype) -> Tensor:
        return self.boxes_cxcywh.to(dtype)

    @property
    def num_classes(self) -> int:
        return self.logits.shape[2]

    def class_logits(self, boxes: Tensor, columns: Tensor | None = None) -> Tensor:
        rows = self.logits.flatten(0, 1)[boxes]
        return rows if columns is None else rows[:, columns]

    def class_logits_at(self, boxes: Tensor, columns: Tensor) -> Tensor:
        return self.logits.flatten(0, 1)[boxes, columns]

    def class_logits_of_images(self, images: Tensor, columns: Tensor) -> Tensor:
        return self.logits[images].gather(2, columns[:, None].expand(-1, self.logits.shape[1], -1))

    def joined(self, others: Sequence[ListedBoxes]) -> ListedBoxes:
        all_of_them = (self, *others)
        return ListedBoxes(*(torch.cat([getattr(each, name) for each in all_of_them]) for name in vars(self)))


class SquareFinder(Model):
    """Finds the one coloured square of each image, in the first of three boxes that it always answers."""

    objective = "detection"

    def __init__(self, classes: Classes, paths: dict[int, tuple[int, ...]]) -> None:
        super().__init__()
        self._classes, self.paths = classes, paths

    @property
    def classes(self) -> Classes:
        return self._classes

    @property
    def stride(self) -> int:
        return 32

    @property
    def description(self) -> dict[str, Any]:
        return {"net": "square finder"}

    def forward(self, images: Tensor) -> ListedBoxes:
        answers = ListedBoxes(
            torch.tensor([0.9, 0.9, 0.1, 0.1]).repeat(len(images), 3, 1),
            torch.full((len(images), 3), -9.0),
            torch.zeros(len(images), 3, self.classes.number),
        )
        side = images.shape[-1]
        for number, image in enumerate(images):
            inside = (image[2] < 0.25).nonzero().float()
            low, high = inside.amin(0) / side, (inside.amax(0) + 1) / side
            box = torch.stack([low + high, (high - low) * 2]).flip(1) / 2  # rows and columns -> x and y
            answers.boxes_cxcywh[number, 0] = box.flatten()
            answers.objectness[number, 0] = 9.0
            y, x = inside.mean(0).long().tolist()
            label = CAT if image[0, y, x] > 0.5 else CAR
            answers.logits[number, 0, list(self.paths[label])] = 12.0
        return answers


@pytest.mark.parametrize("kind", ["tree", "softmax", "sigmoid"])
def test_a_perfect_finder_scores_one(kind: Any, region: Any, squares: Any) -> None:
    tree = region.classes.tree
    paths = {label: tuple(tree.path(label)) for label in (CAT, CAR)}
    classes: Classes = region.classes
    if kind != "tree":
        classes, paths = FlatClasses(6, kind), {label: (label,) for label in (CAT, CAR)}
    net = SquareFinder(classes, paths)
    if kind == "sigmoid":
        net.eval()
    loader = make_evaluation_loader(squares(), 64, batch_size=4)
    cpu = torch.device("cpu")
    fast = prepare(net, device=cpu)
    report = evaluate_detector(fast, loader, classes, boxed=[CAT], never_boxed=[CAR], device=cpu, diagnosis=True)
    assert report["boxed"] == {"ap50": pytest.approx(1), "ap": pytest.approx(1), "classes": 1}
    assert report["never_boxed"]["ap50"] == pytest.approx(1)
    assert report["corloc"]["boxed"]["share"] == 1
    assert ("at_parents" in report) == (kind == "tree")


def test_labels_suppression_and_darknets_decoding(region: Any) -> None:
    boxes = torch.tensor([[[0.5, 0.5, 0.4, 0.4], [0.5, 0.5, 0.38, 0.4], [0.1, 0.1, 0.1, 0.1]]])
    logits = torch.zeros(1, 3, 6)
    logits[0, :, [0, 3]] = 12.0  # a cat
    output = ListedBoxes(boxes, torch.tensor([[2.0, 3.0, -9.0]]), logits)
    (found,) = detect(output, region.classes)
    assert (found.nodes.tolist(), len(found)) == ([CAT], 1)
    assert found.boxes_cxcywh.tolist() == [boxes[0, 1].tolist()]  # the surer one of the doubles
    (as_darknet,) = detect_as_darknet(output, region.classes)
    assert as_darknet.nodes.tolist() == [CAT]
    (scored,) = score_nodes(output, region.classes, [CAT])
    assert scored.scores[0] == pytest.approx(torch.tensor(3.0).sigmoid().item(), abs=1e-3)
    both = joined([output, output])
    assert both.objectness.shape == (2, 3)
    target = Target(boxes[0, :1], torch.tensor([CAT]))
    assert observe(both, [target, target], region.classes, [CAT]).localised.tolist() == [True, True]
    assert isinstance(region.classes, TreeClasses)
