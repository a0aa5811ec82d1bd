"""Exported nets against the same net in torch, in processor time and on the disk; ``python -m benchmarks.exports``.

Without RUN the net is yolo9000 with 9,418 classes at 544 pixels, with random weights, whose time does not depend on
them; the threshold is such that 20 boxes survive. Processor time of one thread is measured, which neighbours lengthen
less than the time on the wall. The sides take turns, so all of them meet the same neighbours.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from yolo9000.darknet import DarknetDetector, from_cfg
from yolo9000.detection.config import DecodeConfig
from yolo9000.detection.decode import detect
from yolo9000.exporting.config import Form, Format
from yolo9000.exporting.opening import open_exported
from yolo9000.exporting.writing import export_model
from yolo9000.inference.config import Engine
from yolo9000.inference.model import TrainedModel, load_detector
from yolo9000.inference.prepare import PreparedDetector, prepare

SURVIVORS = 20
WAYS: tuple[tuple[Format, Form | None, Engine | None], ...] = (
    ("onnx", None, "onnxruntime"),
    ("onnx", None, "openvino"),
    ("torchscript", None, "torch"),
    ("onnx", "raw", "onnxruntime"),
    ("onnx", "decoded", "onnxruntime"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", metavar="RUN", help="a trained net in place of yolo9000")
    parser.add_argument("--batch", type=int, default=1, metavar="N")
    parser.add_argument("--times", type=int, default=5, metavar="N", help="measurements of each side, in turn")
    parser.add_argument("--int8", metavar="DIR", help="also in eight bits, with ranges from these images")
    parser.add_argument("--skip", nargs="*", default=[], metavar="FORM", help="forms to leave out, such as decoded")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    trained = load_detector(options.run) if options.run else _yolo9000()
    images = torch.rand(options.batch, 3, trained.size, trained.size, generator=torch.Generator().manual_seed(0))
    own = prepare(trained.detector, device=torch.device("cpu"))
    config = _threshold(own, images)
    sides: dict[str, tuple[PreparedDetector, DecodeConfig, float]] = {"torch": (own, config, 0.0)}
    with tempfile.TemporaryDirectory() as scratch:
        made: dict[tuple[Format, Form | None, bool], Path] = {}
        ways = [(*way, False) for way in WAYS if way[1] not in options.skip]
        ways += [(*way, True) for way in WAYS[:2] if options.int8]
        for format, form, engine, int8 in ways:
            out = made.get((format, form, int8))
            if out is None:
                out = made[format, form, int8] = Path(scratch) / f"{format}-{form}-{int8}"
                calibrate = [Path(options.int8)] if int8 else None
                export_model(trained, out, format, form=form, decode=config, calibrate=calibrate)
            opened = open_exported(out, engine=engine, threads=1)
            megabytes = sum(file.stat().st_size for file in out.iterdir()) / 1e6
            name = f"{format} {form or 'features'}{' int8' if int8 else ''}, {engine}"
            sides[name] = (prepare(opened.detector, device=torch.device("cpu")), config, megabytes)
        _report(sides, images, trained, options.times)


def _yolo9000() -> TrainedModel:
    torch.manual_seed(0)
    detector = DarknetDetector(from_cfg("yolo9000")).eval()
    return TrainedModel(detector, 544, detector.boxed, (), 0, {}, Path("yolo9000.weights"))


@torch.no_grad()
def _threshold(net: PreparedDetector, images: Tensor) -> DecodeConfig:
    """The objectness that so many boxes of an image exceed."""
    scores = net(images).objectness.float().sigmoid().flatten().sort(descending=True).values
    return DecodeConfig(threshold=float(scores[SURVIVORS * len(images)]))


@torch.no_grad()
def _report(
    sides: dict[str, tuple[PreparedDetector, DecodeConfig, float]], images: Tensor, trained: TrainedModel, times: int
) -> None:
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(times + 1):  # the first is a warm-up
        for name, (net, config, _) in sides.items():
            before = time.process_time()
            detect(net(images), trained.classes, config)
            if number:
                taken[name].append(time.process_time() - before)
    ours = statistics.median(taken["torch"])
    print("| file | processor time | torch / file | folder |\n| --- | --- | --- | --- |")
    for name, (_, _, megabytes) in sides.items():
        median = statistics.median(taken[name])
        folder = f"{megabytes:.1f} MB" if megabytes else ""
        print(f"| {name} | {1000 * median:.1f} ms | {ours / median:.2f} | {folder} |", flush=True)


if __name__ == "__main__":
    main()
