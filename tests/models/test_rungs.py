"""What each structural switch of a net changes, and which combinations are refused with which reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from yolo9000.datasets.sample import Target
from yolo9000.detection.loss import joint_loss
from yolo9000.inference.prepare import prepare
from yolo9000.models import BoxCoding, Classifier, Detector, DetectorConfig, FlatClasses, GridSpec, RegionSpec, Yolov1
from yolo9000.models.darknet19 import Darknet19
from yolo9000.models.extraction import Extraction
from yolo9000.models.model import DetectionModel
from yolo9000.runtime.mistakes import Mistake
from yolo9000.training.config import OptimiserConfig
from yolo9000.training.optimiser import ModelAverage, build_optimizer

REGION = RegionSpec(coding=BoxCoding(((1, 1), (2, 2))), classes=FlatClasses(3))
GRID = GridSpec(classes=FlatClasses(3, "linear"))
TRUTHS = [
    Target(torch.tensor([[0.5, 0.5, 0.2, 0.3]]), torch.tensor([1])),
    Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
]


def detector(**fields: Any) -> Detector:
    torch.manual_seed(0)
    return Detector(DetectorConfig(width=0.05, **fields), REGION)


def yolov1(spec: GridSpec = GRID, size: int = 64, **fields: Any) -> Yolov1:
    torch.manual_seed(0)
    return Yolov1(DetectorConfig(width=0.05, **fields), spec, size)


def kinds(net: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in net.modules())


# ---------------------------------------------------------------- what each switch changes


def test_without_batch_norm_every_convolution_has_a_bias() -> None:
    normal, plain = (
        detector(extra_convs=1, passthrough=True),
        detector(extra_convs=1, passthrough=True, batch_norm=False),
    )
    assert (kinds(normal, nn.BatchNorm2d), kinds(plain, nn.BatchNorm2d)) == (21, 0)  # 18, extra, passthrough, merge
    biases = [m.bias is not None for m in plain.modules() if isinstance(m, nn.Conv2d)]
    assert biases == [True] * 21
    assert not any(m.bias is not None for m in normal.modules() if isinstance(m, nn.Conv2d))
    assert "backbone.fine.0.1.running_mean" in normal.state_dict()
    # nothing moves but by steps: training and evaluation mode are the same function
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(plain.train()(images).raw, plain.eval()(images).raw)


def test_the_backbone_is_another_net_of_the_same_strides() -> None:
    darknet19, extraction = detector(), detector(backbone="extraction")
    assert type(darknet19.backbone) is Darknet19
    assert type(extraction.backbone) is Extraction
    assert (kinds(darknet19, nn.Conv2d), kinds(extraction, nn.Conv2d)) == (18, 20)
    images = torch.rand(1, 3, 64, 96)
    assert darknet19.eval()(images).raw.shape == extraction.eval()(images).raw.shape == (1, 16, 2, 3)


def test_heads() -> None:
    images = torch.rand(1, 3, 64, 64)
    anchors, grid, connected = detector(), yolov1(head="grid"), yolov1(head="connected")
    # two priors, each with 5 numbers and 3 classes; two boxes of 5 numbers and 3 classes for both
    assert anchors.eval()(images).raw.shape == (1, 2 * (5 + 3), 2, 2)
    assert grid.eval()(images).raw.shape == (1, 2 * 2 * (2 * 5 + 3))
    assert connected.eval()(images).raw.shape == (1, 2 * 2 * (2 * 5 + 3))
    shapes = {name: tuple(p.shape) for name, p in connected.head.named_parameters() if name.endswith("weight")}
    assert shapes == {"1.weight": (208, 2 * 2 * 56), "4.weight": (52, 208)}  # .05 * 4096 and 1024, multiples of 8
    assert {name: tuple(p.shape) for name, p in grid.head.named_parameters()} == {
        "last.weight": (13, 56),
        "last.bias": (13,),
    }
    # convolutions take any size, a fully connected layer one
    larger = torch.rand(1, 3, 96, 96)
    assert grid(larger).raw.shape == (1, 3 * 3 * 13)
    assert (anchors.only_size, grid.only_size, connected.only_size) == (None, None, 64)
    with pytest.raises(RuntimeError):
        connected(larger)


def test_a_connected_head_sees_the_whole_image_and_a_grid_its_cell() -> None:
    def changed_cells(net: Yolov1) -> int:
        features = torch.zeros(1, 56, 2, 2)
        other = features.clone()
        other[..., 0, 0] = 1.0
        cells = net.head(features) != net.head(other)
        return int(cells[:, : 4 * 3].view(4, 3).any(1).sum())

    assert changed_cells(yolov1(head="grid").eval()) == 1
    assert changed_cells(yolov1(head="connected").eval()) == 4


@pytest.mark.parametrize(("boxes", "numbers"), [(1, 8), (2, 13), (3, 18)])
def test_boxes_of_a_cell(boxes: int, numbers: int) -> None:
    net = yolov1(GridSpec(classes=FlatClasses(3, "linear"), num=boxes), head="grid", boxes=boxes)
    out = net.eval()(torch.rand(1, 3, 64, 64))
    assert out.raw.shape == (1, 4 * numbers)
    assert out.boxes_cxcywh.shape == (1, 4 * boxes, 4)


def test_a_stride_of_64_is_the_second_extra_convolutions() -> None:
    for extra, strides in ((4, [1, 2, 1, 1]), (2, [1, 2]), (1, [2])):
        net = detector(stride=64, extra_convs=extra).eval()
        assert [block[0].stride[0] for block in net.extra] == strides
        assert net(torch.rand(1, 3, 128, 64)).raw.shape == (1, 16, 2, 1)


def test_extra_convolutions_keep_channels_and_grid() -> None:
    net = detector(extra_convs=2)
    assert [tuple(block[0].weight.shape) for block in net.extra] == [(56, 56, 3, 3)] * 2
    assert len(list(net.parameters())) - len(list(detector().parameters())) == 2 * 3


def test_both_forms_of_the_passthrough_at_full_width() -> None:
    with torch.device("meta"):
        darknets = Detector(DetectorConfig(passthrough=True), REGION)
        papers = Detector(DetectorConfig(passthrough=True, passthrough_channels=0), REGION)
        of_16 = Detector(DetectorConfig(passthrough=True, passthrough_channels=0, stride=16), REGION)
    assert isinstance(darknets.passthrough, nn.Sequential)
    assert darknets.passthrough[0].weight.shape == (64, 512, 1, 1)
    assert darknets.merge[0].weight.shape == (1024, 64 * 4 + 1024, 3, 3)  # type: ignore[index]
    assert list(papers.passthrough.parameters()) == []  # type: ignore[union-attr]
    assert papers.merge[0].weight.shape == (1024, 512 * 4 + 1024, 3, 3)  # type: ignore[index]  # 13 x 13 x 2048
    assert of_16.merge[0].weight.shape == (1024, 512 + 1024, 3, 3)  # type: ignore[index]


@pytest.mark.parametrize(("stride", "channels"), [(32, 4 * 32), (16, 32)])
def test_the_papers_passthrough_brings_the_features_as_they_are(stride: int, channels: int) -> None:
    net = detector(passthrough=True, passthrough_channels=0, stride=stride).eval()
    merged: list[torch.Tensor] = []
    assert net.merge is not None
    net.merge.register_forward_pre_hook(lambda _, inputs: merged.append(inputs[0]))
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        net(images)
        fine, coarse = net.backbone(images)
    assert fine.shape == (1, 32, 4, 4)
    brought, deep = merged[0].split([channels, 56], dim=1)
    assert torch.equal(deep, coarse)
    # the same numbers, whatever the order in which darknet reorganises them
    assert torch.equal(brought.flatten().sort().values, fine.flatten().sort().values)
    if stride == 16:
        assert torch.equal(brought, fine)
    else:
        # darknet reads (32, 4, 4) as if it were (8, 8, 8), in blocks of 2 x 2
        as_if = fine.view(8, 8, 8)
        assert torch.equal(brought.flatten()[: 8 * 4 * 4], as_if[:, ::2, ::2].flatten())


def test_a_passthrough_has_a_gradient_of_its_own() -> None:
    net = detector(passthrough=True)
    fine = torch.rand(1, 32, 4, 4, requires_grad=True)
    net.backbone.forward = lambda images: (fine, torch.rand(1, 56, 2, 2))  # type: ignore[method-assign]
    net.head.class_weight.data.normal_()
    net(torch.rand(1, 3, 64, 64)).raw.sum().backward()
    assert fine.grad is not None
    assert fine.grad.abs().sum() > 0


# ---------------------------------------------------------------- frozen stages


STAGES = [  # backbone, stages, convolutions of the first so many stages
    ("darknet19", 6, [1, 2, 5, 8, 13, 18]),
    ("extraction", 5, [1, 2, 6, 16, 20]),
]


@pytest.mark.parametrize(("backbone", "number", "convolutions"), STAGES)
@pytest.mark.parametrize("stride", [16, 32])
def test_frozen_stages_are_counted_from_the_image(
    backbone: str, number: int, convolutions: list[int], stride: int
) -> None:
    for stages in range(number + 1):
        net = detector(backbone=backbone, stride=stride, frozen_stages=stages)
        learns = [m.weight.requires_grad for m in net.modules() if isinstance(m, nn.Conv2d)]
        frozen = convolutions[stages - 1] if stages else 0
        assert learns == [False] * frozen + [True] * (convolutions[-1] - frozen)
        assert net.head.class_weight.requires_grad
    with pytest.raises(Mistake, match=f"`frozen_stages` {number + 1}: this backbone has {number} stages"):
        detector(backbone=backbone, stride=stride, frozen_stages=number + 1)


def test_what_is_frozen_stays_as_it_is_in_training() -> None:
    net = detector(frozen_stages=2)
    assert [m.training for m in net.train().modules() if isinstance(m, nn.BatchNorm2d)] == [False] * 2 + [True] * 16
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimiser = build_optimizer(net, OptimiserConfig(optimizer="sgd", learning_rate=0.1))
    assert sum(len(group["params"]) for group in optimiser.param_groups) == 16 * 3 + 4
    for _ in range(2):
        net.train()  # as the loop does after an evaluation
        sum(joint_loss(net(torch.rand(2, 3, 64, 64)), TRUTHS, REGION, images_seen=0).values()).backward()  # type: ignore[union-attr]
        optimiser.step()
        net.eval()
    after = net.state_dict()
    same = {name for name, value in after.items() if torch.equal(value, before[name])}
    assert same == {name for name in after if name.startswith(("backbone.fine.0.", "backbone.fine.2."))}


def test_a_copy_of_a_net_is_frozen_as_well() -> None:
    average = ModelAverage(detector(frozen_stages=1), decay=0.9)
    average.model.train()
    assert [m.training for m in average.model.modules() if isinstance(m, nn.BatchNorm2d)] == [False] + [True] * 17
    assert detector(frozen_stages=6).backbone.train().training is False
    assert detector(frozen_stages=0).backbone.train().fine[0].training


def test_frozen_stages_are_those_of_the_classifier_that_it_starts_from() -> None:
    net = detector(frozen_stages=3)
    classifier = Classifier(DetectorConfig(width=0.05), REGION.classes)
    net.initialise_from(classifier)
    assert not net.backbone.fine[0][0].weight.requires_grad
    assert torch.equal(net.backbone.fine[0][0].weight, classifier.backbone.fine[0][0].weight)  # type: ignore[index,union-attr]


# ---------------------------------------------------------------- all of them train


@pytest.mark.parametrize(
    "fields",
    [
        {"batch_norm": False},
        {"batch_norm": False, "backbone": "extraction", "extra_convs": 1},
        {"backbone": "extraction", "passthrough": True},
        {"passthrough": True, "passthrough_channels": 0},
        {"passthrough": True, "passthrough_channels": 0, "stride": 16, "batch_norm": False},
        {"stride": 64, "extra_convs": 4, "backbone": "extraction"},
        {"stride": 16, "share_class_rows": True, "frozen_stages": 4},
    ],
    ids=str,
)
def test_every_form_learns_and_can_be_prepared(fields: dict[str, Any]) -> None:
    net = detector(**fields)
    optimiser = build_optimizer(net, OptimiserConfig(optimizer="sgd", learning_rate=1e-3))
    images = torch.rand(2, 3, 128, 128)
    losses = []
    for _ in range(3):
        loss = torch.stack(list(joint_loss(net.train()(images), TRUTHS, REGION, images_seen=0).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        assert [name for name, p in net.named_parameters() if p.requires_grad and p.grad is None] == []
        optimiser.step()
        losses.append(loss.item())
    assert all(torch.isfinite(torch.tensor(losses)))
    assert losses[2] < losses[0]
    assert_prepared_is_the_same(net, images)


@pytest.mark.parametrize("head", ["grid", "connected"])
def test_yolov1_can_be_prepared(head: str) -> None:
    net = yolov1(size=128, stride=64, extra_convs=4, backbone="extraction", head=head)
    images = torch.rand(3, 3, 128, 128)
    net.train()(images).raw.square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []
    assert_prepared_is_the_same(net, images)


def assert_prepared_is_the_same(net: DetectionModel, images: torch.Tensor) -> None:
    with torch.no_grad():
        expected = net.eval()(images).raw
    found = prepare(net, device=torch.device("cpu"))(images).raw
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


# ---------------------------------------------------------------- what is refused, and why


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"backbone": "vgg"}, "`backbone` vgg: darknet19, extraction or timm:NAME is needed"),
        ({"width": 0}, "`width` 0: a positive number is needed"),
        ({"stride": 8}, "`stride` 8: 16, 32 or 64 is needed"),
        ({"stride": 64}, "`stride` 64: one of `extra_convs` has a stride of 2, and there is none"),
        ({"stride": 64, "extra_convs": 4, "passthrough": True}, "`passthrough` joins cells of 16 pixels .* not with"),
        ({"head": "grid", "share_class_rows": True}, "`share_class_rows`: the boxes of a cell share .* `head` grid"),
        ({"boxes": 0}, "`boxes` 0: at least 1 is needed"),
        ({"passthrough_channels": -1}, "`passthrough_channels` -1: at least 0 is needed"),
        ({"pretrained": True}, "`pretrained`: weights are published for the backbones of timm; for darknet19"),
        ({"backbone": "timm:resnet18", "batch_norm": False}, "`batch_norm`: timm:resnet18 keeps its own"),
    ],
    ids=str,
)
def test_what_does_not_go_together(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(Mistake, match=reason):
        DetectorConfig(**fields)


def test_what_a_net_refuses() -> None:
    with pytest.raises(Mistake, match="`passthrough_channels`: 6 channels are no multiple of 4"):
        Detector(DetectorConfig(passthrough=True, passthrough_channels=6), REGION)
    with pytest.raises(Mistake, match="`head` anchors: priors are those of a region"):
        yolov1(head="anchors")
    with pytest.raises(Mistake, match="`size` 100: a multiple of the `stride` 32"):
        yolov1(head="grid", size=100)
    with pytest.raises(ValueError, match="the classifier was built as"):
        detector(batch_norm=False).initialise_from(Classifier(DetectorConfig(width=0.05), REGION.classes))
