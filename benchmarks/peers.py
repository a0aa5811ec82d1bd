"""Other projects that do the same jobs, each with its best documented setting.

None is needed to use this project: ``pip install -e ".[benchmark]"`` brings those of PyPI, ``apt-get install darknet``
darknet. A peer that is absent is a `PeerAbsent`, and its line of the table says so.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.harness import PeerAbsent
from yolo9000.darknet import DarknetNet
from yolo9000.exporting.errors import EngineAbsent
from yolo9000.exporting.formats import write_onnx

FROM_PYPI = 'pip install -e ".[benchmark]"'

ToRaw = Callable[[Tensor], Tensor]
"""Images (B, 3, S, S) -> darknet's dense array (B, A*(5+K), H, W)."""


def module(name: str) -> Any:
    """Import a peer.

    Raises
    ------
    PeerAbsent
        It is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs, about how they use their own dependencies
            return importlib.import_module(name)
    except ImportError as error:
        raise PeerAbsent(f"{name} ({FROM_PYPI})") from error


class _Raw(nn.Module):
    """A net whose answer is an array, as exporters want it."""

    def __init__(self, net: DarknetNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        raw: Tensor = self.net(images).raw
        return raw


def eager(net: DarknetNet, *, channels_last: bool) -> ToRaw:
    """PyTorch as it is: float32, no fusion; PyTorch's own advice for CPUs is the channels-last layout."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    raw = _Raw(net).eval().to(memory_format=layout)

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            answer: Tensor = raw(images.contiguous(memory_format=layout))
        return answer

    return run


def to_onnx(net: DarknetNet, batch: int, size: int, file: Path) -> Path:
    """The net as an ONNX file of a fixed input shape.

    Raises
    ------
    PeerAbsent
        The exporter needs onnx and onnxscript.
    """
    try:
        write_onnx(_Raw(net), file, size=size, outputs=["raw"], multiple=None, batch=batch)
    except EngineAbsent as error:
        raise PeerAbsent(f"{error}") from error
    return file


def onnxruntime(file: Path) -> ToRaw:
    """onnxruntime on the processor: float32, all graph optimisations, as many threads as torch.

    Raises
    ------
    PeerAbsent
    """
    runtime = module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def openvino(file: Path, precision: str = "bf16") -> ToRaw:
    """OpenVINO on the processor, with the latency hint, as many threads as torch, and arrays shared, not copied.

    Raises
    ------
    PeerAbsent
    """
    runtime = module("openvino")
    core = runtime.Core()
    compiled = core.compile_model(
        core.read_model(str(file)),
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        },
    )
    request = compiled.create_infer_request()
    return lambda images: torch.from_numpy(request.infer([images.numpy()], share_inputs=True, share_outputs=True)[0])


# --------------------------------------------------------------------------------------------------------- darknet

# In a process of its own, for darknet ends the process when it dislikes something, and talks on stdout. These are the
# library's functions that `darknet detector test` calls, in its order, without drawing and writing the picture.
_DARKNET = """
import ctypes as c, os, sys
out = os.fdopen(os.dup(1), "w"); os.dup2(2, 1)
library, cfg, weights, classes, threshold = sys.argv[1:]
d = c.CDLL(library)
class Image(c.Structure):
    _fields_ = [("w", c.c_int), ("h", c.c_int), ("c", c.c_int), ("data", c.POINTER(c.c_float))]
class Found(c.Structure):
    _fields_ = [("box", c.c_float * 4), ("classes", c.c_int), ("prob", c.POINTER(c.c_float)),
                ("mask", c.POINTER(c.c_float)), ("objectness", c.c_float), ("sort_class", c.c_int)]
p, i, f = c.c_void_p, c.c_int, c.c_float
for name, takes, gives in (
    ("load_network", [c.c_char_p, c.c_char_p, i], p), ("set_batch_network", [p, i], None),
    ("load_image_color", [c.c_char_p, i, i], Image), ("letterbox_image", [Image, i, i], Image),
    ("network_predict", [p, c.POINTER(f)], c.POINTER(f)), ("network_width", [p], i), ("network_height", [p], i),
    ("get_network_boxes", [p, i, i, f, f, p, i, c.POINTER(i)], c.POINTER(Found)),
    ("do_nms_sort", [c.POINTER(Found), i, i, f], None), ("free_detections", [c.POINTER(Found), i], None),
    ("free_image", [Image], None),
):
    getattr(d, name).argtypes, getattr(d, name).restype = takes, gives
net = d.load_network(cfg.encode(), weights.encode(), 0)
d.set_batch_network(net, 1)
side = d.network_width(net), d.network_height(net)
print("ready", file=out, flush=True)
for line in sys.stdin:
    image = d.load_image_color(line.strip().encode(), 0, 0)
    sized = d.letterbox_image(image, *side)
    d.network_predict(net, sized.data)
    count = i(0)
    found = d.get_network_boxes(net, image.w, image.h, float(threshold), .5, None, 1, c.byref(count))
    d.do_nms_sort(found, count.value, int(classes), .45)
    alive = sum(found[n].objectness > float(threshold) for n in range(count.value))
    d.free_detections(found, count.value)
    d.free_image(image)
    d.free_image(sized)
    print(alive, file=out, flush=True)
"""


