"""``yolo9000 convert``: darknet's weights to a checkpoint of ours, or back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from yolo9000.runtime.mistakes import run
from yolo9000.runtime.mistyped import OneLineParser

if TYPE_CHECKING:
    from yolo9000.inference.model import TrainedModel

ABOUT = """Darknet's weights to a checkpoint of ours, or back, and a check that both nets answer the same.

examples:
  yolo9000 convert yolo9000.weights yolo9000.pt --cfg yolo9000.cfg
  yolo9000 convert runs/joint joint.weights                # also joint.cfg, joint.tree, joint.names"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert and compare; return the exit status: 0, 1 if the nets answer differently, 2 for a mistake in files."""
    parser = OneLineParser(prog="yolo9000 convert", description=ABOUT)
    parser.add_argument("source", metavar="FROM", help="a .weights file; or a run or checkpoint")
    parser.add_argument("out", metavar="TO", type=Path, help="a checkpoint (.pt); or a .weights file")
    parser.add_argument("--cfg", help="cfg of the .weights file, or a built-in net (default: by the file's name)")
    parser.add_argument("--tree", help="names of the classes of a net without a tree: a bundled name or a file")
    return run(lambda: _run(parser.read(arguments)), flags=parser.fields)


def _run(options: argparse.Namespace) -> int:
    difference = _convert(options)
    print(f"{options.out}: raw outputs for a random image differ by {difference:.1e} at most")
    return 0 if difference <= 1e-4 else 1


def _convert(options: argparse.Namespace) -> float:
    """Convert; return the largest difference between the raw outputs of the two nets."""
    from wordtree import load_tree  # these here, for --help needs no torch
    from yolo9000.inference.darknet_files import SUFFIX, load_darknet
    from yolo9000.inference.export import save_as_darknet
    from yolo9000.inference.model import load_detector
    from yolo9000.runtime.checkpoint import save_checkpoint

    tree = load_tree(options.tree) if options.tree else None
    if Path(options.source).suffix == SUFFIX:
        if options.out.exists():
            raise FileExistsError(f"{options.out}: is there already")
        before = load_darknet(options.source, options.cfg, tree=tree)
        save_checkpoint(options.out, before.content)
        after = load_detector(options.out)
    else:
        before = load_detector(options.source)
        for note in save_as_darknet(before, options.out):
            print(f"note: {note}", file=sys.stderr)
        after = load_darknet(options.out, options.out.with_suffix(".cfg"))
    return _difference(before, after)


def _difference(before: TrainedModel, after: TrainedModel) -> float:
    import torch

    image = torch.rand(1, 3, before.size, before.size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return float((before.detector(image).raw - after.detector(image).raw).abs().max())


if __name__ == "__main__":
    sys.exit(main())
