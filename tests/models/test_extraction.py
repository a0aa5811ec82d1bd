"""Extraction and YOLOv1 on top of it have the layers of the paper's figure 3, counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolo9000.models import Classifier, DetectorConfig, FlatClasses, GridSpec, Yolov1
from yolo9000.models.backbones import build_backbone
from yolo9000.models.extraction import Extraction

VOC = GridSpec(classes=FlatClasses(20, "linear"))
# inputs, outputs, kernel of the 20 convolutions, and of YOLOv1's last four
CONVOLUTIONS = [(3, 64, 7), (64, 192, 3), (192, 128, 1), (128, 256, 3), (256, 256, 1), (256, 512, 3)]
CONVOLUTIONS += [(512, 256, 1), (256, 512, 3)] * 4 + [(512, 512, 1), (512, 1024, 3)]
CONVOLUTIONS += [(1024, 512, 1), (512, 1024, 3)] * 2
LAST_FOUR = [(1024, 1024, 3)] * 4


def floats_in_darknet_file(module: nn.Module) -> int:
    """Parameters, and the two running statistics of every batch norm: what a .weights file holds."""
    statistics = sum(b.numel() for name, b in module.named_buffers() if "running" in name)
    return sum(p.numel() for p in module.parameters()) + statistics


def test_the_convolutions_are_the_papers() -> None:
    with torch.device("meta"):
        net = Yolov1(DetectorConfig(backbone="extraction", stride=64, extra_convs=4, head="connected"), VOC, size=448)
    found = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in found] == CONVOLUTIONS + LAST_FOUR
    assert [number for number, m in enumerate(found) if m.stride != (1, 1)] == [0, 21]
    assert sum(isinstance(m, nn.MaxPool2d) for m in net.modules()) == 4


def test_it_has_darknets_number_of_parameters() -> None:
    weights = sum(i * o * k * k for i, o, k in CONVOLUTIONS)
    channels = sum(o for _, o, _ in CONVOLUTIONS)
    assert weights + 4 * channels == 22_430_400  # scale, bias, mean and variance of each batch norm
    form = DetectorConfig(backbone="extraction", stride=64, extra_convs=4, head="connected")
    with torch.device("meta"):
        assert floats_in_darknet_file(Extraction()) == 22_430_400
        assert floats_in_darknet_file(Extraction(batch_norm=False)) == weights + channels
        assert floats_in_darknet_file(Classifier(DetectorConfig(backbone="extraction"), FlatClasses(1000))) == (
            22_430_400 + 1000 * 1025  # darknet's extraction.cfg: 23,455,400
        )
        net = Yolov1(form, VOC, size=448)
        convolutions = floats_in_darknet_file(net.backbone) + floats_in_darknet_file(net.extra)
    # yolov1.cfg: 197,328,243, of which 49 banks of 256 3x3 filters and 12,544 biases, and 1,715 outputs of 12,544
    assert convolutions == 197_328_243 - (49 * 256 * 1024 * 9 + 12_544) - (12_544 * 1715 + 1715)


def test_the_net_of_the_paper_has_its_number_of_parameters() -> None:
    form = DetectorConfig(backbone="extraction", stride=64, extra_convs=4, head="connected", batch_norm=False)
    with torch.device("meta"):
        net = Yolov1(form, VOC, size=448)
    assert floats_in_darknet_file(net) == 271_703_550
    hidden, last = (m for m in net.modules() if isinstance(m, nn.Linear))
    assert (hidden.in_features, hidden.out_features, last.out_features) == (7 * 7 * 1024, 4096, 1470)


@pytest.mark.parametrize("stride", [16, 32, 64])
def test_features_on_the_smallest_legal_image(stride: int) -> None:
    form = DetectorConfig(backbone="extraction", width=0.05, stride=stride, extra_convs=2)  # type: ignore[arg-type]
    backbone = build_backbone(form)
    side = max(stride, 32)
    fine, coarse = backbone(torch.rand(1, 3, side, 2 * side))
    assert fine.shape == (1, backbone.fine_channels, side // 16, side // 8)
    assert coarse.shape == (1, backbone.channels, side // backbone.stride, 2 * side // backbone.stride)
    assert (backbone.fine_channels, backbone.channels) == (56, 56)  # 1024 * .05, up to a multiple of 8
