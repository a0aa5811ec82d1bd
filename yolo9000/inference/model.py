"""What a checkpoint says about its model, so that evaluation and prediction need nothing but the run.

A snapshot is plain values: the net's form, what the head's numbers mean, the tree as JSON, and which labels had boxes
in training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from wordtree import TreeMismatch, load_tree
from yolo9000.inference.nets import build_model
from yolo9000.inference.same_classes import check_same_classes, check_tree_beside
from yolo9000.inference.transfer import transfer_detector
from yolo9000.models.classes import Classes
from yolo9000.models.config import DetectorConfig
from yolo9000.models.grid import GridSpec
from yolo9000.models.model import DetectionModel, Model
from yolo9000.models.region import RegionSpec
from yolo9000.models.yolov2 import BackboneDetector, Classifier, backbone_form
from yolo9000.runtime.checkpoint import CheckpointError, load_checkpoint, load_weights
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.run_folder import RunFolder


@dataclass(frozen=True)
class TrainedModel:
    """A net out of a checkpoint.

    Parameters
    ----------
    model : Model
        A detector, or the classifier of a run that has no detector yet. In evaluation mode.
    size : int
        Side of the network's input that the detector is trained for.
    boxed, never_boxed : tuple of int
        Labels that had boxes in training, and those that only images were labelled with.
    step : int
        Steps of training.
    content : mapping
        The whole checkpoint.
    path : Path
        Its file.
    """

    model: Model
    size: int
    boxed: tuple[int, ...]
    never_boxed: tuple[int, ...]
    step: int
    content: Mapping[str, Any]
    path: Path

    @property
    def detector(self) -> DetectionModel:
        """The net, which must be a detector.

        Raises
        ------
        CheckpointError
            It is a classifier.
        """
        if not isinstance(self.model, DetectionModel):
            raise CheckpointError(
                f"{self.path}: the run has a classifier and no detector yet (step {self.step}); "
                "go on with `resume`, or start a detector from it with `init`"
            )
        return self.model

    @property
    def spec(self) -> RegionSpec | GridSpec:
        """What the numbers of the detector's output mean, and the constants of its loss."""
        return self.detector.spec

    @property
    def classes(self) -> Classes:
        """What the class channels mean."""
        return self.model.classes

    def input_size(self, wanted: int | None = None, *, field: str = "size") -> int:
        """The side of the network's input that is wanted, or that of the training; an error calls it `field`.

        Raises
        ------
        Mistake
            The net takes images of one other size, or the side is no multiple of its cells.
        """
        only = self.detector.only_size
        if wanted is not None and only not in (None, wanted):
            why = "its file was written for them" if self.detector.has_engine else "its last layers are fully connected"
            raise Mistake(f"`{field}` {wanted}: {self.path} takes images of {only} pixels alone, as {why}")
        side = self.size if wanted is None else wanted
        if side < 1 or side % self.detector.stride:
            raise Mistake(f"`{field}` {side}: {self.path} has cells of {self.detector.stride} pixels; take a multiple")
        return side


def describe_model(
    detector: Model,
    *,
    size: int,
    boxed: tuple[int, ...] = (),
    never_boxed: tuple[int, ...] = (),
) -> dict[str, Any]:
    """The plain values that all checkpoints of a run carry besides weights and the net that these are of."""
    return {
        "detector": detector.description,
        "size": size,
        "boxed": list(boxed),
        "never_boxed": list(never_boxed),
    }


def checkpoint_of(run: str | Path, *, best: bool = False) -> Path:
    """The checkpoint that a command means: a file itself, or ``last.pt`` (``best.pt``) of a run's folder.

    Raises
    ------
    CheckpointError
        There is none; the message lists what is there.
    """
    path = Path(run)
    if path.is_file():
        return path
    file = RunFolder(path).best if best else RunFolder(path).last
    if file.is_file():
        return file
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such run or checkpoint")
    found = sorted(item.name for item in path.iterdir())
    nested = sorted(str(item.parent) for item in path.glob(f"*/{file.name}"))
    hint = f"; did you mean {', '.join(nested[:5])}?" if nested else ""
    raise CheckpointError(f"{path}: looked for {file.name}, found {', '.join(found[:10]) or 'an empty folder'}{hint}")


def load_model(
    run: str | Path, *, best: bool = False, averaged: bool = True, device: torch.device | None = None
) -> TrainedModel:
    """Rebuild the net of a checkpoint: a detector, or a classifier if the run has no detector yet.

    Parameters
    ----------
    run : str or Path
        The folder of a run, or a checkpoint.
    best : bool
        ``best.pt`` instead of ``last.pt``.
    averaged : bool
        The averaged weights, if the run kept them.
    device : torch.device, optional
        The CPU by default.

    Raises
    ------
    CheckpointError
        The checkpoint cannot be used.
    wordtree.TreeMismatch
        ``tree.json`` beside it was exchanged for another tree.
    """
    path = checkpoint_of(run, best=best)
    content = load_checkpoint(path)
    missing = [key for key in ("net", "detector", "model") if content.get(key) is None]
    if missing:
        raise CheckpointError(f"{path}: it describes no net (no {', '.join(missing)})")
    model = build_model(content["net"], str(path))
    tree_file = RunFolder(path.parent).tree
    if tree_file.is_file() and model.classes.tree is not None:
        check_tree_beside(load_tree(tree_file), model.classes, str(path))
    state = content["average"]["model"] if averaged and content["average"] is not None else content["model"]
    load_weights(model, state, path)
    return TrainedModel(
        model=model.to(device or torch.device("cpu")).eval(),
        size=int(content["size"]),
        boxed=tuple(content["boxed"]),
        never_boxed=tuple(content["never_boxed"]),
        step=int(content["position"]["step"]),
        content=content,
        path=path,
    )


