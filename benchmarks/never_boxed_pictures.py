"""Never-boxed detections of a run on drawn scenes, its surest right and wrong ones, on one sheet.

python -m benchmarks.never_boxed_pictures RUN SHEET.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from yolo9000.datasets.loader import make_evaluation_loader
from yolo9000.datasets.scenes import SceneConfig, SceneSource
from yolo9000.detection.boxes import iou
from yolo9000.detection.results import Detections
from yolo9000.evaluation.detector import score_batches
from yolo9000.inference.model import load_detector
from yolo9000.inference.prepare import prepare
from yolo9000.results.drawing import draw_detections

SIDE = 240
"""Pixels of a picture, enlarged from what the net sees."""
COLUMNS, ROWS = 5, 2  # of the right ones, and as many of the wrong ones


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the sheet; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.never_boxed_pictures", description=__doc__)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("sheet", type=Path, metavar="SHEET.png")
    parser.add_argument("--scenes", type=int, default=600, help="test scenes to choose from (default: 600)")
    options = parser.parse_args(argv)
    trained = load_detector(options.run)
    tree = trained.classes.tree
    assert tree is not None
    label_map = tree.label_maps["scenes"]
    config = SceneConfig(split="test", size=trained.size)
    scenes = SceneSource(config, length=options.scenes, label_map=label_map)
    detections, targets, *_ = score_batches(
        prepare(trained.detector, device=torch.device("cpu"), precision="float32"),
        make_evaluation_loader(scenes, trained.size, batch_size=32),
        trained.classes,
        [sorted(label_map.values())],
        device=torch.device("cpu"),
        threshold=0.05,
    )
    surest: dict[bool, list[tuple[float, int, int]]] = {True: [], False: []}
    for number, (found, target) in enumerate(zip(detections[0], targets, strict=True)):
        mine = torch.isin(found.nodes, torch.tensor(trained.never_boxed))
        if mine.any():
            best = int(torch.where(mine, found.scores, -1.0).argmax())
            overlap = iou(found.boxes_cxcywh[best], target.boxes_cxcywh)
            right = bool(((overlap >= 0.5) & (target.labels == found.nodes[best])).any())
            surest[right].append((float(found.scores[best]), number, best))
    sheet = Image.new("RGB", (COLUMNS * SIDE, 2 * ROWS * SIDE))
    for half, right in enumerate((True, False)):
        for place, (_, number, best) in enumerate(sorted(surest[right], reverse=True)[: COLUMNS * ROWS]):
            one = _only(detections[0][number], best)
            # enlarged: drawn larger, it would be another scene
            picture = Image.fromarray(scenes.read(number).image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            if not right:
                _outline_truth(picture, one, targets[number].boxes_cxcywh)
            boxes = _corners(one.boxes_cxcywh)
            picture = draw_detections(picture, one, boxes, trained.classes, starred=trained.never_boxed, enlarge=False)
            row, column = divmod(place, COLUMNS)
            sheet.paste(picture, (column * SIDE, (half * ROWS + row) * SIDE))
    sheet.save(options.sheet)
    print(f"{options.sheet}: above the surest right detections of classes without boxes, below the surest wrong ones")
    return 0


def _only(found: Detections, number: int) -> Detections:
    rows = {name: value[number : number + 1] for name, value in vars(found).items() if value is not None}
    return Detections(**rows)


def _corners(boxes_cxcywh: torch.Tensor) -> torch.Tensor:
    return (
        torch.cat([boxes_cxcywh[:, :2] - boxes_cxcywh[:, 2:] / 2, boxes_cxcywh[:, :2] + boxes_cxcywh[:, 2:] / 2], 1)
        * SIDE
    )


def _outline_truth(picture: Image.Image, found: Detections, truths_cxcywh: torch.Tensor) -> None:
    """What really lies there, if anything, with a thin white line."""
    if len(truths_cxcywh):
        nearest = int(iou(found.boxes_cxcywh[0], truths_cxcywh).argmax())
        ImageDraw.Draw(picture).rectangle(_corners(truths_cxcywh[nearest : nearest + 1])[0].tolist(), outline="white")


if __name__ == "__main__":
    sys.exit(main())
