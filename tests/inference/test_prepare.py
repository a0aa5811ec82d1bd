"""A detector prepared for inference answers as the one that it was made from."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from wordtree import WordTree
from yolo9000.darknet import DarknetDetector, from_cfg
from yolo9000.datasets.sample import Target
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decode import detect
from yolo9000.inference.prepare import prepare
from yolo9000.models import (
    BoxCoding,
    Detector,
    DetectorConfig,
    FlatClasses,
    GridOutput,
    GridSpec,
    RegionDetector,
    RegionSpec,
    TreeClasses,
    Yolov1,
)
from yolo9000.runtime.device import DeviceError
from yolo9000.training.objectives import detection_objective

CPU = torch.device("cpu")
TREE = WordTree(
    ("a", "v", "d", "c", "p", "t"), ("animal", "vehicle", "dog", "cat", "poodle", "terrier"), (-1, -1, 0, 0, 2, 2)
)
REGION = RegionSpec(coding=BoxCoding(((1.0, 1.5), (3.0, 2.0))), classes=TreeClasses(TREE))


def trained(net: RegionDetector) -> RegionDetector:
    """Batch norms that have seen something, and a head that says something."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    net.train()
    with torch.no_grad():
        for _ in range(100):
            net(torch.rand(4, 3, 64, 64))
        for name, parameter in net.named_parameters():
            if name.rpartition(".")[2].startswith(("box_", "class_")):
                nn.init.normal_(parameter, std=0.3)
    return net.eval()


def ours() -> RegionDetector:
    return trained(Detector(DetectorConfig(width=0.1, passthrough=True, extra_convs=1), REGION))


def darknets() -> RegionDetector:
    return trained(DarknetDetector(from_cfg("yolov2-tiny-voc")))


@pytest.mark.parametrize("make", [ours, darknets])
def test_the_same_numbers_in_float32(make: object) -> None:
    net: RegionDetector = make()  # type: ignore[operator]
    images = torch.rand(5, 3, 96, 64)  # more than go through the net at once
    with torch.no_grad():
        expected = net(images)
    output = prepare(net, device=CPU)(images)
    torch.testing.assert_close(output.raw, expected.raw, rtol=0, atol=1e-4 * float(expected.raw.abs().max()))
    assert not output.raw.requires_grad
    prepared = prepare(net, device=CPU).net
    assert not any(isinstance(module, nn.BatchNorm2d) for module in prepared.modules())


def test_the_net_stays_as_it_was() -> None:
    net = ours()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    prepare(net, device=CPU, precision="bfloat16")(torch.rand(1, 3, 64, 64))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert prepare(net, device=CPU).net.region.classes.tree is TREE


def test_bfloat16_is_as_near_as_bfloat16_can_be() -> None:
    net, images = ours(), torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        expected = net(images)
    output = prepare(net, device=CPU, precision="bfloat16")(images)
    assert output.objectness.dtype == torch.float32
    error = (output.raw - expected.raw).square().mean().sqrt() / expected.raw.std()
    assert 1e-4 < error < 0.1  # of 8 bits and 20 layers: rounded, and not nonsense


def test_what_is_prepared_is_detected_and_measured_with() -> None:
    net, images = ours(), torch.rand(2, 3, 64, 64)
    output = prepare(net, device=CPU)(images)
    with torch.no_grad():
        expected = detect(net(images), REGION.classes, DecodeConfig(threshold=0.3))
    for found, wanted in zip(detect(output, REGION.classes, DecodeConfig(threshold=0.3)), expected, strict=True):
        assert found.nodes.tolist() == wanted.nodes.tolist()
    truth = Target(torch.tensor([[0.5, 0.5, 0.2, 0.3]]), torch.tensor([4]))
    terms = detection_objective(REGION)(output, [truth, Target.of_image(5)], 64_000)
    assert torch.isfinite(torch.stack(list(terms.values()))).all()


def test_float16_needs_a_gpu() -> None:
    with pytest.raises(DeviceError, match="`precision` float16 is for GPUs"):
        prepare(ours(), device=CPU, precision="float16")


@pytest.mark.slow
def test_compiled_it_answers_the_same() -> None:
    net, images = ours(), torch.rand(2, 3, 64, 64)
    compiled = prepare(net, device=CPU, compile=True)(images)
    torch.testing.assert_close(compiled.raw, prepare(net, device=CPU)(images).raw, rtol=0, atol=1e-3)


@pytest.mark.parametrize("head", ["grid", "connected"])
def test_the_last_numbers_of_yolov1_keep_their_digits_in_bfloat16(head: Literal["grid", "connected"]) -> None:
    torch.manual_seed(0)
    form = DetectorConfig(width=0.05, head=head)
    net = Yolov1(form, GridSpec(classes=FlatClasses(3, "linear")), size=64).eval()
    images = torch.rand(2, 3, 64, 64)
    fast = prepare(net, device=torch.device("cpu"), precision="bfloat16")(images)
    assert isinstance(fast, GridOutput)
    assert fast.raw.dtype == torch.float32
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert net(images).raw.dtype == torch.float32
    assert bool((fast.raw != fast.raw.bfloat16().float()).any())  # they are no numbers of eight bits made longer
