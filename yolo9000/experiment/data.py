"""Which images a run is about: sources for training, sources held out, and which labels had boxes.

It is one file because every kind of data becomes the same `Data`, and is best read beside the others.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from wordtree.labels import LabelError
from yolo9000.datasets.box_index import BoxIndex, listed
from yolo9000.datasets.coco import CocoSource
from yolo9000.datasets.darknet_augment import DarknetCrops
from yolo9000.datasets.errors import DatasetError, UnknownClasses
from yolo9000.datasets.excerpt import Excerpt
from yolo9000.datasets.guarded import LeanChild
from yolo9000.datasets.imagenet import ImageNetSource
from yolo9000.datasets.joined import JoinedSource
from yolo9000.datasets.kept import KeptScenes
from yolo9000.datasets.label_tars import LabelTars
from yolo9000.datasets.mixed import Augment
from yolo9000.datasets.packed_imagenet import PackedImageNet
from yolo9000.datasets.pictograms import read_classes
from yolo9000.datasets.sample import Kind, LabelledSource, Source
from yolo9000.datasets.scenes import SCENE_AUGMENT, SCENE_IMAGE_AUGMENT, SceneConfig, SceneSource, Split
from yolo9000.datasets.tiles import TILE_AUGMENT, TILE_SCENE_AUGMENT, TileConfig, TileScenes, read_split
from yolo9000.datasets.transforms import CLASSIFICATION, DETECTION
from yolo9000.experiment.config import DataConfig
from yolo9000.experiment.labels import (
    NodesByName,
    class_advice,
    classes_of_labels,
    labelled_nodes,
    taught_labels,
)
from yolo9000.experiment.layouts import LAYOUTS
from yolo9000.experiment.left_out import hidden, knows_all, shown, with_left_out
from yolo9000.models.classes import Classes

log = logging.getLogger(__name__)
_Read = TypeVar("_Read")
LabelSource: TypeAlias = ImageNetSource | PackedImageNet | LabelTars

CLUTTER = (2, 4)
"""Fewest and most tiles of a cluttered image with a label."""
PRIOR_SCENES = 500
"""Scenes that are read to cluster priors, where the boxes are not in an index: about 1,500 boxes."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """The sources of a run, labelled with classes of its net.

    Parameters
    ----------
    classes : Classes
        The classes of the net.
    detection, classification : Source, optional
        Images with boxes and images with a label to train on; None where the data have none.
    val_detection, val_classification : Source, optional
        The same, held out.
    boxed, never_boxed : tuple of int
        Labels that have boxes in training, and those that only images or held-out boxes are labelled with. A box that
        is ignored, as crowds and difficult objects are, makes no label boxed.
    image_labels : tuple of int
        All labels of the images with a label: the choices of a top-1.
    evaluated : tuple of int
        Labels that the held-out boxes may have: the classes of average precision. A data set's boxes say nothing
        about the classes of another.
    val_left_out : Source, optional
        Held-out images of the classes that a classifier is not trained on, labelled with the nearest ancestor that
        the tree has; None without such classes, or without a tree.
    detection_augment, classification_augment : Augment
        How images with boxes and images with a label are augmented in training.
    """

    classes: Classes
    detection: Source | None
    classification: Source | None
    val_detection: Source | None
    val_classification: Source | None
    boxed: tuple[int, ...]
    never_boxed: tuple[int, ...]
    image_labels: tuple[int, ...]
    evaluated: tuple[int, ...]
    val_left_out: Source | None = None
    detection_augment: Augment = DETECTION
    classification_augment: Augment = CLASSIFICATION


def load_data(
    config: DataConfig, classes: Classes | None = None, *, size: int = 96, held_out_only: bool = False
) -> Data:
    """Open the sources that a run trains on and those it is evaluated on.

    Parameters
    ----------
    config : DataConfig
    classes : Classes, optional
        Those of the net, which the labels are matched to; without any, a tree is built from the labels themselves.
    size : int
        Side in pixels of drawn scenes.
    held_out_only : bool
        For an evaluation: real data need no part to train on, and their boxes for training are not read.

    Raises
    ------
    DatasetError
        The data are not what was asked for, a class of theirs is none of the net's, or the classes of the net have no
        names; the message says what to do.
    wordtree.TreeError
        No tree can be built from the labels: a name that WordNet does not have, or that has several meanings.
    """
    if classes is not None and not classes.label_maps and not classes.ids:
        raise DatasetError(
            f"`names`: the net has {classes.number} classes and neither a tree nor names, so nobody knows which of "
            f"them is which of the data's; give the {classes.number} names in the order of the net's classes"
        )
    if classes is None:
        classes = classes_of_labels(config)
    if config.is_embedded:
        data = _scenes(config, classes, size)
    elif config.drawn_from is not None:
        data = _tiles(config, config.drawn_from, classes, size)
    else:
        data = _real(config, classes, held_out_only)
    return replace(data, classification_augment=DarknetCrops()) if config.darknet_crops else data


def box_shapes(source: Source) -> NDArray[np.float64]:
    """Width and height (N, 2) of a source's boxes, relative to the letterboxed input; for priors.

    Joined sources give all their boxes, so the largest set has the most to say.
    """
    if isinstance(source, JoinedSource):
        return np.concatenate([box_shapes(part) for part in source.sources])
    index = getattr(source, "index", None)
    if isinstance(index, BoxIndex):
        return index.relative_sizes().astype(np.float64)
    shapes = []
    for number in range(min(PRIOR_SCENES, len(source))):
        record = source.read(number)
        sides = record.boxes_xyxy[:, 2:] - record.boxes_xyxy[:, :2]
        shapes.append(sides / max(record.image.shape[:2]))
    return np.concatenate(shapes).astype(np.float64)


def _scenes(config: DataConfig, classes: Classes, size: int) -> Data:
    label_map = classes.label_maps.get("scenes")
    if label_map is None:
        raise DatasetError(
            "the classes of the net are not those of the pictograms (they have no label map 'scenes'); leave `tree` "
            "and `cfg` out, and a tree is built from the pictograms, or name your data"
        )
    names = [c.name for c in read_classes()]
    with_boxes = chosen_classes(config.boxed, names, [c.name for c in read_classes() if c.boxed])

    def scenes(split: Split, kind: Kind, length: int) -> Source:
        scene = SceneConfig(size=size, split=split)
        # held-out scenes with boxes show every class: the never-boxed ones are what the evaluation is about
        shown = with_boxes if kind == "detection" and split == "train" else None
        source = SceneSource(scene, kind=kind, length=length, classes="all", label_map=label_map, names=shown)
        source.name = f"{kind} scenes ({split})"  # the mixed data set tells its two sources apart by name
        kept = config.keep_scenes
        return KeptScenes(source, kept) if kept is not None and Path(kept).is_dir() else source

    held_out = _scene_split(config.splits[1])
    return Data(
        classes=classes,
        detection=scenes("train", "detection", config.scenes),
        classification=scenes("train", "classification", config.scenes),
        val_detection=scenes(held_out, "detection", config.val_images),
        val_classification=scenes(held_out, "classification", config.val_images),
        boxed=tuple(label_map[name] for name in names if name in with_boxes),
        never_boxed=tuple(label_map[name] for name in names if name not in with_boxes),
        image_labels=tuple(label_map[name] for name in names),
        evaluated=tuple(label_map[name] for name in names),
        detection_augment=SCENE_AUGMENT,
        classification_augment=SCENE_IMAGE_AUGMENT,
    )


def chosen_classes(chosen: str | None, known: Sequence[str], usual: Collection[str]) -> frozenset[str]:
    """The classes that have boxes in training, by name.

    Parameters
    ----------
    chosen : str, optional
        A JSON file with the list ``boxed``, or ``"all"``, or ``"own"``: the data's own choice, as if nothing were.
    known : sequence of str
        All classes.
    usual : collection of str
        Those that have boxes if nothing is chosen.

    Raises
    ------
    DatasetError
        The file is not such JSON, or names none of the classes, or one that does not exist.

    Examples
    --------
    >>> sorted(chosen_classes("all", ["cat", "dog"], ["dog"]))
    ['cat', 'dog']
    """
    match chosen:
        case None | "own":
            return frozenset(usual)
        case "all":
            return frozenset(known)
    try:
        listing = json.loads(Path(chosen).read_text(encoding="utf-8"))["boxed"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DatasetError(f"{chosen}: expected JSON with the list boxed: {error!r}") from error
    if not isinstance(listing, list) or not all(isinstance(name, str) for name in listing):
        raise DatasetError(f"{chosen}: boxed must be a list of names, not {listing!r}")
    boxed = frozenset(listing)
    if unknown := sorted(boxed - set(known)):
        raise DatasetError(f"{chosen}: the data have no {listed(unknown)}; their classes are {listed(list(known))}")
    if not boxed:
        raise DatasetError(f"{chosen}: the list boxed is empty; a detector needs boxes")
    return boxed


def _scene_split(name: str) -> Split:
    match name:
        case "train" | "val" | "test":
            return name
        case _:
            raise DatasetError(f"scenes have the splits train, val and test, not {name!r}")


def _tiles(config: DataConfig, root: str, classes: Classes, size: int) -> Data:
    split = read_split(root)
    label_map = NodesByName(classes, *LAYOUTS["tiles"].maps(root, config.splits[0]))
    boxed = chosen_classes(config.boxed, split.wnids, split.boxed)
    train, held_out = config.splits
    if train not in ("train", "val") or held_out not in ("train", "val"):
        raise DatasetError(f"tiles have the splits train and val, not {' and '.join(config.splits)}")
    tile = TileConfig(size=size)  # TileScenes draws its scenes apart by split, so one seed serves both

    def single(split: str) -> ImageNetSource:
        known = with_left_out(label_map, config.left_out)
        return _guarded(config, ImageNetSource(root, known, split=split, name=f"tiles ({split})"))

    def scenes(split: Literal["train", "val"], length: int, boxed: Collection[str] | None = None) -> TileScenes:
        return _guarded(config, TileScenes(root, label_map, split=split, config=tile, length=length, boxed=boxed))

    if config.left_out:
        with class_advice(config, classes):
            return _without_boxes(config, classes, single("train"), single("val"), TILE_AUGMENT)
    with class_advice(config, classes):
        classification: Source = single("train")
        if config.cluttered:
            several = replace(tile, tiles=CLUTTER)
            classification = _guarded(
                config,
                TileScenes(root, label_map, kind="classification", config=several, length=len(classification)),
            )
        return Data(
            classes=classes,
            detection=scenes("train", config.scenes, boxed),
            classification=classification,
            val_detection=Excerpt(scenes("val", config.val_images), config.val_images),
            val_classification=Excerpt(single("val"), config.val_images),
            boxed=tuple(label_map[wnid] for wnid in split.wnids if wnid in boxed),
            never_boxed=tuple(label_map[wnid] for wnid in split.wnids if wnid not in boxed),
            image_labels=tuple(label_map[wnid] for wnid in split.wnids),
            evaluated=tuple(label_map[wnid] for wnid in split.wnids),
            detection_augment=TILE_SCENE_AUGMENT,
            classification_augment=TILE_AUGMENT,
        )


def _without_boxes(
    config: DataConfig,
    classes: Classes,
    classification: LabelSource | None,
    val_classification: LabelSource | None,
    augment: Augment = CLASSIFICATION,
) -> Data:
    """The data of a classifier that some classes are left out of."""

    train, held_out = shown(classification, config.left_out), shown(val_classification, config.left_out)
    unknown = hidden(val_classification, config.left_out) if knows_all(classes, config.left_out) else None
    labels = {label for own in (train, held_out) if own is not None for label in np.unique(own.labels).tolist()}
    return Data(
        classes=classes,
        detection=None,
        classification=train,
        val_detection=None,
        val_classification=held_out and Excerpt(held_out, config.val_images),
        boxed=(),
        never_boxed=tuple(sorted(labels)),
        image_labels=tuple(sorted(labels)),
        evaluated=(),
        val_left_out=Excerpt(unknown, config.val_images) if unknown else None,
        classification_augment=augment,
    )


def _real(config: DataConfig, classes: Classes, held_out_only: bool) -> Data:
    train, held_out = config.splits
    with class_advice(config, classes):
        detection = [] if held_out_only else [_box_set(config, classes, train, each) for each in config.box_sets]
        classification: LabelSource | None = None
        try:
            classification = _classification(config, classes, train)
        except DatasetError:
            if not held_out_only:  # an evaluation only asks it which classes there are
                raise
        val_detection: LabelledSource | None = None
        val_classification: LabelSource | None = None
        with _dispensable(known_classes=held_out_only):
            val_detection = _held_out_boxes(config, classes, held_out)
        with _dispensable():
            val_classification = _classification(config, classes, held_out)
    if config.left_out:
        return _without_boxes(config, classes, classification, val_classification)
    boxed = {label for source in detection for label in np.unique(taught_labels(source)).tolist()}
    image_labels = set(np.unique(classification.labels).tolist()) if classification is not None else set()
    if val_classification is not None:
        image_labels |= set(np.unique(val_classification.labels).tolist())
    others = set(image_labels)
    evaluated: set[int] = set()
    if val_detection is not None:
        others |= set(np.unique(taught_labels(val_detection)).tolist())
        evaluated = set() if val_detection.labelled_nodes is None else set(val_detection.labelled_nodes.tolist())
    if config.exhaustive:
        for source in (*detection, *([] if val_detection is None else [val_detection])):
            source.labelled_nodes = None
    return Data(
        classes=classes,
        detection=JoinedSource(detection) if len(detection) > 1 else detection[0] if detection else None,
        classification=classification,
        val_detection=val_detection and Excerpt(val_detection, config.val_images),
        val_classification=val_classification and Excerpt(val_classification, config.val_images),
        boxed=tuple(sorted(boxed)),
        never_boxed=tuple(sorted(others - boxed)),
        evaluated=tuple(sorted(evaluated)),
        image_labels=tuple(sorted(image_labels)),
    )


def _box_set(config: DataConfig, classes: Classes, split: str, each: tuple[str, str]) -> LabelledSource:
    """One set of photographs with boxes, which knows the classes that it labels."""
    layout, root = each
    maps = LAYOUTS[layout].maps(root, config.splits[0])
    # one set of a layout goes by that; of several each goes by its path besides
    is_only_one = [other for other, _ in config.box_sets].count(layout) == 1
    name = f"{layout} ({split})" if is_only_one else f"{layout} {root} ({split})"
    nodes = NodesByName(classes, *maps)
    source: LabelledSource = _opened(config, layout, root, nodes, split, name)
    nodes.log_resolved(f"{layout} {root}")
    declared = getattr(source, "nodes", None)  # an annotation file may list its categories
    if declared is None:
        found = np.unique(source.labels).tolist()
        is_alone = len(config.box_sets) == 1
        declared = labelled_nodes(classes, found, *maps, is_alone=is_alone, names=_own_names(config, split, each))
    source.labelled_nodes = np.array(declared, np.int64)
    return source


def _own_names(config: DataConfig, split: str, each: tuple[str, str]) -> Collection[str] | None:
    """The names of a set's classes, if a set beside it goes by the same label map, which has the names of both then."""
    layout, root = each
    maps = {
        name
        for other, path in config.sets
        if (other, path) != each
        for name in LAYOUTS[other].maps(path, config.splits[0])
    }
    if maps.isdisjoint(LAYOUTS[layout].maps(root, config.splits[0])):
        return None
    try:
        return LAYOUTS[layout].labels(root, split).classes
    except LabelError:  # it names nothing at all, so it labels nothing
        return ()


