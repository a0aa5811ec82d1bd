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

from wordtree import TreeMismatch, WordTree, load_tree
from wordtree.formats import from_json, to_json
from yolo9000.engine.transfer import transfer_detector
from yolo9000.models.darknet_detector import AnyDetector, DarknetDetector
from yolo9000.models.region import RegionSpec
from yolo9000.models.yolov2 import Classifier, Detector, DetectorConfig
from yolo9000.runtime.checkpoint import CheckpointError, load_checkpoint
from yolo9000.runtime.run_folder import RunFolder


@dataclass(frozen=True)
class TrainedModel:
    """A detector out of a checkpoint.

    Parameters
    ----------
    detector : Detector or DarknetDetector
        In evaluation mode; ``detector.region.tree`` is its tree.
    size : int
        Side of the network's input that it was trained for.
    boxed, never_boxed : tuple of int
        Labels that had boxes in training, and those that only images were labelled with.
    step : int
        Steps of training.
    content : mapping
        The whole checkpoint.
    path : Path
        Its file.
    """

    detector: AnyDetector
    size: int
    boxed: tuple[int, ...]
    never_boxed: tuple[int, ...]
    step: int
    content: Mapping[str, Any]
    path: Path

    @property
    def region(self) -> RegionSpec:
        """Priors, classes and tree."""
        return self.detector.region


def describe_model(
    detector: AnyDetector,
    *,
    size: int,
    boxed: tuple[int, ...] = (),
    never_boxed: tuple[int, ...] = (),
) -> dict[str, Any]:
    """The plain values that a checkpoint carries besides weights; `load_detector` reads them."""
    region = detector.region
    constants = {field.name: getattr(region, field.name) for field in dataclasses.fields(region)}
    tree = constants.pop("tree")
    return {
        "detector": dataclasses.asdict(detector.config) if isinstance(detector, Detector) else {},
        "cfg": detector.cfg_text if isinstance(detector, DarknetDetector) else None,
        "region": constants,
        "tree": None if tree is None else to_json(tree),  # as one text: a list of 82,000 names takes a second to load
        "size": size,
        "boxed": list(boxed),
        "never_boxed": list(never_boxed),
    }


def check_same_tree(given: WordTree | None, expected: WordTree | None, where: str) -> None:
    """Refuse weights whose class rows are not the nodes of the tree in use.

    Parameters
    ----------
    given, expected : WordTree or None
        The tree in use, and the one that the weights were trained with.
    where : str
        The file of the weights, for the message.

    Raises
    ------
    wordtree.TreeMismatch
        They differ; the message says whether in size, ids, parents or rest, and where first.
    """
    if given is None and expected is None:
        return
    if given is None or expected is None:
        have, lack = ("has a tree", "no tree is used") if given is None else ("has no tree", "a tree is used")
        raise TreeMismatch(f"{where} {have}, but {lack} here")
    if given.digest == expected.digest:
        return
    advice = "give the tree.json beside the checkpoint, or train again with this tree"
    if len(given) != len(expected):
        raise TreeMismatch(
            f"{where} was trained on a tree of {len(expected)} nodes, this one has {len(given)}; {advice}"
        )
    for node in range(len(given)):
        for what, ours, theirs in (
            ("id", given.wnids[node], expected.wnids[node]),
            ("parent", given.parents[node], expected.parents[node]),
        ):
            if ours != theirs:
                raise TreeMismatch(
                    f"{where} was trained on another tree of {len(expected)} nodes: node {node} has the {what} "
                    f"{theirs} there and {ours} here; {advice}"
                )
    raise TreeMismatch(f"{where} was trained with rest={expected.rest!r}, this tree has {given.rest!r}; {advice}")


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


