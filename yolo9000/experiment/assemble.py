"""A run put together: its configuration -> tree, data, detector and phases."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch

from wordtree import load_tree, save_tree
from yolo9000.darknet.cfg_files import read_names
from yolo9000.darknet.detector import detector_of
from yolo9000.darknet.net import from_cfg
from yolo9000.datasets.joined import single_sources
from yolo9000.datasets.sample import LabelledSource
from yolo9000.detection.priors import cluster_priors, in_cells
from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.data import Data, box_shapes, load_data
from yolo9000.experiment.labels import classes_of_labels, taught_labels, without_tree
from yolo9000.experiment.left_out import leave_out
from yolo9000.experiment.plan import check_loss, check_sources, plan_phases, what_does_not_fit
from yolo9000.exporting.folder import describes_export
from yolo9000.exporting.opening import open_any
from yolo9000.inference.darknet_files import SUFFIX, named_detector, open_model
from yolo9000.inference.first_layers import has_first_layers_alone, start_from_first_layers
from yolo9000.inference.model import (
    TrainedModel,
    describe_model,
    initialise_classifier,
    initialise_detector,
    start_from_classifier,
    take_backbone,
)
from yolo9000.inference.nets import build_detector, spec_of
from yolo9000.models.box_coding import BoxCoding
from yolo9000.models.classes import Classes
from yolo9000.models.config import HAND_PICKED, YOLO9000_PRIORS, Priors
from yolo9000.models.flat_classes import FlatClasses
from yolo9000.models.grid import GridLossConfig, GridSpec
from yolo9000.models.model import DetectionModel, GridDetector, Model
from yolo9000.models.region import LossConfig, RegionSpec
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.runtime.distributed import Processes
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.run_folder import RunFolder, create_run_folder, environment
from yolo9000.training.config import TrainConfig
from yolo9000.training.phases import Phase


@dataclass(frozen=True)
class Assembly:
    """Built objects of a run.

    Parameters
    ----------
    data : Data
    detector : DetectionModel
    phases : list of Phase
    description : dict
        What its checkpoints say about the model.
    notes : list of str
        What the run is made of, a line each.
    warnings : list of str
        What does not fit, with fields in backquotes.
    config : RunConfig
        The configuration with the settings that the net is computed with.
    """

    data: Data
    detector: DetectionModel
    phases: list[Phase]
    description: dict[str, Any]
    notes: list[str]
    warnings: list[str]
    config: RunConfig


def assemble(
    config: RunConfig,
    *,
    resumed: Mapping[str, Any] | None = None,
    processes: Processes = Processes(),
    settle: Callable[[TrainConfig, Model, int], TrainConfig] | None = None,
) -> Assembly:
    """Build what `yolo9000.training.loop.train` takes.

    Parameters
    ----------
    config : RunConfig
    resumed : mapping, optional
        Content of the checkpoint that is continued. It gives tree, priors and weights, so that neither `data.tree` nor
        `net.init` is read again.
    processes : Processes
    settle : callable, optional
        Fixes what the net that is trained longest is computed with: configuration, net and the side of its images.

    Raises
    ------
    Mistake, DatasetError, wordtree.TreeError
        The parts do not fit together; the message says which.
    """
    check_sources(config.plan, boxes=config.data.has_boxes, image_labels=config.data.has_image_labels)
    check_loss(config, processes.world_size)
    torch.manual_seed(config.seed)
    cfg, initial = config.net.cfg, config.net.init if resumed is None else None
    names = read_names(config.net.names) if config.net.names is not None and resumed is None else None
    saved = None if resumed is None else spec_of(resumed["detector"])
    classes: Classes | None = None if saved is None else saved.classes
    if saved is None and config.data.tree is not None:
        classes = leave_out(TreeClasses(load_tree(config.data.tree)), config.data.left_out)
    exported = initial is not None and Path(initial).suffix != SUFFIX and describes_export(initial)
    partial = initial is not None and not exported and has_first_layers_alone(initial)
    start = None
    if initial is not None and not partial:
        start = _open_export(initial, names) if exported else open_model(initial, cfg, names=names)
    if cfg is not None and classes is None:
        classes = _classes_of_cfg(cfg, names)
    if cfg is None and saved is None:
        classes = _classes_of_form(config, classes)
    data = load_data(config.data, classes, size=config.plan.size)
    notes: list[str] = []
    detector: DetectionModel
    if cfg is not None:
        detector = _with_loss(detector_of(from_cfg(cfg, tree=data.classes.tree), data.classes), config.net.loss)
    else:
        detector, note = _own_detector(config, data, saved, start)
        notes += note
    classifier = detector.classifier() if config.plan.classification_steps else None
    if start is not None:
        if classifier is not None:
            notes += initialise_classifier(classifier, start)
        if start.model.objective == "detection" and not config.is_classifier:
            notes += [f"weights of the detector {start.path}, after {start.step} steps"]
            notes += initialise_detector(detector, start)
        elif classifier is None:
            notes += start_from_classifier(detector, start)
    elif initial is not None:
        notes += start_from_first_layers(detector, initial)
        if classifier is not None:
            take_backbone(classifier, detector, initial)
    if settle is not None:
        trains_classifier = config.is_classifier and classifier is not None
        size = config.plan.classification_size if trains_classifier else config.plan.size
        longest = classifier if trains_classifier and classifier is not None else detector
        config = dataclasses.replace(config, train=settle(config.train, longest, size))
    phases = plan_phases(detector, data, config, classifier=classifier, processes=processes)
    description = describe_model(
        detector, size=config.plan.evaluation_size or config.plan.size, boxed=data.boxed, never_boxed=data.never_boxed
    )
    description["data"] = dataclasses.asdict(config.data)
    description["taught"] = _taught(data)
    description["image_labels"] = dataclasses.asdict(config.plan.joint.image_labels)
    parameters = sum(parameter.numel() for parameter in phases[-1].model.parameters())
    sources = [None if config.is_classifier else data.detection, data.classification]
    taught = f"{len(data.boxed)} classes with boxes, {len(data.never_boxed)} without"
    if config.is_classifier:
        taught = f"{len(data.image_labels)} labels" + (
            f", {len(config.data.left_out)} classes left out" if config.data.left_out else ""
        )
    notes += [
        ", ".join(f"{phase.name} {phase.steps} steps" for phase in phases),
        ", ".join(f"{source.name} {len(source):,} images" for source in sources if source is not None),
        f"{data.classes}; {taught}",
        f"{parameters / 1e6:.1f} M parameters, {config.train.precision}, batches of {config.train.batch_size}",
    ]
    images = {} if config.data.is_embedded or config.data.drawn_from else {"boxes": len(data.detection or ())}
    started = initial is not None or resumed is not None
    warnings = what_does_not_fit(config, phases, started=started, images=images)
    return Assembly(data, detector, phases, description, notes, warnings, config)


def _open_export(folder: str, names: Sequence[str] | None) -> TrainedModel:
    start = open_any(folder, names=names)
    if start.detector.has_engine:
        raise Mistake(
            f"`init` {folder}: a training starts from an export of format safetensors, or from the run itself"
        )
    return start


def _taught(data: Data) -> dict[str, dict[int, int]]:
    """Boxes, and images with a label, of each label; nothing of scenes, which are drawn as they are read."""
    found: dict[str, dict[int, int]] = {}
    for name, source in (("boxes", data.detection), ("images", data.classification)):
        parts = [] if source is None else single_sources([source])
        known = [cast(LabelledSource, part) for part in parts if hasattr(part, "labels")]
        if known and len(known) == len(parts):
            labels, counts = np.unique(np.concatenate([taught_labels(part) for part in known]), return_counts=True)
            found[name] = dict(zip(labels.tolist(), counts.tolist(), strict=True))
    return found


def _classes_of_form(config: RunConfig, classes: Classes | None) -> Classes | None:
    """The classes of a net of ours: those of the tree, or without hypernyms where its form or `flat` wants that."""
    if config.net.detector.has_priors and not config.net.flat:
        return classes
    tree = classes if isinstance(classes, TreeClasses) else classes_of_labels(config.data)
    return without_tree(tree, "softmax" if config.net.detector.has_priors else "linear")


def _own_detector(
    config: RunConfig, data: Data, saved: RegionSpec | GridSpec | None, start: TrainedModel | None
) -> tuple[DetectionModel, list[str]]:
    """Our own net, of the form that the configuration says, and what to know of its priors."""
    form = config.net.detector
    if saved is not None:  # of a run that is resumed, whose checkpoint has the weights
        form = dataclasses.replace(form, pretrained=False)
    notes: list[str] = []
    if saved is None and form.has_priors:
        priors, notes = _priors_of(config, data, start)
        assert config.net.loss != "paper"  # see `NetConfig`
        coding = BoxCoding(priors, config.net.location)
        saved = RegionSpec(classes=data.classes, coding=coding, loss=LossConfig(form=config.net.loss))
    elif saved is None:
        assert isinstance(data.classes, FlatClasses)  # see `_classes_of_form`
        assert config.net.loss != "slides"  # see `NetConfig`
        saved = GridSpec(classes=data.classes, num=form.boxes, loss=GridLossConfig(form=config.net.loss))
    return build_detector(form, saved, config.plan.size), notes


def _with_loss(detector: DetectionModel, form: Literal["darknet", "paper", "slides"]) -> DetectionModel:
    """Give the detector of a cfg the form of its loss."""
    if isinstance(detector, GridDetector) and form != "slides":
        spec = detector.detection
        detector.detection = dataclasses.replace(spec, loss=dataclasses.replace(spec.loss, form=form))
    elif form != "darknet":
        raise Mistake(f"`loss` {form} is not of the layer that the `cfg` ends in; take darknet")
    return detector


def _classes_of_cfg(cfg: str, names: Sequence[str] | None) -> Classes | None:
    """Those of a cfg, if the labels of data can be matched to them."""
    with torch.device("meta"):  # only its classes are looked at
        detector = named_detector(from_cfg(cfg), None, names)
    return detector.classes if detector.classes.label_maps or detector.classes.ids else None


def write_run(run: RunFolder, config: RunConfig, assembly: Assembly, *, resumed: bool = False) -> None:
    """Make the folder and write ``config.json`` (configuration, versions, commit), and ``tree.json`` of a tree.

    When a run is resumed only its configuration is written anew, so that the next ``--resume`` knows of more steps; the
    environment stays the one that it was begun in.

    Parameters
    ----------
    run : RunFolder
    config : RunConfig
    assembly : Assembly
    resumed : bool
        The run was begun before.
    """
    if not resumed:
        create_run_folder(run.path)
    if (tree := assembly.data.classes.tree) is not None:
        save_tree(tree, run.tree, force=True)
    before = run.read_config() if resumed else environment()
    spec = {key: value for key, value in assembly.detector.spec.description.items() if key != "classes"}
    run.write_config({**before, "config": dataclasses.asdict(config), "numbers": spec})


def _priors_of(config: RunConfig, data: Data, start: TrainedModel | None) -> tuple[Priors, list[str]]:
    wanted = config.net.priors
    if wanted == "hand-picked":
        return in_cells(np.array(HAND_PICKED), config.plan.size, config.net.detector.stride), []
    if not isinstance(wanted, int):
        return wanted, []
    if config.is_classifier:
        return YOLO9000_PRIORS, []  # which nobody will train, so no boxes need be read
    # boxes clustered for another size or data would be other priors, which the weights do not fit
    if start is not None and start.model.objective == "detection" and isinstance(start.spec, RegionSpec):
        known = start.spec.coding.priors
        if len(known) == wanted or start.path.suffix == SUFFIX:
            return known, [f"{len(known)} priors of {start.path}"]
    priors, mean_iou = _clustered_priors(config, data, wanted)
    return priors, [f"{len(priors)} priors from the boxes; mean IoU of a box with its best prior {mean_iou:.3f}"]


def _clustered_priors(config: RunConfig, data: Data, number: int) -> tuple[Priors, float]:
    if data.detection is None:
        raise Mistake(f"`priors` {number}: they cannot be clustered without boxes; name them")
    relative, mean_iou = cluster_priors(box_shapes(data.detection), number, seed=config.seed)
    return in_cells(relative, config.plan.size, config.net.detector.stride), mean_iou