def _opened(config: DataConfig, layout: str, root: str, label_map: Mapping[str, int], split: str, name: str) -> Any:
    opened = LAYOUTS[layout].open
    assert opened is not None  # scenes are drawn elsewhere
    return _guarded(config, opened(root, label_map, split, name))


def _guarded(config: DataConfig, source: _Read) -> _Read:
    if config.guarded:
        source.guard = _guard()  # type: ignore[attr-defined]
    return source


@functools.cache
def _guard() -> LeanChild:
    """The process that decodes for this one; a worker starts its own."""
    return LeanChild()


def _held_out_boxes(config: DataConfig, classes: Classes, split: str) -> LabelledSource | None:
    """The images of `config.val`, or the held-out split of the first set that is named."""
    if not config.box_sets:
        return None
    layout, root = config.box_sets[0]
    if config.val is not None:
        maps = [*LAYOUTS["coco"].maps(config.val, split), *LAYOUTS[layout].maps(root, config.splits[0])]
        held_out: CocoSource = _opened(
            config, "coco", config.val, NodesByName(classes, *maps), split, f"coco ({split})"
        )
        held_out.labelled_nodes = np.array(held_out.nodes, np.int64)
        return held_out
    if layout == "coco" and Path(root).is_file():
        raise DatasetError(f"{root} is one annotation file; name another with `val` to hold images out")
    return _box_set(config, classes, split, (layout, root))


def _classification(config: DataConfig, classes: Classes, split: str) -> LabelSource | None:
    if config.label_set is None:
        return None
    layout, root = config.label_set
    if split != config.splits[0] and not LAYOUTS[layout].has_splits:
        return None
    nodes = NodesByName(classes, *LAYOUTS[layout].maps(root, config.splits[0]))
    name = "imagenet" if layout.startswith("imagenet") else layout
    label_map = with_left_out(nodes, config.left_out)
    source: LabelSource = _opened(config, layout, root, label_map, split, f"{name} ({split})")
    nodes.log_resolved(f"{layout} {root}")
    return source


@contextlib.contextmanager
def _dispensable(*, known_classes: bool = False) -> Iterator[None]:
    """A run can do without images held out, so what is wrong with them is said and not raised.

    With `known_classes` it is raised if they have classes that the net does not know: an evaluation is about these.
    """
    try:
        yield
    except DatasetError as error:
        if known_classes and isinstance(error, UnknownClasses):
            raise
        log.warning("nothing held out: %s", error)
