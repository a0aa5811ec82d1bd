"""A data set's classes as nodes of a tree that was made for more: what ``evaluate --map`` names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wordtree import TreeError, WordTree, load_tree
from wordtree.formats import read_map
from yolo9000.darknet.cfg_files import BUNDLED_MAPS, read_names
from yolo9000.datasets.box_index import listed
from yolo9000.datasets.errors import DatasetError


def find_class_map(name: str, tree: WordTree, categories: Sequence[str] = ()) -> dict[str, int]:
    """Read which node each class of a data set is.

    Parameters
    ----------
    name : str
        A file in darknet's format, the node of each class in a line; a label map of the tree, such as ``coco``; or
        ``coco9k.map`` or ``inet9k.map`` without such a file, which the bundled tree has.
    tree : WordTree
        The model's tree.
    categories : sequence of str
        Names of the classes as the data have them, in their order; empty if the data do not say. They are matched by
        name; by position if there are as many and those that both name stand at the same places.

    Returns
    -------
    dict
        Class name -> node, in the order of the classes. A file of numbers takes the names from the data, or from the
        ``.names`` file beside it.

    Raises
    ------
    DatasetError
        There is no such map, it does not fit the tree or the data, it lacks a category of theirs, or two classes are
        one node.

    Examples
    --------
    >>> nodes = find_class_map("inet9k.map", load_tree("yolo9000"))
    >>> len(nodes), nodes["n02691156"]
    (200, 4107)
    """
    if Path(name).is_file():
        found = _of_file(Path(name), tree, categories)
    elif name in tree.label_maps:
        found = dict(tree.label_maps[name])
    elif name in BUNDLED_MAPS or name in BUNDLED_MAPS.values():
        found = _bundled(BUNDLED_MAPS.get(name, name), tree)
    else:
        known = ", ".join(dict.fromkeys([*tree.label_maps, *BUNDLED_MAPS]))
        raise DatasetError(f"`map` {name}: no such file, and no label map of the tree; there are {known}")
    if unknown := [category for category in categories if category not in found]:
        if not _stand_alike(list(found), categories):
            others = listed([each for each in found if each not in categories]) or "there are none"
            raise DatasetError(
                f"`map` {name}: the data's categories {listed(unknown)} are none of its {len(found)} classes, and the "
                f"two lists do not match by position either. Name them as the map names its others ({others}), or give "
                "a file with the node of each category in a line, in the order of the data"
            )
        found = dict(zip(categories, found.values(), strict=True))  # the same classes under other names
    if len(set(found.values())) < len(found):
        first: dict[int, str] = {}
        for class_name, node in found.items():
            if node in first:
                raise DatasetError(
                    f"`map` {name}: the classes {first[node]} and {class_name} are both node {node}; average precision "
                    "needs a node of its own for each"
                )
            first[node] = class_name
    return found


def with_class_map(tree: WordTree, nodes: Mapping[str, int]) -> WordTree:
    """The same tree, in which the classes of any data set are those of a map."""
    return replace(tree, label_maps={source: dict(nodes) for source in ("coco", "voc", "imagenet_det", "imagenet")})


def _stand_alike(names: Sequence[str], categories: Sequence[str]) -> bool:
    """Whether two lists may name the same classes one by one: what both have stands at the same places."""
    shared = set(names) & set(categories)
    return len(names) == len(set(categories)) == len(categories) and all(
        ours == theirs for ours, theirs in zip(names, categories, strict=True) if {ours, theirs} & shared
    )


def _bundled(source: str, tree: WordTree) -> dict[str, int]:
    bundled = load_tree("yolo9000")
    number = {wnid: node for node, wnid in enumerate(tree.wnids)}
    wnids = {name: bundled.wnids[node] for name, node in bundled.label_maps[source].items()}
    absent = [f"{name} ({wnid})" for name, wnid in wnids.items() if wnid not in number]
    if absent:
        raise DatasetError(
            f"`map` {source}: the tree of the model lacks {len(absent)} of its {len(wnids)} nodes: "
            f"{', '.join(absent[:5])}"
        )
    return {name: number[wnid] for name, wnid in wnids.items()}


def _of_file(path: Path, tree: WordTree, categories: Sequence[str]) -> dict[str, int]:
    try:
        nodes = read_map(path, tree)
    except TreeError as error:
        raise DatasetError(str(error)) from error
    for source in BUNDLED_MAPS.values():
        bundled = load_tree("yolo9000").label_maps[source]
        if tuple(bundled.values()) == nodes:
            return dict(bundled)
    file = path.with_suffix(".names")
    names = list(categories)
    if file.is_file():
        names = list(read_names(file))
    if not names:
        raise DatasetError(f"{path}: which class is which line? Put their names into {file}, one in each line")
    if len(names) != len(nodes) or len(set(names)) != len(names):
        where = file if file.is_file() else "the data"
        raise DatasetError(f"{path}: {len(nodes)} classes, but {where} names {len(set(names))} different ones")
    return dict(zip(names, nodes, strict=True))
