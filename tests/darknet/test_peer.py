"""Darknet itself as a peer, through the library of Debian's package `darknet`, where that is installed.

That build runs on the processor, where a tree's softmax is broken and batch norm has its own formula. So raw numbers
are compared (nets cut off before the region layer) and flat detectors whole, and our batch norm takes that formula.
YOLOv1's nets are compared forward, and their detections, which darknet makes of a 640 x 480 image.
"""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from yolo9000.darknet import (
    DarknetNet,
    from_cfg,
    load_darknet_weights,
    read_darknet_header,
    region_activations,
    save_darknet_weights,
)
from yolo9000.darknet.builtin_cfg import builtin_cfg
from yolo9000.darknet.decoding import darknet_scores, suppress_by_class
from yolo9000.models import GridOutput

GOLDEN = Path(__file__).parents[1] / "golden"
BINARY = shutil.which("darknet")
LIBRARY = Path(BINARY or "/usr/bin/darknet").resolve().parents[1] / "lib" / "darknet" / "libdarknet.so"
needs_darknet = pytest.mark.skipif(not LIBRARY.exists(), reason="Debian's package `darknet` is not installed")

# In a process of its own: darknet ends the process when it dislikes something.
PROGRAM = """
import ctypes, sys
import numpy as np
library, cfg, weights, folder, size, classes = sys.argv[1:]
classes = int(classes)
darknet = ctypes.CDLL(library)
numbers = ctypes.POINTER(ctypes.c_float)
darknet.load_network.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int]
darknet.load_network.restype = ctypes.c_void_p
darknet.network_predict.argtypes = [ctypes.c_void_p, numbers]
darknet.network_predict.restype = numbers
darknet.save_weights.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
net = darknet.load_network(cfg.encode(), weights.encode(), 0)
outputs = []
for image in np.load(folder + "/input.npy"):
    image = np.ascontiguousarray(image, np.float32)
    output = darknet.network_predict(net, image.ctypes.data_as(numbers))
    outputs.append(np.ctypeslib.as_array(output, (int(size),)).copy())
np.save(folder + "/output.npy", np.stack(outputs))
if classes > 0:
    class Detection(ctypes.Structure):
        _fields_ = [("box", ctypes.c_float * 4), ("classes", ctypes.c_int), ("prob", numbers), ("mask", numbers),
                    ("objectness", ctypes.c_float), ("sort_class", ctypes.c_int)]
    boxes_of = darknet.get_network_boxes
    boxes_of.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_float, ctypes.c_float,
                         ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]
    boxes_of.restype = ctypes.POINTER(Detection)
    darknet.do_nms_sort.argtypes = [ctypes.POINTER(Detection), ctypes.c_int, ctypes.c_int, ctypes.c_float]
    number = ctypes.c_int()
    found = boxes_of(net, 640, 480, 0.1, 0.5, None, 0, ctypes.byref(number))  # of the last image
    darknet.do_nms_sort(found, number, classes, 0.4)
    # it sorts them, and moves those without objectness to the end
    rows = sorted([*each.box, each.objectness, *each.prob[:classes]] for each in found[:number.value])
    np.save(folder + "/detections.npy", np.array(rows, np.float32))
darknet.save_weights(net, (folder + "/saved.weights").encode())
"""


def with_processor_batch_norm(model: DarknetNet) -> DarknetNet:
    """The net with darknet's formula for the processor, (x - mean) / (sqrt(variance) + 1e-6)."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            assert module.running_var is not None
            module.running_var = (module.running_var.double().sqrt() + 1e-6).square().float()
            module.eps = 0.0
    return model


def randomised(model: DarknetNet) -> DarknetNet:
    """Batch norms that do something, with weights that keep the numbers of every layer near 1."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            for tensor, low, high in ((module.weight, 0.7, 1.3), (module.bias, -0.3, 0.3),
                                      (module.running_mean, -0.2, 0.2), (module.running_var, 0.5, 2.0)):  # fmt: skip
                assert tensor is not None
                tensor.data.uniform_(low, high, generator=generator)
    return model


@torch.no_grad()
def test_the_processor_formula_gives_the_golden_numbers() -> None:
    """So that a difference from the peer is no matter of batch norm."""
    with np.load(GOLDEN / "net_yolov2tiny_voc20.npz") as z:
        model = from_cfg(GOLDEN / "net_yolov2tiny_voc20.cfg")
        load_darknet_weights(model, GOLDEN / "net_yolov2tiny_voc20.weights")
        raw = with_processor_batch_norm(model)(torch.tensor(z["input"])).raw
        np.testing.assert_allclose(raw.numpy(), z["raw_cpubn"], rtol=0, atol=1e-4)


def narrow(name: str, divisor: int, *, side: int, region: bool) -> str:
    """A built-in cfg with its hidden layers' filters divided, a square input, and one image a batch."""
    text = builtin_cfg(name)
    text = text if region else text.partition("[region]")[0]
    out, in_batch_norm = [], False
    for line in text.split("\n"):
        key, _, value = line.partition("=")
        in_batch_norm = key == "batch_normalize" or (in_batch_norm and not line.startswith("["))
        if key == "filters" and in_batch_norm:
            line = f"filters={max(4, int(value) // divisor)}"
        if key in ("batch", "subdivisions"):
            line = f"{key}=1"
        out.append(f"{key}={side}" if key in ("width", "height") else line)
    return "\n".join(out)


