"""How good is a detector: average precision, and the loss on images held out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from yolo9000.datasets.coco import CocoTruth
from yolo9000.datasets.sample import Batch, Placement, Target, pixels
from yolo9000.datasets.voc import VocTruth
from yolo9000.detection.decode import score_node_sets
from yolo9000.detection.results import Detections
from yolo9000.evaluation.average_precision import average_precision, classes_at_parents, mean_score
from yolo9000.evaluation.detections import score_detections
from yolo9000.evaluation.diagnosis import diagnose
from yolo9000.evaluation.observation import Observation, observe
from yolo9000.models.classes import Classes
from yolo9000.models.output import DetectorOutput
from yolo9000.runtime.config import Precision
from yolo9000.runtime.device import autocast
from yolo9000.runtime.distributed import Processes, dealt
from yolo9000.training.phases import Loss
from yolo9000.training.tally import LossTally

Seen = TypeVar("Seen")
Look: TypeAlias = Callable[[DetectorOutput, Sequence[Target]], None]

SEEN_LONG_AGO = 1 << 40
"""Images seen, for a loss that is only measured: past every rule for the beginning of training."""


@torch.no_grad()
def score_batches(
    model: nn.Module,
    batches: Iterable[Batch],
    classes: Classes,
    node_sets: Sequence[Sequence[int]],
    *,
    device: torch.device,
    precision: Precision = "float32",
    threshold: float = 0.005,
    max_detections: int = 100,
    look: Callable[[DetectorOutput, Sequence[Target]], Seen] | None = None,
    processes: Processes = Processes(),
) -> tuple[list[list[Detections]], list[Target], dict[str, tuple[int, Placement]], list[Seen]]:
    """Run a detector over batches and score every box for every node of each set.

    Parameters
    ----------
    model : nn.Module
        Detector in evaluation mode, on `device`.
    batches : iterable of Batch
    classes : Classes
    node_sets : sequence of sequences of int
        Sets are scored apart from each other: a parent, always at least as probable as its child, would take the
        child's places among the `max_detections`.
    threshold : float
        Least objectness (darknet's ``valid``: .005).
    max_detections : int
        The most detections that an image keeps in a set.
    look : callable, optional
        Is shown the raw output of each batch of this process's and its targets, for what scored boxes do not tell.
    processes : Processes
        They share the batches, of which these are this process's, and each gets what all have found.

    Returns
    -------
    detections : list of lists of Detections
        For each set, for each image; on the CPU.
    targets : list of Target
        For each image; on the CPU.
    images : dict
        Key of each image -> its number, and where it lies in the network's input.
    seen : list
        What `look` gave for each batch of all processes.
    """
    detections: list[list[Detections]] = [[] for _ in node_sets]
    targets: list[Target] = []
    images: dict[str, tuple[int, Placement]] = {}
    seen: list[Seen] = []

    def each(batch: Batch) -> _OfBatch[Seen]:
        with autocast(device, precision):
            output = model(pixels(batch.images, device, non_blocking=True))
        scored = score_node_sets(output, classes, node_sets, threshold=threshold, max_detections=max_detections)
        return _OfBatch(
            [[one.on_cpu() for one in of_set] for of_set in scored],
            [target.to("cpu") for target in batch.targets],
            list(zip(batch.keys, batch.placements, strict=True)),
            [] if look is None else [look(output, batch.targets)],
        )

    for found in dealt(each, batches, processes):
        for number, (key, placement) in enumerate(found.places, len(targets)):
            images[key] = (number, placement)
        for all_of_set, of_set in zip(detections, found.detections, strict=True):
            all_of_set += of_set
        targets += found.targets
        seen += found.seen
    return detections, targets, images, seen


class _OfBatch(NamedTuple, Generic[Seen]):
    detections: list[list[Detections]]
    targets: list[Target]
    places: list[tuple[str, Placement]]
    seen: list[Seen]


def evaluate_detector(
    model: nn.Module,
    batches: Iterable[Batch],
    classes: Classes,
    *,
    boxed: Collection[int],
    never_boxed: Collection[int] = (),
    device: torch.device,
    precision: Precision = "float32",
    parents: bool = True,
    baseline: bool = False,
    coco: CocoTruth | None = None,
    voc: VocTruth | None = None,
    diagnosis: bool = False,
    look: Look | None = None,
    max_detections: int = 100,
    processes: Processes = Processes(),
) -> dict[str, Any]:
    """Average precision of the classes that had boxes in training and of those that had none.

    At the parents each label is replaced by its parent, so that a poodle found as some kind of dog counts; boxes of
    the other set's labels are then neither asked for nor wrong.

    Parameters
    ----------
    model : nn.Module
        Detector in evaluation mode, on `device`.
    batches : iterable of Batch
        The images, with the boxes that are to be found.
    classes : Classes
        The classes of the net.
    device : torch.device
        Where the net is.
    precision : Precision
        The precision that the net is run at.
    boxed, never_boxed : collection of int
        Labels. Those without a box in `batches` do not enter a mean.
    parents : bool
        Also evaluate at the parents, if there is a tree.
    baseline : bool
    coco : CocoTruth, optional
    voc : VocTruth, optional
        See `yolo9000.evaluation.detections.score_detections`.
    diagnosis : bool
        Also say how labels are answered when backing off, how well boxes are placed whatever they are called, and
        whether P(node) is right as often as it says; see `yolo9000.evaluation.diagnosis.diagnose`.
    look : callable, optional
        Is shown the raw output of each batch of this process's and its targets, such as `HeldOutLoss.look`: the net
        need not run again.
    max_detections : int
        The most detections that an image keeps, over all classes.
    processes : Processes
        They share the batches, see `score_batches`.

    Returns
    -------
    dict
        As of `score_detections`, with ``"at_parents": {"boxed": {"ap50", "ap", "classes"}, "never_boxed": {..}}`` and
        the keys of a `diagnosis`.
    """
    tree = classes.tree
    sets = {"boxed": sorted(set(boxed)), "never_boxed": sorted(set(never_boxed) - set(boxed))}
    labels = sorted(sets["boxed"] + sets["never_boxed"])
    at_parents = {}
    if tree is not None and parents:
        at_parents = {
            "boxed": classes_at_parents(tree, sets["boxed"], sets["never_boxed"]),
            "never_boxed": classes_at_parents(tree, sets["never_boxed"], sets["boxed"]),
        }
    node_sets = [labels, *([evaluated.node for evaluated in group] for group in at_parents.values())]

    def look_on(output: DetectorOutput, targets: Sequence[Target]) -> Observation | None:
        if look is not None:
            look(output, targets)
        return observe(output, targets, classes, labels) if diagnosis else None

    (detections, *of_parents), targets, images, seen = score_batches(
        model,
        batches,
        classes,
        node_sets,
        device=device,
        precision=precision,
        max_detections=max_detections,
        look=look_on,
        processes=processes,
    )
    report = score_detections(
        detections,
        targets,
        images,
        classes,
        boxed=boxed,
        never_boxed=never_boxed,
        baseline=baseline,
        coco=coco,
        voc=voc,
        max_detections=max_detections,
    )
    if at_parents:
        report["at_parents"] = {
            name: mean_score(average_precision(found, targets, group, max_detections=max_detections))
            for (name, group), found in zip(at_parents.items(), of_parents, strict=True)
        }
    if diagnosis:
        observations = [each for each in seen if each is not None]
        report |= diagnose(observations, classes, boxed=sets["boxed"], never_boxed=sets["never_boxed"])
    return report


class HeldOutLoss:
    """The loss of images that are looked at anyway, as `held_out_loss` gives it.

    Parameters
    ----------
    loss : callable
        The loss that is trained with; see `yolo9000.training.phases.Loss`.
    processes : Processes
        They share the batches, of which those that this process looks at are dealt to it.
    """

    def __init__(self, loss: Loss, processes: Processes = Processes()) -> None:
        self._loss, self._processes = loss, processes
        self._seen: list[tuple[dict[str, Tensor], int]] = []

    @torch.no_grad()
    def look(self, output: DetectorOutput, targets: Sequence[Target]) -> None:
        """Add a batch."""
        terms = self._loss(output, targets, SEEN_LONG_AGO)
        if self._processes.world_size > 1:  # where they are going to be sent from
            terms = {name: term.cpu() for name, term in terms.items()}
        self._seen.append((terms, len(targets)))

    def read(self) -> dict[str, float]:
        """Mean of each term per image, with ``"loss"`` for their sum; empty without an image.

        All processes read together, and each gets the mean over the images of all. It is infinite or NaN where the loss
        of an image is.
        """
        tally = LossTally()
        for found in dealt(lambda own: own, self._seen, self._processes):
            tally.add(*found)  # in the order of the batches: sums are those of one process
        terms = tally.read()
        return {"loss": sum(terms.values()), **terms} if terms else {}


@torch.no_grad()
def held_out_loss(
    model: nn.Module,
    batches: Iterable[Batch],
    loss: Loss,
    *,
    device: torch.device,
    precision: Precision = "float32",
    processes: Processes = Processes(),
) -> dict[str, float]:
    """Mean of each loss term per image, with ``"loss"`` for their sum. Give one source's images at a time.

    Parameters
    ----------
    model : nn.Module
        The net in evaluation mode, on `device`.
    batches : iterable of Batch
    loss : callable
        The loss that is trained with; see `yolo9000.training.phases.Loss`.
    processes : Processes
        They share the batches, see `score_batches`.

    Returns
    -------
    dict
        Empty without an image; infinite or NaN where the loss of an image is.
    """
    held_out = HeldOutLoss(loss, processes)
    for batch in batches:
        with autocast(device, precision):
            output = model(pixels(batch.images, device, non_blocking=True))
        held_out.look(output, batch.targets)
    return held_out.read()