def load_detector(
    run: str | Path, *, best: bool = False, averaged: bool = True, device: torch.device | None = None
) -> TrainedModel:
    """Rebuild the detector of a run.

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
        The checkpoint cannot be used, or is from the classification phase, when there is no detector yet.
    wordtree.TreeMismatch
        ``tree.json`` beside it was exchanged for another tree.
    """
    path = checkpoint_of(run, best=best)
    content = load_checkpoint(path)
    missing = [key for key in ("detector", "region", "model") if key not in content]
    if missing:
        raise CheckpointError(f"{path}: it describes no detector (no {', '.join(missing)})")
    if content["trained"] not in (Detector.__name__, DarknetDetector.__name__):
        raise CheckpointError(
            f"{path}: the run has a classifier and no detector yet (step {content['position']['step']}); "
            "go on with `resume`, or start a detector from it with `initial`"
        )
    region = region_of(content)
    tree_file = RunFolder(path.parent).tree
    if tree_file.is_file() and region.tree is not None:
        check_same_tree(load_tree(tree_file), region.tree, str(path))
    detector: AnyDetector
    if content.get("cfg"):
        detector = DarknetDetector.from_text(content["cfg"], region, str(path))
    else:
        detector = Detector(DetectorConfig(**content["detector"]), region)
    state = content["average"]["model"] if averaged and content["average"] is not None else content["model"]
    load_weights(detector, state, path)
    return TrainedModel(
        detector=detector.to(device or torch.device("cpu")).eval(),
        size=int(content["size"]),
        boxed=tuple(content["boxed"]),
        never_boxed=tuple(content["never_boxed"]),
        step=int(content["position"]["step"]),
        content=content,
        path=path,
    )


def read_classifier(run: str | Path) -> tuple[Path, Mapping[str, Any]] | None:
    """The checkpoint of a run that has a classifier and no detector yet, and its content; None of any other run."""
    path = checkpoint_of(run)
    content = load_checkpoint(path)
    return (path, content) if content.get("trained") == Classifier.__name__ else None


def start_from_classifier(detector: AnyDetector, path: Path, content: Mapping[str, Any]) -> list[str]:
    """Start a detector from a classifier's checkpoint, as `read_classifier` gives it.

    Returns
    -------
    list of str
        What was taken.

    Raises
    ------
    CheckpointError
        The weights do not fit, or the net has another form.
    wordtree.TreeMismatch
        The classifier was trained on another tree.
    """
    if not isinstance(detector, Detector):
        raise CheckpointError(f"{path}: a classifier of ours cannot start a net of `cfg`; leave it out")
    region = region_of(content)
    check_same_tree(detector.region.tree, region.tree, str(path))
    classifier = Classifier(DetectorConfig(**content["detector"]), region.num_classes)
    load_weights(classifier, content["model"] if content["average"] is None else content["average"]["model"], path)
    try:
        detector.initialise_from(classifier)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}; give `width` and `stride` as it was trained with") from error
    return [f"backbone and class rows of the classifier {path}, after {content['position']['step']} steps"]


def region_of(content: Mapping[str, Any]) -> RegionSpec:
    """The region of a checkpoint's content."""
    constants = dict(content["region"])
    constants["priors"] = tuple(tuple(prior) for prior in constants["priors"])
    constants["map"] = None if constants["map"] is None else tuple(constants["map"])
    return RegionSpec(tree=_tree_of(content["tree"]), **constants)


def _tree_of(stored: str | Mapping[str, Any] | None) -> WordTree | None:
    if isinstance(stored, Mapping):  # older checkpoints hold its columns
        return WordTree(**stored)
    return None if stored is None else from_json(stored, "the checkpoint")


def initialise_detector(detector: AnyDetector, start: TrainedModel) -> list[str]:
    """Start a detector from the weights of another; net and priors must be the same.

    Returns
    -------
    list of str
        What was carried over if the trees differ, see `yolo9000.engine.transfer`; nothing if they are the same.

    Raises
    ------
    CheckpointError
        The other net has another form or other priors.
    wordtree.TreeMismatch
        Only one of them has a tree, or the trees have no node in common.
    """
    ours, theirs = (getattr(each, "config", None) for each in (detector, start.detector))
    if ours != theirs and ours is not None and theirs is not None:
        raise CheckpointError(f"{start.path}: a net of the form {theirs}, this run has {ours}")
    if start.detector.stride != detector.stride:
        raise CheckpointError(f"{start.path}: cells of {start.detector.stride} pixels, this net has {detector.stride}")
    if start.region.priors != detector.region.priors:
        raise CheckpointError(f"{start.path}: its priors are {start.region.priors}, not {detector.region.priors}")
    return transfer_detector(detector, start.detector, str(start.path))


def load_weights(model: torch.nn.Module, state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Load weights; a mismatch names the file.

    Raises
    ------
    CheckpointError
        Names or shapes do not fit.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        lines = " ".join(line.strip() for line in str(error).splitlines()[1:4])
        raise CheckpointError(f"{path}: its weights are of another net: {lines}") from error
