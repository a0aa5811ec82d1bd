"""Rows of the data pipeline: JPEG bytes to an augmented input with boxes, against torchvision's transforms.v2."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from benchmarks.harness import Goal, Row, Scale, Side
from yolo9000.datasets.decode import GREY, decode
from yolo9000.datasets.sample import Record
from yolo9000.datasets.transforms import DETECTION, augment

WIDTH, HEIGHT, BOXES = 500, 375, 7
Answer = tuple[Tensor, Any]


def made_jpegs(count: int) -> list[bytes]:
    """Return JPEGs of 500 x 375 px with as much detail as COCO's photographs at that size: 74 kB each.

    Noise whose amplitude falls with its frequency, as that of photographs does, in three correlated channels.
    """
    rng = np.random.default_rng(0)
    fy, fx = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None]
    fall = np.maximum(np.hypot(fy, fx), 1 / WIDTH) ** -1.34
    files = []
    for _ in range(count):
        layers = [np.fft.irfft2(np.fft.rfft2(rng.normal(size=(HEIGHT, WIDTH))) * fall, (HEIGHT, WIDTH)) for _ in "gabc"]
        grey, *colours = (layer / layer.std() for layer in layers)
        rgb = np.stack([128 + 52 * grey + 16 * colour for colour in colours], axis=-1).clip(0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def made_boxes() -> NDArray[np.float32]:
    """Return ``(7, 4)`` boxes_xyxy in pixels."""
    corners = np.sort(np.random.default_rng(1).uniform(0, 1, (BOXES, 2, 2)), axis=1) * (WIDTH, HEIGHT)
    return corners.reshape(BOXES, 4).astype(np.float32)


def _ours(data: bytes, boxes_xyxy: NDArray[np.float32], rng: np.random.Generator, size: int) -> Answer:
    record = Record(decode(data, "a.jpg"), "a.jpg", boxes_xyxy, np.arange(BOXES))
    sample = augment(record, size, rng)
    return sample.image, sample.target


def _their_transforms(size: int, antialias: bool) -> v2.Compose:
    """Return the same in transforms.v2, in the order and types that its documentation advises.

    Bytes all along. Floats would be made of them on the device, at the same price on both sides.
    """
    most = DETECTION.saturation
    return v2.Compose(
        [
            # It keeps the aspect, which ours changes; a transform for that would only cost it more.
            v2.ScaleJitter((size, size), DETECTION.scale, antialias=antialias),
            v2.RandomCrop((size, size), pad_if_needed=True, fill=GREY),
            v2.RandomHorizontalFlip(DETECTION.flip),
            v2.ColorJitter(brightness=(1 / most, most), saturation=(1 / most, most), hue=DETECTION.hue),
            v2.ClampBoundingBoxes(),
            v2.SanitizeBoundingBoxes(min_size=1),
        ]
    )


def _theirs(
    data: bytes, boxes_xyxy: NDArray[np.float32], transforms: v2.Compose, backend: Literal["tensor", "pillow"]
) -> Answer:
    picture: Any
    if backend == "tensor":
        raw = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        picture = tv_tensors.Image(decode_image(raw, ImageReadMode.RGB))
    else:
        picture = Image.open(io.BytesIO(data)).convert("RGB")
    boxes = tv_tensors.BoundingBoxes(
        torch.from_numpy(boxes_xyxy),
        format=tv_tensors.BoundingBoxFormat.XYXY,
        canvas_size=(HEIGHT, WIDTH),
    )
    image, target = transforms(picture, {"boxes": boxes, "labels": torch.arange(BOXES)})
    return image, target


@contextmanager
def _on_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def _prepare(one_thread: bool, scale: Scale, stack: ExitStack) -> dict[str, Side]:
    size, count = (96, 2) if scale.quick else (416, 16)
    files, boxes_xyxy = made_jpegs(count), made_boxes()
    threads = 1 if one_thread else torch.get_num_threads()
    rng = np.random.default_rng(2)

    def side(once: Callable[[bytes], Answer], setting: str) -> Side:
        def run() -> list[Answer]:
            with _on_threads(threads):
                return [once(data) for data in files]

        return Side(run=run, setting=f"{setting}, {threads} thread{'s' * (threads > 1)}")

    def theirs(backend: Literal["tensor", "pillow"], antialias: bool = True) -> Callable[[bytes], Answer]:
        transforms = _their_transforms(size, antialias)
        if backend == "pillow":
            transforms = v2.Compose([*transforms.transforms, v2.ToImage()])
        return partial(_theirs, boxes_xyxy=boxes_xyxy, transforms=transforms, backend=backend)

    return {
        "ours": side(lambda data: _ours(data, boxes_xyxy, rng, size), "opencv"),
        "transforms.v2": side(theirs("tensor"), "tensors, as advised"),
        "transforms.v2, not antialiased": side(theirs("tensor", False), "tensors"),
        "transforms.v2 on Pillow": side(theirs("pillow"), "Pillow images until the end"),
    }


def rows() -> list[Row]:
    """Decoding and augmenting, on one thread as in a worker and on all."""
    what = "decode + augment 16 JPEGs of 500 x 375 px to 416 px with boxes"
    goals = (
        Goal(other="transforms.v2", at_least=5),
        Goal(other="transforms.v2, not antialiased", at_least=5),
        Goal(other="transforms.v2 on Pillow", at_least=5),
    )
    return [
        Row(name="pipeline-worker", what=f"{what}, one thread", prepare=partial(_prepare, True), goals=goals),
        Row(name="pipeline-threads", what=f"{what}, all threads", prepare=partial(_prepare, False), goals=goals),
    ]
