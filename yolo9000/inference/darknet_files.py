"""Darknet's cfg and weights files in place of a run, opened for use."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from wordtree import WordTree
from yolo9000.darknet.builtin_cfg import BUILTIN_NETS
from yolo9000.darknet.cfg import CfgError
from yolo9000.darknet.detector import DarknetDetector, DarknetGridDetector, detector_of, name_classes
from yolo9000.darknet.net import DarknetNet, from_cfg
from yolo9000.darknet.weights import load_darknet_weights
from yolo9000.datasets.darknet_images import letterbox_as_darknet, stretch_as_darknet
from yolo9000.datasets.sample import Record, Sample
from yolo9000.datasets.transforms import letterbox
from yolo9000.detection.config import RECIPES
from yolo9000.inference.model import TrainedModel, describe_model, load_model
from yolo9000.inference.same_classes import check_same_classes
from yolo9000.models.model import DetectionModel, GridDetector
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.runtime.checkpoint import CheckpointError
from yolo9000.runtime.mistakes import Mistake

SUFFIX = ".weights"
Letterbox = Callable[[Record, int], Sample]


def load_darknet(
    weights: str | Path,
    cfg: str | Path | None = None,
    *,
    tree: WordTree | None = None,
    names: Sequence[str] | None = None,
    device: torch.device | None = None,
) -> TrainedModel:
    """Open a detector that darknet trained.

    Parameters
    ----------
    weights : str or Path
        The ``.weights`` file.
    cfg : str or Path, optional
        The ``.cfg`` file, or the name of a built-in net; by default the built-in net of the name of the file.
    tree : WordTree, optional
        The classes of a net that has no tree; one that has a tree must have this one.
    names : sequence of str, optional
        The names of the classes of a net without a tree, in the order of the cfg; see
        `yolo9000.darknet.detector.name_classes`.
    device : torch.device, optional
        The CPU by default.

    Raises
    ------
    CheckpointError
        No cfg is given or known.
    CfgError, WeightsError, wordtree.TreeError
        A file cannot be used.
    wordtree.TreeMismatch
        `tree` is not the net's.
    """
    path = Path(weights)
    net = from_cfg(cfg if cfg is not None else _builtin(path))
    detector = named_detector(net, tree, names)
    if tree is not None:
        check_same_classes(TreeClasses(tree), detector.classes, net.cfg.file)
    header = load_darknet_weights(net, path)
    step = header.images_seen // net.options.batch
    content = {
        **describe_model(detector, size=detector.size, boxed=detector.boxed),
        "darknet": {"version": list(header.version), "images_seen": header.images_seen},
        "image_labels": dataclasses.asdict(RECIPES["darknet"]),
        "net": detector.description,
        "position": {"step": step},
        "average": None,
        "model": detector.state_dict(),
    }
    detector.to(device or torch.device("cpu")).eval()
    return TrainedModel(detector, detector.size, detector.boxed, (), step, content, path)


def is_darknet_file(run: str | Path, cfg: str | Path | None = None) -> bool:
    """Whether weights of darknet's are meant: by the suffix, or as a cfg goes with a file that is no checkpoint."""
    suffix = Path(run).suffix
    return suffix == SUFFIX or (cfg is not None and suffix != ".pt" and Path(run).is_file())


def open_model(
    run: str | Path,
    cfg: str | Path | None = None,
    *,
    tree: WordTree | None = None,
    names: Sequence[str] | None = None,
    best: bool = False,
    averaged: bool = True,
    device: torch.device | None = None,
) -> TrainedModel:
    """Open a run, a checkpoint (`load_model`) or darknet's weights (`load_darknet`); with the errors of both."""
    if is_darknet_file(run, cfg):
        return load_darknet(run, cfg, tree=tree, names=names, device=device)
    trained = load_model(run, best=best, averaged=averaged, device=device)
    if tree is not None:
        check_same_classes(TreeClasses(tree), trained.classes, str(trained.path))
    if names is not None:
        name_detector(trained.detector, names, str(trained.path))
    return trained


def open_detector(
    run: str | Path,
    cfg: str | Path | None = None,
    *,
    tree: WordTree | None = None,
    names: Sequence[str] | None = None,
    best: bool = False,
    averaged: bool = True,
    device: torch.device | None = None,
) -> TrainedModel:
    """`open_model`, of which the net must be a detector."""
    trained = open_model(run, cfg, tree=tree, names=names, best=best, averaged=averaged, device=device)
    return dataclasses.replace(trained, model=trained.detector)


def named_detector(
    net: DarknetNet, tree: WordTree | None, names: Sequence[str] | None
) -> DarknetDetector | DarknetGridDetector:
    """The detector of a cfg, with its classes as `name_classes` names them.

    Raises
    ------
    CfgError
        `tree` or `names` do not fit the classes, or the net is no detector.
    """
    spec = net.region or net.detection
    if spec is None or (tree is None and names is None):
        return detector_of(net)
    try:
        named = name_classes(spec.classes, tree=tree, names=names, flat=net.detection is not None)
        return detector_of(net, named)
    except CfgError:
        raise
    except Mistake as error:
        raise CfgError(f"{net.cfg.file}: {error}") from error


def name_detector(detector: DetectionModel, names: Sequence[str], where: str) -> None:
    """Give the classes of a detector without a tree the names that a person gives; see `name_classes`.

    Raises
    ------
    CheckpointError
        They do not fit its classes.
    """
    try:
        named = name_classes(detector.classes, names=names, flat=isinstance(detector, GridDetector))
    except Mistake as error:
        raise CheckpointError(f"{where}: {error}") from error
    detector.set_classes(named)


def letterbox_of(trained: TrainedModel, name: str | None = None) -> Letterbox:
    """How images are fitted into the input: "area" or "darknet", by default as the net was trained.

    Darknet letterboxes images for a region, and stretches them for a net of YOLOv1's.
    """
    if name is None:
        name = "darknet" if trained.content.get("darknet") else "area"
    if name == "area":
        return letterbox
    return stretch_as_darknet if isinstance(trained.model, GridDetector) else letterbox_as_darknet


def _builtin(weights: Path) -> str:
    if weights.stem not in BUILTIN_NETS:
        raise CheckpointError(
            f"{weights}: which net is it of? Name its `cfg`: a file, or one of {', '.join(BUILTIN_NETS)}"
        )
    return weights.stem
