"""``yolo9000 anchors``: priors from the boxes of a data set."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from yolo9000.runtime.mistakes import run
from yolo9000.runtime.mistyped import OneLineParser

ABOUT = """Priors from the boxes of a data set: clusters with the distance 1 - IoU (YOLO9000 paper, section 2), as
--priors of a training and as the anchors of a cfg.

examples:
  yolo9000 anchors --coco COCO_DIR -k 5 --size 416 --stride 32
  yolo9000 anchors --voc VOCdevkit/VOC2007 --split trainval --compare      # the paper's table 1
  yolo9000 anchors --coco instances.json --curve fit.png                   # its figure 2, for k from 1 to 15"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Cluster and print; return the exit status: 0, 2 for a mistake, 130 on Ctrl-C."""
    parser = OneLineParser(prog="yolo9000 anchors", description=ABOUT)
    add = parser.add_argument
    add("--coco", action="append", default=[], metavar="DIR", help="COCO's layout, or an annotation file; repeatable")
    add("--voc", action="append", default=[], metavar="DIR", help="VOC's layout, such as VOCdevkit/VOC2007; repeatable")
    add("--yolo", action="append", default=[], metavar="DATA_YAML", help="YOLO's layout; repeatable")
    add("--csv", action="append", default=[], metavar="FILE", help="a table path,x0,y0,x1,y1,label; repeatable")
    add("--split", default="train", help="the part of the data (%(default)s); VOC's may be trainval")
    add("--images", metavar="DIR", help="the images of an annotation file, if they are not beside it")
    add("-k", type=int, default=5, metavar="K", help="number of priors (%(default)s)")
    add("--distance", choices=("iou", "euclidean"), default="iou", help="of a box from a prior (%(default)s)")
    add("--size", type=int, default=416, help="side of the net's input in pixels (%(default)s)")
    add("--stride", type=int, default=32, help="pixels of a grid cell (%(default)s)")
    add("--seed", type=int, default=0, help="draws the first centres (%(default)s)")
    add("--restarts", type=int, default=1, help="clusterings, of which the best is kept (%(default)s)")
    add("--compare", action="store_true", help="a table: Euclidean clusters, priors picked by hand, published ones")
    add("--curve", type=Path, metavar="PNG", help="draw the average IoU for k from 1 to 15, and print it as CSV")
    add("--title", help="of the drawing (default: the number of boxes and the name of the data)")
    return run(lambda: _cluster(parser.read(arguments)), flags={**parser.fields, "priors": "-k"})


def _cluster(given: argparse.Namespace) -> int:
    from tqdm import tqdm  # these here, for --help needs no torch

    from yolo9000.detection.priors import cluster_priors, in_cells
    from yolo9000.evaluation.prior_fit import (
        compare_priors,
        comparison_table,
        curve_csv,
        draw_fits,
        fit_curves,
        fixed_fits,
    )
    from yolo9000.experiment.prior_boxes import read_box_shapes

    sets = {"coco": given.coco, "voc": given.voc, "yolo": given.yolo, "csv": given.csv}
    shapes = read_box_shapes(**sets, split=given.split, images=given.images)
    start = {"seed": given.seed, "restarts": given.restarts}
    priors, mean_iou = cluster_priors(shapes, given.k, distance=given.distance, **start)
    cells = in_cells(priors, given.size, given.stride)
    print(f"{len(shapes):,} boxes; average IoU of a box with the best of {given.k} priors: {mean_iou:.4f}")
    print("--priors " + ",".join(f"{w}x{h}" for w, h in cells))
    print("anchors = " + ", ".join(f"{w},{h}" for w, h in cells))
    if given.compare:
        print("\n" + comparison_table(compare_priors(shapes, **start)))
    if given.curve is not None:
        bar = functools.partial(tqdm, desc="priors", unit="k", disable=None)  # quiet where no one watches
        curves = fit_curves(shapes, progress=bar, **start)
        print("\n" + curve_csv(curves))
        title = f"{len(shapes):,} boxes of {', '.join(Path(path).stem for paths in sets.values() for path in paths)}"
        draw_fits(curves, fixed_fits(shapes), given.k, given.title or title, given.curve)
    return 0


if __name__ == "__main__":
    sys.exit(main())
