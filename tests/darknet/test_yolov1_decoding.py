"""YOLOv1's detections are darknet's own, before and after suppression; and a detector of such a cfg."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from yolo9000.darknet import CfgError, from_cfg, load_darknet_weights, parse_cfg
from yolo9000.darknet.decoding import darknet_scores, detect_as_darknet, suppress_by_class
from yolo9000.darknet.detector import DarknetDetector, DarknetGridDetector, detector_of
from yolo9000.darknet.net import DarknetNet
from yolo9000.datasets.darknet_images import letterbox_as_darknet, stretch_as_darknet
from yolo9000.datasets.sample import Record
from yolo9000.datasets.transforms import letterbox
from yolo9000.detection.config import DecodeConfig
from yolo9000.inference.darknet_files import letterbox_of, load_darknet
from yolo9000.inference.nets import build_model
from yolo9000.models import FlatClasses, GridOutput, GridSpec

GOLDEN = Path(__file__).parents[1] / "golden"
WANTED = re.compile(r"img(\d)_(?:boxes_(\d+)x(\d+)|obj|th([\d.]+?)(?:_nms([\d.]+))?_prob)")


def check(output: GridOutput, z: dict[str, Any], tolerance: float) -> int:
    """Compare every array of detections; how many there were."""
    classes = output.spec.classes
    found = 0
    for name, expected in z.items():
        if (match := WANTED.fullmatch(name)) is None:
            continue
        image, width, height, threshold, nms = match.groups()
        scored = darknet_scores(output, classes, threshold=float(threshold or 0.2))[int(image)]
        if width:
            ours = scored.boxes_cxcywh * torch.tensor([int(width), int(height)] * 2)
        elif not threshold:
            ours = scored.objectness
        else:
            ours = suppress_by_class(scored, float(nms)) if nms else scored.scores
        np.testing.assert_allclose(ours.numpy(), expected, rtol=tolerance, atol=tolerance, err_msg=name)
        found += 1
    return found


@pytest.mark.parametrize(("case", "arrays"), [("detection_s3n2c4", 36), ("detection_s3n3c5_softmax", 36)])
def test_detections_of_a_detection_layer(case: str, arrays: int) -> None:
    with np.load(GOLDEN / f"{case}.npz") as z:
        output = from_cfg(GOLDEN / f"{case}.cfg")(torch.tensor(z["input"]))
        assert isinstance(output, GridOutput)
        assert check(output, dict(z), 1e-6) == arrays


@torch.no_grad()
def test_detections_of_a_whole_net() -> None:
    net = from_cfg(GOLDEN / "net_yolov1_a.cfg").eval()
    load_darknet_weights(net, GOLDEN / "net_yolov1_a.weights")
    with np.load(GOLDEN / "net_yolov1_a.npz") as z:
        output = net(torch.tensor(z["input"]))
        assert isinstance(output, GridOutput)
        assert check(output, dict(z), 1e-5) == 14


def test_two_negative_numbers_make_a_positive_score() -> None:
    """Darknet bounds nothing. One cell: classes -1 and .5, confidences -.5 and .8, both boxes in the middle."""
    grid = GridSpec(classes=FlatClasses(2, "linear"), square_root=False)
    boxes = [0.5, 0.5, 0.2, 0.2, 0.5, 0.5, 0.2, 0.2]
    output = GridOutput(torch.tensor([[-1.0, 0.5, -0.5, 0.8, *boxes]]), grid)
    scores = darknet_scores(output, grid.classes, threshold=0.2)[0].scores
    torch.testing.assert_close(scores, torch.tensor([[0.5, 0.0], [0.0, 0.4]]))
    found = detect_as_darknet(output, grid.classes, DecodeConfig(threshold=0.2))[0]
    assert found.nodes.tolist() == [0, 1]
    torch.testing.assert_close(found.scores, torch.tensor([0.5, 0.4]))
    torch.testing.assert_close(found.objectness, torch.tensor([-0.5, 0.8]))


def test_an_image_is_stretched_for_such_a_net(tmp_path: Path) -> None:
    for suffix in (".cfg", ".weights"):
        (tmp_path / f"net{suffix}").write_bytes((GOLDEN / f"net_yolov1_a{suffix}").read_bytes())
    trained = load_darknet(tmp_path / "net.weights", tmp_path / "net.cfg", names=["a", "b", "c", "d"])
    assert letterbox_of(trained) is stretch_as_darknet
    assert letterbox_of(trained, "area") is letterbox
    region = load_darknet(GOLDEN / "net_yolov2tiny_voc20.weights", GOLDEN / "net_yolov2tiny_voc20.cfg")
    assert letterbox_of(region) is letterbox_as_darknet
    assert (trained.size, trained.boxed, trained.detector.only_size) == (48, (0, 1, 2, 3), 48)
    record = Record(np.zeros((100, 200, 3), np.uint8), "a", np.array([[20, 25, 60, 75]], np.float32), np.array([1]))
    sample = stretch_as_darknet(record, 48)
    assert sample.image.shape == (3, 48, 48)
    torch.testing.assert_close(sample.target.boxes_cxcywh, torch.tensor([[0.2, 0.5, 0.2, 0.5]]))
    back = sample.placement.to_image(sample.target.boxes_cxcywh)
    torch.testing.assert_close(back, torch.tensor([[20.0, 25.0, 60.0, 75.0]]))


def test_a_detector_is_rebuilt_from_its_description() -> None:
    detector = detector_of(from_cfg(GOLDEN / "net_yolov1_a.cfg"), FlatClasses(4, "linear", names=("a", "b", "c", "d")))
    assert isinstance(detector, DarknetGridDetector)
    again = build_model(detector.description)
    assert isinstance(again, DarknetGridDetector)
    assert again.spec == detector.spec
    again.load_state_dict(detector.state_dict())
    x = torch.rand(1, 3, 48, 48)
    assert torch.equal(again.eval()(x).raw, detector.eval()(x).raw)


def test_classes_are_named_as_those_of_data() -> None:
    with torch.device("meta"):
        detector = DarknetGridDetector(from_cfg("yolov1"))
    classes = detector.classes
    assert isinstance(classes, FlatClasses)
    assert (classes.over, classes.label_maps["voc"]["person"], classes.names and classes.names[14]) == (
        "linear", 14, "person",
    )  # fmt: skip
    assert classes.ids["n00007846"] == 14


@pytest.mark.parametrize(
    ("text", "classes", "message"),
    [
        ("[net]\nwidth=8\nheight=4\nchannels=1\n[detection]\ncoords=4\nclasses=3\nside=2\n", None, "square images"),
        ("[net]\ninputs=32\n[detection]\ncoords=4\nclasses=3\nside=2\n", None, "square images are needed"),
        ("[net]\nwidth=4\nheight=8\nchannels=1\n[avgpool]\n", None, "a classifier; a detector ends in"),
        ("[net]\nwidth=4\nheight=4\nchannels=2\n[detection]\ncoords=4\nclasses=3\nside=2\n", FlatClasses(2),
         "3 classes, and 2"),
    ],
)  # fmt: skip
def test_what_is_no_detector(text: str, classes: FlatClasses | None, message: str) -> None:
    with pytest.raises(CfgError, match=message):
        detector_of(DarknetNet(parse_cfg(text)), classes)


def test_each_kind_of_detector_wants_its_own_layer() -> None:
    with torch.device("meta"):
        with pytest.raises(CfgError, match=r"ends in a \[detection\] layer"):
            DarknetGridDetector(from_cfg("yolov2-tiny-voc"))
        with pytest.raises(CfgError, match=r"a detector ends in a \[region\] or \[detection\] layer"):
            DarknetDetector(from_cfg("darknet19"))
