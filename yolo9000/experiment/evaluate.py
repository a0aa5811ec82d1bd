"""The evaluation of a run, or of darknet's weights, on its own data or others."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from yolo9000.darknet.cfg_files import read_names
from yolo9000.datasets.coco import CocoSource, category_names
from yolo9000.datasets.excerpt import Excerpt
from yolo9000.datasets.loader import BatchLoader, make_evaluation_loader
from yolo9000.datasets.sample import Source
from yolo9000.datasets.transforms import letterbox
from yolo9000.datasets.voc import VocSource
from yolo9000.detection.config import ImageLabels
from yolo9000.evaluation.classifier import classification_top1
from yolo9000.evaluation.classifier_report import draw_specificity
from yolo9000.evaluation.detections import find_in_batches, score_detections
from yolo9000.evaluation.detector import HeldOutLoss, evaluate_detector
from yolo9000.evaluation.node_table import node_csv, node_markdown, node_rows
from yolo9000.evaluation.reliability import draw_reliability
from yolo9000.evaluation.report import without_nan
from yolo9000.experiment.class_maps import find_class_map, with_class_map
from yolo9000.experiment.config import DataConfig
from yolo9000.experiment.config_file import from_plain
from yolo9000.experiment.data import Data, chosen_classes, load_data
from yolo9000.experiment.evaluate_classifier import evaluate_classifier, is_classifier, open_classifier
from yolo9000.experiment.evaluate_config import EvaluateConfig
from yolo9000.exporting.folder import is_exported
from yolo9000.exporting.opening import open_as
from yolo9000.exporting.running import ready
from yolo9000.inference.darknet_files import Letterbox, letterbox_of
from yolo9000.inference.model import TrainedModel, checkpoint_of
from yolo9000.inference.prepare import prepare_with
from yolo9000.inference.torchvision_detector import Rival, is_rival, load_rival
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.runtime.checkpoint import write_atomically
from yolo9000.runtime.config import Settings
from yolo9000.runtime.device import pick_device, pick_precision, use_huge_pages
from yolo9000.runtime.distributed import Processes, local_device_name
from yolo9000.runtime.mistakes import Mistake
from yolo9000.training.objectives import detection_objective


def evaluate_run(
    run: str | Path, config: EvaluateConfig = EvaluateConfig(), *, processes: Processes = Processes()
) -> dict[str, Any]:
    """Evaluate a trained detector or classifier on images that it has not seen.

    Parameters
    ----------
    run : str or Path
        The folder of a run or of an export, a checkpoint, weights of darknet's, or a detector of torchvision's, see
        `yolo9000.inference.torchvision_detector.load_rival`.
    config : EvaluateConfig
        With no data sets named they are the held-out part of the run's own.
    processes : Processes
        They share the images, and each gets the figures of all.

    Returns
    -------
    dict
        For a classifier see `yolo9000.experiment.evaluate_classifier`, and for a detector
        `yolo9000.evaluation.detector.evaluate_detector`; with ``checkpoint``, ``step``, ``precision``, the losses
        of each source under ``held_out_loss``, and ``top1``. Of a detector of torchvision's there is what its
        detections say, see `yolo9000.evaluation.detections.score_detections`.

    Raises
    ------
    Mistake, DatasetError, wordtree.TreeError
        Weights, tree and data do not fit together.
    """
    use_huge_pages()
    device = pick_device(config.open.device or local_device_name())
    precision = pick_precision(device, config.open.precision)
    if is_rival(run):
        return _evaluate_rival(run, config, device, processes)
    if config.weights:
        raise Mistake(f"`weights` {config.weights}: they are for `torchvision:NAME`; {run} has its own")
    exported = is_exported(run)
    checkpoint = Path(run) if exported else checkpoint_of(run, best=config.open.best)
    if not exported and is_classifier(checkpoint, config.open.cfg):
        trained = open_classifier(checkpoint, config, device)
        report = evaluate_classifier(
            trained, held_out_data(config, trained), config, device=device, precision=precision, processes=processes
        )
        return report | {"checkpoint": str(checkpoint), "step": trained.step, "precision": precision}
    # of a run the checkpoint is chosen by now
    opened = config.open if exported else dataclasses.replace(config.open, best=False)
    trained = open_as(checkpoint, opened, device, averaged=not config.raw_weights)
    trained, settings = ready(trained, opened, device=device, measure=processes.world_size == 1)
    return evaluate_trained(trained, config, device=device, settings=settings, processes=processes)


def evaluate_trained(
    trained: TrainedModel,
    config: EvaluateConfig,
    *,
    device: torch.device,
    settings: Settings,
    processes: Processes = Processes(),
) -> dict[str, Any]:
    """`evaluate_run` of a detector that is open already.

    Parameters
    ----------
    trained : TrainedModel
        Its detector is on `device`.
    config : EvaluateConfig
        What it says about opening a net is not looked at, but for `size` and `letterbox`.
    device : torch.device
    settings : Settings
        How its convolutions are computed.
    processes : Processes
        They share the images, and each gets the figures of all.
    """
    if trained.detector.decodes_inside:
        raise Mistake(
            f"{trained.path}: it decodes inside, and average precision needs raw numbers; export it without `decoded`"
        )
    data_config, classes, nodes = held_out_data(config, trained), trained.classes, None
    if config.map:
        tree = classes.tree
        if tree is None:
            raise Mistake(f"`map` {config.map}: {trained.path} has no tree, so no nodes for a map to name")
        layout, root = data_config.box_sets[0] if data_config.box_sets else ("", "")  # held out is a part of the first
        categories = category_names(root, data_config.splits[1]) if layout == "coco" else []
        nodes = find_class_map(config.map, tree, categories)
        classes = TreeClasses(with_class_map(tree, nodes))
    data = load_data(data_config, classes, size=trained.size, held_out_only=True)
    report = _evaluate(trained, data, config, device, settings, nodes, processes)
    report["nodes"] = node_rows(report, classes, trained.content.get("taught"))
    computed = {"precision": settings.precision, "settings": settings.text}
    return report | {"checkpoint": str(trained.path), "step": trained.step, **computed}


def write_evaluation(report: Mapping[str, Any], out: Path, *, picture: str = "reliability.png") -> None:
    """Write an evaluation as JSON, and beside it the picture of its reliability and the table of its concepts.

    The table is ``nodes.md`` and ``nodes.csv``; where the picture has another name before its last part, so have they.

    Parameters
    ----------
    report : mapping
        As `evaluate_run` gives it.
    out : Path
        The JSON file.
    picture : str
        Name of the picture.
    """
    write_atomically(out, (json.dumps(without_nan(report), indent=1) + "\n").encode())
    if "calibration" in report:
        draw_reliability(report["calibration"], out.with_name(picture))
    if report.get("nodes"):
        stem = picture.replace("reliability.png", "nodes")
        for suffix, text in ((".md", node_markdown(report["nodes"])), (".csv", node_csv(report["nodes"]))):
            write_atomically(out.with_name(stem + suffix), text.encode())
    if "back_off" in report.get("classifier", {}):
        parts = {"classifier": "known classes", "left_out": "classes left out of training"}
        curves = {name: report[part]["back_off"] for part, name in parts.items() if part in report}
        draw_specificity(curves, out.with_name(picture.replace("reliability", "specificity")))


def _evaluate_rival(
    run: str | Path, config: EvaluateConfig, device: torch.device, processes: Processes
) -> dict[str, Any]:
    names = read_names(config.open.names) if config.open.names else None
    rival = load_rival(run, weights=config.weights, names=names, device=device)
    for name, value in (("map", config.map), ("cfg", config.open.cfg), ("tree", config.open.tree)):
        if value is not None:
            raise Mistake(f"`{name}` {value}: a detector of torchvision's takes none")
    if not (config.sets or rival.content):
        raise Mistake(f"{run}: name the images it is evaluated on, with `coco` or `voc`")
    data = load_data(held_out_data(config, rival), rival.detector.classes, size=rival.size, held_out_only=True)
    loader = _loader(data.val_detection, config.open.size or rival.size, config, processes)
    if loader is None:
        raise Mistake("there are no images to evaluate on; name some with `coco`, `voc`, `yolo`, `csv` or `tiles`")
    detections, targets, images = find_in_batches(rival.detector, loader, device=device, processes=processes)
    boxes = _box_source(data)
    report = score_detections(
        detections,
        targets,
        images,
        rival.detector.classes,
        boxed=set(data.evaluated) & set(rival.boxed),
        never_boxed=set(data.evaluated) - set(rival.boxed),
        baseline=True,
        coco=boxes.truth() if isinstance(boxes, CocoSource) else None,
        voc=boxes.truth() if isinstance(boxes, VocSource) else None,
    )
    _name_as_the_data(report, boxes)
    return report | {"checkpoint": rival.path, "step": rival.step, "precision": "float32"}


def _box_source(data: Data) -> Source | None:
    """The held-out images with boxes, all of them."""
    return data.val_detection.source if isinstance(data.val_detection, Excerpt) else data.val_detection


def _name_as_the_data(report: dict[str, Any], boxes: Source | None) -> None:
    """Give each class the name that the data have for it, which joins it with the same class of another net."""
    for row in report["classes"]:
        if label := getattr(boxes, "class_names", {}).get(row["node"]):
            row["label"] = label


def _loader(
    source: Source | None,
    size: int,
    config: EvaluateConfig,
    processes: Processes,
    letterbox: Letterbox = letterbox,
) -> BatchLoader | None:
    if source is None:
        return None
    return make_evaluation_loader(
        source,
        size,
        batch_size=config.batch_size,
        rank=processes.rank,
        world_size=processes.world_size,
        workers=config.workers,
        letterbox=letterbox,
    )


def held_out_data(config: EvaluateConfig, trained: TrainedModel | Rival) -> DataConfig:
    """The configuration of the data that a net is evaluated on: the run's own, or those that are named.

    Parameters
    ----------
    config : EvaluateConfig
    trained : TrainedModel or Rival

    Returns
    -------
    DataConfig
        Its second split is the one evaluated. Where a split is asked for, it is that of the data set and not the
        annotation file that the training held out.

    Raises
    ------
    Mistake
        A split is asked for, and nothing but annotation files is named, which have none.
    """
    data = from_plain(DataConfig, trained.content.get("data", {}), str(trained.path))
    # which classes had boxes the checkpoint knows; the file that said so may be gone
    data = dataclasses.replace(data, boxed=None)
    if config.sets:
        # an annotation file has no splits: all of it is evaluated
        files = [path for layout, path in config.sets if layout == "coco" and Path(path).is_file()]
        val = files[0] if files else None
        data = dataclasses.replace(data, sets=config.sets, val=val, cluttered=False)
    if config.split is not None and data.val is not None and not Path(data.val).is_dir():
        layout, path = data.box_sets[0]
        if layout != "coco" or Path(path).is_dir():
            data = dataclasses.replace(data, val=None)
        elif data.label_set is None:  # with images that have a label it is theirs
            raise Mistake(
                f"`split` {config.split}: {data.val} is one annotation file, and all of it is evaluated; leave `split` "
                "out, or name a data set that has parts"
            )
    split = config.split or ("test" if data.is_embedded else data.splits[1])
    data = dataclasses.replace(data, boxed=None if config.map else config.boxed)
    return dataclasses.replace(data, splits=(data.splits[0], split), val_images=config.images)


def _evaluate(
    trained: TrainedModel,
    data: Data,
    config: EvaluateConfig,
    device: torch.device,
    settings: Settings,
    nodes: Mapping[str, int] | None,
    processes: Processes,
) -> dict[str, Any]:
    # what had boxes is a fact of the training, not of the data looked at now
    boxed = set(data.evaluated) & set(data.boxed if config.boxed and nodes is None else trained.boxed)
    never_boxed = set(data.evaluated) - boxed
    if nodes is not None:
        had_boxes = [name for name, node in nodes.items() if node in set(trained.boxed)]
        boxed = {nodes[name] for name in chosen_classes(config.boxed, list(nodes), had_boxes)}
        never_boxed = set(nodes.values()) - boxed
    size = trained.input_size(config.open.size)
    loss = detection_objective(trained.spec, ImageLabels(**trained.content["image_labels"]))
    report: dict[str, Any] = {"held_out_loss": {}}
    fitted = letterbox_of(trained, config.open.letterbox)
    found = {
        "detection": _loader(data.val_detection, size, config, processes, fitted),
        "classification": _loader(data.val_classification, size, config, processes, fitted),
    }
    loaders = {name: loader for name, loader in found.items() if loader is not None}
    if not loaders:
        raise Mistake(
            "there are no images to evaluate on; name some with `coco`, `voc`, `yolo`, `csv`, `tiles` or `imagenet`"
        )
    model = prepare_with(trained.detector, settings, device=device)  # which takes care of the precision
    held_out = {name: HeldOutLoss(loss, processes) for name in loaders}
    if not trained.detector.learns_image_labels:
        held_out.pop("classification", None)
    look = {name: each.look for name, each in held_out.items()}
    if "detection" in loaders:
        boxes = _box_source(data)
        report |= evaluate_detector(
            model,
            loaders["detection"],
            trained.classes,
            boxed=boxed,
            never_boxed=never_boxed,
            device=device,
            baseline=True,
            coco=boxes.truth() if isinstance(boxes, CocoSource) else None,
            voc=boxes.truth() if isinstance(boxes, VocSource) else None,
            diagnosis=True,
            look=look["detection"],
            processes=processes,
        )
        _name_as_the_data(report, boxes)
        if nodes is not None:
            scored = [report[name] for name in ("boxed", "never_boxed") if report[name]["classes"]]
            classes = sum(each["classes"] for each in scored)
            means = {
                key: sum(each[key] * each["classes"] for each in scored) / classes if classes else math.nan
                for key in ("ap50", "ap")
            }
            report["map"] = {"name": config.map, **means, "classes": classes}
    if "classification" in loaders:
        report["top1"] = classification_top1(
            model,
            loaders["classification"],
            trained.classes,
            data.image_labels,
            device=device,
            look=look.get("classification"),
            processes=processes,
        )
    report["held_out_loss"] |= {name: each.read() for name, each in held_out.items()}
    return report