@needs_darknet
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "divisor", "region"),
    [
        ("yolov2-tiny-voc", 16, False), ("yolov2-tiny-voc", 16, True), ("yolov2-voc", 16, False),
        ("yolov2-voc", 16, True), ("yolov2", 16, True), ("yolo9000", 64, False),
    ],
)  # fmt: skip
@torch.no_grad()
def test_darknet_gives_the_same_numbers(tmp_path: Path, name: str, divisor: int, region: bool) -> None:
    (tmp_path / "net.cfg").write_text(narrow(name, divisor, side=96, region=region))
    model = randomised(from_cfg(tmp_path / "net.cfg"))
    save_darknet_weights(model, tmp_path / "net.weights", images_seen=4711)
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    output = with_processor_batch_norm(model)(images)
    expected = region_activations(output, model.region) if model.region is not None else output.raw
    np.save(tmp_path / "input.npy", images.numpy())
    words = [str(LIBRARY), str(tmp_path / "net.cfg"), str(tmp_path / "net.weights"), str(tmp_path)]
    command = [sys.executable, "-c", PROGRAM, *words, str(expected[0].numel()), "0"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    peer = np.load(tmp_path / "output.npy").reshape(expected.shape)
    np.testing.assert_allclose(expected.numpy(), peer, rtol=0, atol=1e-4)
    # what darknet writes reads the same here
    assert read_darknet_header(tmp_path / "saved.weights").images_seen == 4711
    assert (tmp_path / "saved.weights").read_bytes()[20:] == (tmp_path / "net.weights").read_bytes()[20:]


GRID_END = """[connected]
output={numbers}
activation=linear
[detection]
classes=4
coords=4
side=3
num=2
softmax={softmax}
sqrt={sqrt}
rescore=1
"""
GRID_BODY = """[net]
batch=1
subdivisions=1
width=48
height=48
channels=3
{crop}
[convolutional]
batch_normalize=1
filters=8
size=7
stride=2
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
batch_normalize=1
filters=16
size=3
stride=4
pad=1
activation=leaky
[local]
size=3
stride=1
pad={pad}
filters=8
activation=leaky
[connected]
output=64
batch_normalize={norm}
activation=leaky
[dropout]
probability=.5
"""


@needs_darknet
@pytest.mark.slow
@pytest.mark.parametrize(
    ("crop", "pad", "norm", "softmax", "sqrt"),
    [("", 1, 0, 0, 1), ("[crop]\ncrop_width=40\ncrop_height=44\nflip=1", 0, 1, 1, 0), ("", 0, 1, 0, 0)],
)
@torch.no_grad()
def test_darknet_gives_the_same_numbers_of_yolov1(
    tmp_path: Path, crop: str, pad: int, norm: int, softmax: int, sqrt: int
) -> None:
    text = GRID_BODY.format(crop=crop, pad=pad, norm=norm) + GRID_END.format(numbers=126, softmax=softmax, sqrt=sqrt)
    (tmp_path / "net.cfg").write_text(text)
    torch.manual_seed(3)
    model = randomised(from_cfg(tmp_path / "net.cfg"))
    last = model.layers[-2]
    last[1].bias.copy_(torch.rand(126) * 0.5)  # type: ignore[index]
    save_darknet_weights(model, tmp_path / "net.weights", images_seen=4711)
    images = torch.rand(2, 3, 48, 48)
    output = with_processor_batch_norm(model)(images)
    assert isinstance(output, GridOutput)
    np.save(tmp_path / "input.npy", images.numpy())
    words = [str(LIBRARY), str(tmp_path / "net.cfg"), str(tmp_path / "net.weights"), str(tmp_path), "126", "4"]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    classes = output.spec.classes.conditionals(output.cell_classes)
    expected = torch.cat([classes.flatten(1), output.raw[:, 36:]], dim=1)
    np.testing.assert_allclose(expected.numpy(), np.load(tmp_path / "output.npy"), rtol=0, atol=1e-4)
    assert (tmp_path / "saved.weights").read_bytes() == (tmp_path / "net.weights").read_bytes()
    found = darknet_scores(output, output.spec.classes, threshold=0.1)[1]
    boxes = found.boxes_cxcywh.float() * torch.tensor([640.0, 480.0, 640.0, 480.0])
    rows = torch.cat([boxes, found.objectness[:, None], suppress_by_class(found, 0.4)], dim=1).tolist()
    peer = np.load(tmp_path / "detections.npy")
    assert (peer[:, 5:] > 0).any()
    np.testing.assert_allclose(np.array(sorted(rows)), peer, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("region", [False, True])
def test_the_nets_for_the_peer_can_be_built(tmp_path: Path, region: bool) -> None:
    (tmp_path / "net.cfg").write_text(narrow("yolov2-voc", 16, side=96, region=region))
    model = randomised(from_cfg(tmp_path / "net.cfg")).eval()
    raw = model(torch.rand(1, 3, 96, 96)).raw
    assert raw.shape == (1, 125, 3, 3)
    assert (model.region is not None) == region
    assert 0.01 < raw.std() < 100
