"""``yolo9000 replay FILE`` (or ``python -m yolo9000.replay``): a step whose loss was not finite, computed again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from yolo9000.runtime.mistakes import run
from yolo9000.runtime.mistyped import OneLineParser

ABOUT = """A training leaves a step out whose loss or gradient is not finite, and keeps what it was computed from in its
folder: images, boxes and weights. This computes it again, and says which terms, parameters, images and boxes it is.

examples:
  yolo9000 replay runs/joint/bad-step-00000120.pt
  yolo9000 replay runs/joint/bad-step-00000120.pt --precision float32"""


def main(words: Sequence[str] | None = None) -> int:
    """Compute a step again; return the exit status: 0, or 2 for a mistake."""
    parser = OneLineParser(prog="yolo9000 replay", description=ABOUT)
    parser.add_argument("file", metavar="FILE", help="bad-step-*.pt in the folder of a run")
    parser.add_argument("--device", metavar="DEVICE", help="cpu or cuda (default: the GPU if there is one)")
    parser.add_argument("--precision", choices=("float32", "bfloat16", "float16"), help="default: the run's own")
    return run(lambda: _replay(parser.read(words)), flags=parser.fields)


def _replay(given: argparse.Namespace) -> int:
    from yolo9000.experiment.replay import replay  # here, for --help needs no torch

    print(replay(given.file, device=given.device, precision=given.precision))
    return 0


if __name__ == "__main__":
    sys.exit(main())
