"""Make the trees that come with the package: yolo9000, imagenet1k and coco in wordtree/data.

    python tools/make_bundled_trees.py FOLDER

The folder holds darknet's 9k.tree, 9k.names, coco9k.map and inet9k.map (public domain). The other two trees are built.
"""

from __future__ import annotations

import argparse
import functools
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from wordtree.formats import load_tree, read_map, save_tree
from wordtree.labels import coco_classes
from wordtree.report import summarize
from wordtree.sources import build_from_labels, coco, imagenet1k, resolve_labels
from wordtree.tree import WordTree
from wordtree.wordnet import open_wordnet
from yolo9000.runtime.mistakes import run

DATA = Path(__file__).resolve().parents[1] / "wordtree" / "data"


def original_tree(folder: Path) -> WordTree:
    """Return darknet's tree in its own order, with WordNet's synset names and lemmas and darknet's label maps."""
    tree = load_tree(folder / "9k.tree")
    wordnet = open_wordnet()
    det = read_map(folder / "inet9k.map", tree)
    return replace(
        tree,
        synsets=tuple(wordnet.synset(wnid) for wnid in tree.wnids),
        lemmas=tuple(wordnet.lemmas(wnid) for wnid in tree.wnids),
        root="physical_entity.n.01",
        label_maps={
            # COCO's own names: darknet's coco.names has VOC's spelling for six of them, and no annotation file has.
            "coco": dict(zip(coco_classes(), read_map(folder / "coco9k.map", tree), strict=True)),
            "imagenet_det": {tree.wnids[node]: node for node in det},
        },
        notes={"origin": "darknet's 9k.tree, 9k.names, coco9k.map and inet9k.map; public domain"},
    )


def main() -> int:
    """Write the three trees and describe them; return the exit status: 0, 2 for a mistake, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds 9k.tree, 9k.names, coco9k.map and inet9k.map")
    return run(functools.partial(_make, parser.parse_args().folder))


def _make(folder: Path) -> int:
    trees = {
        "yolo9000": original_tree(folder),
        "imagenet1k": build_from_labels(resolve_labels([imagenet1k()])),
        "coco": build_from_labels(resolve_labels([coco()])),
    }
    for name, tree in trees.items():
        save_tree(tree, DATA / f"{name}.json.gz", force=True)
        print(f"{name}\n{summarize(tree)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
