"""The table for a GPU: ``python -m benchmarks.gpu``; ``--device cpu --quick`` runs it at tiny sizes.

Training steps over 20, 9,418 and 82,114 classes with their peak memory and the times that they wait for the GPU; images
that are read and augmented in a second; predictions of 1 and of 32 images, beside the same net with a dense head in
onnxruntime (TensorRT, then CUDA, where its package for GPUs is installed). Figures of a CPU say only that it runs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from benchmarks import nets, peers
from benchmarks.harness import PeerAbsent, machine
from benchmarks.training import training_step
from yolo9000.datasets.loader import make_loader
from yolo9000.datasets.mixed import MixedDataset
from yolo9000.datasets.scenes import SceneConfig, SceneSource
from yolo9000.detection.decode import detect
from yolo9000.inference.prepare import prepare_with
from yolo9000.models import DetectorConfig, RegionSpec
from yolo9000.runtime.config import Settings
from yolo9000.runtime.device import pick_device, pick_precision

NODES = (20, 9418, 82_114)
PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", help="such as cuda:1, or cpu (default: the GPU, if there is one)")
    parser.add_argument("--quick", action="store_true", help="tiny nets: does it run?")
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="images of each kind in a step (default 32)")
    parser.add_argument("--workers", type=int, default=8, metavar="N", help="processes that read (default 8)")
    options = parser.parse_args(arguments)
    device = pick_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    print(", ".join(f"{key} {value}" for key, value in machine().items()) + f", {device}: {name}\n")
    print("| what | figure |\n| --- | --- |")
    for line in (
        *_steps(device, 1 if options.quick else options.batch, quick=options.quick),
        _fed(0 if options.quick else options.workers, quick=options.quick),
        *_predictions(device, quick=options.quick),
    ):
        print(f"| {line[0]} | {line[1]} |", flush=True)


def seconds(run: Callable[[], object], device: torch.device, times: int) -> float:
    """Median of some runs after two that do not count, with all that was asked of the GPU."""
    taken = []
    for number in range(times + 2):
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        if number > 1:
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def waits(run: Callable[[], object], device: torch.device) -> int | None:
    """How often a run makes the host wait for the GPU; None on a CPU, where torch does not count."""
    if device.type != "cuda":
        return None
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(each.message) for each in said)


def _steps(device: torch.device, batch: int, *, quick: bool) -> list[tuple[str, str]]:
    found = []
    size, width, times = (64, 0.1, 1) if quick else (416, 1.0, 10)
    for nodes in (20, 60) if quick else NODES:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        step = training_step(
            nodes, size=size, width=width, precision=pick_precision(device), device=device, images_of_each=batch
        )
        taken = seconds(step, device, times)
        peak = f"{torch.cuda.max_memory_allocated(device) / 2**20:.0f} MB" if device.type == "cuda" else "not counted"
        # the row of the loss is read in each of these steps, which is one; a training reads it every `log_every`
        words = f"{1e3 * taken:.1f} ms, {2 * batch / taken:.0f} images/s, peak {peak}, waits {waits(step, device)}"
        found.append((f"training step, {batch} + {batch} images of {size} px, {nodes:,} classes", words))
    return found


def _fed(workers: int, *, quick: bool) -> tuple[str, str]:
    size, batch, batches = (64, 4, 2) if quick else (416, 64, 20)
    source = SceneSource(SceneConfig(size=size), length=batch * (batches + 1))
    loader = iter(make_loader(MixedDataset(source, None, batch_size=batch, sizes=[size]), workers=workers))
    next(loader)
    started = time.perf_counter()
    for _ in range(batches):
        next(loader)
    rate = batch * batches / (time.perf_counter() - started)
    return f"drawn, augmented and collated, {size} px, {workers} workers", f"{rate:.0f} images/s"


def _predictions(device: torch.device, *, quick: bool) -> list[tuple[str, str]]:
    size, width, nodes, times = (224, 0.05, 60, 1) if quick else (544, 1.0, 9418, 20)
    region, found = nets.tree_region(nets.tree_of(nodes)), []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = nets.image_files(folder, 2)
        form = nets.darknet_form(region, DetectorConfig(width=width), files, size, 20, folder)
        for batch in (1, 2) if quick else (1, 32):
            images = nets.read_input(files[0], size).expand(batch, -1, -1, -1).contiguous()
            plain = Settings(precision=pick_precision(device))
            for settings in (plain,) if quick else (plain, replace(plain, engine="inductor")):
                net = prepare_with(form.ours(), settings, device=device)
                taken = seconds(partial(_detected, net, images, device, region), device, times)
                found.append((f"predict, batch {batch}, {size} px: ours, {settings.engine}", _rate(taken, batch)))
            found.append(
                (f"predict, batch {batch}, {size} px: dense in onnxruntime", _dense(form, images, folder, times))
            )
    return found


def _detected(net: nn.Module, images: torch.Tensor, device: torch.device, region: RegionSpec) -> object:
    return detect(net(images.to(device)), region.classes)


def _dense(form: nets.DarknetForm, images: torch.Tensor, folder: Path, times: int) -> str:
    """The dense net, images in, raw numbers out, without what detections of them would cost besides."""
    try:
        runtime = peers.module("onnxruntime")
        file = peers.to_onnx(form.dense(), len(images), images.shape[-1], folder / f"dense{len(images)}.onnx")
    except PeerAbsent as absent:
        return f"not installed: {absent}"
    providers = [each for each in PROVIDERS if each in runtime.get_available_providers()] or ["CPUExecutionProvider"]
    session = runtime.InferenceSession(str(file), providers=providers)
    taken = seconds(lambda: session.run(None, {"images": images.numpy()}), nets.CPU, times)
    return f"{_rate(taken, len(images))}, {session.get_providers()[0]}"


def _rate(taken: float, batch: int) -> str:
    return f"{1e3 * taken:.1f} ms, {batch / taken:.0f} images/s"


if __name__ == "__main__":
    main()
