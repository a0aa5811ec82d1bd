"""Labels of data sets -> nodes: the tree of a run's own labels, and each source's map in a tree."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from wordtree import WordTree
from yolo9000.datasets.errors import DatasetError
from yolo9000.engine.data_config import DataConfig, Layout


def tree_command(config: DataConfig, out: str = "wordtree.json") -> str:
    """The command that builds a tree for these data."""
    words = ["python tools/build_wordtree.py"]
    for layout, path in config.box_sets:
        root = Path(path)
        annotations = sorted(root.glob(f"annotations/instances_{config.splits[0]}*.json"))
        if layout == "coco":
            words.append(f"--categories {root if root.is_file() else annotations[0] if annotations else 'CATEGORIES'}")
        elif "--voc" not in words:
            words.append("--voc")
    if config.imagenet:
        words.append(f"--imagenet {_class_folder(config)}")
    if config.imagenet_pack:
        words.append("--imagenet1k")
    return " ".join([*words, f"--out {out}"])


def _class_folder(config: DataConfig) -> Path:
    """The folder that holds a folder or tar for each class."""
    root = Path(config.imagenet or "")
    return root / config.splits[0] if (root / config.splits[0]).is_dir() else root


def tree_of_labels(config: DataConfig) -> WordTree:
    """The tree of the data's own labels: COCO's, VOC's or a file's categories, and the wnids of the folders."""
    from wordtree import sources  # opens WordNet: for those who bring no tree

    found: list[sources.LabelSource] = []
    for layout, root in config.box_sets:
        if layout == "voc":
            found.append(sources.voc())
        else:
            found.append(sources.categories(Path(root)) if Path(root).is_file() else sources.coco())
    if config.imagenet:
        found.append(sources.imagenet(_class_folder(config)))
    if config.imagenet_pack:
        found.append(sources.imagenet1k())
    return sources.build_from_labels(sources.resolve_labels(found))


def tree_of_wnids(wnids: Iterable[str]) -> WordTree:
    from wordtree import build_wordtree  # opens WordNet: for those who bring no tree

    return build_wordtree(list(wnids))


def own_maps(layout: Layout, path: str, split: str) -> list[str]:
    """Names that the label map of a set with boxes may have in a tree, the likeliest first.

    Parameters
    ----------
    layout, path
        As in `DataConfig.box_sets`.
    split
        That is trained on: ``build_wordtree --categories`` records its classes under its file's name.

    Examples
    --------
    >>> own_maps("coco", "farm/instances_fields.json", "train"), own_maps("voc", "VOC2007", "train")
    (['instances_fields', 'fields', 'coco'], ['voc'])
    """
    if layout == "voc":
        return ["voc"]
    root = Path(path)
    files = [root] if root.suffix == ".json" else sorted(root.glob(f"annotations/instances_{split}*.json"))
    return [*(stem for file in files for stem in (file.stem, file.stem.removeprefix("instances_"))), "coco"]


def name_map(tree: WordTree, *preferred: str) -> dict[str, int]:
    """Class name -> node by the label maps of a tree: those of the preferred sources first, then the others.

    Examples
    --------
    >>> maps = {"coco": {"mouse": 0}, "farm": {"mouse": 1}}
    >>> tree = WordTree(("device", "animal"), ("mouse", "mouse"), (-1, -1), label_maps=maps)
    >>> name_map(tree, "farm", "coco")
    {'mouse': 1}
    """
    names: dict[str, int] = {}
    for source in (*preferred, *tree.label_maps):
        for name, node in tree.label_maps.get(source, {}).items():
            names.setdefault(name, node)
    return names


def labelled_nodes(tree: WordTree, found: Iterable[int], *preferred: str, is_alone: bool = True) -> list[int]:
    """What a source labels exhaustively: the nodes of the label map that its labels are from.

    Parameters
    ----------
    tree : WordTree
    found : iterable of int
        Labels that its boxes have.
    preferred : str
        Names that its own map may have. If none has all the labels, the smallest other map that does is taken, and
        failing that the labels themselves.
    is_alone : bool
        Whether it is the only set with boxes. Otherwise no other map is taken: it may be that of another set, which
        labels what this one does not.

    Examples
    --------
    >>> maps = {"imagenet": {"n1": 0, "n2": 1, "n3": 2}, "farm": {"cow": 1, "hen": 2}}
    >>> labelled_nodes(WordTree(("n1", "n2", "n3"), ("a", "b", "c"), (-1, -1, -1), label_maps=maps), [1], "coco")
    [1, 2]
    """
    labels = set(found)
    own = [set(tree.label_maps[name].values()) for name in preferred if name in tree.label_maps]
    others = sorted((set(nodes.values()) for nodes in tree.label_maps.values()), key=len) if is_alone else []
    return sorted(next((nodes for nodes in (*own, *others) if labels <= nodes), labels))


def wnid_map(tree: WordTree) -> dict[str, int]:
    """Id of a node, or class name of a source in the tree -> node."""
    return name_map(tree, "imagenet") | {wnid: node for node, wnid in enumerate(tree.wnids)}


@contextlib.contextmanager
def tree_advice(config: DataConfig) -> Iterator[None]:
    """Add to an error about labels without a node how to get a tree that has them."""
    try:
        yield
    except DatasetError as error:
        if "have no node" in str(error) or "has no node" in str(error):
            raise DatasetError(
                f"{error}\nA tree of these labels, for `tree`, is made by\n  {tree_command(config)}"
            ) from error
        raise
