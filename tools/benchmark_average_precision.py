"""Average precision, ours against pycocotools' on made-up boxes: ``python tools/benchmark_average_precision.py``."""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

# A bare checkout is enough: tools/ is where Python looks first, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolo9000.engine.coco_evaluation import FoundBoxes, TruthBoxes, coco_summary, evaluate_boxes


def made_up(images: int, classes: int, found: int, boxes: int = 7) -> tuple[TruthBoxes, FoundBoxes]:
    """Boxes of each image, and detections of it: half are near a box and of its class, the others anywhere."""
    rng = np.random.default_rng(0)
    of_image, of_class = np.repeat(np.arange(images), boxes), rng.integers(0, classes, images * boxes)
    xywh = np.concatenate([rng.uniform(0, 400, (images * boxes, 2)), rng.uniform(8, 200, (images * boxes, 2))], axis=1)
    truth = TruthBoxes(of_image, of_class, xywh, 0.7 * xywh[:, 2] * xywh[:, 3], rng.random(len(xywh)) < 0.02)
    source = np.repeat(np.arange(images), found) * boxes + rng.integers(0, boxes, images * found)
    near = rng.random(len(source)) < 0.5
    jittered = np.abs(xywh[source] * rng.normal(1, 0.1, (len(source), 4)))
    elsewhere = np.concatenate([rng.uniform(0, 400, (len(source), 2)), rng.uniform(8, 200, (len(source), 2))], axis=1)
    shown = np.where(near, of_class[source], rng.integers(0, classes, len(source)))
    xywh = np.where(near[:, None], jittered, elsewhere)
    return truth, FoundBoxes(of_image[source], shown, xywh, rng.random(len(source)).round(4))


def by_pycocotools(truth: TruthBoxes, found: FoundBoxes, images: int, classes: int) -> Any:
    """The twelve numbers from the same arrays; filling its dictionaries, which it cannot do without, is timed too."""
    names = ("image_id", "category_id", "bbox", "area", "iscrowd")
    rows = zip(*(getattr(truth, column.name).tolist() for column in fields(truth)), strict=True)
    coco = COCO()
    coco.dataset = {
        "info": {},
        **{name: [{"id": i} for i in range(n)] for name, n in (("images", images), ("categories", classes))},
        "annotations": [dict(zip(names, row, strict=True), id=i) for i, row in enumerate(rows, 1)],
    }
    coco.createIndex()
    results = coco.loadRes(np.column_stack([found.images, found.boxes_xywh, found.scores, found.classes]))
    evaluation = COCOeval(coco, results, "bbox")
    for step in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
        step()
    return evaluation.stats


parser = argparse.ArgumentParser(description=__doc__)
for name, default in (("classes", 1200), ("images", 2000), ("rounds", 5)):
    parser.add_argument(f"--{name}", type=int, default=default, help=f"(default: {default})")
parser.add_argument("--alone", action="store_true", help="without pycocotools")
options = parser.parse_args()
truth, found = made_up(*(size := (options.images, options.classes)), found=100)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
coco_summary(evaluate_boxes(truth, found, options.classes))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ours, theirs = [], []
for _ in range(options.rounds):
    start = time.perf_counter()
    numbers = coco_summary(evaluate_boxes(truth, found, options.classes))
    ours.append(time.perf_counter() - start)
    if not options.alone:
        with contextlib.redirect_stdout(io.StringIO()):
            np.testing.assert_allclose(numbers, by_pycocotools(truth, found, *size), rtol=0, atol=1e-9)
        theirs.append(time.perf_counter() - start - ours[-1])
print(f"{options.classes} classes, {options.images} images, {len(truth)} boxes, {len(found)} detections")
print(f"ours: {np.median(ours):.2f} s; peak of the process {peak / 2**20:.2f} GiB, {before / 2**20:.2f} before")
if theirs:
    print(f"pycocotools: {np.median(theirs):.1f} s, the same twelve numbers to 1e-9")
    print(f"ratio: {np.median(np.array(theirs) / np.array(ours)):.0f}")
