"""Only my classes: a detector whose labels are some classes and what lies below them, with a head as small as that.

A priors of a cell, K nodes, D channels of the features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from yolo9000.darknet.cfg import parse_cfg
from yolo9000.darknet.detector import DarknetDetector
from yolo9000.darknet.net import DarknetNet
from yolo9000.inference.model import TrainedModel, describe_model
from yolo9000.models.class_names import find_classes
from yolo9000.models.flat_classes import FlatClasses
from yolo9000.models.model import DetectionModel
from yolo9000.models.region import copy_of_net
from yolo9000.models.tree_classes import TreeClasses
from yolo9000.models.tree_head import TreeHead
from yolo9000.models.yolov2 import Detector
from yolo9000.runtime.mistakes import Mistake


def restrict(trained: TrainedModel, names: str | int | Iterable[str | int]) -> TrainedModel:
    """A detector that finds some classes only.

    A box is labelled with the most probable of the classes, or with a node below it that is more probable than the
    tree's threshold. Its probability is what it was before: the head keeps whole sibling groups, those on the paths to
    the classes and those below them, so that each softmax runs over the same alternatives. All other class rows of the
    head are dropped; of a net without a tree, and of an exported one, none are.

    Parameters
    ----------
    trained : TrainedModel
        It stays as it is.
    names : str, int, or iterable of them
        The classes, as `yolo9000.models.class_names.find_class` takes them.

    Returns
    -------
    TrainedModel
        Its tree holds the sibling groups that are left.

    Raises
    ------
    wordtree.NameResolutionError
        A name is unknown or ambiguous; the message lists candidates.
    Mistake
        No class is named, or the net is an exported one that decodes inside.
    """
    kept = find_classes(trained.classes, names)
    if not kept:
        raise Mistake("`restrict`: no class is named; name those that you want, such as restrict(['dog', 'cat'])")
    detector = trained.detector
    if detector.decodes_inside:
        raise Mistake(
            f"`restrict`: {trained.path} makes detections of all classes inside of the file; restrict the net that it "
            "was exported from, or export raw numbers or features"
        )
    old_to_new: tuple[int, ...] = tuple(range(trained.classes.number))
    smaller: DetectionModel | None = None
    if isinstance(trained.classes, TreeClasses):
        tree = trained.classes.tree
        part = tree.closure(np.flatnonzero(tree.at_or_below(kept)).tolist())
        classes = TreeClasses(part.tree, kept=tuple(part.old_to_new[node] for node in kept))
        smaller = _with_rows(detector, classes, part.new_to_old)
        old_to_new = part.old_to_new if smaller is not None else old_to_new
    if smaller is None:
        smaller = copy_of_net(detector)
        _keep(smaller, kept)
    boxed, never_boxed = (
        tuple(old_to_new[node] for node in nodes if old_to_new[node] >= 0)
        for nodes in (trained.boxed, trained.never_boxed)
    )
    taught: Mapping[str, Mapping[int, int]] = trained.content.get("taught") or {}
    content = {
        **trained.content,
        **describe_model(smaller, size=trained.size, boxed=boxed, never_boxed=never_boxed),
        "taught": {
            kind: {old_to_new[node]: count for node, count in counts.items() if old_to_new[node] >= 0}
            for kind, counts in taught.items()
        },
        "net": smaller.description,
        "average": None,
        "model": smaller.state_dict(),
    }
    return dataclasses.replace(trained, model=smaller.eval(), boxed=boxed, never_boxed=never_boxed, content=content)


def _with_rows(detector: DetectionModel, classes: TreeClasses, rows: tuple[int, ...]) -> DetectionModel | None:
    """The same net with some class rows of its head; None for a net whose head is in a file of its own."""
    match detector:
        case Detector():
            config = dataclasses.replace(detector.config, pretrained=False)
            with torch.random.fork_rng(devices=[]):
                smaller: DetectionModel = Detector(config, dataclasses.replace(detector.region, classes=classes))
        case DarknetDetector():
            with torch.random.fork_rng(devices=[]):
                net = DarknetNet(parse_cfg(detector.cfg_text, detector.net.cfg.file), classes.tree)
            smaller = DarknetDetector(net, classes)
            smaller.region = dataclasses.replace(detector.region, classes=classes)
        case _:
            return None
    heads = [name for name, module in detector.named_modules() if isinstance(module, TreeHead)]
    if len(heads) != 1:
        return None
    head = detector.get_submodule(heads[0])
    assert isinstance(head, TreeHead)
    state = detector.state_dict()
    kept = torch.tensor(rows, device=head.class_weight.device)
    for name in ("class_weight", "class_bias"):
        state[f"{heads[0]}.{name}"] = _rows_of(getattr(head, name).detach(), kept, head.num_classes)
    smaller.load_state_dict(state)
    return smaller.to(head.class_weight.device)


def _rows_of(table: Tensor, kept: Tensor, classes: int) -> Tensor:
    """Some classes of every prior: (A*K, ...) -> (A*K', ...)."""
    by_prior: Tensor = table.unflatten(0, (-1, classes))
    return by_prior.index_select(1, kept).flatten(0, 1)


def _keep(detector: DetectionModel, kept: tuple[int, ...]) -> None:
    """Let the labels of a net be some classes alone; its numbers stay as they are."""
    classes = detector.classes
    assert isinstance(classes, TreeClasses | FlatClasses)
    detector.set_classes(dataclasses.replace(classes, kept=kept))
