"""Train a detector of torchvision's on the same images as ours, with its own losses; `evaluate OUT` then scores it.

python tools/train_rival.py ssd300_vgg16 --coco COCO_DIR --steps 5000 --out runs/ssd300
python tools/train_rival.py fasterrcnn_mobilenet_v3_large_320_fpn --tiles TILES_DIR --size 96 --out runs/frcnn

The optimiser is that of torchvision's training script: SGD, momentum .9, decay .0001, rate .02 for 16 images, with a
linear start. Weights begin at random; --init takes a file of the net's whole state dict.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

# A bare checkout is enough: tools/ is where Python looks first, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from yolo9000.experiment.layouts import LAYOUTS
from yolo9000.runtime.mistakes import flags_of, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; return the exit status: 0, 2 for a mistake in options or data, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="as torchvision calls it")
    for layout, about in LAYOUTS.items():
        if about.teaches != "image labels":
            parser.add_argument(f"--{layout}", action="append", metavar=about.metavar, default=[], help=about.help)
    parser.add_argument("--tree", metavar="FILE", help="the tree of all labels (default: built from the labels)")
    parser.add_argument("--splits", nargs=2, default=("train", "val"), metavar=("A", "B"), help="trained on, held out")
    parser.add_argument("--init", metavar="FILE", type=Path, help="a state dict to begin with")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=16, help="images of a step (16)")
    parser.add_argument("--lr", type=float, help="rate (.02 for 16 images; .002 for ssd, .01 for retinanet and fcos)")
    parser.add_argument("--size", type=int, help="side of the input (default: the net's usual)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="cpu, cuda or cuda:1 (default: the GPU if there is one)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    options = parser.parse_args(arguments)
    return run(functools.partial(_run, options), flags=flags_of(vars(options)), interrupted="nothing was written")


def _run(options: argparse.Namespace) -> int:
    from yolo9000.comparison.rivals import train_rival
    from yolo9000.experiment.config import DataConfig  # here, for --help needs no torch

    sets = tuple((layout, path) for layout in LAYOUTS for path in getattr(options, layout, []))
    file = train_rival(
        options.name,
        DataConfig(sets=sets, tree=options.tree, splits=tuple(options.splits)),
        options.out,
        steps=options.steps,
        batch_size=options.batch,
        learning_rate=options.lr,
        size=options.size,
        init=options.init,
        seed=options.seed,
        device=options.device,
    )
    print(f"written to {file}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
