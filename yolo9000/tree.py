"""``yolo9000 tree``: search, show, draw, export, compare and build trees of concepts, and count their data.

It is one file because the verbs share how a tree and a concept are named.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wordtree import UnknownName, WordTree, load_tree
from wordtree.formats import BUNDLED
from yolo9000.experiment.layouts import LAYOUTS
from yolo9000.runtime.mistakes import Mistake, run
from yolo9000.runtime.mistyped import OneLineParser, unknown_word

if TYPE_CHECKING:
    from wordtree.sources import LabelSource

VERBS = {
    "search": "concepts by name, synset or wnid, or by a part of one",
    "show": "a concept and what is below it, as lines in the terminal",
    "draw": "the same as a picture, SVG or PNG",
    "export": "JSON, CSV, DOT, Newick, or what networkx reads",
    "diff": "where two trees differ",
    "coverage": "how many boxes and images each concept would be trained on",
    "build": "one tree for the classes of several data sets, or for your own nouns",
}
ABOUT = """usage: yolo9000 tree VERB [options]

A tree of concepts: each is a kind of the one above it, as WordNet has them. A tree is named by a file (.json, .json.gz
or darknet's .tree), by a run (the folder), or by the name of one that comes with the package: yolo9000 (9,418
concepts), imagenet1k, coco. A concept is named by a name (Norfolk terrier), by a synset (terrier.n.01 is WordNet's
first meaning of terrier as a noun), or by a wnid (n02092468 is the same, as ImageNet calls its classes).
"""
EXAMPLES = """
examples:
  yolo9000 tree search crane
  yolo9000 tree show dog --depth 2
  yolo9000 tree draw terrier --out terrier.svg
  yolo9000 tree build --names nouns.txt --out mine.json

yolo9000 tree VERB --help explains a verb."""
TREE_HELP = "a file, a run, or yolo9000, imagenet1k or coco (default: %(default)s)"
NODE_HELP = "a name, synset or wnid (default: the whole tree)"
LINES = 60  # of `show`, unless its depth is asked for

Verb = Callable[[argparse.Namespace], int]


def main(words: Sequence[str] | None = None) -> int:
    """Run a verb; return the exit status: 0, 1 if a search finds nothing, 2 for a mistake, 130 on Ctrl-C."""
    verb, *rest = (sys.argv[1:] if words is None else list(words)) or ["--help"]
    if verb in ("-h", "--help"):
        listed = "\n".join(f"  {name:9} {about}" for name, about in VERBS.items())
        print(f"{ABOUT}\n{listed}\n{EXAMPLES}")
        return 0
    parser = OneLineParser(prog=f"yolo9000 tree {verb}")
    act: Verb
    match verb:
        case "search":
            act = _search(parser)
        case "show":
            act = _show(parser)
        case "draw":
            act = _draw(parser)
        case "export":
            act = _export(parser)
        case "diff":
            act = _diff(parser)
        case "coverage":
            act = _coverage(parser)
        case "build":
            act = _build(parser)
        case _:
            said = f"{verb}: a verb comes first: {', '.join(VERBS)}" if verb.startswith("-") else ""
            print(f"error: {said or unknown_word(verb, VERBS, 'verbs')}", file=sys.stderr)
            return 2
    flags = {**parser.fields, "extra_edges": "--extra-edge", "wnids": "--wnids", "categories": "--categories"}
    return run(lambda: act(parser.read(rest)), flags=flags)


# ------------------------------------------------------------------------------------------------------------- asking


def _search(parser: OneLineParser) -> Verb:
    parser.description = """Concepts that a text may mean, the likeliest first, each with its place in the tree.

