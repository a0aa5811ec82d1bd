"""The embedded data: scenes of pictograms, drawn when they are read.

A scene depends on (seed, split, kind, index) alone. Pictograms are pasted at random scale, rotation, proportion and
colour on a textured background, among unlabelled symbols. Scenes of the kind "detection" hold one to five objects with
tight boxes; scenes of the kind "classification" hold one larger object and have an image label and no boxes.

Detection scenes for training contain no object of a never-boxed class, so no box of these classes exists in training.
Such objects pasted without a label would be learnt as background; `unlabelled_never_boxed` pastes them and lists the
labelled nodes.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from yolo9000.datasets.canvas import find_place, paste, textured_background
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.pictograms import (
    DISTRACTORS,
    Pictogram,
    PictogramClass,
    load_pictogram,
    read_classes,
)
from yolo9000.datasets.sample import Kind, Record
from yolo9000.datasets.transforms import AugmentConfig

Split = Literal["train", "val", "test"]
# Scenes are drawn with random places, sizes and colours already, so weak augmentation is enough.
SCENE_AUGMENT = AugmentConfig(scale=(0.8, 1.2), aspect=0.1, hue=0.02, saturation=1.2, exposure=1.2)
SCENE_IMAGE_AUGMENT = AugmentConfig(scale=(0.6, 1.3), aspect=0.1, hue=0.02, saturation=1.2, exposure=1.2)

_SPLITS: dict[str, int] = {"train": 0, "val": 1, "test": 2}
_KINDS: dict[str, int] = {"detection": 0, "classification": 1}


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """How scenes are drawn. Lengths other than `size` are relative to the image's side.

    Parameters
    ----------
    size : int
        The side of the square image in pixels.
    split : {"train", "val", "test"}
        The split; scenes of different splits never share a random number.
    seed : int
        The seed of all random numbers; another seed gives other scenes.
    objects : tuple of int
        The least and most objects of a detection scene; fewer are drawn where no free place is found.
    extent : tuple of float
        The least and most length of the longer side of an object's box in a detection scene, drawn log-uniformly.
    image_extent : tuple of float
        The same for the one object of a scene with an image label.
    distractors : tuple of int
        The least and most unlabelled symbols; a scene with an image label has half as many.
    max_cover : float
        The largest part of the smaller of two boxes that they may share, so that every object stays visible.
    rotation : float
        The largest rotation to either side in degrees. Half of the pictograms are mirrored as well.
    proportion : float
        The largest factor by which width is stretched against height or height against width.
    hue : float
        The largest turn of the hue to either side in degrees.
    saturation, brightness : tuple of float
        The least and largest factor on saturation and brightness.
    """

    size: int = 96
    split: Split = "train"
    seed: int = 0
    objects: tuple[int, int] = (1, 5)
    extent: tuple[float, float] = (0.18, 0.6)
    image_extent: tuple[float, float] = (0.35, 0.95)
    distractors: tuple[int, int] = (0, 2)
    max_cover: float = 0.2
    rotation: float = 25.0
    proportion: float = 1.15
    hue: float = 12.0
    saturation: tuple[float, float] = (0.75, 1.25)
    brightness: tuple[float, float] = (0.8, 1.15)

    def __post_init__(self) -> None:
        if self.split not in _SPLITS:
            raise DatasetError(f"SceneConfig.split is one of {', '.join(_SPLITS)}, not {self.split!r}")
        if self.size < 16:
            raise DatasetError(f"SceneConfig.size must be at least 16 pixels, not {self.size}")
        if self.seed < 0:
            raise DatasetError(f"SceneConfig.seed must not be negative, but is {self.seed}")
        for name, low in (("objects", 1), ("distractors", 0)):
            least, most = getattr(self, name)
            if not low <= least <= most:
                raise DatasetError(f"SceneConfig.{name} must be (least, most) with {low} <= least <= most")
        for name in ("extent", "image_extent"):
            least, most = getattr(self, name)
            if not 0 < least <= most <= 1:
                raise DatasetError(f"SceneConfig.{name} must be (least, most) with 0 < least <= most <= 1")


class SceneSource:
    """Scenes of pictograms by index: a `yolo9000.datasets.sample.Source`.

    Parameters
    ----------
    config : SceneConfig, optional
        How scenes are drawn.
    kind : {"detection", "classification"}
        ``"detection"`` gives boxes with labels; ``"classification"`` gives an image label and no boxes.
    length : int
        The number of scenes; they cost nothing until they are read.
    classes : {"all", "boxed"}, optional
        ``"boxed"`` draws only classes whose boxes may be used, ``"all"`` draws every class. The default is
        ``"boxed"`` for the detection scenes of the splits train and val, and ``"all"`` otherwise.
    label_map : mapping of str to int, optional
        The node of each class name. By default a label is the row of the class in the table.
    names : collection of str, optional
        Draw only classes of these names. Their labels stay the same.
    unlabelled_never_boxed : bool
        Draw never-boxed classes in scenes of ``classes="boxed"`` too, without a label; `labelled_nodes` then lists
        the nodes of the boxed classes.
    with_boxes : bool
        Give scenes with an image label their object's box and its label as well. No training may use them: they serve
        to measure which box a detector picks, and the test that corrupts them.

    Raises
    ------
    DatasetError
        If `label_map` lacks a class, or `names` holds one that does not exist. The message names all of them.
    PictogramError
        If the packages of the extra ``demo`` are not installed.

    Examples
    --------
    >>> scenes = SceneSource(SceneConfig(split="test"), length=1000)
    >>> record = scenes.read(0)
    >>> record.image.shape, record.boxes_xyxy.shape[1], len(record.labels) in range(1, 6)
    ((96, 96, 3), 4, True)
    >>> SceneSource(SceneConfig(), kind="classification").read(3).boxes_xyxy.shape
    (0, 4)
    """

    def __init__(
        self,
        config: SceneConfig | None = None,
        *,
        kind: Kind = "detection",
        length: int = 100_000,
        classes: Literal["all", "boxed"] | None = None,
        label_map: Mapping[str, int] | None = None,
        names: Collection[str] | None = None,
        unlabelled_never_boxed: bool = False,
        with_boxes: bool = False,
    ) -> None:
        self.config = config if config is not None else SceneConfig()
        self.kind: Kind = kind
        self.name = f"scenes ({self.config.split})"
        self.classes: tuple[PictogramClass, ...] = read_classes()
        if classes is None:
            classes = "boxed" if kind == "detection" and self.config.split != "test" else "all"
        if kind not in _KINDS:
            raise ValueError(f"SceneSource: kind is one of {', '.join(_KINDS)}, not {kind!r}")
        if length < 1:
            raise DatasetError(f"SceneSource: length must be at least 1, not {length}")
        if names is not None and (unknown := set(names) - {c.name for c in self.classes}):
            raise DatasetError(f"SceneSource: no pictogram class is called {', '.join(sorted(unknown))}")
        if label_map is not None and (absent := [c.name for c in self.classes if c.name not in label_map]):
            raise DatasetError(f"SceneSource: label_map has no node for {', '.join(absent)}")

        wanted = [i for i, c in enumerate(self.classes) if names is None or c.name in names]
        labelled = [i for i in wanted if classes == "all" or self.classes[i].boxed]
        self._drawn = np.array(wanted if unlabelled_never_boxed else labelled, np.int64)
        if not labelled:
            raise DatasetError("SceneSource: no class is left to draw; name at least one that has boxes")
        self._is_labelled = np.isin(np.arange(len(self.classes)), labelled)
        self._labels = np.array(
            [i if label_map is None else label_map[c.name] for i, c in enumerate(self.classes)], np.int64
        )
        self.labelled_nodes: NDArray[np.int64] | None = (
            self._labels[labelled] if len(self._drawn) > len(labelled) else None
        )
        self._length = length
        self._with_boxes = with_boxes
        # All drawings are loaded now (1.5 s, once a process), so forked workers share them and a missing package
        # raises here.
        for code in itertools.chain(DISTRACTORS, *(self.classes[i].hexcodes for i in self._drawn)):
            load_pictogram(code)

    def __len__(self) -> int:
        return self._length

    @property
    def digest(self) -> str:
        """Tells these scenes and their labels from all others."""
        drawn = [each.tolist() for each in (self._drawn, self._labels, self._is_labelled)]
        said = repr((self.config, self.kind, self._length, self._with_boxes, drawn))
        return hashlib.sha256(said.encode()).hexdigest()

    def key(self, index: int) -> str:
        """What scene `index` is called."""
        return f"{self.kind}-{self.config.split}-{self.config.seed}-{index}"

    def read(self, index: int) -> Record:
        """Return scene `index`, which is the same in every process.

        Raises
        ------
        IndexError
            If there is no such scene.
        """
        if not 0 <= index < self._length:
            raise IndexError(f"{self.name}: scene {index} of {self._length}")
        config = self.config
        rng = np.random.default_rng((config.seed, _SPLITS[config.split], _KINDS[self.kind], index))
        image = textured_background(rng, config.size)
        least, most = config.distractors
        if self.kind == "detection":
            count, extent = int(rng.integers(config.objects[0], config.objects[1] + 1)), config.extent
        else:
            count, extent, most = 1, config.image_extent, (most + 1) // 2
            least = min(least, most)
        chosen = self._drawn[rng.integers(len(self._drawn), size=count)]
        # Symbols are placed last, so that they never take an object's place, and painted first, underneath.
        taken: list[tuple[float, float, float, float]] = []
        jobs: list[tuple[Pictogram, NDArray[np.float64], float, float]] = []
        labels: list[int] = []
        for c in chosen.tolist():
            codes = self.classes[c].hexcodes
            pictogram = load_pictogram(codes[int(rng.integers(len(codes)))])
            if self._place(rng, pictogram, extent, taken, jobs):
                labels.append(c)
        for _ in range(int(rng.integers(least, most + 1))):
            pictogram = load_pictogram(DISTRACTORS[int(rng.integers(len(DISTRACTORS)))])
            self._place(rng, pictogram, (0.1, 0.25), taken, jobs)
        for job in jobs[len(labels) :] + jobs[: len(labels)]:
            _draw(image, *job, _recolour(rng, config))

        boxes = np.array(taken[: len(labels)], np.float32).reshape(-1, 4)
        key = self.key(index)
        nodes = self._labels[labels]
        if self.kind == "classification":
            if not self._with_boxes:
                return Record(image, key, image_label=int(nodes[0]))
            return Record(image, key, boxes, nodes, int(nodes[0]))
        keep = self._is_labelled[labels]
        return Record(image, key, boxes[keep], nodes[keep])

    def _place(
        self,
        rng: np.random.Generator,
        pictogram: Pictogram,
        extent: tuple[float, float],
        taken: list[tuple[float, float, float, float]],
        jobs: list[tuple[Pictogram, NDArray[np.float64], float, float]],
    ) -> bool:
        config = self.config
        angle = math.radians(rng.uniform(-config.rotation, config.rotation))
        stretch = config.proportion ** rng.uniform(-0.5, 0.5)
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        side = config.size * math.exp(rng.uniform(math.log(extent[0]), math.log(extent[1])))
        cos, sin = math.cos(angle), math.sin(angle)
        matrix = np.array(((cos * mirror * stretch, -sin / stretch), (sin * mirror * stretch, cos / stretch)))
        corners = pictogram.hull @ matrix.T
        low, high = corners.min(0), corners.max(0)
        scale = side / float((high - low).max())
        width, height = ((high - low) * scale).tolist()
        box = find_place(rng, width, height, config.size, taken, config.max_cover)
        if box is None:
            return False
        taken.append(box)
        jobs.append((pictogram, matrix * scale, box[0] - float(low[0]) * scale, box[1] - float(low[1]) * scale))
        return True


def _recolour(rng: np.random.Generator, config: SceneConfig) -> NDArray[np.float32]:
    """Return a random (4, 4) matrix for premultiplied RGBA: it turns the hue, and scales saturation and brightness."""
    hue = math.radians(rng.uniform(-config.hue, config.hue))
    saturation, brightness = rng.uniform(*config.saturation), rng.uniform(*config.brightness)
    cos, sin = math.cos(hue) * saturation, math.sin(hue) * saturation / math.sqrt(3)
    grey, matrix = (1 - cos) / 3, np.zeros((4, 4), np.float32)
    matrix[0, :3] = grey + cos, grey - sin, grey + sin
    matrix[1, :3] = grey + sin, grey + cos, grey - sin
    matrix[2, :3] = grey - sin, grey + sin, grey + cos
    matrix *= brightness
    matrix[3, 3] = 1
    return matrix


def _draw(
    image: NDArray[np.uint8],
    pictogram: Pictogram,
    matrix: NDArray[np.float64],
    x: float,
    y: float,
    colours: NDArray[np.float32],
) -> None:
    """Paste a pictogram into `image` so that pixel p of its level 0 goes to ``matrix @ p + (x, y)``."""
    shrink = math.sqrt(abs(float(np.linalg.det(matrix))))
    level = min(max(math.floor(-math.log2(shrink)), 0), len(pictogram.levels) - 1)
    raster = pictogram.levels[level]
    corners = pictogram.hull @ matrix.T + (x, y)
    size = image.shape[0]
    left, top = (max(math.floor(v) - 1, 0) for v in corners.min(0))
    right, bottom = (min(math.ceil(v) + 1, size) for v in corners.max(0))
    # OpenCV's coordinates are pixel centres, ours are edges: the source and the result both shift by half a pixel.
    warp = np.empty((2, 3))
    warp[:, :2] = matrix * 2**level
    warp[:, 2] = (x - left - 0.5, y - top - 0.5) + warp[:, :2].sum(1) / 2
    layer = cv2.warpAffine(raster, warp, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
    paste(image, np.asarray(cv2.transform(layer, colours), np.uint8), left, top)
