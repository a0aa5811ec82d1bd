"""The files that a cfg names: trees and maps, found beside the cfg or among those that come with the package."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from wordtree import WordTree, load_tree
from wordtree.formats import read_map
from yolo9000.darknet.cfg import CfgError, DarknetCfg, Section

log = logging.getLogger(__name__)

BUNDLED_TREES = {"9k.tree": "yolo9000"}
"""darknet's file -> the bundled tree that equals it."""

BUNDLED_MAPS = {"coco9k.map": "coco", "inet9k.map": "imagenet_det"}
"""darknet's file -> the label map of the bundled tree `yolo9000` that equals it."""


_MOST_BYTES = 64 << 20


def find_file(cfg: DarknetCfg, section: Section, key: str) -> Path | None:
    """Where the file that an option names lies.

    It is tried relative to the folder of the cfg, its parent folder and the working directory. A built-in net has no
    folder, and what it names is bundled.

    Returns
    -------
    Path or None
        None: it comes with the package.

    Raises
    ------
    CfgError
        If there is no such file anywhere.
    """
    written = section.text(key)
    folders = [] if cfg.folder is None else [cfg.folder, cfg.folder.parent, Path()]
    for folder in folders:
        # os.path answers False for what can be no path, where Path raises
        if os.path.isfile(folder / written):
            log.info("%s: %s=%s is %s", cfg.file, key, written, folder / written)
            return folder / written
    bundled = {"tree": BUNDLED_TREES, "map": BUNDLED_MAPS}[key]
    if _file_name(written) in bundled:
        log.info("%s: %s=%s is the bundled file of this name", cfg.file, key, written)
        return None
    raise section.error(
        f"{written}: no such file relative to the cfg, its parent folder or the working directory, and none of the "
        f"bundled ones ({', '.join(bundled)})",
        key,
    )


def read_tree_of(cfg: DarknetCfg, section: Section) -> WordTree | None:
    """The tree that ``tree=`` of a section names; None if it names none.

    Raises
    ------
    CfgError
        If there is no such file.
    TreeFormatError
        If it holds no tree.
    """
    if "tree" not in section.options:
        return None
    found = find_file(cfg, section, "tree")
    return load_tree(BUNDLED_TREES[_file_name(section.text("tree"))] if found is None else found)


def read_map_of(cfg: DarknetCfg, section: Section, nodes: int) -> tuple[int, ...] | None:
    """The nodes that ``map=`` of a section names; None if it names none.

    Raises
    ------
    CfgError
        If there is no such file, or a bundled map is meant for more nodes than there are.
    TreeFormatError
        If a line of it is none of the nodes ``0 .. nodes - 1``.
    """
    if "map" not in section.options:
        return None
    found = find_file(cfg, section, "map")
    if found is not None:
        return read_map(found, nodes)
    tree = load_tree("yolo9000")
    if nodes != len(tree):
        raise section.error(f"{section.text('map')}: this map is for {len(tree)} nodes, the net has {nodes}", "map")
    return tuple(tree.label_maps[BUNDLED_MAPS[_file_name(section.text("map"))]].values())


def read_names(path: str | Path) -> tuple[str, ...]:
    """The names of classes, one in a line, in the order of a net's class channels (darknet's ``.names``).

    Raises
    ------
    CfgError
        The file is no text, or is empty.
    OSError
        It cannot be read.
    """
    if Path(path).stat().st_size > _MOST_BYTES:
        raise CfgError(f"{path}: more than {_MOST_BYTES >> 20} MB; names are a line for each class")
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise CfgError(f"{path}: names are text in UTF-8: {error}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise CfgError(f"{path}: holds no names")
    return names


def _file_name(written: str) -> str:
    return written.replace("\\", "/").rpartition("/")[2]
