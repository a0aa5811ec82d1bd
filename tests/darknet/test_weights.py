"""Weights files: round trips, headers, files that end early, and files that are no weights of the net."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from yolo9000.darknet import (
    DarknetHeader,
    WeightsError,
    from_cfg,
    load_darknet_weights,
    read_darknet_header,
    save_darknet_weights,
)
from yolo9000.darknet.builtin_cfg import builtin_cfg
from yolo9000.darknet.net import DarknetNet
from yolo9000.models import BoxCoding, Classifier, Detector, DetectorConfig, FlatClasses, RegionSpec

GOLDEN = Path(__file__).parents[1] / "golden"
# 2 channels -> 3 filters of 3x3 with batch norm (3 * 4 + 54 = 66 floats), 3 -> 1 filter of 1x1 with bias (4 floats)
CFG = """[net]
width=8
height=8
channels=2
[convolutional]
batch_normalize=1
filters=3
size=3
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
filters=1
activation=linear
"""


@pytest.fixture
def net(tmp_path: Path) -> DarknetNet:
    (tmp_path / "small.cfg").write_text(CFG)
    return from_cfg(tmp_path / "small.cfg")


def content(floats: np.ndarray | int, header: bytes = struct.pack("<iiiQ", 0, 2, 0, 7)) -> bytes:
    values = np.arange(floats, dtype="<f4") if isinstance(floats, int) else floats.astype("<f4")
    return header + values.tobytes()


def test_floats_go_where_darknet_puts_them(net: DarknetNet, tmp_path: Path) -> None:
    (tmp_path / "a.weights").write_bytes(content(70))
    header = load_darknet_weights(net, tmp_path / "a.weights")
    assert header == DarknetHeader(0, 2, 0, images_seen=7, not_filled=())
    conv, norm = net.layers[0][0], net.layers[0][1]  # type: ignore[index]
    assert norm.bias.tolist() == [0, 1, 2]
    assert norm.weight.tolist() == [3, 4, 5]
    assert norm.running_mean.tolist() == [6, 7, 8]
    assert norm.running_var.tolist() == [9, 10, 11]
    assert conv.weight[0, 0].flatten().tolist() == [12, 13, 14, 15, 16, 17, 18, 19, 20]
    assert conv.weight[0, 1, 0, 0] == 21
    assert conv.weight[2, 1, 2, 2] == 65
    last = net.layers[2][0]  # type: ignore[index]
    assert last.bias.tolist() == [66]
    assert last.weight.flatten().tolist() == [67, 68, 69]


@pytest.mark.parametrize(
    ("header", "seen"),
    [
        (struct.pack("<iiiQ", 0, 2, 0, 2**40), 2**40),
        (struct.pack("<iiiQ", 0, 2, 5, 12), 12),
        (struct.pack("<iiiQ", 1, 0, 0, 12), 12),
        (struct.pack("<iiiI", 0, 1, 0, 32013312), 32013312),
        (struct.pack("<iiiI", 0, 1, 9, 2**32 - 1), 2**32 - 1),
        (struct.pack("<iiiI", 1000, 2, 0, 3), 3),  # darknet's mark of transposed layers has a short header too
    ],
)
def test_both_headers_come_back_byte_for_byte(net: DarknetNet, tmp_path: Path, header: bytes, seen: int) -> None:
    source, copy = tmp_path / "a.weights", tmp_path / "b.weights"
    source.write_bytes(content(np.random.default_rng(0).normal(size=70), header))
    assert read_darknet_header(source).images_seen == seen
    assert load_darknet_weights(net, source).images_seen == seen
    save_darknet_weights(net, copy)
    assert copy.read_bytes() == source.read_bytes()
    save_darknet_weights(net, copy, images_seen=99)
    assert load_darknet_weights(net, copy).images_seen == 99
    assert copy.stat().st_size == source.stat().st_size


@pytest.mark.parametrize("name", ["net_yolov2tiny_voc20", "net_darknet19_40"])
def test_darknets_own_files_come_back_byte_for_byte(name: str, tmp_path: Path) -> None:
    cfg = "net_darknet19_tree40" if name == "net_darknet19_40" else name
    model = from_cfg(GOLDEN / f"{cfg}.cfg")
    load_darknet_weights(model, GOLDEN / f"{name}.weights")
    save_darknet_weights(model, tmp_path / "b.weights")
    assert (tmp_path / "b.weights").read_bytes() == (GOLDEN / f"{name}.weights").read_bytes()


def test_a_header_that_cannot_hold_the_count_is_refused(net: DarknetNet, tmp_path: Path) -> None:
    target = tmp_path / "a.weights"
    with pytest.raises(WeightsError, match="images_seen=4294967296 does not fit into the 32 bits"):
        save_darknet_weights(net, target, images_seen=2**32, header=DarknetHeader(0, 1, 0))
    with pytest.raises(WeightsError, match="images_seen=-1"):
        save_darknet_weights(net, target, images_seen=-1)
    assert not list(tmp_path.glob("*.weights*"))


def test_a_file_that_ends_after_a_convolution_fills_the_beginning_if_asked(net: DarknetNet, tmp_path: Path) -> None:
    whole, named = tmp_path / "a.weights", tmp_path / "small.conv.2"
    for path in (whole, named):
        path.write_bytes(content(66))
    last = net.layers[2][0].weight.clone()  # type: ignore[index]
    with pytest.raises(WeightsError, match="ends after layer 0 .*70 floats were expected .* has 66.*partial=True"):
        load_darknet_weights(net, whole)
    for header in (load_darknet_weights(net, whole, partial=True), load_darknet_weights(net, named)):
        assert header.not_filled == ("layer 2 ([convolutional] in line 14)",)
    assert torch.equal(net.layers[2][0].weight, last)  # type: ignore[index]
    assert net.layers[0][1].bias.tolist() == [0, 1, 2]  # type: ignore[index]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes are too few for a header of 16 or 20 bytes"),
        (content(0)[:18], "18 bytes are too few for its header of 20 bytes"),
        (content(0), "70 floats were expected .* has 0 and ends 0 of 3 floats into the biases of layer 0"),
        (content(65), "70 floats were expected .* has 65 and ends 53 of 54 floats into the weights of layer 0"),
        (content(66) + b"\0", "truncated.*has 66 and ends 0 of 1 floats into the biases of layer 2"),
        (content(69), r"has 69 and ends 2 of 3 floats into the weights of layer 2 \(\[convolutional\] in line 14\)"),
        (content(69) + b"\0\0\0", "truncated"),
        (content(71), "too long by 1 floats: 70 floats were expected after the header of 20 bytes, the file has 71"),
        (content(70) + b"\0", "too long by 0 floats and 1 bytes"),
        (b"[net]\nwidth=3\n" * 20, r"a text file, no weights; it begins with '\[net\]"),
        (content(np.r_[np.zeros(10), np.nan, np.zeros(59)]), "float 10 of 70 is nan, in the rolling variances"),
        (content(np.r_[np.zeros(69), np.inf]), "float 69 of 70 is inf, in the weights of layer 2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("partial", [False, True])
def test_a_file_that_does_not_fit_changes_nothing(
    net: DarknetNet, tmp_path: Path, data: bytes, message: str, partial: bool
) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    (tmp_path / "bad.weights").write_bytes(data)
    with pytest.raises(WeightsError, match=r"bad\.weights: .*" + message):
        load_darknet_weights(net, tmp_path / "bad.weights", partial=partial)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_missing_file(net: DarknetNet, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_darknet_weights(net, tmp_path / "no.weights")


def test_a_net_without_weights_takes_a_header_alone(tmp_path: Path) -> None:
    model = from_cfg(GOLDEN / "region_voc20.cfg")
    save_darknet_weights(model, tmp_path / "a.weights", images_seen=5)
    assert (tmp_path / "a.weights").stat().st_size == 20
    assert load_darknet_weights(model, tmp_path / "a.weights").images_seen == 5


def test_native_nets_exchange_weights_with_those_of_a_cfg(tmp_path: Path) -> None:
    """The detector with passthrough and yolov2's layers, narrow, give the same numbers from one file."""
    widths = {"32": 8, "64": 8, "128": 16, "256": 32, "512": 56, "1024": 104}  # of width 0.1, multiples of 8
    lines = (
        builtin_cfg("yolov2-voc").replace("filters=125", "filters=50").replace("classes=20", "classes=5").split("\n")
    )
    for n, line in enumerate(lines):
        key, _, value = line.partition("=")
        if key == "filters" and value in widths:
            lines[n] = f"filters={widths[value]}"
    (tmp_path / "narrow.cfg").write_text(
        "\n".join(lines).replace("width=416", "width=64").replace("height=416", "height=64")
    )
    net = from_cfg(tmp_path / "narrow.cfg").eval()
    assert isinstance(net.region, RegionSpec)
    native = Detector(DetectorConfig(width=0.1, extra_convs=2, passthrough=True), net.region).eval()
    save_darknet_weights(native, tmp_path / "native.weights", images_seen=3)
    load_darknet_weights(net, tmp_path / "native.weights")
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(net(images).raw, native(images).raw)
    again = Classifier(DetectorConfig(width=0.1), FlatClasses(7))
    with pytest.raises(WeightsError, match="floats were expected"):
        load_darknet_weights(again, tmp_path / "native.weights", partial=True)


def test_a_classifiers_beginning_starts_a_detector(tmp_path: Path) -> None:
    """As darknet19.conv.23 starts YOLOv2: the 18 convolutions before the classifier's last."""
    classifier = Classifier(DetectorConfig(width=0.1), FlatClasses(7))
    save_darknet_weights(classifier, tmp_path / "a.weights", images_seen=3)
    last = classifier.last.weight.numel() + 7
    (tmp_path / "darknet19.conv.23").write_bytes((tmp_path / "a.weights").read_bytes()[: -4 * last])
    native = Detector(DetectorConfig(width=0.1), RegionSpec(coding=BoxCoding(((1, 1),)), classes=FlatClasses(4)))
    assert load_darknet_weights(native, tmp_path / "darknet19.conv.23").not_filled == ("head",)
    ours, theirs = native.backbone.state_dict(), classifier.backbone.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if "num_batches" not in name)