examples:
  yolo9000 tree search crane                   # the bird and the machine
  yolo9000 tree search n02094114
  yolo9000 tree search "norfolk terier"        # spelled alike
  yolo9000 tree search mouse --tree imagenet1k --json"""
    parser.add_argument("text", nargs="+", help="a name, synset or wnid, or a part of one")
    parser.add_argument("--tree", default="yolo9000", metavar="TREE", help=TREE_HELP)
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="concepts, at most (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="for programs")

    def act(given: argparse.Namespace) -> int:
        from wordtree.outline import count_below, path_line
        from wordtree.search import search

        _at_least_1(given, "limit")
        tree = load_tree(given.tree)
        text = " ".join(given.text)
        found = search(tree, text)
        below = count_below(tree)
        shown = found[: given.limit]
        if given.json:
            entries = [
                {
                    "node": node,
                    "wnid": tree.wnids[node],
                    "synset": tree.synsets[node],
                    "name": tree.names[node],
                    "path": [tree.names[step] for step in tree.path(node)],
                    "below": int(below[node]),
                }
                for node in shown
            ]
            print(json.dumps(entries, ensure_ascii=False, indent=1))
            return 0 if found else 1
        if not found:
            print(f"{text}: no name in this tree of {len(tree):,} concepts holds it", file=sys.stderr)
            return 1
        width = max(len(_id(tree, node)) for node in shown)
        for node in shown:
            counted = f"  ({below[node]:,} below)" if below[node] else ""
            print(f"{_id(tree, node):{width}}  {tree.wnids[node]}  {path_line(tree, node)}{counted}")
        if len(found) > len(shown):
            print(f"and {len(found) - len(shown):,} more; --limit {len(found)} shows all", file=sys.stderr)
        return 0

    return act


def _show(parser: OneLineParser) -> Verb:
    parser.description = """A concept and what is below it, with the number of concepts below each.

examples:
  yolo9000 tree show dog
  yolo9000 tree show terrier.n.01 --depth 1
  yolo9000 tree show --tree coco --depth 3"""
    parser.add_argument("node", nargs="?", metavar="CONCEPT", help=NODE_HELP)
    parser.add_argument("--tree", default="yolo9000", metavar="TREE", help=TREE_HELP)
    parser.add_argument(
        "--depth", type=int, metavar="N", help=f"levels below it (default: as many as {LINES} lines can hold)"
    )
    parser.add_argument("--most", type=int, metavar="N", help="children of a concept that are shown (default: all)")
    parser.add_argument("--ascii", action="store_true", help="no box-drawing characters")

    def act(given: argparse.Namespace) -> int:
        from wordtree.outline import depth_for, outline

        _at_least_1(given, "depth", "most")
        tree = load_tree(given.tree)
        node = _node(tree, given.node)
        depth = depth_for(tree, node, LINES) if given.depth is None else given.depth
        text = outline(tree, node, depth=depth, most=given.most, only_ascii=given.ascii or not _can_print("├"))
        _print(text)
        return 0

    return act


def _draw(parser: OneLineParser) -> Verb:
    parser.description = """A concept and what is below it as a picture. What is close in the tree has a similar colour.
In the SVG, a name that has no room is shown under the mouse.

examples:
  yolo9000 tree draw terrier --out terrier.svg
  yolo9000 tree draw dog --form radial --out dog.png
  yolo9000 tree draw --depth 6 --form radial --size 1600 --out tree.svg"""
    parser.add_argument("node", nargs="?", metavar="CONCEPT", help=NODE_HELP)
    parser.add_argument("--tree", default="yolo9000", metavar="TREE", help=TREE_HELP)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".svg or .png")
    parser.add_argument(
        "--form", choices=("icicle", "radial"), default="icicle", help="levels from left to right, or rings (icicle)"
    )
    parser.add_argument("--depth", type=int, metavar="N", help="levels below it (default: all)")
    parser.add_argument(
        "--size", type=float, metavar="PIXELS", help="height, or side of rings (default: for the labels)"
    )
    parser.add_argument("--force", action="store_true", help="overwrite")

    def act(given: argparse.Namespace) -> int:
        from wordtree.picture import check_picture, draw_tree, save_picture

        _at_least_1(given, "depth")
        check_picture(given.out)
        tree = load_tree(given.tree)
        node = _node(tree, given.node)
        picture = draw_tree(tree, node, form=given.form, depth=given.depth, size=given.size)
        save_picture(picture, given.out, force=given.force)
        labelled = sum(bool(shape.label) for shape in picture.shapes)
        print(
            f"{given.out}: {picture.width:.0f} x {picture.height:.0f} pixels, {len(picture.shapes):,} concepts, "
            f"{labelled:,} of them with room for their name"
        )
        return 0

    return act


def _export(parser: OneLineParser) -> Verb:
    from wordtree.exports import FORMS

    parser.description = """A tree, or what is below a concept, for other programs.

