"""Make a small data set to try things on: scenes of the pictograms that some nouns name.

They are in YOLO's layout; with --labels-only each shows one thing, has no box, and is in a folder of that noun.

python tools/make_own_set.py koala giraffe zebra penguin helicopter guitar --out zoo
python tools/make_own_set.py owl fox tiger --labels-only --out labels
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from yolo9000.datasets.pictograms import read_classes
from yolo9000.datasets.sample import Kind
from yolo9000.datasets.scenes import SceneConfig, SceneSource
from yolo9000.datasets.writing import write_label_folders, write_yolo
from yolo9000.runtime.mistakes import Mistake, flags_of, run


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nouns", nargs="+", metavar="NOUN", help="a class; any of datasets/data/pictograms.csv")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder, which must not exist")
    parser.add_argument("--labels-only", action="store_true", help="one thing an image, without a box, in folders")
    parser.add_argument("--train", type=int, default=400, metavar="N", help="images to train on (%(default)s)")
    parser.add_argument("--val", type=int, default=100, metavar="N", help="images held out (%(default)s)")
    parser.add_argument("--size", type=int, default=128, metavar="PIXELS", help="side of an image (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Write the set; return the exit status: 0, 2 for a mistake, 130 on Ctrl-C."""
    given = parse(arguments)
    return run(lambda: _make(given), flags=flags_of(vars(given)))


def _make(given: argparse.Namespace) -> int:
    known = [each.name for each in read_classes()]
    if unknown := [noun for noun in given.nouns if noun not in known]:
        raise Mistake(f"{', '.join(unknown)}: no pictogram is called so; there are {', '.join(known)}")
    label_map = {name: given.nouns.index(name) if name in given.nouns else -1 for name in known}
    kind: Kind = "classification" if given.labels_only else "detection"
    splits = {}
    for split, length in (("train", given.train), ("val", given.val)):
        scene = SceneConfig(size=given.size, split="train" if split == "train" else "val")
        splits[split] = SceneSource(
            scene, kind=kind, length=length, classes="all", label_map=label_map, names=given.nouns
        )
    write = write_label_folders if given.labels_only else write_yolo
    with tqdm(total=given.train + given.val, desc="scenes", disable=None) as bar:
        write(given.out, splits, given.nouns, progress=lambda: bar.update())
    written = given.out if given.labels_only else given.out / "data.yaml"
    print(f"{written}: {given.train} images to train on and {given.val} held out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