def load_detector(
    run: str | Path, *, best: bool = False, averaged: bool = True, device: torch.device | None = None
) -> TrainedModel:
    """`load_model` of a run that has a detector.

    Raises
    ------
    CheckpointError
        The checkpoint cannot be used, or is from the classification phase, when there is no detector yet.
    wordtree.TreeMismatch
        ``tree.json`` beside it was exchanged for another tree.
    """
    trained = load_model(run, best=best, averaged=averaged, device=device)
    return dataclasses.replace(trained, model=trained.detector)


def start_from_classifier(detector: DetectionModel, start: TrainedModel) -> list[str]:
    """Start a detector from a classifier, whose classes may be others: then its last layer is replaced.

    Returns
    -------
    list of str
        What was taken, and what starts anew.

    Raises
    ------
    CheckpointError
        The backbone has another form.
    """
    others = ""
    try:
        check_same_classes(detector.classes, start.classes, str(start.path))
    except TreeMismatch as error:
        others = f" (its classes are others: {error})"
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    try:
        detector.initialise_from(start.model, same_classes=not others)
    except ValueError as error:
        raise CheckpointError(f"{start.path}: {error}; give `backbone`, `width`, `stride` and `batch_norm` as it was "
                              "trained with") from error  # fmt: skip
    anew = [name for name, value in detector.state_dict().items() if torch.equal(value, before[name])]
    parts = dict.fromkeys(name.split(".")[0] for name in anew if not name.startswith("backbone."))
    has_rows = any(name.startswith("head.") for name in set(before) - set(anew))
    words = {"extra": "extra convolutions", "merge": "merging convolution", "head": "box rows" if has_rows else "head"}
    taken = "backbone and class rows" if has_rows else "backbone"
    return [
        f"{taken} of the classifier {start.path}, after {start.step} steps{others}; "
        f"what starts anew: {', '.join(words.get(part, part) for part in parts)}"
    ]


def initialise_classifier(classifier: Model, start: TrainedModel) -> list[str]:
    """Start a classifier from another one, or from the backbone of a detector.

    Class rows are carried over by the ids of the nodes, see `yolo9000.inference.transfer`; the backbone alone is taken
    from a classifier of other classes altogether.

    Returns
    -------
    list of str
        What was taken.

    Raises
    ------
    CheckpointError
        The backbone has another form, or the start has none of ours.
    """
    take_backbone(classifier, start.model, start.path)
    after = f"{start.path}, after {start.step} steps"
    if start.model.objective == "detection":
        return [f"backbone of the detector {after}; the last layer starts anew"]
    old, new = start.classes.tree, classifier.classes.tree
    known = old is not None and new is not None and bool(set(old.wnids) & set(new.wnids))
    if known or (old is None and new is None and start.classes.number == classifier.classes.number):
        notes = transfer_detector(classifier, start.model, str(start.path))
        return [f"all layers of the classifier {after}", *notes]
    return [f"backbone of the classifier {after}, whose classes are others; the last layer starts anew"]


def take_backbone(net: Model, other: Model, where: str | Path) -> None:
    """Give a net the backbone of another.

    Raises
    ------
    CheckpointError
        One has no backbone of ours, or they have another form; the message begins with `where`.
    """
    if not isinstance(net, BackboneDetector | Classifier) or not isinstance(other, BackboneDetector | Classifier):
        raise CheckpointError(
            f"{where}: a {type(other).__name__} has no backbone that a {type(net).__name__} could take"
        )
    if backbone_form(net.config) != backbone_form(other.config):
        raise CheckpointError(
            f"{where}: its backbone was built as {other.config}, this one as {net.config}; give `backbone`, `width` "
            "and `stride` as it was trained with"
        )
    net.backbone.load_state_dict(other.backbone.state_dict())


def initialise_detector(detector: DetectionModel, start: TrainedModel) -> list[str]:
    """Start a detector from the weights of another; net and priors (or boxes of a cell) must be the same.

    Returns
    -------
    list of str
        What was carried over if the trees differ, see `yolo9000.inference.transfer`; nothing if they are the same.

    Raises
    ------
    CheckpointError
        The other net has another form or other priors.
    wordtree.TreeMismatch
        Only one of them has a tree, or the trees have no node in common.
    """
    ours, theirs = (_of_same_weights(getattr(each, "config", None)) for each in (detector, start.detector))
    if ours != theirs and ours is not None and theirs is not None:
        raise CheckpointError(f"{start.path}: a net of the form {theirs}, this run has {ours}")
    if start.detector.stride != detector.stride:
        raise CheckpointError(f"{start.path}: cells of {start.detector.stride} pixels, this net has {detector.stride}")
    match detector.spec, start.spec:
        case RegionSpec(coding=ours_coding), RegionSpec(coding=theirs_coding):
            if ours_coding != theirs_coding:
                raise CheckpointError(f"{start.path}: its boxes are {theirs_coding}, not {ours_coding}")
        case GridSpec(), GridSpec():
            if detector.spec.num != start.spec.num or detector.only_size != start.detector.only_size:
                raise CheckpointError(f"{start.path}: another grid of boxes, or for images of another size")
        case _:
            raise CheckpointError(f"{start.path}: a region's numbers cannot become those of a grid, nor the reverse")
    return transfer_detector(detector, start.detector, str(start.path))


def _of_same_weights(config: DetectorConfig | None) -> DetectorConfig | None:
    """Without what changes no weight's place: what they began with, and which of them learn."""
    return None if config is None else dataclasses.replace(config, pretrained=False, frozen_stages=0)
