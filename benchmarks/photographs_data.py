"""The data of `scripts/photographs.sh`: ``python -m benchmarks.photographs_data PHOTOS_DIR TILES_DIR OUT_DIR``.

PHOTOS_DIR holds ``annotations/{train,val}.json`` in COCO's format, whose categories carry a ``wnid``; ``images/train``,
``images/val``; and ``labels/WNID/*``, other photographs with a label alone. TILES_DIR holds ``train/WNID.tar`` and
``val/WNID.tar``. Only links and JSON are written:

- ``boxes/CHOICE/``: a folder in COCO's layout for each choice of never-boxed classes, and ``boxes/all``. Its
  training file lists the categories that have boxes, and the photographs with a box of one of them: nothing else of a
  never-boxed class is in it. Its held-out file has the strong classes alone, which are those that are scored;
- ``boxes/CHOICE-tuning/``: the same, from the training photographs alone, of which every sixth is held out;
- ``labels/start`` and ``labels/joint`` in ImageNet's layout: each photograph under each class that it shows, whatever
  has boxes, the labelled photographs, and the tiles (of ``joint``: those at or below a class of the photographs);
- ``wordtree.json``: one tree of all these labels.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from wordtree import WordTree, save_tree, sources
from yolo9000.datasets.errors import DatasetError
from yolo9000.runtime.mistakes import run

STRONG = (
    "person", "dog", "sheep", "cat", "horse", "cow", "chair", "car", "bottle", "pottedplant", "diningtable", "sofa",
    "tvmonitor",
)  # fmt: skip
"""The classes with more than 16 held-out boxes, which are scored."""
CHOICES: dict[str, tuple[str, ...]] = {
    "A": ("dog", "sheep", "car"),
    "B": ("cat", "cow", "bottle"),
    "C": ("horse", "chair", "tvmonitor"),
}
"""Never-boxed classes. A is for choices of the recipe, B and C are for reporting; C was fixed before any run."""
HELD_OUT_EVERY = 6
"""Which of the training photographs a tuning set holds out: the first, and every sixth after it."""
TUNING = "-tuning"
REPEATS = {"start": 4, "joint": 2}
"""How often a photograph's label comes for one coming of each tile."""

Coco = Mapping[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Make the folders; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.photographs_data", description=(__doc__ or "").split("\n")[0]
    )
    for name in ("photos", "tiles", "out"):
        parser.add_argument(name, type=Path, metavar=f"{name.upper()}_DIR")
    given = parser.parse_args(argv)
    return run(functools.partial(make_data, given.photos.resolve(), given.tiles.resolve(), given.out))


def make_data(photos: Path, tiles: Path, out: Path) -> int:
    """Write everything below `out`; what is there already is made anew where it is a file, and kept where it is a link.

    Raises
    ------
    DatasetError
        A folder does not hold what is needed; the message names the file.
    """
    parts = {split: read_coco(photos / "annotations" / f"{split}.json") for split in ("train", "val")}
    for choice, never in {"all": (), **CHOICES}.items():
        boxed = {str(category["name"]) for category in parts["train"]["categories"]} - set(never)
        write_boxes(out / "boxes" / choice, photos, parts["train"], parts["val"], boxed)
        train, held_out = tuning_split(parts["train"])
        write_boxes(out / "boxes" / f"{choice}{TUNING}", photos, train, held_out, boxed)
    wnids = sorted(path.stem for path in (tiles / "train").glob("*.tar"))
    if not wnids:
        raise DatasetError(f"{tiles / 'train'}: looked for a tar for each wnid, and found none")
    tree = build_tree(out, photos, tiles)
    targets = {tree.node(str(category["wnid"])) for category in parts["train"]["categories"]}
    for name, repeats in REPEATS.items():
        shown = wnids if name == "start" else [wnid for wnid in wnids if is_below(tree, wnid, targets)]
        for split, coco in parts.items():
            folder = out / "labels" / name / split
            link_all((tiles / split / f"{wnid}.tar", folder / f"{wnid}.tar") for wnid in shown)
            times = repeats if split == "train" else 1
            link_all(label_links(photos, split, coco, folder, times), total=times * len(coco["annotations"]))
    return 0


def read_coco(path: Path) -> Coco:
    """An annotation file whose categories have a wnid.

    Raises
    ------
    DatasetError
        It is not there, or it is none.
    """
    try:
        coco: Coco = json.loads(path.read_text(encoding="utf-8"))
        assert all("wnid" in category for category in coco["categories"])
        return coco
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise DatasetError(f"{path}: COCO's JSON is needed, with a wnid for each category: {error!r}") from error


