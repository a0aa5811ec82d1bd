"""A trained detector written as files that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wordtree import save_tree
from yolo9000.darknet.detector import CfgDetector
from yolo9000.darknet.export import cfg_of_detector
from yolo9000.darknet.weights import DarknetHeader, save_darknet_weights
from yolo9000.inference.model import TrainedModel
from yolo9000.models.model import DetectionModel
from yolo9000.models.yolov1 import Yolov1
from yolo9000.models.yolov2 import Detector
from yolo9000.runtime.checkpoint import CheckpointError


def save_as_darknet(trained: TrainedModel, path: Path) -> list[str]:
    """Write a detector as darknet's files: weights, and beside them the cfg, and the tree with its names.

    Returns
    -------
    list of str
        What darknet will do otherwise, if anything.

    Raises
    ------
    CheckpointError
        The net is a restricted one, or darknet has no such layers.
    FileExistsError
        One of the files is there already.
    OSError
        A file cannot be written.
    """
    detector, tree = trained.detector, trained.classes.tree
    grouped = tree is not None and len(tree.group_sizes) > 1
    if trained.classes.kept is not None:
        raise CheckpointError(f"{trained.path}: a restricted net, whose choice of classes darknet's files cannot hold; "
                              "take the net before it was restricted")  # fmt: skip
    suffixes = (".cfg", ".tree", ".names") if grouped else (".cfg",)
    files = [path, *(path.with_suffix(suffix) for suffix in suffixes)]
    for file in files:
        if file.exists():
            raise FileExistsError(f"{file}: is there already")
    notes = []
    if tree is not None and tree.group_has_rest.any():
        notes.append(
            f"{int(tree.group_has_rest.sum())} sibling groups have a rest alternative (rest={tree.rest!r}), which "
            "darknet does not know: it will take their members for more probable"
        )
    text = _cfg_text(detector, trained.size)
    if grouped:
        text = text.replace("[region]\n", f"[region]\ntree={path.with_suffix('.tree').name}\n")
    path.with_suffix(".cfg").write_text(text, encoding="utf-8")
    if grouped and tree is not None:
        save_tree(tree, path.with_suffix(".tree"))
    before: dict[str, Any] = trained.content.get("darknet") or {}
    major, minor, revision = before.get("version", (0, 2, 0))
    seen = before.get("images_seen", trained.step * int(trained.content.get("batch_size", 1)))
    header = DarknetHeader(major, minor, revision, images_seen=seen)
    save_darknet_weights(detector, path, header=header)
    return notes


def _cfg_text(detector: DetectionModel, size: int) -> str:
    match detector:
        case Detector() | Yolov1():
            return cfg_of_detector(detector, size)
        case CfgDetector():
            return detector.cfg_text
    raise CheckpointError(f"a {type(detector).__name__} cannot be written as a cfg")
