"""Torchvision's detectors behind our boxes and classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor, nn

from yolo9000.datasets.sample import Target
from yolo9000.inference.torchvision_detector import (
    TorchvisionDetector,
    detector_names,
    is_rival,
    load_rival,
    save_rival,
)
from yolo9000.models import FlatClasses, RegionSpec
from yolo9000.runtime.checkpoint import CheckpointError
from yolo9000.runtime.mistakes import Mistake

SMALL = "ssdlite320_mobilenet_v3_large"


class Answers(nn.Module):
    """Stands in for torchvision's net: notes what it is given."""

    def __init__(self, transform: Any) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        self.given = images, targets
        if targets is not None:
            return {"loss": torch.tensor(0.0)}
        found = {
            "boxes": torch.tensor([[0.0, 0, 32, 64], [16, 16, 48, 32], [0, 0, 1, 1]]),
            "labels": torch.tensor([1, 3, 2]),
            "scores": torch.tensor([0.25, 0.75, 0.5]),
        }
        return [found for _ in images]


@pytest.fixture
def detector() -> TorchvisionDetector:
    """Label 1 is class 4, label 2 none, label 3 class 0."""
    made = TorchvisionDetector(SMALL, FlatClasses(5), (-1, 4, -1, 0))
    made.net = Answers(made.transform)
    return made.eval()


def test_boxes_and_labels_are_ours(detector: TorchvisionDetector) -> None:
    found = detector(torch.zeros(2, 3, 64, 64))
    assert len(found) == 2
    assert found[1].nodes.tolist() == [0, 4]  # the surest first; what is no class is left out
    assert found[1].scores.tolist() == [0.75, 0.25]
    assert found[1].boxes_cxcywh.tolist() == [[0.5, 0.375, 0.5, 0.25], [0.25, 0.5, 0.5, 1.0]]
    assert (detector.transform.fixed_size, detector.transform.max_size) == ((64, 64), 64)
    detector.train()
    with pytest.raises(ValueError, match=r"call eval\(\) first"):
        detector(torch.zeros(1, 3, 64, 64))


def test_targets_are_torchvisions(detector: TorchvisionDetector) -> None:
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.25], [0.0, 0.5, 0.5, 1.0], [0.5, 0.5, 0.0, 0.5], [0.5, 0.5, 0.1, 0.1]])
    target = Target(boxes, torch.tensor([0, 4, 4, 2]))  # the third is empty, the last of no label
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    detector.losses(torch.zeros(2, 3, 64, 64), [target, nothing])
    first, second = detector.net.given[1]  # type: ignore[index]
    assert first["boxes"].tolist() == [[16, 24, 48, 40], [0, 0, 16, 64]]
    assert first["labels"].tolist() == [3, 1]
    assert second["boxes"].shape == (0, 4)


def test_there_and_back(region: RegionSpec, tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = TorchvisionDetector(SMALL, region.classes, (-1, 3, 4)).eval()
    save_rival(tmp_path / "ssd", made, size=96, boxed=[3, 4], step=7, data={"tree": "a.json"})
    assert is_rival(tmp_path / "ssd")
    for run in (tmp_path / "ssd", tmp_path / "ssd" / "rival.pt"):
        rival = load_rival(run)
        assert (rival.size, rival.boxed, rival.step, rival.content["data"]) == (96, (3, 4), 7, {"tree": "a.json"})
        assert rival.detector.classes == region.classes
        image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
        a, b = rival.detector(image)[0], made(image)[0]
        assert torch.equal(a.boxes_cxcywh, b.boxes_cxcywh)
        assert set(a.nodes.tolist()) <= {3, 4}


def test_weights_of_torchvisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = torchvision.models.get_model(SMALL, weights=None, weights_backbone=None, num_classes=3)
    torch.save(plain.state_dict(), tmp_path / "w.pth")
    rival = load_rival(f"torchvision:{SMALL}", weights=tmp_path / "w.pth", names=["cat", "dog"])
    assert (rival.detector.classes, rival.size) == (FlatClasses(2, names=("cat", "dog")), 320)
    assert rival.detector.labels == (-1, 0, 1)
    torch.save({"model": plain.state_dict(), "epoch": 3}, tmp_path / "script.pth")
    names = ["__background__", "cat", "N/A"]
    rival = load_rival(f"torchvision:{SMALL}", weights=tmp_path / "script.pth", names=names)
    assert rival.detector.labels == (-1, 0, -1)
    with pytest.raises(CheckpointError, match=r"w\.pth: its weights are of another net"):
        load_rival(f"torchvision:{SMALL}", weights=tmp_path / "w.pth")  # COCO's 91 labels
    with pytest.raises(CheckpointError, match=r"none\.pth: no such file"):
        load_rival(f"torchvision:{SMALL}", weights=tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(CheckpointError, match=r"text\.pth: no state dict"):
        load_rival(f"torchvision:{SMALL}", weights=tmp_path / "text.pth")
    with pytest.raises(Mistake, match="`names`: 2 names, but torchvision's published weights have 90 labels"):
        load_rival(f"torchvision:{SMALL}", names=["cat", "dog"])

    def offline(*_: Any, **__: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", offline)
    with pytest.raises(Mistake, match=r"cannot be downloaded \(no network\); give a file of them with `weights`"):
        load_rival(f"torchvision:{SMALL}")
    with pytest.raises(Mistake, match="torchvision:yolo: there is no such detector; torchvision has fasterrcnn"):
        load_rival("torchvision:yolo")


def test_cocos_labels_are_known_without_names(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = torchvision.models.get_model("retinanet_resnet50_fpn", weights=None, weights_backbone=None, num_classes=91)
    torch.save(plain.state_dict(), tmp_path / "w.pth")
    rival = load_rival("torchvision:retinanet_resnet50_fpn", weights=tmp_path / "w.pth")
    assert rival.detector.classes.number == 80
    assert [rival.detector.labels[label] for label in (0, 1, 12, 90)] == [-1, 0, -1, 79]  # 12 is N/A
    assert {module.eps for module in rival.detector.modules() if isinstance(module, nn.BatchNorm2d)} == {0.0}


def test_the_names_are_those_of_boxes_alone() -> None:
    assert {"fasterrcnn_resnet50_fpn", "ssd300_vgg16", "retinanet_resnet50_fpn"} <= set(detector_names())
    assert not any(name.startswith(("mask", "keypoint")) for name in detector_names())