def with_boxes_of(coco: Coco, names: Collection[str], *, every_image: bool = False) -> Coco:
    """What a set says if it labels some classes alone.

    Parameters
    ----------
    coco : mapping
    names : collection of str
        Its categories.
    every_image : bool
        Keep photographs without a box of theirs: held out, they show what is found where nothing is.

    Examples
    --------
    >>> boxes = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9]}, {"image_id": 2, "category_id": 2}]
    >>> coco = {
    ...     "images": [{"id": 1}, {"id": 2}],
    ...     "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    ...     "annotations": boxes,
    ... }
    >>> with_boxes_of(coco, ["cat"])["images"], len(with_boxes_of(coco, ["cat"])["annotations"])
    ([{'id': 1}], 1)
    """
    categories = [category for category in coco["categories"] if category["name"] in names]
    ids = {category["id"] for category in categories}
    annotations = [box for box in coco["annotations"] if box["category_id"] in ids]
    shown = {box["image_id"] for box in annotations if not box.get("iscrowd")}
    images = [image for image in coco["images"] if every_image or image["id"] in shown]
    kept = {image["id"] for image in images}
    return {
        "images": images,
        "categories": categories,
        "annotations": [box for box in annotations if box["image_id"] in kept],
    }


def tuning_split(coco: Coco) -> tuple[Coco, Coco]:
    """Part the photographs of a set: those to train on, and every sixth to choose by."""
    held_out = {image["id"] for image in coco["images"][::HELD_OUT_EVERY]}

    def part(is_held_out: bool) -> Coco:
        return {
            **coco,
            "images": [image for image in coco["images"] if (image["id"] in held_out) == is_held_out],
            "annotations": [box for box in coco["annotations"] if (box["image_id"] in held_out) == is_held_out],
        }

    return part(False), part(True)


def write_boxes(folder: Path, photos: Path, train: Coco, held_out: Coco, boxed: Collection[str]) -> None:
    """A set in COCO's layout: photographs with boxes of some classes, and held-out ones with those that are scored."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    parts = {"train": with_boxes_of(train, boxed), "val": with_boxes_of(held_out, STRONG, every_image=True)}
    for split, coco in parts.items():
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco), encoding="utf-8")
    of_val = "train" if folder.name.endswith(TUNING) else "val"
    link_all([(photos / "images" / "train", folder / "train"), (photos / "images" / of_val, folder / "val")])


def build_tree(out: Path, photos: Path, tiles: Path) -> WordTree:
    """Write the tree of the photographs' categories and of the tiles, and return it."""
    found = [sources.imagenet(tiles / "train"), sources.categories(photos / "annotations" / "train.json")]
    tree = sources.build_from_labels(sources.resolve_labels(found))
    save_tree(tree, out / "wordtree.json", force=True)
    return tree


def is_below(tree: WordTree, wnid: str, ancestors: Collection[int]) -> bool:
    """Whether a node is one of some others, or below one.

    Examples
    --------
    >>> tree = WordTree(("n1", "n2", "n3"), ("animal", "dog", "cat"), (-1, 0, 0))
    >>> is_below(tree, "n3", [0]), is_below(tree, "n3", [1])
    (True, False)
    """
    node = tree.node(wnid)
    while node >= 0 and node not in ancestors:
        node = tree.parents[node]
    return node >= 0


def label_links(photos: Path, split: str, coco: Coco, folder: Path, repeats: int) -> Iterable[tuple[Path, Path]]:
    """The file and the link of each photograph below each class that it shows, and of those with a label alone."""
    wnids = {category["id"]: str(category["wnid"]) for category in coco["categories"]}
    files = {image["id"]: str(image["file_name"]) for image in coco["images"]}
    shown = {(box["image_id"], wnids[box["category_id"]]) for box in coco["annotations"] if not box.get("iscrowd")}
    for time in range(repeats):
        for image, wnid in sorted(shown):
            yield photos / "images" / split / files[image], folder / wnid / f"{time}_{files[image]}"
        if split == "train":
            for file in sorted((photos / "labels").glob("*/*")):
                yield file, folder / file.parent.name / f"{time}_{file.name}"


def link_all(links: Iterable[tuple[Path, Path]], total: int | None = None) -> None:
    """Make links, file -> link, where none is yet."""
    for file, link in tqdm(links, desc="links", total=total, disable=None, leave=False):
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            os.symlink(file, link)


if __name__ == "__main__":
    sys.exit(main())
