"""Our detector as darknet's files: the cfg says what each block is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

from yolo9000.darknet import from_cfg, load_darknet_weights, save_darknet_weights
from yolo9000.darknet.export import cfg_of_detector
from yolo9000.inference.prepare import prepare
from yolo9000.models import (
    BoxCoding,
    Detector,
    DetectorConfig,
    FlatClasses,
    GridLossConfig,
    GridSpec,
    RegionSpec,
    Yolov1,
)
from yolo9000.models.darknet19 import ConvBlock
from yolo9000.runtime.mistakes import Mistake

REGION = RegionSpec(coding=BoxCoding(((1.0, 1.5), (2.0, 2.5))), classes=FlatClasses(3))
FORM = DetectorConfig(width=0.05, extra_convs=1, passthrough=True)


def detector(form: DetectorConfig = FORM) -> Detector:
    """A net whose batch norms do something."""
    torch.manual_seed(0)
    net = Detector(form, REGION).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return net


def through_darknet(net: Detector | Yolov1, folder: Path) -> torch.Tensor:
    """The raw output for one image of the net that darknet's files of `net` make."""
    (folder / "net.cfg").write_text(cfg_of_detector(net, 64))
    save_darknet_weights(net, folder / "net.weights", images_seen=0)
    back = from_cfg(folder / "net.cfg")
    load_darknet_weights(back, folder / "net.weights")
    raw: torch.Tensor = back.eval()(image()).raw
    return raw


def image() -> torch.Tensor:
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def test_a_net_with_batch_norm_comes_back(tmp_path: Path) -> None:
    net = detector()
    assert torch.equal(through_darknet(net, tmp_path), net(image()).raw)
    assert (tmp_path / "net.cfg").read_text().count("batch_normalize=1") == 21  # 18, 1 extra, passthrough, merge


@torch.no_grad()
def test_a_net_whose_batch_norms_are_folded_comes_back(tmp_path: Path) -> None:
    folded = prepare(detector(), device=torch.device("cpu")).net.to(memory_format=torch.contiguous_format)
    assert isinstance(folded, Detector)
    assert torch.equal(through_darknet(folded, tmp_path), folded(image()).raw)
    assert "batch_normalize" not in (tmp_path / "net.cfg").read_text()


@torch.no_grad()
@pytest.mark.parametrize("folded", [0, 2])
def test_each_block_is_written_as_it_is(tmp_path: Path, folded: int) -> None:
    net = detector()
    blocks = [module for module in net.backbone.fine if isinstance(module, ConvBlock)]
    channels = blocks[folded][0].in_channels
    for position, module in enumerate(net.backbone.fine):
        if module is blocks[folded]:
            net.backbone.fine[position] = ConvBlock(channels, module[0].out_channels, 3, batch_norm=False)
    assert torch.equal(through_darknet(net, tmp_path), net(image()).raw)
    sections = (tmp_path / "net.cfg").read_text().split("[convolutional]\n")[1:]
    lacking = [number for number, section in enumerate(sections) if not section.startswith("batch_normalize=1\n")]
    assert lacking == [folded, 21]  # and the head, which never has one


@torch.no_grad()
@pytest.mark.parametrize(
    "form",
    [
        {"backbone": "extraction"},
        {"backbone": "extraction", "passthrough": True},
        {"backbone": "extraction", "stride": 16, "passthrough": True, "extra_convs": 2},
        {"backbone": "extraction", "stride": 64, "extra_convs": 4, "batch_norm": False},
        {"passthrough": True, "passthrough_channels": 0},
        {"passthrough": True, "passthrough_channels": 0, "stride": 16},
        {"batch_norm": False, "passthrough": True},
    ],
    ids=str,
)
def test_every_form_on_darknets_layers_comes_back(tmp_path: Path, form: dict[str, Any]) -> None:
    net = detector(DetectorConfig(width=0.05, **form))
    assert torch.equal(through_darknet(net, tmp_path), net(image()).raw)


def test_extraction_has_darknets_layers_in_its_cfg() -> None:
    text = cfg_of_detector(detector(DetectorConfig(width=0.05, backbone="extraction")), 64)
    sections = [section.split("\n", 1)[0] for section in text.split("[")[2:]]
    assert [number for number, name in enumerate(sections) if name == "maxpool]"] == [1, 3, 8, 19]  # yolov1.cfg's
    assert "filters=8\nsize=7\nstride=2\npad=1\n" in text


def test_a_net_on_a_backbone_that_darknet_lacks_is_refused() -> None:
    pytest.importorskip("timm", reason="needs timm: pip install 'yolo9000[backbones]'")
    net = Detector(DetectorConfig(backbone="timm:test_resnet"), REGION)
    with pytest.raises(Mistake, match="`backbone` timm:test_resnet: darknet has no such layers"):
        cfg_of_detector(net, 64)


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["darknet19", "extraction"])
def test_a_net_of_yolov1_comes_back(backbone: Literal["darknet19", "extraction"], tmp_path: Path) -> None:
    form = DetectorConfig(width=0.05, backbone=backbone, stride=64, extra_convs=2, head="connected")
    loss = GridLossConfig(coord_scale=3.0, rescore=False)
    grid = GridSpec(classes=FlatClasses(3, "linear"), num=3, square_root=False, loss=loss)
    net = Yolov1(form, grid, size=64).eval()
    assert torch.equal(through_darknet(net, tmp_path), net(image()).raw)
    assert from_cfg(tmp_path / "net.cfg").detection == grid
    convolutional = Yolov1(DetectorConfig(width=0.05, head="grid"), grid, size=64)
    with pytest.raises(Mistake, match="`head` grid: darknet's .detection. has fully connected layers"):
        cfg_of_detector(convolutional, 64)
