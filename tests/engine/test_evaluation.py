"""Evaluation of a detector whose answers are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from yolo9000.datasets.loader import make_evaluation_loader
from yolo9000.datasets.sample import Batch
from yolo9000.engine.evaluation import classification_top1, evaluate_detector, held_out_loss
from yolo9000.models import DenseRegionOutput, RegionOutput, RegionSpec

CPU = torch.device("cpu")
PATHS = {2: (0, 2), 3: (0, 3), 4: (1, 4)}  # dog, cat, car


class Oracle(nn.Module):
    """Answers with the square that it sees: box by its pixels, class by its colour. Prior 0, cells of 32 pixels."""

    def __init__(self, confuse: dict[int, int] | None = None) -> None:
        super().__init__()
        self.confuse = confuse or {}

    def forward(self, images: Tensor) -> RegionOutput:
        raw = torch.full((len(images), 2, 5 + 6, 2, 2), -20.0)
        for b, image in enumerate(images):
            inside = (image[2] < 0.25).nonzero()
            y, x = inside.float().mean(0).tolist()
            x, y = (x + 0.5) / 32, (y + 0.5) / 32
            node = 3 if image[0, int(y * 32), int(x * 32)] > 0.5 else 4
            node = self.confuse.get(node, node)
            i, j = int(x), int(y)
            raw[b, 0, :2, j, i] = torch.logit(torch.tensor([x - i, y - j]), eps=1e-4)
            raw[b, 0, 2:4, j, i] = 0.0  # exactly the prior: 32 pixels
            raw[b, 0, 4, j, i] = 8.0
            raw[b, 0, [5 + n for n in PATHS[node]], j, i] = torch.tensor([10.0, 20.0])  # surer of the second level
        return DenseRegionOutput(raw.flatten(1, 2), 2)


@pytest.fixture
def boxes(squares: type[Any]) -> Sequence[Batch]:
    return list(make_evaluation_loader(squares("detection"), 64, batch_size=3))  # type: ignore[arg-type]


@pytest.fixture
def images(squares: type[Any]) -> Sequence[Batch]:
    return list(make_evaluation_loader(squares("classification"), 64, batch_size=3))  # type: ignore[arg-type]


def test_an_oracle_scores_one(boxes: Sequence[Batch], region: RegionSpec) -> None:
    report = evaluate_detector(Oracle(), boxes, region, boxed=[3], never_boxed=[4, 5], device=CPU, baseline=True)
    assert report["images"] == 8
    assert report["boxed"] == {"ap50": pytest.approx(1), "ap": pytest.approx(1), "classes": 1}
    assert report["never_boxed"] == {"ap50": pytest.approx(1), "ap": pytest.approx(1), "classes": 1}
    assert report["at_parents"]["boxed"]["ap50"] == pytest.approx(1)
    assert report["at_parents"]["never_boxed"]["ap50"] == pytest.approx(1)
    assert report["constant_box"]["boxed"]["ap50"] < 0.5
    rows = {row["name"]: row for row in report["classes"]}
    assert rows["cat"] == {
        "node": 3,
        "boxed": True,
        "ap50": pytest.approx(1),
        "ap": pytest.approx(1),
        "boxes": 4,
        "id": "n4",
        "name": "cat",
    }
    assert rows["poodle"]["boxes"] == 0
    assert math.isnan(rows["poodle"]["ap50"])


def test_a_cat_found_as_a_dog_is_right_at_the_parent(boxes: Sequence[Batch], region: RegionSpec) -> None:
    report = evaluate_detector(Oracle({3: 2}), boxes, region, boxed=[3], never_boxed=[4], device=CPU)
    assert report["boxed"]["ap50"] == pytest.approx(0.5)  # the four cars are more probably cats than the cats are
    assert report["at_parents"]["boxed"]["ap50"] == pytest.approx(1)  # "animal"
    assert report["never_boxed"]["ap50"] == pytest.approx(1)


def test_top1_of_a_detector_and_of_a_classifier(
    boxes: Sequence[Batch], images: Sequence[Batch], region: RegionSpec
) -> None:
    labels = [2, 3, 4]
    assert classification_top1(Oracle(), images, region, labels, device=CPU) == 1.0
    assert classification_top1(Oracle({3: 2}), images, region, labels, device=CPU) == 0.5

    class AlwaysCar(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.tensor([0.0, 5, 0, 0, 5, 0]).expand(len(images), 6)

    assert classification_top1(AlwaysCar(), images, region, labels, device=CPU) == 0.5
    assert math.isnan(classification_top1(Oracle(), boxes, region, labels, device=CPU))


def test_held_out_loss_is_the_mean_over_images(boxes: Sequence[Batch]) -> None:
    def loss(output: RegionOutput, targets: Sequence[object], images_seen: int) -> dict[str, Tensor]:
        assert images_seen > 10**9
        assert not torch.is_grad_enabled()
        return {"images": torch.tensor(2.0 * len(targets)), "batches": torch.tensor(1.0)}

    # 8 images in batches of 3, 3 and 2
    expected = {"images": 2.0, "batches": 3 / 8, "loss": 2 + 3 / 8}
    assert held_out_loss(Oracle(), boxes, loss, device=CPU) == pytest.approx(expected)
    assert held_out_loss(Oracle(), [], loss, device=CPU) == {}
