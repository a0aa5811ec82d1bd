"""Detectors on backbones of timm: the ten most used families, each at its smallest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms.v2 import Normalize

from yolo9000.inference.first_layers import has_first_layers_alone, start_from_first_layers
from yolo9000.inference.nets import build_model
from yolo9000.inference.prepare import prepare
from yolo9000.models import BoxCoding, Classifier, Detector, DetectorConfig, FlatClasses, RegionSpec
from yolo9000.models.backbones import build_backbone
from yolo9000.runtime.checkpoint import CheckpointError
from yolo9000.runtime.mistakes import Mistake

timm = pytest.importorskip("timm", reason="needs timm: pip install 'yolo9000[backbones]'")

REGION = RegionSpec(coding=BoxCoding(((1, 1), (2, 2))), classes=FlatClasses(3))
IMAGENET = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# name, channels of strides 16 and 32 (timm's tables)
FAMILIES: list[Any] = [
    ("resnet10t", 256, 512),
    ("mobilenetv3_small_050", 24, 288),
    ("mobilenetv4_conv_small_035", 32, 336),
    ("efficientnet_b0", 112, 320),
    ("convnext_atto", 160, 320),
    ("regnetx_002", 152, 368),
    pytest.param("densenet121", 1024, 1024, marks=pytest.mark.slow),
    pytest.param("vgg11_bn", 512, 512, marks=pytest.mark.slow),
    pytest.param("hrnet_w18_small", 512, 1024, marks=pytest.mark.slow),
    pytest.param("swin_tiny_patch4_window7_224", 384, 768, marks=pytest.mark.slow),
]


def form(name: str, **fields: Any) -> DetectorConfig:
    return DetectorConfig(backbone=f"timm:{name}", **fields)


@pytest.mark.parametrize(("name", "fine", "coarse"), FAMILIES)
def test_a_detector_on_the_smallest_of_each_family(name: str, fine: int, coarse: int) -> None:
    torch.manual_seed(0)
    net = Detector(form(name, passthrough=True), REGION)
    assert (net.backbone.fine_channels, net.backbone.channels) == (fine, coarse)
    nn.init.normal_(net.head.class_weight, std=0.3)
    # one way there and back: any size, the first layer learns, and features of both strides reach the loss
    net(torch.rand(2, 3, 64, 96)).raw.square().mean().backward()
    weights = [parameter for parameter in net.backbone.parameters() if parameter.ndim == 4]
    assert weights[0].grad is not None
    assert weights[0].grad.abs().max() > 0
    net.eval()
    smallest = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = net(smallest).raw
        features = net.backbone(smallest)
    assert expected.shape == (1, 2 * (5 + 3), 1, 1)
    assert [part.shape for part in features] == [(1, fine, 2, 2), (1, coarse, 1, 1)]
    found = prepare(net, device=torch.device("cpu"))(smallest).raw
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "convnext_atto", "test_vit"])
def test_prepared_in_bfloat16(name: str) -> None:
    """Norms of every kind, and embeddings of positions, among weights of lower precision."""
    torch.manual_seed(0)
    net = Detector(form(name, stride=16), REGION).eval()
    nn.init.normal_(net.head.class_weight, std=0.3)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = net(images).raw
    found = prepare(net, device=torch.device("cpu"), precision="bfloat16")(images).raw
    error = (found - expected).square().mean().sqrt() / expected.std()
    assert 1e-5 < error < 0.1


def test_images_are_normalised_as_the_weights_expect() -> None:
    for name, normal in (("resnet10t", IMAGENET), ("test_resnet", Normalize([0.5] * 3, [0.5] * 3))):
        backbone = build_backbone(form(name)).eval()
        plain = timm.create_model(name, features_only=True).eval()
        plain.load_state_dict({k.removeprefix("net."): v for k, v in backbone.state_dict().items() if "net." in k})
        images = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            for ours, theirs in zip(backbone(images), plain(normal(images))[-2:], strict=True):
                torch.testing.assert_close(ours, theirs)


def test_an_image_in_bfloat16_is_normalised_in_full_precision() -> None:
    backbone = build_backbone(form("test_resnet")).to(torch.bfloat16)
    assert isinstance(backbone.mean, torch.Tensor)
    seen: list[torch.Tensor] = []
    backbone.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))  # type: ignore[union-attr]
    image = torch.rand(1, 3, 32, 32).to(torch.bfloat16)
    backbone.eval()(image)
    assert torch.equal(seen[0], ((image.float() - 0.5) / 0.5).to(torch.bfloat16))


@pytest.mark.parametrize(("name", "stride"), [("resnet10t", 32), ("mobilenetv3_small_050", 32), ("test_vit", 16)])
def test_weights_of_a_file_are_those_of_timm(tmp_path: Path, name: str, stride: int) -> None:
    torch.manual_seed(0)
    published, file = timm.create_model(name).eval(), tmp_path / "model.safetensors"  # with its classifier
    save_file(published.state_dict(), file)
    net = Detector(form(name, stride=stride, frozen_stages=1), REGION).eval()
    image, before = torch.rand(1, 3, 64, 64), net.head.class_weight.clone()
    assert has_first_layers_alone(file)
    assert start_from_first_layers(net, file) == [f"the backbone has the weights of {file}"]
    deep = timm.create_model(name, features_only=True).eval()
    flat = {key.replace(".", "_"): value for key, value in published.state_dict().items()}
    deep.load_state_dict({key: flat[key.removeprefix("model.").replace(".", "_")] for key in deep.state_dict()})
    mean = torch.tensor(timm.data.resolve_model_data_config(published)["mean"]).view(1, 3, 1, 1)
    std = torch.tensor(timm.data.resolve_model_data_config(published)["std"]).view(1, 3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(net.backbone(image)[1], deep((image - mean) / std)[-1])
    assert torch.equal(net.head.class_weight, before)
    assert not next(net.backbone.parameters()).requires_grad
    save_file(timm.create_model(name, num_classes=7).state_dict(), file)  # as somebody may have trained it
    start_from_first_layers(net, file)


def test_a_file_of_weights_that_does_not_fit(tmp_path: Path) -> None:
    net, file = Detector(form("resnet10t"), REGION), tmp_path / "model.safetensors"
    kept = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(Mistake, match=r"model.safetensors: is torn, or no safetensors file \(.*No such file"):
        start_from_first_layers(net, file)
    file.write_bytes(b"\x08" + bytes(7) + b"{        ")
    with pytest.raises(Mistake, match=r"model.safetensors: is torn, or no safetensors file"):
        start_from_first_layers(net, file)
    whole = timm.create_model("resnet10t").state_dict()
    save_file({key: value for key, value in whole.items() if not key.startswith("layer4")}, file)
    with pytest.raises(Mistake, match=r"no weights of timm's resnet10t; \d+ of \d+ are missing, .* layer4.0.conv1"):
        start_from_first_layers(net, file)
    deeper = {"layer1.1.conv1.weight": whole["layer1.0.conv1.weight"].clone(), "layer1.1.bn1.bias": torch.zeros(64)}
    save_file({**whole, **deeper}, file)  # all names of this model, and a block more
    with pytest.raises(Mistake, match=r"of another model than timm's resnet10t, which has no layer1\.1\..* \(2 such"):
        start_from_first_layers(net, file)
    save_file({**whole, "layer4.0.conv1.weight": torch.zeros(3)}, file)
    with pytest.raises(Mistake, match=r"weights of another form than timm's resnet10t \(.*layer4.0.conv1.weight"):
        start_from_first_layers(net, file)
    with pytest.raises(CheckpointError, match=r"a.conv.23: darknet has no net with this `backbone`; one of timm"):
        start_from_first_layers(net, "a.conv.23")
    with pytest.raises(CheckpointError, match=r"safetensors: weights of timm's are for a `backbone` of timm:NAME"):
        start_from_first_layers(Detector(DetectorConfig(width=0.1), REGION), file)
    assert all(torch.equal(value, kept[name]) for name, value in net.state_dict().items())


def test_with_stride_16_a_net_keeps_its_stages_where_timm_can() -> None:
    torch.manual_seed(0)
    coarse, same = build_backbone(form("resnet10t")), build_backbone(form("resnet10t", stride=16))
    same.load_state_dict(coarse.state_dict())  # the published weights fit both
    assert [part.shape for part in same(torch.rand(2, 3, 64, 32))] == [(2, 256, 4, 2), (2, 512, 4, 2)]
    assert not same.fine_is_coarse


@pytest.mark.parametrize(("name", "channels"), [("ghostnet_100", 80), ("test_vit", 64)])
def test_with_stride_16_other_nets_end_there(name: str, channels: int) -> None:
    backbone = build_backbone(form(name, stride=16))
    fine, coarse = backbone(torch.rand(2, 3, 64, 32))
    assert fine is coarse
    assert coarse.shape == (2, channels, 4, 2)
    with pytest.raises(Mistake, match=f"`passthrough`: with a `stride` of 16 timm:{name} has no finer features"):
        Detector(form(name, stride=16, passthrough=True), REGION)


def test_a_net_of_stride_64_and_a_classifier() -> None:
    net = Detector(form("test_resnet", stride=64, extra_convs=2), REGION).eval()
    assert net(torch.rand(1, 3, 128, 64)).raw.shape == (1, 16, 2, 1)
    classifier = net.classifier()
    assert isinstance(classifier, Classifier)
    assert classifier(torch.rand(2, 3, 64, 64)).shape == (2, 3)
    net.initialise_from(classifier)
    for ours, theirs in zip(net.backbone.parameters(), classifier.backbone.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_batch_norms_follow_as_fast_as_is_said() -> None:
    backbone = build_backbone(form("mobilenetv3_small_050", batch_norm_momentum=0.25))
    assert {m.momentum for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)} == {0.25}


def test_frozen_stages_are_those_of_timm() -> None:
    net = Detector(form("resnet10t", frozen_stages=2), REGION).train()
    of_layer: dict[str, set[bool]] = {}
    for name, parameter in net.backbone.named_parameters():
        of_layer.setdefault(name.split(".")[1], set()).add(parameter.requires_grad)
    learns = {"conv1": False, "bn1": False, "layer1": False, "layer2": True, "layer3": True, "layer4": True}
    assert of_layer == {layer: {on} for layer, on in learns.items()}  # the stem has stride 2, the first layer 4
    for name, module in net.backbone.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.training == learns[name.split(".")[1]], name
    with pytest.raises(Mistake, match="`frozen_stages` 6: this backbone has 5 stages"):
        Detector(form("resnet10t", frozen_stages=6), REGION)
    with pytest.raises(Mistake, match="`frozen_stages` 9: this backbone has 4 stages"):
        Detector(form("convnext_atto", frozen_stages=9), REGION)


def test_what_is_refused() -> None:
    with pytest.raises(Mistake, match="`backbone` timm:resnet81: timm .* has no such model; did you mean .*resnet18"):
        build_backbone(form("resnet81"))
    with pytest.raises(Mistake, match="timm:hf-hub:a/b: timm .* has no such model; timm.list_models"):
        build_backbone(form("hf-hub:a/b"))
    with pytest.raises(Mistake, match="timm:resnet18.a9_in1k: there are no such weights; there are .*resnet18.a1_in1k"):
        build_backbone(form("resnet18.a9_in1k"))
    with pytest.raises(Mistake, match="cells of 16 pixels, and none of 32, which a `stride` of 32 needs; for a"):
        build_backbone(form("test_vit"))
    with pytest.raises(Mistake, match="timm:coat_lite_tiny: it does not take images of any size .*match model"):
        build_backbone(form("coat_lite_tiny"))
    with pytest.raises(Mistake, match="`pretrained`: timm publishes no weights for convnext_atto_rms"):
        build_backbone(form("convnext_atto_rms", pretrained=True))
    with pytest.raises(Mistake, match="`batch_norm`: timm:resnet18 keeps its own"):
        form("resnet18", batch_norm=False)
    with pytest.raises(Mistake, match="`passthrough_channels`: 18 channels are no multiple of 4"):
        Detector(form("resnet10t", passthrough=True, passthrough_channels=18), REGION)


def test_timm_that_is_not_there_is_a_mistake_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(Mistake, match=r"`backbone` timm:resnet18: the library timm is not .* 'yolo9000\[backbones\]'"):
        build_backbone(form("resnet18"))
    build_backbone(DetectorConfig(width=0.1))  # which needs none


def test_published_weights_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []
    create = timm.create_model

    def recorded(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        asked.append((name, pretrained))
        net: nn.Module = create(name, **options)
        return net

    monkeypatch.setattr(timm, "create_model", recorded)
    net = Detector(form("resnet18.a1_in1k", pretrained=True), REGION)
    assert [one for one in asked if one[1]] == [("resnet18.a1_in1k", True)]
    asked.clear()
    again = build_model(net.description)  # a checkpoint has the weights
    assert not any(pretrained for _, pretrained in asked)
    assert list(again.state_dict()) == list(net.state_dict())
