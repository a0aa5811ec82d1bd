"""The arithmetic of a net is that which the papers, darknet and timm publish."""

from __future__ import annotations

import pytest
import torch

from yolo9000.models import (
    YOLOV2_PRIORS,
    BoxCoding,
    Classifier,
    Detector,
    DetectorConfig,
    FlatClasses,
    GridSpec,
    RegionSpec,
    Yolov1,
)
from yolo9000.models.cost import gflops

COCO = RegionSpec(coding=BoxCoding(YOLOV2_PRIORS), classes=FlatClasses(80))
VOC = GridSpec(classes=FlatClasses(20, "linear"))


def test_darknets_own_counts() -> None:
    with torch.device("meta"):
        yolov2 = Detector(DetectorConfig(extra_convs=2, passthrough=True), COCO)
        classifier = Classifier(DetectorConfig(), FlatClasses(1000))
    assert gflops(yolov2, 608) == pytest.approx(62.94, abs=0.01)  # darknet's web page
    # 5.58 billion (paper, table 6), of which 1000 classes at each of 7 x 7 cells are .100, and at their mean 1/49 of it
    assert gflops(classifier, 224) == pytest.approx(5.58 - 0.100 + 0.002, abs=0.01)


def test_yolov1_counted_by_hand() -> None:
    form = DetectorConfig(backbone="extraction", stride=64, extra_convs=4, head="connected")
    with torch.device("meta"):
        net = Yolov1(form, VOC, size=448)
    layers = [(224, 3 * 64 * 49), (112, 64 * 192 * 9)]  # side of the output, weights
    layers += [(56, 192 * 128 + 128 * 256 * 9 + 256 * 256 + 256 * 512 * 9)]
    layers += [(28, 4 * (512 * 256 + 256 * 512 * 9) + 512 * 512 + 512 * 1024 * 9)]
    layers += [(14, 2 * (1024 * 512 + 512 * 1024 * 9) + 1024 * 1024 * 9), (7, 3 * 1024 * 1024 * 9)]
    connected = 7 * 7 * 1024 * 4096 + 4096 * 1470
    assert gflops(net, 448) == pytest.approx(2e-9 * (sum(side**2 * w for side, w in layers) + connected), rel=1e-6)


def test_the_net_stays_as_it_was() -> None:
    net = Classifier(DetectorConfig(width=0.05), FlatClasses(3)).train()
    net.backbone.coarse.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    assert gflops(net, 64) == pytest.approx(4 * gflops(net, 32), rel=1e-3)
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_backbone_of_timm() -> None:
    pytest.importorskip("timm", reason="needs timm: pip install 'yolo9000[backbones]'")
    net = Classifier(DetectorConfig(backbone="timm:resnet18"), FlatClasses(1000))
    assert gflops(net, 224) == pytest.approx(2 * 1.82, abs=0.02)  # 1.82 billion multiply-adds (torchvision: 1.81)
