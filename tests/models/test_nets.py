from __future__ import annotations

import numpy as np
import pytest
import torch

from yolo9000.models import (
    YOLO9000_PRIORS,
    YOLOV2_PRIORS,
    BoxCoding,
    Classifier,
    DenseRegionOutput,
    Detector,
    DetectorConfig,
    FlatClasses,
    RegionSpec,
    reorg,
)


def floats_in_darknet_file(module: torch.nn.Module) -> int:
    """Parameters, and the two running statistics of every batch norm: what a .weights file holds."""
    statistics = sum(b.numel() for name, b in module.named_buffers() if "running" in name)
    return sum(p.numel() for p in module.parameters()) + statistics


def test_full_size_nets_have_darknets_parameter_counts() -> None:
    yolo9000 = RegionSpec(coding=BoxCoding(YOLO9000_PRIORS), classes=FlatClasses(9418))
    coco = RegionSpec(coding=BoxCoding(YOLOV2_PRIORS), classes=FlatClasses(80))
    voc = RegionSpec(coding=BoxCoding(YOLOV2_PRIORS), classes=FlatClasses(20))
    yolov2 = DetectorConfig(extra_convs=2, passthrough=True)
    with torch.device("meta"):
        assert floats_in_darknet_file(Detector(DetectorConfig(), yolo9000)) == 48_807_501
        assert floats_in_darknet_file(Detector(yolov2, coco)) == 50_983_561
        assert floats_in_darknet_file(Detector(yolov2, voc)) == 50_676_061
        assert floats_in_darknet_file(Classifier(DetectorConfig(), FlatClasses(1000))) == 20_856_776
        assert floats_in_darknet_file(Classifier(DetectorConfig(), FlatClasses(9418))) == 29_485_226


@pytest.mark.parametrize(("stride", "passthrough"), [(32, False), (32, True), (16, False), (16, True)])
def test_grid_follows_the_stride_on_the_smallest_legal_input(stride: int, passthrough: bool) -> None:
    region = RegionSpec(coding=BoxCoding(((1, 1), (2, 2))), classes=FlatClasses(3))
    config = DetectorConfig(width=0.05, stride=stride, passthrough=passthrough, extra_convs=1)
    net = Detector(config, region).eval()
    out = net(torch.rand(1, 3, 32, 64))
    assert out.boxes.shape == (1, 2, 32 // stride, 64 // stride, 4)
    assert out.raw.shape == (1, region.channels, 32 // stride, 64 // stride)


def test_training_and_evaluation_mode_answer_alike_but_for_batch_norm() -> None:
    net = Detector(
        DetectorConfig(width=0.05, stride=16), RegionSpec(coding=BoxCoding(((1, 1),)), classes=FlatClasses(3))
    )
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
            module.track_running_stats = True
    images = torch.rand(4, 3, 64, 64)
    net.train()
    trained = net(images).raw
    assert type(net(images)) is type(net.eval()(images))
    assert trained.shape == net(images).raw.shape


def test_dense_output_reads_the_numbers_that_raw_holds() -> None:
    b, a, k, h, w = 2, 3, 4, 2, 5
    raw = torch.arange(b * a * (5 + k) * h * w, dtype=torch.float32).reshape(b, a * (5 + k), h, w)
    out = DenseRegionOutput(raw, BoxCoding(((1.0, 1.0),) * a))
    rng = np.random.default_rng(0)
    for _ in range(20):
        i, n, r, c, e = (int(rng.integers(s)) for s in (b, a, h, w, k))
        flat = torch.tensor([((i * a + n) * h + r) * w + c])
        expected = raw[i, n * (5 + k) + 5 + e, r, c]
        assert out.class_logits(flat, torch.tensor([e])).item() == expected
        assert out.class_logits_at(flat, torch.tensor([e])).item() == expected
        assert out.class_logits(flat)[0, e] == expected
        of_image = out.class_logits_of_images(torch.tensor([i]), torch.tensor([[e, 0]]))
        assert of_image.shape == (1, a * h * w, 2)
        assert of_image[0, (n * h + r) * w + c, 0] == expected
        assert out.objectness.view(out.boxes.shape[:4])[i, n, r, c] == raw[i, n * (5 + k) + 4, r, c]
        assert out.boxes[i, n, r, c].tolist() == raw[i, n * (5 + k) : n * (5 + k) + 4, r, c].tolist()


def test_reorg_is_darknets_scrambled_one() -> None:
    # typed from the definition: the buffer (4, 2, 2) read as (1, 4, 4); output channel (a, b) takes [2j + a, 2i + b]
    x = torch.arange(16.0).reshape(1, 4, 2, 2)
    assert reorg(x).shape == (1, 16, 1, 1)
    wide = reorg(torch.arange(32.0).reshape(1, 4, 2, 4))  # buffer (1, 4, 8): row phase, column phase, then (2, 4)
    expected = [[0, 2, 4, 6, 16, 18, 20, 22], [1, 3, 5, 7, 17, 19, 21, 23]]
    expected += [[8, 10, 12, 14, 24, 26, 28, 30], [9, 11, 13, 15, 25, 27, 29, 31]]
    assert wide.flatten().tolist() == [value for row in expected for value in row]


def test_reorg_equals_darknet_on_its_own_case(shared: object) -> None:
    z = np.load(f"{shared}/golden/reorg.npz")
    np.testing.assert_array_equal(reorg(torch.tensor(z["input"])).numpy(), z["output"])


def test_detector_starts_from_a_classifier() -> None:
    config = DetectorConfig(width=0.05, stride=16)
    classifier = Classifier(config, FlatClasses(7)).eval()
    detector = Detector(config, RegionSpec(coding=BoxCoding(((1, 1), (3, 2))), classes=FlatClasses(7))).eval()
    detector.initialise_from(classifier)
    images = torch.rand(2, 3, 64, 64)
    rows = detector(images).class_logits_of_images(torch.arange(2), torch.arange(7).expand(2, 7))
    # the classifier's logits are the mean of the class logits over the cells, for every prior
    for prior in rows.unflatten(1, (2, 16)).unbind(1):
        torch.testing.assert_close(prior.mean(dim=1), classifier(images), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="8 classes, not 7"):
        detector.initialise_from(Classifier(config, FlatClasses(8)))