forms:
  json      everything; the only form that this program reads again
  csv       a row for each concept: id, name, synset, the parent's id, depth, children, further names
  dot       Graphviz:                              dot -Tsvg dog.dot -o dog.svg
  newick    programs for phylogenies
  networkx  node-link JSON:                        networkx.node_link_graph(json.load(file), edges="edges")

examples:
  yolo9000 tree export --form csv --out tree.csv
  yolo9000 tree export dog --form dot              # to the terminal"""
    parser.add_argument("node", nargs="?", metavar="CONCEPT", help=NODE_HELP + "; what is above it is left out")
    parser.add_argument("--tree", default="yolo9000", metavar="TREE", help=TREE_HELP)
    parser.add_argument("--form", choices=tuple(FORMS), help="(default: by the ending of --out, or json)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="(default: the terminal)")
    parser.add_argument("--force", action="store_true", help="overwrite")

    def act(given: argparse.Namespace) -> int:
        from wordtree.formats import JSON_SUFFIXES, tree_files
        from wordtree.writing import check_writable, write_new_files

        ending = "" if given.out is None else given.out.suffix.lower()
        if ending == ".tree":
            raise Mistake(f"`out` {given.out}: darknet's .tree is written by tree build with its --darknet-out")
        endings = {".csv": "csv", ".dot": "dot", ".gv": "dot", ".nwk": "newick", ".newick": "newick"}
        form = given.form or endings.get(ending, "json")
        if given.out is not None:
            check_writable([given.out], force=given.force)
        tree = load_tree(given.tree)
        node = _node(tree, given.node)
        tree = tree if node is None else tree.below(node).tree
        if form == "json" and given.out is not None and given.out.name.endswith(JSON_SUFFIXES):
            write_new_files(tree_files(tree, given.out), force=given.force)  # packed, if its ending says so
            print(f"{given.out}: {form}")
            return 0
        text = FORMS[form](tree)
        if given.out is None:
            _print(text)
        else:
            write_new_files({given.out: text.rstrip("\n").encode() + b"\n"}, force=given.force)
            print(f"{given.out}: {form}")
        return 0

    return act


def _diff(parser: OneLineParser) -> Verb:
    parser.description = """Where two trees differ: concepts that only one has, and those with another parent in it.

examples:
  yolo9000 tree diff imagenet1k yolo9000
  yolo9000 tree diff mine.json runs/joint --all"""
    parser.add_argument("a", metavar="A", help="a file, a run, or yolo9000, imagenet1k or coco")
    parser.add_argument("b", metavar="B", help="the tree that it is compared with")
    parser.add_argument("--all", action="store_true", help="list every difference, not only the first ten of a kind")

    def act(given: argparse.Namespace) -> int:
        from wordtree.report import compare_parents, summarize_difference

        a, b = load_tree(given.a), load_tree(given.b)
        if a == b:
            print(f"{given.a} and {given.b} are the same tree of {len(a):,} concepts")
            return 0
        compared = compare_parents(a, b)
        _print(summarize_difference(compared, a, b, given.a, given.b, most=None if given.all else 10))
        return 0

    return act


# --------------------------------------------------------------------------------------------------- data and sources


def _coverage(parser: OneLineParser) -> Verb:
    parser.description = """How many boxes and images each concept of a tree would be trained on, and which names of the
data lead to no concept. What trains a concept trains those above it as well: "below" counts what they get that way.

examples:
  yolo9000 tree coverage --coco COCO_DIR --imagenet IMAGENET_DIR
  yolo9000 tree coverage --voc VOCdevkit/VOC2007 --split trainval --tree mine.json --out coverage.csv"""
    for layout, about in LAYOUTS.items():
        if about.open is not None:
            flag = f"--{layout.replace('_', '-')}"
            parser.add_argument(flag, dest=layout, action="append", default=[], metavar=about.metavar, help=about.help)
    parser.add_argument("--tree", default="yolo9000", metavar="TREE", help=TREE_HELP)
    parser.add_argument("--split", default="train", help="the part of the data (%(default)s); VOC's may be trainval")
    parser.add_argument("--most", type=int, default=30, metavar="N", help="concepts that are listed (%(default)s)")
    parser.add_argument("--out", type=Path, metavar="CSV", help="a row for every concept")
    parser.add_argument("--force", action="store_true", help="overwrite")

    def act(given: argparse.Namespace) -> int:
        from wordtree.writing import check_writable, write_new_files
        from yolo9000.experiment.coverage import coverage_csv, format_coverage, measure_coverage

        _at_least_1(given, "most")
        sets = tuple((layout, path) for layout in LAYOUTS for path in getattr(given, layout, ()))
        if not sets:
            raise Mistake("which data? Name some, such as `coco` DIR or `imagenet` DIR")
        if given.out is not None:
            check_writable([given.out], force=given.force)
        coverage = measure_coverage(load_tree(given.tree), sets, given.split)
        _print(format_coverage(coverage, most=given.most))
        if given.out is not None:
            write_new_files({given.out: coverage_csv(coverage).encode()}, force=given.force)
            print(f"written to {given.out}", file=sys.stderr)
        return 0

    return act


SOURCES: tuple[tuple[str, str | None, str], ...] = (
    ("coco", None, "COCO's 80 classes"),
    ("voc", "DIR", "PASCAL VOC's 20 classes; with a folder in VOC's layout, the names in its XMLs"),
    ("imagenet1k", None, "ILSVRC's 1,000 classes"),
    ("data", "PATH", "the classes of a data.yaml, a CSV of boxes, or a folder in VOC's layout"),
    ("imagenet", "DIR", "folders or tars named by wnid or noun"),
    ("wnids", "FILE", "wnids, the first word of each line"),
    ("darknet", "FILE", "the concepts of a darknet tree (9k.tree)"),
    ("names", "FILE", "nouns, one a line"),
    ("lvis", "FILE", "LVIS annotations"),
    ("categories", "FILE", "your classes: a COCO JSON, or a CSV with name,concept"),
    ("box-tars", "URL", "the labels of boxes in tars"),
    ("label-tars", "URL", "the labels of images in tars"),
)
"""Options that name classes, what they take, and what they are."""


def _named(kind: str, path: str) -> tuple[str, str]:
    return kind, path


def _read_source(kind: str, path: str | None) -> LabelSource:
    """The classes that an option of `SOURCES` names."""
    from wordtree import sources
    from yolo9000.experiment.layouts import own_labels

    if path is None:
        return {"coco": sources.coco, "voc": sources.voc, "imagenet1k": sources.imagenet1k}[kind]()
    read: dict[str, Callable[[Path], LabelSource]] = {
        "voc": sources.voc_folder,
        "data": own_labels,
        "imagenet": sources.imagenet,
        "wnids": sources.wnids,
        "darknet": sources.darknet,
        "names": sources.nouns,
        "lvis": sources.lvis,
        "categories": sources.categories,
    }
    if kind.endswith("-tars"):
        return LAYOUTS[kind.replace("-", "_")].labels(path, "")  # of all splits
    return read[kind](Path(path))


def _build(parser: OneLineParser) -> Verb:
    parser.description = """One tree that has the classes of several data sets, written with the class -> node map of
each. With no source named it is that of COCO and ImageNet-1k.

examples:
  yolo9000 tree build --names nouns.txt --out mine.json        # your own classes: a noun on each line
  yolo9000 tree build --coco --imagenet1k
  yolo9000 tree build --voc MY_VOC_DIR --imagenet IMAGENET_DIR/train --out both.json
  yolo9000 tree build --coco --categories warehouse.csv

A noun with several meanings, or one that WordNet lacks, is not guessed at: a table SOURCE.categories.csv is written
with the candidates, to fill in; it is then named with --categories. The columns are name and concept: a wnid, a
synset, or a concept of your own and what it is a kind of, as in "pallet jack < truck.n.01"."""
    add = parser.add_argument
    for name, metavar, text in SOURCES:
        if metavar is None:
            add(f"--{name}", dest="sources", action="append_const", const=(name, None), help=text)
        else:
            some: Any = {"nargs": "?", "const": (name, None)} if name == "voc" else {}
            kind = functools.partial(_named, name)
            add(f"--{name}", dest="sources", action="append", metavar=metavar, type=kind, help=text, **some)
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

    def act(given: argparse.Namespace) -> int:
        # the nouns are millions of objects and hardly one of them garbage: looking for some takes a third of the time
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return _build_tree(given)
        finally:
            if was_enabled:
                gc.enable()

    return act


def _build_tree(given: argparse.Namespace) -> int:
    from wordtree import sources
    from wordtree.report import compare_parents, summarize
    from wordtree.senses import MOST_NAMES, nearer_senses

    sources.check_outputs(given.out, given.darknet_out, force=given.force)
    reference = load_tree(given.compare) if given.compare else None
    options = {"root": given.root, "extra_edges": given.extra_edge, "wordnet": given.wordnet}
    wanted = [_read_source(kind, path) for kind, path in given.sources or ()] + (
        [sources.all_nouns(**options)] if given.all_nouns else []
    )
    lenient = {key: vars(given)[key] for key in ("skip_unreachable", "first_sense")}
    found = sources.resolve_labels(wanted or sources.default_sources(), **options, **lenient)
    for path, new in sources.write_templates(found, given.out.parent).items():
        kept = "" if new else " (left as it was)"
        print(f"{path}{kept}: fill in, then name it with --categories", file=sys.stderr)
    tree = sources.build_from_labels(found, **{key: vars(given)[key] for key in ("contract", "lift", "rest", "flat")})
    sources.write_tree(tree, given.out, given.darknet_out, force=given.force)
    for source in found.sources:
        if len(source.classes) <= MOST_NAMES:
            meant = {name: concept for name, (concept, _) in found.concepts_of(source).items() if concept is not None}
            for each in nearer_senses(meant, wordnet=given.wordnet):
                print(f"{source.name}: {each}; if it is meant, say so with --categories", file=sys.stderr)
    print(f"{given.out}\n{summarize(tree)}")
    if reference:
        print(compare_parents(tree, reference, found.resolution.hierarchy.wordnet))
    return 0


# ------------------------------------------------------------------------------------------------------------- common


def _node(tree: WordTree, name: str | None) -> int | None:
    if name is None:
        return None
    is_tree = name in BUNDLED or Path(name).exists()
    try:
        found = tree.node(name)
    except UnknownName as error:
        if is_tree:
            raise Mistake(f"{name} is no concept, but a tree: `tree` {name} names it") from error
        raise
    if is_tree:
        print(f"note: {name} is taken for a concept; the tree of that name is --tree {name}", file=sys.stderr)
    return found


def _id(tree: WordTree, node: int) -> str:
    return tree.synsets[node] or tree.names[node]


def _at_least_1(given: argparse.Namespace, *names: str) -> None:
    for name in names:
        if (value := getattr(given, name)) is not None and value < 1:
            raise Mistake(f"`{name}` {value}: at least 1 is needed")


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _print(text: str) -> None:
    """Print text that a terminal of few characters may not have all of."""
    if not _can_print(text):
        encoding = sys.stdout.encoding or "utf-8"
        text = text.encode(encoding, "replace").decode(encoding)
    print(text.rstrip("\n"))


if __name__ == "__main__":
    sys.exit(main())
