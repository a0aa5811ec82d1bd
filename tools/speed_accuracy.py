"""The papers' plot of speed and accuracy: nets at several sizes of their input, as CSV and a picture.

python tools/speed_accuracy.py runs/joint --sizes 288 352 416 480 544 --out speed.csv         # and speed.png
python tools/speed_accuracy.py YOLOv2=runs/voc SSD300=runs/ssd300 --voc VOCdevkit/VOC2007 --split test --out speed.csv

Time is from an image in the net's input to its detections, one at a time; the median after a warm-up.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

# A bare checkout is enough: tools/ is where Python looks first, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from yolo9000.experiment.evaluate_config import EvaluateConfig
from yolo9000.experiment.layouts import LAYOUTS
from yolo9000.inference.config import OpenConfig
from yolo9000.runtime.mistakes import flags_of, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; return the exit status: 0, 2 for a mistake in options or data, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="[NAME=]RUN", help="a run, darknet's weights, or torchvision:NAME")
    parser.add_argument("--sizes", nargs="+", type=int, default=[288, 352, 416, 480, 544], metavar="PIXELS")
    for layout, about in LAYOUTS.items():
        if about.teaches != "image labels":
            parser.add_argument(f"--{layout}", metavar=about.metavar, help=about.help)
    parser.add_argument("--split", metavar="NAME", help="the part that is evaluated")
    parser.add_argument("--images", type=int, default=1000, metavar="N", help="images that are evaluated, at most")
    parser.add_argument("--rounds", type=int, default=50, metavar="N", help="images that are timed")
    parser.add_argument("--weights", metavar="FILE", help="of torchvision:NAME (default: its published ones)")
    parser.add_argument("--names", metavar="FILE", help="names of the classes of a net without a tree")
    parser.add_argument("--cfg", metavar="FILE", help="the net of darknet's weights")
    parser.add_argument("--precision", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--device", help="cpu, cuda or cuda:1 (default: the GPU if there is one)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .csv file; the .png is beside it")
    options = parser.parse_args(arguments)
    return run(functools.partial(_run, options), flags=flags_of(vars(options)))


def _run(options: argparse.Namespace) -> int:
    from yolo9000.comparison.speed_accuracy import speed_accuracy
    from yolo9000.evaluation.speed_accuracy import draw_speed_accuracy, to_csv  # here, for --help needs no torch
    from yolo9000.runtime.checkpoint import write_atomically

    sets = tuple((layout, path) for layout in LAYOUTS if (path := getattr(options, layout, None)))
    opened = {name: getattr(options, name) for name in ("names", "cfg", "precision", "device")}
    config = EvaluateConfig(
        sets=sets, split=options.split, images=options.images, weights=options.weights, open=OpenConfig(**opened)
    )
    points = []
    for named in options.runs:
        method, _, path = named.rpartition("=") if not Path(named).exists() else ("", "", named)
        points += speed_accuracy(path, options.sizes, config, method=method or None, rounds=options.rounds)
    print(to_csv(points), end="")
    write_atomically(options.out.with_suffix(".csv"), to_csv(points).encode())
    draw_speed_accuracy(points, options.out.with_suffix(".png"))
    print(f"written to {options.out.with_suffix('.csv')} and .png", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
