"""What eight bits cost and gain: ``python -m benchmarks.eight_bits RUN --calibrate IMAGES [--images N]``.

The run's detector is written in float and in eight bits (the ranges from IMAGES, the head in float), for each engine
that is installed, and all are evaluated on the same held-out images of the run's own data. Times are of the net alone,
the sides in turn, beside torch as `predict` chooses it here.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness import machine
from yolo9000.experiment.evaluate import evaluate_trained
from yolo9000.experiment.evaluate_config import EvaluateConfig
from yolo9000.exporting.config import Format
from yolo9000.exporting.opening import open_exported
from yolo9000.exporting.running import ready
from yolo9000.exporting.writing import export_model
from yolo9000.inference.model import TrainedModel, load_detector
from yolo9000.inference.prepare import prepare_with
from yolo9000.runtime.config import Settings
from yolo9000.runtime.device import use_huge_pages

ENGINES: dict[Format, tuple[str, ...]] = {"onnx": ("onnxruntime",), "openvino": ("openvino", "nncf")}
CPU = torch.device("cpu")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    use_huge_pages()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--calibrate", required=True, type=Path, metavar="DIR", help="images like the training's")
    parser.add_argument("--images", type=int, default=1000, metavar="N", help="evaluated (default 1000)")
    parser.add_argument("--times", type=int, default=20, metavar="N", help="measurements of each side")
    options = parser.parse_args(arguments)
    trained = load_detector(options.run)
    sides: dict[str, tuple[TrainedModel, Settings]] = {}
    own, settings = ready(trained, device=CPU)
    sides[f"torch, {settings.precision}"] = (own, settings)
    with tempfile.TemporaryDirectory() as scratch:
        for format, packages in ENGINES.items():
            if absent := [name for name in packages if importlib.util.find_spec(name) is None]:
                print(f"{format}: left out, for {', '.join(absent)} is not installed")
                continue
            for name, calibrate in (("float32", None), ("eight bits", [options.calibrate])):
                out = Path(scratch) / f"{format}-{name.replace(' ', '-')}"
                export_model(trained, out, format, calibrate=calibrate)
                sides[f"{packages[0]}, {name}"] = (open_exported(out), Settings())
        _print(sides, trained, options.images, options.times)


def _print(sides: dict[str, tuple[TrainedModel, Settings]], trained: TrainedModel, images: int, times: int) -> None:
    config = EvaluateConfig(images=images)
    milliseconds = _times(sides, trained.size, times)
    print(", ".join(f"{key} {value}" for key, value in machine().items()) + "\n")
    print("| net | AP50, with boxes | AP50, never boxed | ms an image | torch / it |\n| --- | --- | --- | --- | --- |")
    first = next(iter(milliseconds.values()))
    for name, (net, settings) in sides.items():
        report: dict[str, Any] = evaluate_trained(net, config, device=CPU, settings=settings)
        scores = " | ".join(f"{report[key]['ap50']:.4f}" for key in ("boxed", "never_boxed"))
        print(f"| {name} | {scores} | {milliseconds[name]:.2f} | {first / milliseconds[name]:.2f} |", flush=True)


def _times(sides: dict[str, tuple[TrainedModel, Settings]], size: int, times: int) -> dict[str, float]:
    """The least of several times of one image: neighbours only ever lengthen them."""
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    prepared = {name: prepare_with(net.detector, settings, device=CPU) for name, (net, settings) in sides.items()}
    least = dict.fromkeys(sides, float("inf"))
    for number in range(times + 1):  # the first does not count
        for name, net in prepared.items():
            started = time.perf_counter()
            _ = net(image).objectness
            if number:
                least[name] = min(least[name], 1e3 * (time.perf_counter() - started))
    return least


if __name__ == "__main__":
    main()
