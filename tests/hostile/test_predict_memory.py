"""Predicting on many images in one process: its memory stays flat, and a broken image costs itself."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from yolo9000.datasets.sample import Record
from yolo9000.detection.config import DecodeConfig
from yolo9000.inference.model import load_model
from yolo9000.inference.predictor import Predictor
from yolo9000.inference.sources import open_sources
from yolo9000.results.finding import find_in_images
from yolo9000.runtime.run_folder import RunFolder

IMAGES, FIRST, MEGABYTES = 10_000 if os.environ.get("YOLO9000_HOURS") else 1_200, 200, 5
ENOUGH = 1_200
"""After so many images one that keeps what it found is found out."""
BROKEN = 500


def resident() -> int:
    gc.collect()
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("the system does not say how much memory a process has")
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS")) * 1024


def growth(checkpoint: Path, folder: Path, *, leaky: bool) -> tuple[int, int, list[str]]:
    """Bytes that came after the first images, how many were answered for, and what could not be read."""
    torch.set_num_threads(1)
    predictor = Predictor(load_model(checkpoint), device=torch.device("cpu"))
    sources = open_sources(folder)
    begin, answered, kept = 0, 0, list[Any]()
    for found in find_in_images(
        predictor, (Record(image, name) for name, image in sources), DecodeConfig(threshold=0.0), size=64, batch_size=4
    ):
        answered += 1
        if leaky:
            kept.append(found)
        if answered == FIRST:
            begin = resident()
        if leaky and answered == ENOUGH - 1:
            break
    return resident() - begin, answered, [Path(error.key).name for error in sources.unreadable]


def growth_alone(*asked: Path, leaky: bool = False) -> tuple[int, int, list[str]]:
    """In a process of its own: what other tests let go would hide what is kept here."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(growth, *asked, leaky=leaky).result()


@pytest.mark.slow
def test_memory_is_flat_after_the_first_images(run: RunFolder, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        pixels = rng.integers(0, 256, (100 + number % 7, 160, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:05d}.jpg")
    (tmp_path / f"{BROKEN:05d}.jpg").write_bytes(b"\xff\xd8\xff")
    grown, answered, unreadable = growth_alone(run.last, tmp_path)
    print(f"{answered} images, {grown / 1e6:.1f} MB after the first {FIRST}")
    assert (answered, unreadable) == (IMAGES - 1, [f"{BROKEN:05d}.jpg"])
    assert grown <= MEGABYTES << 20
    # and one that keeps what it found would not pass
    leaked, _, _ = growth_alone(run.last, tmp_path, leaky=True)
    assert leaked > MEGABYTES << 20
