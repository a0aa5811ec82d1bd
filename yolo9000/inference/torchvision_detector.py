"""Torchvision's detectors, for comparison: Faster R-CNN, SSD300, RetinaNet and their kin, with our classes and boxes.

B images, S side of the input in pixels, M boxes of an image, L labels of torchvision's, 0 of which is the background.

They are no `Model`: they find boxes, drop doubles and compute losses themselves. Their boxes enter average precision
as they are.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

from yolo9000.datasets.sample import Target
from yolo9000.detection.results import Detections
from yolo9000.inference.nets import classes_of
from yolo9000.models.classes import Classes
from yolo9000.models.flat_classes import FlatClasses
from yolo9000.runtime.checkpoint import CheckpointError, load_checkpoint, load_weights, save_checkpoint
from yolo9000.runtime.mistakes import Mistake

PREFIX = "torchvision:"
FILE_NAME = "rival.pt"
"""What `save_rival` writes in a folder."""
NO_CLASS = ("__background__", "N/A")
"""Torchvision's names of labels that are no class."""
EPSILON_0 = ("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn")
"""Nets whose published weights are for batch norms without an epsilon."""


def detector_names() -> list[str]:
    """The detectors of torchvision that find boxes and nothing else.

    Examples
    --------
    >>> [name for name in detector_names() if name.startswith("ssd")]
    ['ssd300_vgg16', 'ssdlite320_mobilenet_v3_large']
    """
    import torchvision  # here, for it takes seconds, and every evaluation asks whether a net is one of its

    names = torchvision.models.list_models(module=torchvision.models.detection)
    return [name for name in names if not name.startswith(("mask", "keypoint"))]


