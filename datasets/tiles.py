"""Scenes made of real photographs: tiles with one real box each, on a larger canvas.

The tiles are small images in ImageNet's layout, with a table of boxes beside them::

    train/<wnid>.tar  val/<wnid>.tar  boxes/train.tsv  boxes/val.tsv  split.json

`ImageNetSource` reads the tiles; it is also the source of the image labels that go with these scenes. A tile's box
marks one object; other objects of its class in the same tile are unlabelled. On single tiles one constant box would be
right more often than not, so several tiles are laid on a canvas at random scale and place.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.box_index import contents, listed
from yolo9000.datasets.canvas import find_place, paste
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.guarded import LeanChild
from yolo9000.datasets.imagenet import ImageNetSource
from yolo9000.datasets.sample import Kind, Record
from yolo9000.datasets.transforms import AugmentConfig

LAYOUT = """\
tiles/train/n02084071.tar     tiles of each class in ImageNet's layout; val/ the same, held out
tiles/boxes/train.tsv         the box of each tile: val.tsv the same
tiles/split.json              the lists boxed and image_only: which classes have boxes in training"""
"""How the files lie, for messages and the documentation."""

_SPLITS = ("train", "val")
_FEATHER = 3
"""The pixels over which a tile fades into the canvas: a net could find a hard edge without recognising the object."""

# Tiles are small, centred on their object and seen for a few epochs only, so strong augmentation would do more harm
# than good.
TILE_SCENE_AUGMENT = AugmentConfig(scale=(0.85, 1.25), aspect=0.1, hue=0.02, saturation=1.25, exposure=1.25)
TILE_AUGMENT = AugmentConfig(scale=(0.8, 1.3), aspect=0.1, hue=0.02, saturation=1.25, exposure=1.25)


@dataclass(frozen=True, kw_only=True)
class TileSplit:
    """Which classes have boxes in training.

    Parameters
    ----------
    boxed : tuple of str
        The wnids of the classes whose boxes may be used.
    image_only : tuple of str
        The wnids of the never-boxed classes, which only have image labels in training.
    names : mapping of str to str
        The display name of each wnid.
    """

    boxed: tuple[str, ...]
    image_only: tuple[str, ...]
    names: Mapping[str, str]

    @property
    def wnids(self) -> tuple[str, ...]:
        """All classes, sorted, in the order of the class indices."""
        return tuple(sorted((*self.boxed, *self.image_only)))


def read_split(root: str | Path) -> TileSplit:
    """Return the classes that ``split.json`` in the tiles' folder lists.

    Parameters
    ----------
    root : str or Path
        The folder of the tiles.

    Returns
    -------
    TileSplit

    Raises
    ------
    DatasetError
        If there is no such file, or it lacks ``boxed`` or ``image_only``, or a class is in both.
    """
    path = Path(root) / "split.json"
    if not path.is_file():
        raise DatasetError(f"{root}: looked for split.json, found {contents(Path(root))}. Expected:\n{LAYOUT}")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        boxed, image_only = tuple(table["boxed"]), tuple(table["image_only"])
        names = table.get("names", {})
        if not all(isinstance(wnid, str) for wnid in (*boxed, *image_only)) or not isinstance(names, dict):
            raise TypeError("a class is no text, or the names are none")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(f"{path}: expected JSON with the lists boxed and image_only: {error!r}") from error
    if both := sorted(set(boxed) & set(image_only)):
        raise DatasetError(f"{path}: {listed(both)} in boxed and in image_only")
    return TileSplit(boxed=boxed, image_only=image_only, names=names)


@dataclass(frozen=True, kw_only=True)
class TileConfig:
    """How scenes are made of tiles. Lengths other than `size` are relative to the canvas's side.

    Parameters
    ----------
    size : int
        The side of the square canvas in pixels.
    seed : int
        The seed of all random numbers; another seed gives other scenes.
    tiles : tuple of int
        The least and most tiles; fewer are laid where no free place is found.
    extent : tuple of float
        The least and largest side of a tile, drawn log-uniformly.
    max_cover : float
        The largest part of the smaller of two tiles that they may share.
    """

    size: int = 96
    seed: int = 0
    tiles: tuple[int, int] = (1, 4)
    extent: tuple[float, float] = (0.3, 0.65)
    max_cover: float = 0.08

    def __post_init__(self) -> None:
        if self.size < 16:
            raise DatasetError(f"TileConfig.size must be at least 16 pixels, not {self.size}")
        if self.seed < 0:
            raise DatasetError(f"TileConfig.seed must not be negative, but is {self.seed}")
        if not 1 <= self.tiles[0] <= self.tiles[1]:
            raise DatasetError("TileConfig.tiles must be (least, most) with 1 <= least <= most")
        if not 0 < self.extent[0] <= self.extent[1] <= 1:
            raise DatasetError("TileConfig.extent must be (least, most) with 0 < least <= most <= 1")


class TileScenes:
    """Scenes of real tiles by index: a `yolo9000.datasets.sample.Source`.

    A scene depends on (seed, split, kind, index) and on the tiles on the disk.

    Parameters
    ----------
    root : str or Path
        The folder that holds train/, val/, boxes/ and split.json.
    label_map : mapping of str to int, optional
        The node of each wnid. By default a label is the class's place in `TileSplit.wnids`.
    split : {"train", "val"}
        The tiles to use.
    kind : {"detection", "classification"}
        ``"detection"`` gives a box and a label for each tile. ``"classification"`` gives the class of the first tile
        as the image label, just as the image label of a photograph names one of the things in it.
    boxed : collection of str, optional
        The wnids whose boxes may be used, in place of those that split.json lists.
    classes : {"all", "boxed"}, optional
        ``"boxed"`` uses only tiles of boxed classes, ``"all"`` uses every tile. The default is ``"boxed"`` for the
        detection scenes of train, and ``"all"`` otherwise.
    config : TileConfig, optional
        How scenes are made of tiles.
    length : int
        The number of scenes.
    cache : str or Path, optional
        The folder for the index of the tars; see `ImageNetSource`.

    Raises
    ------
    DatasetError
        If the layout, the boxes or the label map do not fit. The message says what was looked for.

    Examples
    --------
    >>> scenes = TileScenes("tiny-imagenet", split="val", length=1000)  # doctest: +SKIP
    >>> scenes.read(0).boxes_xyxy.shape  # doctest: +SKIP
    (3, 4)
    """

    labelled_nodes: NDArray[np.int64] | None = None

    def __init__(
        self,
        root: str | Path,
        label_map: Mapping[str, int] | None = None,
        *,
        split: Literal["train", "val"] = "train",
        kind: Kind = "detection",
        boxed: Collection[str] | None = None,
        classes: Literal["all", "boxed"] | None = None,
        config: TileConfig | None = None,
        length: int = 100_000,
        cache: str | Path | None = None,
    ) -> None:
        root = Path(root)
        if split not in _SPLITS:
            raise DatasetError(f"TileScenes: split is one of {', '.join(_SPLITS)}, not {split!r}")
        if length < 1:
            raise DatasetError(f"TileScenes: length must be at least 1, not {length}")
        self.config = config if config is not None else TileConfig()
        self.kind: Kind = kind
        self.name = f"tile scenes ({split})" if kind == "detection" else f"tile scenes with image labels ({split})"
        self.split = read_split(root)
        if classes is None:
            classes = "boxed" if split == "train" and kind == "detection" else "all"
        wnids = self.split.wnids
        if boxed is not None and (unknown := sorted(set(boxed) - set(wnids))):
            raise DatasetError(f"{self.name}: boxed names {listed(unknown)}, which split.json does not")
        if label_map is None:
            label_map = {wnid: index for index, wnid in enumerate(wnids)}
        elif absent := [wnid for wnid in wnids if wnid not in label_map]:
            raise DatasetError(f"{self.name}: label_map has no node for {listed(absent)}")
        self._length = length
        self._stream = (self.config.seed, _SPLITS.index(split), *(() if kind == "detection" else (1,)))
        # The table gives boxes in the pixels as they are stored.
        self._tiles = ImageNetSource(
            root, label_map, split=split, name=self.name, skip_missing=True, cache=cache, upright=False
        )
        self._boxes = _boxes_of(self._tiles, root / "boxes" / f"{split}.tsv")

        wanted = (boxed if boxed is not None else self.split.boxed) if classes == "boxed" else wnids
        has_box = np.isfinite(self._boxes[:, 0])
        numbers = [i for i, wnid in enumerate(self._tiles.class_names) if wnid in set(wanted)]
        members = [np.flatnonzero(has_box & (self._tiles.classes == i)) for i in numbers]
        present = {self._tiles.class_names[i] for i, tiles in zip(numbers, members, strict=True) if len(tiles)}
        if without := sorted(set(wanted) - present):
            raise DatasetError(f"{self.name}: {root} has no tile with a box of {listed(without)}")
        # Flat arrays: the tiles with a box, class by class.
        self._members = np.concatenate(members)
        self._first = np.cumsum([0, *(len(tiles) for tiles in members)])

    @property
    def guard(self) -> LeanChild | None:
        """Decodes the tiles in a process of its own; see `ImageNetSource`."""
        return self._tiles.guard

    @guard.setter
    def guard(self, guard: LeanChild | None) -> None:
        self._tiles.guard = guard

    def __len__(self) -> int:
        return self._length

    def read(self, index: int) -> Record:
        """Return scene `index`, which is the same in every process.

        Raises
        ------
        IndexError
            If there is no such scene.
        Unreadable
            If one of its tiles cannot be decoded.
        """
        if not 0 <= index < self._length:
            raise IndexError(f"{self.name}: scene {index} of {self._length}")
        config = self.config
        rng = np.random.default_rng((*self._stream, index))
        image = self._background(rng)
        taken: list[tuple[float, float, float, float]] = []
        boxes: list[NDArray[np.float32]] = []
        labels: list[int] = []
        for _ in range(int(rng.integers(config.tiles[0], config.tiles[1] + 1))):
            tile = self._draw_tile(rng)
            low, high = (math.log(part) for part in config.extent)
            side = round(config.size * math.exp(rng.uniform(low, high)))
            place = find_place(rng, side, side, config.size, taken, config.max_cover)
            if place is None:
                continue
            left, top = round(place[0]), round(place[1])
            taken.append((left, top, left + side, top + side))
            record = self._tiles.read(tile)
            height, width = record.image.shape[:2]
            _lay(image, record.image, left, top, side)
            scale = np.array((side / width, side / height) * 2, np.float32)
            boxes.append(self._boxes[tile] * scale + np.array((left, top) * 2, np.float32))
            labels.append(int(self._tiles.labels[tile]))
        key = f"tiles-{'-'.join(map(str, self._stream))}-{index}"
        if self.kind == "classification":
            return Record(image, key, image_label=labels[0])
        return Record(image, key, np.stack(boxes), np.array(labels, np.int64))

    def _draw_tile(self, rng: np.random.Generator) -> int:
        """Draw the index of a tile: all classes are equally likely, and so are all tiles of a class."""
        group = int(rng.integers(len(self._first) - 1))
        return int(self._members[rng.integers(self._first[group], self._first[group + 1])])

    def _background(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return a canvas with the colours of a random tile, blurred beyond recognition, and with grain."""
        size = self.config.size
        tile = self._tiles.read(self._draw_tile(rng)).image
        cells = cv2.resize(tile, (5, 5), interpolation=cv2.INTER_AREA)
        canvas = cv2.resize(cells, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        grain = (rng.integers(0, 256, (size, size, 3), dtype=np.uint8) >> 4).astype(np.int16) - 8
        return np.asarray(np.clip(canvas + grain, 0, 255), np.uint8)


def _lay(canvas: NDArray[np.uint8], tile: NDArray[np.uint8], left: int, top: int, side: int) -> None:
    """Resize a tile to `side` pixels and lay it on the canvas with fading edges."""
    shrinks = side < min(tile.shape[:2])
    colour = cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    ramp = np.minimum(np.arange(side), np.arange(side)[::-1]).clip(0, _FEATHER)
    alpha = (np.minimum.outer(ramp, ramp) + 1) * np.uint16(255) // np.uint16(_FEATHER + 1)
    layer = np.empty((side, side, 4), np.uint8)
    layer[..., :3] = colour.astype(np.uint16) * alpha[..., None] // 255
    layer[..., 3] = alpha
    paste(canvas, layer, left, top)


def _boxes_of(tiles: ImageNetSource, table: Path) -> NDArray[np.float32]:
    """Return the box of each tile, (N, 4) xyxy in pixel edges; NaN if it has no box or one of no size."""
    if not table.is_file():
        raise DatasetError(f"{tiles.name}: looked for {table}, found {contents(table.parent)}")
    rows: dict[str, tuple[float, ...]] = {}
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, delimiter="\t")
        for row in reader:
            try:
                x0, y0, x1, y1 = (int(row[name]) for name in ("x0", "y0", "x1", "y1"))
                key = f"{row['wnid']}/{row['file']}"
            except (KeyError, TypeError, ValueError) as error:
                raise DatasetError(
                    f"{table}, line {reader.line_num}: expected the columns wnid, file, x0, y0, x1, y1 "
                    f"(tabs between, whole pixels), not {row}"
                ) from error
            if x1 > x0 and y1 > y0 and x0 >= 0 and y0 >= 0:
                rows[key] = (x0, y0, x1 + 1, y1 + 1)  # the table's pixels are inclusive
    none = (math.nan,) * 4
    boxes = np.array([rows.get(tiles.key(i), none) for i in range(len(tiles))], np.float32).reshape(-1, 4)
    if len(tiles) and not np.isfinite(boxes).any():
        raise DatasetError(f"{table} names no tile of {tiles.root}, for example {tiles.key(0)}")
    return boxes
