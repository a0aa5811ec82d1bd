"""The head that computes what is asked for, against darknet's dense array as its slow twin."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from yolo9000.darknet import WeightsError, load_darknet_weights, save_darknet_weights
from yolo9000.models import (
    BoxCoding,
    DenseRegionOutput,
    Detector,
    DetectorConfig,
    FlatClasses,
    RegionSpec,
    SparseRegionOutput,
    TreeHead,
)

B, A, H, W, D, K = 2, 3, 3, 4, 8, 11
CODING = BoxCoding(((1.0, 2.0), (2.0, 1.0), (3.0, 3.0)))


def head_and_features(
    *, shared: bool = False, dtype: torch.dtype = torch.float64, channels_last: bool = False
) -> tuple[TreeHead, torch.Tensor]:
    torch.manual_seed(0)
    head = TreeHead(D, CODING, K, share_class_rows=shared).to(dtype)
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    features = torch.randn(B, D, H, W, dtype=dtype)
    return head, features.contiguous(memory_format=torch.channels_last) if channels_last else features


def convolved(head: TreeHead, features: torch.Tensor) -> torch.Tensor:
    """Darknet's dense array by one 1x1 convolution."""
    weights, biases = zip(*head.dense_rows(), strict=True)
    return nn.functional.conv2d(features, torch.cat(weights)[:, :, None, None], torch.cat(biases))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_reading_is_that_of_the_dense_array(shared: bool, channels_last: bool) -> None:
    head, features = head_and_features(shared=shared, channels_last=channels_last)
    output, dense = head(features), DenseRegionOutput(convolved(head, features), CODING)
    boxes = torch.tensor([0, 71, 30, 13, 30, 47])  # twice the same, every prior, both images
    columns = torch.tensor([0, 3, 4, 10])
    assert output.num_classes == K
    pairs = [
        (output.raw, dense.raw),
        (output.boxes, dense.boxes),
        (output.objectness, dense.objectness),
        (output.class_logits(boxes), dense.class_logits(boxes)),
        (output.class_logits(boxes, columns), dense.class_logits(boxes, columns)),
        (output.class_logits(boxes[:0], columns), dense.class_logits(boxes[:0], columns)),
        (output.class_logits(boxes, columns[:0]), dense.class_logits(boxes, columns[:0])),
        (output.class_logits_at(boxes[:4], columns), dense.class_logits_at(boxes[:4], columns)),
    ]
    images, of_images = torch.tensor([1, 0, 1]), torch.tensor([[1, 2], [0, 10], [5, 5]])
    pairs.append((output.class_logits_of_images(images, of_images), dense.class_logits_of_images(images, of_images)))
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_without_knowing_the_priors_on_the_host_the_numbers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    head, features = head_and_features()
    boxes, columns = torch.tensor([0, 71, 30, 13, 30]), torch.tensor([2, 7])
    sorted_by_prior = head(features).class_logits(boxes, columns)
    monkeypatch.setattr("yolo9000.models.output.host_knows", lambda tensors: False)
    torch.testing.assert_close(head(features).class_logits(boxes, columns), sorted_by_prior)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_gradients_are_those_of_the_dense_array(data: st.DataObject) -> None:
    """Those of features, weights and biases, for any boxes and columns, repeated boxes included."""
    head, features = head_and_features(shared=data.draw(st.booleans()))
    boxes = torch.tensor(data.draw(st.lists(st.integers(0, B * A * H * W - 1), min_size=1, max_size=9)))
    columns = torch.tensor(sorted(data.draw(st.sets(st.integers(0, K - 1), min_size=1))))
    factors = torch.randn(len(boxes), len(columns), dtype=torch.float64)
    gradients = []
    for make in (lambda x: head(x), lambda x: DenseRegionOutput(convolved(head, x), CODING)):
        x = features.clone().requires_grad_()
        output = make(x)
        loss = (output.class_logits(boxes, columns) * factors).sum() + output.boxes.square().sum()
        loss = loss + output.objectness.sigmoid().sum()
        gradients.append(torch.autograd.grad(loss, [x, *head.parameters()]))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_what_is_answered_under_no_grad_takes_no_gradient_later() -> None:
    head, features = head_and_features()
    with torch.no_grad():
        output = head(features)
    assert not output.class_logits(torch.tensor([0])).requires_grad
    assert head(features).class_logits(torch.tensor([0])).requires_grad