def darknet_library() -> Path:
    """Darknet's own code, of Debian's package.

    Raises
    ------
    PeerAbsent
        The package is not installed.
    """
    binary = shutil.which("darknet")
    library = Path(binary or "/usr/bin/darknet").resolve().parents[1] / "lib" / "darknet" / "libdarknet.so"
    if not library.exists():
        raise PeerAbsent("darknet (apt-get install darknet)")
    return library


def darknet(cfg: Path, weights: Path, classes: int, threshold: float, stack: ExitStack) -> Callable[[Path], int]:
    """Debian's darknet as a function: image file -> number of boxes above the threshold.

    Its process goes on until the stack is closed. The build has one setting only: float32, one thread.

    Raises
    ------
    PeerAbsent
        The package is not installed.
    RuntimeError
        Darknet ended.
    """
    words = [str(darknet_library()), str(cfg), str(weights), str(classes), str(threshold)]
    messages = stack.enter_context(tempfile.TemporaryFile("w+"))  # noqa: SIM115 - the stack closes it
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", _DARKNET, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
            cwd=cfg.parent,
            env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
        )
    )
    stack.callback(process.kill)
    assert process.stdin is not None
    assert process.stdout is not None
    questions, answers = process.stdin, process.stdout

    def read() -> str:
        line = answers.readline()
        if not line:
            messages.seek(0)
            raise RuntimeError(f"darknet ended: {messages.read()[-500:]}")
        return line.strip()

    read()

    def run(file: Path) -> int:
        questions.write(f"{file.resolve()}\n")
        questions.flush()
        return int(read())

    return run


# -------------------------------------------------------------------------------------------------------- lightnet


@contextlib.contextmanager
def lightnets_seed() -> Iterator[None]:
    """Weights that lightnet draws, the same in every run."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def lightnet_yolov2(weights: Path, classes: int, threshold: float) -> Callable[[Tensor], Tensor]:
    """lightnet's YoloV2 with its box decoding and suppression: images -> (N, 7) rows image, box, score, class.

    It documents no other precision than float32; channels last is PyTorch's own advice for CPUs.

    Raises
    ------
    PeerAbsent
    """
    ln = module("lightnet")
    anchors = ln.util.Anchors.YoloV2_COCO
    with lightnets_seed():
        net = ln.models.YoloV2(classes, anchors=anchors)
    net.load(str(weights))
    net = net.eval().to(memory_format=torch.channels_last)
    boxes = ln.data.transform.GetAnchorBoxes(threshold, net.stride, anchors)
    suppress = ln.data.transform.NMS(0.45)

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            found: Tensor = suppress(boxes(net(images.contiguous(memory_format=torch.channels_last)).contiguous()))
        return found

    return run


def lightnet_region_loss(classes: int) -> Callable[[Tensor, Tensor], Tensor]:
    """lightnet's RegionLoss on yolov2's priors: raw (B, A*(5+K), H, W), targets (B, M, 5) -> mean over the batch.

    Its targets are the padded tensor that it documents (class, box), which is the faster of the two forms it takes.

    Raises
    ------
    PeerAbsent
    """
    ln = module("lightnet")
    loss = ln.network.loss.RegionLoss(classes, ln.util.Anchors.YoloV2_COCO, 32, seen=64_000)

    def run(raw: Tensor, targets: Tensor) -> Tensor:
        total: Tensor = loss(raw, targets, seen=64_000)
        return total

    return run


def padded_targets(boxes_cxcywh: list[Tensor], labels: list[Tensor]) -> Tensor:
    """lightnet's targets: (B, M, 5) rows class, box; -1 where there is none."""
    most = max(len(rows) for rows in labels)
    padded = torch.zeros(len(labels), most, 5)
    padded[:, :, 0] = -1
    for number, (rows, boxes) in enumerate(zip(labels, boxes_cxcywh, strict=True)):
        padded[number, : len(rows), 0] = rows.to(torch.float32)
        padded[number, : len(rows), 1:] = boxes
    return padded


# ----------------------------------------------------------------------------------------------------- pycocotools


def pycocotools_scores(dataset: dict[str, Any], found: np.ndarray[Any, np.dtype[np.float64]]) -> dict[int, float]:
    """AP of every category as pycocotools has it, over all areas with 100 detections: what ours computes, no more.

    Parameters
    ----------
    dataset : dict
        Truths in COCO's format.
    found : ndarray (N, 7)
        Rows of image, x, y, w, h, score, class.
    """
    coco, evaluation = module("pycocotools.coco"), module("pycocotools.cocoeval")
    with contextlib.redirect_stdout(open(os.devnull, "w")):  # it reports its progress there
        truth = coco.COCO()
        truth.dataset = dataset
        truth.createIndex()
        run = evaluation.COCOeval(truth, truth.loadRes(found), "bbox")
        run.params.maxDets = [100]
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, :, 0, 0]
    return {
        category: float(precision[:, :, number].mean())
        for number, category in enumerate(run.params.catIds)
        if precision[0, 0, number] >= 0
    }
