"""A run put together: its configuration -> tree, data, detector and phases."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from wordtree import WordTree, save_tree
from yolo9000.detection.anchors import cluster_priors
from yolo9000.detection.recipes import find_recipe
from yolo9000.engine.darknet_files import (
    SUFFIX,
    is_partial_file,
    named_detector,
    open_model,
    start_from_convolutions,
)
from yolo9000.engine.data import Data, box_shapes, load_data
from yolo9000.engine.data_config import DataConfig
from yolo9000.engine.phases import Phase, TrainConfig
from yolo9000.engine.plan import PlanConfig, check_sources, plan_phases
from yolo9000.engine.same_classes import check_same_classes
from yolo9000.engine.snapshot import (
    TrainedModel,
    describe_model,
    initialise_detector,
    region_of,
    start_from_classifier,
)
from yolo9000.models.box_coding import BoxCoding
from yolo9000.models.classes import Classes
from yolo9000.models.darknet_detector import DarknetDetector
from yolo9000.models.darknet_net import from_cfg
from yolo9000.models.model import RegionDetector
from yolo9000.models.region import RegionSpec
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.models.yolov2 import Detector, DetectorConfig
from yolo9000.runtime.distributed import Processes
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.run_folder import RunFolder, create_run_folder, environment

Priors = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that defines a run.

    Parameters
    ----------
    data, detector, plan, train
        Which images; the net's form; the phases; what they have in common.
    cfg
        A cfg of darknet's, or a built-in net, in place of `detector` and `priors`.
    priors
        Width and height of each in grid cells, or how many are clustered from the boxes.
    size
        Side of the network's input in evaluation and prediction; priors are clustered for it.
    exhaustive
        See `yolo9000.engine.data.load_data`.
    seed
        Of the first weights.
    """

    data: DataConfig = field(default_factory=DataConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    cfg: str | None = None
    plan: PlanConfig = field(default_factory=PlanConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    priors: int | Priors = 3
    size: int = 416
    exhaustive: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Assembly:
    """Built objects of a run.

    Parameters
    ----------
    data : Data
    detector : RegionDetector
    phases : list of Phase
    description : dict
        What its checkpoints say about the model.
    notes : list of str
        What a person should know before it starts.
    """

    data: Data
    detector: RegionDetector
    phases: list[Phase]
    description: dict[str, Any]
    notes: list[str]


def assemble(
    config: RunConfig,
    *,
    tree: WordTree | None = None,
    names: Sequence[str] | None = None,
    initial: str | Path | None = None,
    resumed: Mapping[str, Any] | None = None,
    processes: Processes = Processes(),
) -> Assembly:
    """Build what `yolo9000.engine.training.train` takes.

    Parameters
    ----------
    config : RunConfig
    tree : WordTree, optional
        Of all labels; see `yolo9000.engine.data.load_data`.
    names : sequence of str, optional
        The names of the classes of `RunConfig.cfg`, if it has no tree, in its order. Labels are then matched to its
        classes by name. Without names the net is given a tree of the data's labels in their place.
    initial : str or Path, optional
        A run whose weights the detector starts from (one that ended as a classifier will do), or a weights file of
        darknet's; the net must have the same form.
        Its priors are taken if as many are to be clustered. If its tree differs, the rows of the nodes in both are
        carried over, and the notes say which.
    resumed : mapping, optional
        Content of the checkpoint that is continued: gives tree and priors.
    processes : Processes

    Raises
    ------
    Mistake, DatasetError, wordtree.TreeError
        The parts do not fit together; the message says which.
    """
    check_sources(config.plan, boxes=config.data.has_boxes, image_labels=config.data.has_image_labels)
    torch.manual_seed(config.seed)
    classes: Classes | None = None if tree is None else TreeClasses(tree)
    saved_region = None if resumed is None else region_of(resumed["detector"]["region"])
    if saved_region is not None:
        if classes is not None:
            check_same_classes(classes, saved_region.classes, "the checkpoint")
        classes = saved_region.classes
    partial = initial is not None and is_partial_file(initial)
    start = None if initial is None or partial else open_model(initial, config.cfg, names=names)
    if config.cfg is not None and classes is None:
        classes = _classes_of_cfg(config.cfg, names)
    data = load_data(config.data, classes, exhaustive=config.exhaustive)
    notes: list[str] = []
    detector: RegionDetector
    if config.cfg is not None:
        detector = DarknetDetector(from_cfg(config.cfg, tree=data.classes.tree), data.classes)
    else:
        region = saved_region
        if region is None:
            priors, note = _priors_of(config, data, start)
            notes += note
            region = RegionSpec(classes=data.classes, coding=BoxCoding(priors))
        detector = Detector(config.detector, region)
    if start is not None and start.model.objective == "classification":
        notes += start_from_classifier(detector, start)
    elif start is not None:
        notes += initialise_detector(detector, start)
    elif initial is not None:
        notes += start_from_convolutions(detector, initial)
    phases = plan_phases(detector, data, config.plan, config.train, processes=processes, evaluation_size=config.size)
    description = describe_model(detector, size=config.size, boxed=data.boxed, never_boxed=data.never_boxed)
    description["data"] = dataclasses.asdict(config.data)
    description["exhaustive"] = config.exhaustive
    description["recipe"] = dataclasses.asdict(find_recipe(config.plan.recipe))
    parameters = sum(parameter.numel() for parameter in detector.parameters())
    sources = [source for source in (data.detection, data.classification) if source is not None]
    notes += [
        ", ".join(f"{phase.name} {phase.steps} steps" for phase in phases),
        ", ".join(f"{source.name} {len(source):,} images" for source in sources),
        f"{data.classes}; {len(data.boxed)} classes with boxes, {len(data.never_boxed)} without",
        f"{parameters / 1e6:.1f} M parameters, {config.train.precision}, batches of {config.train.batch_size}",
    ]
    return Assembly(data, detector, phases, description, notes)


def _classes_of_cfg(cfg: str, names: Sequence[str] | None) -> Classes | None:
    """Those of a cfg, if the labels of data can be matched to them."""
    with torch.device("meta"):  # only its classes are looked at
        detector = named_detector(from_cfg(cfg), None, names)
    return detector.classes if detector.classes.label_maps or detector.classes.ids else None


def write_run(
    run: RunFolder, config: RunConfig, assembly: Assembly, options: Mapping[str, Any], *, resumed: bool = False
) -> None:
    """Make the run's folder and write ``config.json`` (configurations, versions, commit), and ``tree.json`` of a tree.

    Of a run that is resumed only the options and configurations change, so that it knows of more steps the next
    time; the environment stays the one that it was begun in.
    """
    if not resumed:
        create_run_folder(run.path)
    if (tree := assembly.data.classes.tree) is not None:
        save_tree(tree, run.tree, force=True)
    before = run.read_config() if resumed else environment()
    run.write_config(
        {
            **before,
            "options": {**before.get("options", {}), **options},
            **dataclasses.asdict(config),
            "region": {key: value for key, value in assembly.detector.region.description.items() if key != "classes"},
        }
    )


def _priors_of(config: RunConfig, data: Data, start: TrainedModel | None) -> tuple[Priors, list[str]]:
    if not isinstance(config.priors, int):
        return config.priors, []
    # boxes clustered for another size or data would be other priors, which the weights do not fit
    known = start is not None and start.model.objective == "detection"
    if (
        start is not None
        and known
        and (len(start.region.coding.priors) == config.priors or start.path.suffix == SUFFIX)
    ):
        return start.region.coding.priors, [f"{len(start.region.coding.priors)} priors of {start.path}"]
    priors, mean_iou = _clustered_priors(config, data, config.priors)
    return priors, [f"{len(priors)} priors from the boxes; mean IoU of a box with its best prior {mean_iou:.3f}"]


def _clustered_priors(config: RunConfig, data: Data, number: int) -> tuple[Priors, float]:
    if data.detection is None:
        raise Mistake(f"`priors` {number}: they cannot be clustered without boxes; name them")
    relative, mean_iou = cluster_priors(box_shapes(data.detection), number, seed=config.seed)
    cells = relative * config.size / config.detector.stride
    return tuple((round(float(w), 5), round(float(h), 5)) for w, h in cells), mean_iou