def test_shared_rows_mean_the_same_at_every_prior() -> None:
    head, features = head_and_features(shared=True)
    logits = head(features).class_logits(torch.arange(A) * (H * W) + 5)
    assert head.class_weight.shape == (K, D)
    torch.testing.assert_close(logits[1], logits[0])
    torch.testing.assert_close(logits[2], logits[0])


def test_low_precision_features_give_full_precision_numbers() -> None:
    """The products of bfloat16 features are not rounded to bfloat16, whether or not autocast is on."""
    head, features = head_and_features(dtype=torch.float32)
    rounded = features.bfloat16()
    expected = convolved(head, rounded.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = head(rounded)
        assert isinstance(output, SparseRegionOutput)
        torch.testing.assert_close(output.raw, expected, rtol=1e-5, atol=1e-5)
    assert output.objectness.dtype == output.class_logits(torch.tensor([0])).dtype == torch.float32


def test_rows_of_a_classifier_start_every_prior() -> None:
    for shared in (False, True):
        head = TreeHead(2, BoxCoding(((1.0, 1.0),) * 2), 3, share_class_rows=shared)
        head.set_class_rows(torch.arange(6.0).reshape(3, 2), torch.tensor([7.0, 8.0, 9.0]))
        logits = head(torch.tensor([1.0, 10.0]).reshape(1, 2, 1, 1)).class_logits(torch.tensor([0, 1]))
        assert logits.tolist() == [[10 + 7, 2 + 30 + 8, 4 + 50 + 9]] * 2


def test_a_detector_may_share_its_class_rows() -> None:
    region = RegionSpec(coding=BoxCoding(((1, 1), (2, 2))), classes=FlatClasses(3))
    own = Detector(DetectorConfig(width=0.05), region)
    shared = Detector(DetectorConfig(width=0.05, share_class_rows=True), region)
    assert shared.head.class_weight.numel() * 2 == own.head.class_weight.numel()
    assert shared(torch.rand(1, 3, 64, 64)).raw.shape == (1, region.channels, 2, 2)


def test_weights_files_hold_the_rows_in_darknets_order(tmp_path: Path) -> None:
    """The last floats of the file: biases of all channels, then weights of all channels, prior after prior."""
    region = RegionSpec(coding=BoxCoding(((1, 1), (2, 2))), classes=FlatClasses(3))
    net = Detector(DetectorConfig(width=0.05), region)
    for parameter in net.head.parameters():
        nn.init.normal_(parameter)
    save_darknet_weights(net, tmp_path / "a.weights", images_seen=1)
    floats = torch.frombuffer(bytearray((tmp_path / "a.weights").read_bytes()[20:]), dtype=torch.float32)
    channels, d = region.channels, net.backbone.channels
    weight = floats[-channels * d :].view(2, 8, d)
    bias = floats[-channels * (d + 1) : -channels * d].view(2, 8)
    assert torch.equal(weight[:, :5].flatten(0, 1), net.head.box_weight)
    assert torch.equal(weight[:, 5:].flatten(0, 1), net.head.class_weight)
    assert torch.equal(bias[:, :5].flatten(), net.head.box_bias)
    assert torch.equal(bias[:, 5:].flatten(), net.head.class_bias)
    again = Detector(DetectorConfig(width=0.05), region)
    load_darknet_weights(again, tmp_path / "a.weights")
    assert all(torch.equal(one, two) for one, two in zip(net.parameters(), again.parameters(), strict=True))


def test_a_weights_file_does_not_fill_shared_rows(tmp_path: Path) -> None:
    """It may be written from them, and fill the layers before them."""
    region = RegionSpec(coding=BoxCoding(((1, 1), (2, 2))), classes=FlatClasses(3))
    net = Detector(DetectorConfig(width=0.05, share_class_rows=True), region)
    save_darknet_weights(net, tmp_path / "a.weights", images_seen=1)
    with pytest.raises(WeightsError, match=r"a\.weights: it has class rows for each prior, and this net shares"):
        load_darknet_weights(net, tmp_path / "a.weights")
    head = 4 * region.channels * (net.backbone.channels + 1)
    (tmp_path / "a.conv.18").write_bytes((tmp_path / "a.weights").read_bytes()[:-head])
    assert load_darknet_weights(net, tmp_path / "a.conv.18").not_filled == ("head",)
