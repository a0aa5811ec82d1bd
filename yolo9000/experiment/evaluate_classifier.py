"""The evaluation of a run that is a classifier, on its own data or others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from wordtree import TreeMismatch, WordTree, load_tree
from yolo9000.datasets.loader import make_evaluation_loader
from yolo9000.datasets.sample import Source
from yolo9000.evaluation.classifier import Answers, classify_images, score_answers
from yolo9000.experiment.config import DataConfig
from yolo9000.experiment.data import load_data
from yolo9000.experiment.evaluate_config import EvaluateConfig
from yolo9000.inference.darknet_files import is_darknet_file
from yolo9000.inference.model import TrainedModel, load_model
from yolo9000.inference.same_classes import check_same_classes
from yolo9000.models.classes import Classes
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.runtime.checkpoint import load_checkpoint
from yolo9000.runtime.config import Precision
from yolo9000.runtime.distributed import Processes
from yolo9000.runtime.mistakes import Mistake


def is_classifier(checkpoint: Path, cfg: str | None = None) -> bool:
    """Whether a file is the checkpoint of a classifier; with the errors of `load_checkpoint`."""
    if is_darknet_file(checkpoint, cfg):
        return False
    return (load_checkpoint(checkpoint).get("net") or {}).get("net") == "classifier"


def open_classifier(checkpoint: Path, config: EvaluateConfig, device: torch.device) -> TrainedModel:
    """Open the checkpoint of a classifier.

    Raises
    ------
    Mistake
        An option is for detectors, or the size is no multiple of 32.
    """
    for name, value in (("map", config.map), ("boxed", config.boxed), ("names", config.open.names)):
        if value is not None:
            raise Mistake(f"`{name}` {value}: it is for detectors, and {checkpoint} is a classifier")
    if config.open.size is not None and config.open.size % 32:
        raise Mistake(f"`size` {config.open.size}: a multiple of 32 is needed")
    return load_model(checkpoint, averaged=not config.raw_weights, device=device)


def evaluate_classifier(
    trained: TrainedModel,
    data_config: DataConfig,
    config: EvaluateConfig,
    *,
    device: torch.device,
    precision: Precision,
    processes: Processes = Processes(),
) -> dict[str, Any]:
    """Evaluate a classifier on images with a label that it has not seen.

    Parameters
    ----------
    trained : TrainedModel
    data_config : DataConfig
        The images; its second split is the one evaluated.
    config : EvaluateConfig
        With a tree named, flat classes are looked at in it: a node is as probable as the classes at and below it
        together.
    device : torch.device
    precision : Precision
    processes : Processes
        They share the images, and each gets the figures of all.

    Returns
    -------
    dict
        ``"classifier"``, see `yolo9000.evaluation.classifier.score_answers`; ``"left_out"``, the same for the classes
        that were left out of training, with the nearest ancestor as the label, and without top-1 and top-5; ``"top1"``.

    Raises
    ------
    Mistake, DatasetError, wordtree.TreeError
        Weights, tree and data do not fit together.
    """
    classes, tree = _looked_at_in(trained, config.open.tree)
    data = load_data(data_config, classes, size=trained.size, held_out_only=True)

    def answers(source: Source) -> Answers:
        size = config.open.size or trained.size
        batches = make_evaluation_loader(
            source,
            size,
            batch_size=config.batch_size,
            rank=processes.rank,
            world_size=processes.world_size,
            workers=config.workers,
        )
        return classify_images(
            trained.model,
            batches,
            trained.classes,
            data.image_labels,
            device=device,
            precision=precision,
            tree=tree,
            processes=processes,
        )

    if data.val_classification is None or not len(data.val_classification):
        raise Mistake(
            "there are no images to evaluate on; name some with `imagenet`, `imagenet_pack`, `label_tars` or `tiles`"
        )
    hierarchy = tree or trained.classes.tree
    report: dict[str, Any] = {"classifier": score_answers(answers(data.val_classification), hierarchy)}
    if data.val_left_out is not None and len(data.val_left_out):
        of_unknown = score_answers(answers(data.val_left_out), hierarchy)
        report["left_out"] = {key: value for key, value in of_unknown.items() if not key.startswith("top")}
    return report | {"top1": report["classifier"]["top1"]}


def _looked_at_in(trained: TrainedModel, file: str | None) -> tuple[Classes, WordTree | None]:
    """The classes that labels are matched to, and the tree that flat classes are looked at in."""
    own = trained.classes.tree
    if file is None:
        return trained.classes, None
    tree = load_tree(file)
    if own is not None and len(own.group_sizes) > 1:
        check_same_classes(TreeClasses(tree), trained.classes, str(trained.path))
        return trained.classes, None
    if absent := sorted(set(trained.classes.ids) - set(tree.wnids)):
        raise TreeMismatch(
            f"{file}: it has no node for {len(absent)} classes of {trained.path}: {', '.join(absent[:5])}"
        )
    return TreeClasses(tree), tree
