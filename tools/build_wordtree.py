"""Build a WordTree from the classes of data sets, and write it with the class -> node map of each.

python tools/build_wordtree.py                       # COCO and ImageNet-1k -> wordtree.json
python tools/build_wordtree.py --coco --categories warehouse.csv --out warehouse.json
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from wordtree import load_tree, sources
from wordtree.report import compare_parents, summarize
from yolo9000.experiment.layouts import own_labels
from yolo9000.runtime.mistakes import flags_of, run


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; `sources` gets a function for each source, in order, that reads it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    for name, number in (("coco", "80"), ("voc", "20"), ("imagenet1k", "1,000")):
        add(f"--{name}", dest="sources", action="append_const", const=vars(sources)[name], help=f"its {number} classes")
    for name, metavar, read, text in (
        ("data", "PATH", own_labels, "the classes of a data.yaml, a CSV of boxes, or a folder in VOC's layout"),
        ("imagenet", "DIR", sources.imagenet, "folders or tars named by wnid"),
        ("wnids", "FILE", sources.wnids, "wnids, the first word of each line"),
        ("darknet", "FILE", sources.darknet, "the concepts of a darknet tree (9k.tree)"),
        ("names", "FILE", sources.nouns, "nouns, one a line"),
        ("lvis", "FILE", sources.lvis, "LVIS annotations"),
        ("categories", "FILE", sources.categories, "your classes: a COCO JSON, or CSV name,concept; see CONCEPTS"),
    ):
        add(f"--{name}", dest="sources", action="append", metavar=metavar, type=sources.read_later(read), help=text)
    add("--all-nouns", action="store_true", help="every noun of WordNet below --root")
    add("--first-sense", action="store_true", help="of a noun with several senses take WordNet's first")
    add("--root", default="physical_entity.n.01", help="the synset above all nodes (%(default)s)")
    add("--extra-edge", nargs=2, action="append", metavar=("CHILD", "PARENT"), help="a parent in place of hypernyms")
    add("--skip-unreachable", action="store_true", help="leave out what is not below the root, and list it")
    add("--rest", choices=("only_child", "none", "all"), default="only_child", help="groups with a rest (%(default)s)")
    add("--no-contract", dest="contract", action="store_false", help="keep nodes of no class that have one child")
    add("--lift", action="store_true", help="an only child without children beside its parent, as in the original tree")
    add("--flat", action="store_true", help="the classes beside each other, without hypernyms: what is a tree worth?")
    add("--wordnet", type=Path, metavar="DIR", help="your own copy of WordNet 3.0")
    add("--out", type=Path, default=Path("wordtree.json"), help="%(default)s")
    add("--darknet-out", type=Path, metavar="STEM", help="also STEM.tree, STEM.names and STEM.<source>.map")
    add("--compare", metavar="TREE", help="list the nodes that have another parent in TREE, such as yolo9000")
    add("--force", action="store_true", help="overwrite")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Build, write and describe the tree; return the exit status: 0, 2 for a mistake, 130 on Ctrl-C."""
    given = parse(arguments)
    return run(lambda: _build(given), flags=flags_of([*vars(given), "wnids", "categories"], extra_edges="--extra-edge"))


def _build(given: argparse.Namespace) -> int:
    sources.check_outputs(given.out, given.darknet_out, force=given.force)
    reference = load_tree(given.compare) if given.compare else None
    options = {"root": given.root, "extra_edges": given.extra_edge, "wordnet": given.wordnet}
    wanted = [read() for read in given.sources or ()] + ([sources.all_nouns(**options)] if given.all_nouns else [])
    lenient = {key: vars(given)[key] for key in ("skip_unreachable", "first_sense")}
    found = sources.resolve_labels(wanted or sources.default_sources(), **options, **lenient)
    for path, new in sources.write_templates(found, given.out.parent).items():
        print(f"{path}{'' if new else ' (left as it was)'}: fill in, then name it with --categories", file=sys.stderr)
    tree = sources.build_from_labels(found, **{key: vars(given)[key] for key in ("contract", "lift", "rest", "flat")})
    sources.write_tree(tree, given.out, given.darknet_out, force=given.force)
    print(f"{given.out}\n{summarize(tree)}")
    if reference:
        print(compare_parents(tree, reference, found.resolution.hierarchy.wordnet))
    return 0


if __name__ == "__main__":
    gc.disable()  # the nouns are millions of objects and hardly one of them garbage: looking for some takes a third
    sys.exit(main())