class TorchvisionDetector(nn.Module):
    """A detector of torchvision's, with new weights.

    Parameters
    ----------
    name : str
        One of `detector_names`.
    classes : Classes
    labels : sequence of int
        The class of each of the L labels; -1 for the background, which is label 0, and for what is no class.

    Raises
    ------
    Mistake
        Torchvision has no such detector.
    """

    class_of_label: Tensor
    label_of_class: Tensor

    def __init__(self, name: str, classes: Classes, labels: Sequence[int]) -> None:
        super().__init__()
        if name not in detector_names():
            raise Mistake(f"{PREFIX}{name}: there is no such detector; torchvision has {', '.join(detector_names())}")
        self.name, self.classes, self.labels = name, classes, tuple(labels)
        import torchvision

        net: Any = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=len(labels))
        self.net: nn.Module = net
        self.transform: Any = net.transform
        of_label = torch.tensor(self.labels)
        known = (of_label >= 0).nonzero().squeeze(1)
        of_class = torch.full((classes.number,), -1).index_put((of_label[known],), known)
        self.register_buffer("class_of_label", of_label, persistent=False)
        self.register_buffer("label_of_class", of_class, persistent=False)

    @property
    def usual_size(self) -> int:
        """The side that the net is made for: of SSD its only one, of the others the shorter side of a photograph."""
        fixed = self.transform.fixed_size
        return int(fixed[0] if fixed is not None else self.transform.min_size[-1])

    def _take_as_it_is(self, size: int) -> None:
        """Have torchvision's own resizing leave the input as it is: all nets see the same pixels."""
        self.transform.min_size, self.transform.max_size = (size,), size
        if self.transform.fixed_size is not None:
            self.transform.fixed_size = (size, size)

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Detections]:
        """(B, 3, S, S) in 0..1 -> what is found in each image, after torchvision's own suppression of doubles."""
        if self.training:
            raise ValueError("a net in training has losses and no detections; call eval() first")
        self._take_as_it_is(images.shape[-1])
        return [self._detections(found, images.shape[-1]) for found in self.net(list(images.float().unbind()))]

    def _detections(self, found: dict[str, Tensor], size: int) -> Detections:
        nodes = self.class_of_label[found["labels"]]
        order = torch.sort(found["scores"], descending=True, stable=True).indices
        order = order[nodes[order] >= 0]
        low, high = (found["boxes"][order] / size).split(2, dim=1)
        scores = found["scores"][order]
        return Detections(
            boxes_cxcywh=torch.cat([(low + high) / 2, high - low], dim=1),
            scores=scores,
            nodes=nodes[order],
            objectness=scores,
            probabilities=torch.ones_like(scores),
        )

    def losses(self, images: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """Torchvision's own loss terms for a batch: (B, 3, S, S) in 0..1, and the boxes of each image.

        It knows no ignore boxes: what is in them is background.
        """
        size = images.shape[-1]
        self._take_as_it_is(size)
        answers: dict[str, Tensor] = self.net(
            list(images.float().unbind()), [self._target(target, size) for target in targets]
        )
        return answers

    def _target(self, target: Target, size: int) -> dict[str, Tensor]:
        centre, sides = target.boxes_cxcywh.split(2, dim=1)
        boxes_xyxy = (torch.cat([centre - sides / 2, centre + sides / 2], dim=1) * size).clamp(0, size)
        labels = self.label_of_class[target.labels]
        keep = (labels >= 0) & (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(dim=1)  # it refuses empty boxes
        return {"boxes": boxes_xyxy[keep], "labels": labels[keep]}


@dataclass(frozen=True)
class Rival:
    """A detector of torchvision's with weights, ready for use.

    Parameters
    ----------
    detector : TorchvisionDetector
        In evaluation mode.
    size : int
        Side of its input.
    boxed : tuple of int
        Classes that had boxes in training.
    step : int
        Steps of training; 0 if nobody knows.
    content : dict
        The rest of its checkpoint; empty for weights of torchvision's.
    path : str
        Its file, or its name.
    """

    detector: TorchvisionDetector
    size: int
    boxed: tuple[int, ...]
    step: int
    content: dict[str, Any]
    path: str


def is_rival(run: str | Path) -> bool:
    """Whether a detector of torchvision's is meant: ``torchvision:NAME``, or what `save_rival` wrote.

    Examples
    --------
    >>> is_rival("torchvision:ssd300_vgg16"), is_rival("runs/joint")
    (True, False)
    """
    return str(run).startswith(PREFIX) or Path(run).name == FILE_NAME or (Path(run) / FILE_NAME).is_file()


def save_rival(
    folder: Path, detector: TorchvisionDetector, *, size: int, boxed: Sequence[int], step: int, data: dict[str, Any]
) -> Path:
    """Write a detector that was trained here; `load_rival` of the folder opens it.

    Parameters
    ----------
    folder : Path
    detector : TorchvisionDetector
    size : int
        Side of its input in pixels.
    boxed : sequence of int
        Classes that had boxes.
    step : int
        Steps of training.
    data : dict
        Plain values of the configuration of its data.

    Returns
    -------
    Path
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "torchvision": {"name": detector.name, "labels": detector.labels},
        "classes": detector.classes.description,
        "size": size,
        "boxed": list(boxed),
        "position": {"step": step},
        "data": data,
        "model": detector.net.state_dict(),
    }
    save_checkpoint(folder / FILE_NAME, content)
    return folder / FILE_NAME


def load_rival(
    run: str | Path,
    *,
    weights: str | Path | None = None,
    names: Sequence[str] | None = None,
    device: torch.device | None = None,
) -> Rival:
    """Open a detector of torchvision's.

    Parameters
    ----------
    run : str or Path
        What `save_rival` wrote, or its folder; or ``torchvision:NAME`` for one with weights of torchvision's own kind.
    weights : str or Path, optional
        The file of the state dict of ``torchvision:NAME``. Without it the weights are torchvision's published ones,
        which it keeps in its cache and downloads if they are not there.
    names : sequence of str, optional
        The name of each label of ``torchvision:NAME``; "__background__", which is the first, may be left out. Without
        them the names are the 91 of the published weights.
    device : torch.device, optional
        The CPU by default.

    Raises
    ------
    CheckpointError
        A file cannot be used.
    Mistake
        There is no such detector, or the weights cannot be had.
    """
    if not str(run).startswith(PREFIX):
        rival = _load_checkpoint(Path(run) if Path(run).is_file() else Path(run) / FILE_NAME)
    else:
        rival = _load_torchvisions(str(run).removeprefix(PREFIX), weights, names)
    rival.detector.to(device or torch.device("cpu")).eval()
    return rival


def _load_checkpoint(path: Path) -> Rival:
    content = load_checkpoint(path)
    if "torchvision" not in content:
        raise CheckpointError(f"{path}: it is of no detector of torchvision's")
    form = content["torchvision"]
    detector = TorchvisionDetector(form["name"], classes_of(content["classes"]), form["labels"])
    load_weights(detector.net, content.pop("model"), path)
    step = int(content["position"]["step"])
    return Rival(detector, int(content["size"]), tuple(content["boxed"]), step, content, str(path))


def _load_torchvisions(name: str, weights: str | Path | None, names: Sequence[str] | None) -> Rival:
    if name not in detector_names():
        raise Mistake(f"{PREFIX}{name}: there is no such detector; torchvision has {', '.join(detector_names())}")
    import torchvision

    published = torchvision.models.get_model_weights(name).DEFAULT
    given: list[str] = list(published.meta["categories"] if names is None else names)
    if given[0] != NO_CLASS[0]:
        given.insert(0, NO_CLASS[0])
    known = tuple(each for each in given if each not in NO_CLASS)
    number_of = {each: number for number, each in enumerate(known)}
    classes = FlatClasses(len(known), names=known)
    detector = TorchvisionDetector(name, classes, [number_of.get(each, -1) for each in given])
    size = detector.usual_size
    if weights is not None:
        load_weights(detector.net, read_state_dict(Path(weights)), Path(weights))
        if name in EPSILON_0 and names is None:
            for module in detector.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eps = 0.0
    else:
        if len(given) != len(published.meta["categories"]):
            raise Mistake(
                f"`names`: {len(given) - 1} names, but torchvision's published weights have "
                f"{len(published.meta['categories']) - 1} labels; name others with `weights`"
            )
        try:
            net: Any = torchvision.models.get_model(name, weights=published, progress=False)
        except URLError as error:
            raise Mistake(
                f"{PREFIX}{name}: its published weights cannot be downloaded ({error.reason}); give a file of them "
                "with `weights`"
            ) from error
        detector.net, detector.transform = net, net.transform
    path = f"{PREFIX}{name}" if weights is None else str(weights)
    return Rival(detector, size, tuple(range(len(known))), 0, {}, path)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The weights of a file that torch wrote: a state dict, or what torchvision's training script writes.

    Raises
    ------
    CheckpointError
        It holds none.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{path}: no state dict of torch: {str(error).splitlines()[0]}") from error
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]  # as torchvision's own training script writes it
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path}: no state dict of torch")
    return dict(content)
