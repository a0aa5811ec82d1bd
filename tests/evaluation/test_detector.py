"""Evaluation of a detector whose answers are known."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn

from yolo9000.datasets.coco import CocoSource, CocoTruth
from yolo9000.datasets.loader import LetterboxedDataset, make_evaluation_loader
from yolo9000.datasets.sample import Batch, Placement
from yolo9000.detection.config import ImageLabels
from yolo9000.detection.results import Detections
from yolo9000.evaluation.classifier import classification_top1
from yolo9000.evaluation.detections import coco_numbers
from yolo9000.evaluation.detector import HeldOutLoss, evaluate_detector, held_out_loss
from yolo9000.models import BoxCoding, DenseRegionOutput, RegionOutput, RegionSpec
from yolo9000.training.objectives import detection_objective

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
        return DenseRegionOutput(raw.flatten(1, 2), BoxCoding(((1.0, 1.0), (2.0, 2.0))))


@pytest.fixture
def boxes(squares: type[Any]) -> Sequence[Batch]:
    return list(make_evaluation_loader(squares("detection"), 64, batch_size=3))  # type: ignore[arg-type]


@pytest.fixture
def images(squares: type[Any]) -> Sequence[Batch]:
    return list(make_evaluation_loader(squares("classification"), 64, batch_size=3))  # type: ignore[arg-type]


def test_an_oracle_scores_one(boxes: Sequence[Batch], region: RegionSpec) -> None:
    report = evaluate_detector(
        Oracle(), boxes, region.classes, boxed=[3], never_boxed=[4, 5], device=CPU, baseline=True
    )
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
    report = evaluate_detector(Oracle({3: 2}), boxes, region.classes, boxed=[3], never_boxed=[4], device=CPU)
    assert report["boxed"]["ap50"] == pytest.approx(0.5)  # the four cars are more probably cats than the cats are
    assert report["at_parents"]["boxed"]["ap50"] == pytest.approx(1)  # "animal"
    assert report["never_boxed"]["ap50"] == pytest.approx(1)


def test_a_diagnosis_comes_from_the_same_pass(boxes: Sequence[Batch], region: RegionSpec) -> None:
    images_seen = []
    oracle = Oracle({3: 2})
    oracle.register_forward_pre_hook(lambda _, images: images_seen.append(len(images[0])))
    report = evaluate_detector(oracle, boxes, region.classes, boxed=[4], never_boxed=[3], device=CPU, diagnosis=True)
    assert images_seen == [3, 3, 2]
    assert report["back_off"]["boxed"]["exact"] == 1
    assert report["back_off"]["never_boxed"]["wrong"] == 1  # the four cats are named dog
    assert report["corloc"]["boxed"] == {"share": 1, "labels": 4}
    assert report["corloc"]["never_boxed"] == {"share": 1, "labels": 4}  # the only box, whatever it is called
    assert report["recall_at_10"]["never_boxed"] == {"share": 1, "boxes": 4}
    assert report["calibration"]["never_boxed"]["ece"] == pytest.approx(0.5, abs=1e-3)  # animals are right, dogs wrong
    assert "corloc" not in evaluate_detector(oracle, boxes, region.classes, boxed=[4], device=CPU)


def found(boxes_cxcywh: Tensor, nodes: Tensor, scores: Tensor) -> Detections:
    ones = torch.ones(len(scores))
    return Detections(boxes_cxcywh=boxes_cxcywh, scores=scores, nodes=nodes, objectness=ones, probabilities=ones)


def test_cocos_numbers_are_of_the_image_and_of_the_file() -> None:
    # a 200 x 100 image in an input of 100: half size, from row 25 on
    images = {"a.jpg": (0, Placement(200, 100, 0.5, 0.5, 0.0, 25.0, 100))}
    coco = CocoTruth(
        names=("unseen.jpg", "a.jpg"),
        images=np.array([1, 1, 1, 0]),
        labels=np.array([3, 4, 9, 3]),
        boxes_xywh=np.array([[20.0, 8, 100, 100], [100, 0, 50, 50], [0, 0, 9, 9], [0, 0, 9, 9]]),
        areas=np.array([9000.0, 900, 81, 81]),
        crowd=np.array([False, False, False, False]),
    )
    both = found(
        torch.tensor([[0.35, 0.54, 0.5, 0.5], [0.625, 0.375, 0.25, 0.25]]),
        torch.tensor([3, 4]),
        torch.tensor([0.9, 0.8]),
    )
    numbers = coco_numbers([both], images, coco, [3, 4])
    # 3 is medium by its outline, though its box is large; it sticks out by 8 rows, as no detection can: IoU .92
    assert (numbers.ap50, numbers.ap_small, numbers.ap_medium) == pytest.approx((1, 1, 0.9))
    assert math.isnan(numbers.ap_large)
    assert numbers.ap == pytest.approx(0.95)
    assert math.isnan(coco_numbers([], {}, coco, [3, 4]).ap)


def test_cocos_numbers_on_coco(shared: Path) -> None:
    """From the net's input back to pixels, against pycocotools on the file itself."""
    root = shared / "data" / "coco"
    file = root / "annotations" / "instances_val2017.json"
    data = json.loads(file.read_text())
    node_of = {category["name"]: node for node, category in enumerate(data["categories"])}
    source = CocoSource(root, node_of, split="val2017")
    generator = torch.Generator().manual_seed(0)
    detections, images, rows = [], {}, []
    for number, sample in enumerate(LetterboxedDataset(source, 128)):
        nodes = sample.target.labels.repeat(2)
        boxes = sample.target.boxes_cxcywh.repeat(2, 1)
        boxes = boxes + torch.randn(boxes.shape, generator=generator) * boxes[:, 2:].repeat(1, 2) * 0.08
        scores = torch.rand(len(nodes), generator=generator)
        detections.append(found(boxes, nodes, scores))
        images[sample.key] = number, sample.placement
        pixels = sample.placement.to_image(boxes.double())
        rows += [
            {
                "image_id": int(source.image_ids[number]),
                "category_id": data["categories"][node]["id"],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "score": score,
            }
            for (x0, y0, x1, y1), node, score in zip(pixels.tolist(), nodes.tolist(), scores.tolist(), strict=True)
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        official = COCO(file)
        evaluation = COCOeval(official, official.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    numbers = coco_numbers(detections, images, source.truth(), range(80))
    assert numbers == pytest.approx(tuple(evaluation.stats), abs=1e-9)
    assert numbers.ap_small > 0.05


def test_equal_scores_go_by_the_ids_of_their_images(tmp_path: Path) -> None:
    """As with pycocotools: the right one is of image 1, and the wrong one of image 2, which the file has first."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    for name in ("two", "one"):
        Image.new("RGB", (100, 100)).save(tmp_path / "val2017" / f"{name}.png")
    images = [{"id": {"two": 2, "one": 1}[name], "file_name": f"{name}.png"} for name in ("two", "one")]
    truth = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0}
    content = {"images": images, "annotations": [truth], "categories": [{"id": 7, "name": "dog"}]}
    file = tmp_path / "annotations" / "instances_val2017.json"
    file.write_text(json.dumps(content))
    source = CocoSource(tmp_path, {"dog": 0}, split="val2017")
    places = {sample.key: (i, sample.placement) for i, sample in enumerate(LetterboxedDataset(source, 128))}
    assert list(places) == ["two.png", "one.png"]
    box, score, node = torch.tensor([[0.3, 0.3, 0.4, 0.4]]), torch.tensor([0.5]), torch.tensor([0])
    with contextlib.redirect_stdout(io.StringIO()):
        official = COCO(file)
        rows = [{"image_id": i, "category_id": 7, "bbox": [10, 10, 40, 40], "score": 0.5} for i in (2, 1)]
        evaluation = COCOeval(official, official.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    numbers = coco_numbers([found(box, node, score)] * 2, places, source.truth(), [0])
    assert (numbers.ap50, evaluation.stats[1]) == pytest.approx((1, 1))


def test_top1_of_a_detector_and_of_a_classifier(
    boxes: Sequence[Batch], images: Sequence[Batch], region: RegionSpec
) -> None:
    labels = [2, 3, 4]
    assert classification_top1(Oracle(), images, region.classes, labels, device=CPU) == 1.0
    assert classification_top1(Oracle({3: 2}), images, region.classes, labels, device=CPU) == 0.5

    class AlwaysCar(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.tensor([0.0, 5, 0, 0, 5, 0]).expand(len(images), 6)

    assert classification_top1(AlwaysCar(), images, region.classes, labels, device=CPU) == 0.5
    assert math.isnan(classification_top1(Oracle(), boxes, region.classes, labels, device=CPU))


def test_held_out_loss_is_the_mean_over_images(boxes: Sequence[Batch]) -> None:
    def loss(output: RegionOutput, targets: Sequence[object], images_seen: int) -> dict[str, Tensor]:
        assert images_seen > 10**9
        assert not torch.is_grad_enabled()
        return {"images": torch.tensor(2.0 * len(targets)), "batches": torch.tensor(1.0)}

    # 8 images in batches of 3, 3 and 2
    expected = {"images": 2.0, "batches": 3 / 8, "loss": 2 + 3 / 8}
    assert held_out_loss(Oracle(), boxes, loss, device=CPU) == pytest.approx(expected)
    assert held_out_loss(Oracle(), [], loss, device=CPU) == {}


def test_a_held_out_loss_may_be_infinite(boxes: Sequence[Batch]) -> None:
    def loss(output: RegionOutput, targets: Sequence[object], images_seen: int) -> dict[str, Tensor]:
        return {"box": torch.tensor(math.inf if len(targets) == 2 else 1.0), "class": torch.tensor(1.0)}

    assert held_out_loss(Oracle(), boxes, loss, device=CPU) == {"loss": math.inf, "box": math.inf, "class": 3 / 8}


def test_the_loss_of_images_that_are_scored_needs_no_second_look(boxes: Sequence[Batch], region: RegionSpec) -> None:
    loss = detection_objective(region, ImageLabels())
    oracle = Oracle()
    apart = held_out_loss(oracle, boxes, loss, device=CPU)
    seen: list[int] = []
    oracle.register_forward_pre_hook(lambda _, images: seen.append(len(images[0])))
    together = HeldOutLoss(loss)
    evaluate_detector(oracle, boxes, region.classes, boxed=[4], device=CPU, look=together.look)
    assert seen == [3, 3, 2]
    assert together.read() == apart
    assert apart["loss"] > 0
    assert HeldOutLoss(loss).read() == {}
