"""The usual phases of a run: classification start, boxes alone, then boxes and image labels together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from torch import Tensor, nn

from wordtree import WordTree
from yolo9000.datasets.loader import make_evaluation_loader, make_loader
from yolo9000.datasets.mixed import MixedDataset
from yolo9000.datasets.sample import Batch, Source
from yolo9000.detection.loss import offsets_of_truths
from yolo9000.evaluation.classifier import classification_top1
from yolo9000.evaluation.detector import HeldOutLoss, evaluate_detector
from yolo9000.experiment.config import Joint, PlanConfig, RunConfig
from yolo9000.experiment.data import Data
from yolo9000.models.model import DetectionModel, Model
from yolo9000.models.tree_classes import share_with_boxes
from yolo9000.runtime.device import pick_precision
from yolo9000.runtime.distributed import Processes
from yolo9000.runtime.mistakes import Mistake
from yolo9000.training.config import TrainConfig
from yolo9000.training.objectives import classification_objective, detection_objective
from yolo9000.training.optimiser import learning_rate
from yolo9000.training.phases import HELD_OUT, Loss, Phase

Batches = Callable[[int], Iterable[Batch]]
Evaluate = Callable[[nn.Module], Mapping[str, float]]

EVALUATION_BATCH = 32
"""Images that an evaluation during training puts through the net at once."""


class PlanError(Mistake):
    """Phases that the data do not allow."""


def check_sources(plan: PlanConfig, *, boxes: bool, image_labels: bool) -> None:
    """Raise before anything is read if the phases need images that nobody named.

    Parameters
    ----------
    plan : PlanConfig
    boxes, image_labels : bool
        Whether there are images with boxes, and images with a label.

    Raises
    ------
    PlanError
        A phase needs what is not there; the message names the fields.
    """
    if plan.joint.enabled and not (boxes and image_labels):
        absent = "image labels (`imagenet`)" if boxes else "boxes (`coco`, `voc`, `yolo`, `csv` or `tiles`)"
        raise PlanError(f"`joint` trains on boxes and image labels together, and no data with {absent} were named")
    if not boxes and plan.joint.boxes_first + plan.steps:
        raise PlanError("a detector needs images with boxes: name `coco`, `voc`, `yolo`, `csv` or `tiles`")
    if not image_labels and plan.classification_steps:
        raise PlanError("the classification start needs image labels: name `imagenet`, or `classification_steps` 0")


def check_loss(config: RunConfig, processes: int) -> None:
    """Raise if the loss divides by the boxes of all images of an update, and no one sees them all at once.

    Parameters
    ----------
    config : RunConfig
    processes : int
        How many share an update.

    Raises
    ------
    PlanError
        It would be another loss; the message names the fields.
    """
    if config.net.loss != "slides" or config.is_classifier:
        return
    train = config.train
    for cut, said, instead in (
        (train.accumulate, f"`accumulate` {train.accumulate} shows it parts", "take `accumulate` 1"),
        (train.exact, f"`exact` {train.exact} shows it shards", "take `exact` 0"),
        (processes, f"each of {processes} processes shows it a share", "train in one process"),
    ):
        if cut > 1:
            raise PlanError(
                f"`loss` slides divides by the number of boxes in an update, and {said} of one, which would make it "
                f"another loss; {instead}, or `loss` darknet"
            )


def what_does_not_fit(
    config: RunConfig, phases: Sequence[Phase], *, started: bool, images: Mapping[str, int] | None = None
) -> list[str]:
    """What a person should know before hours go into a run whose numbers do not fit each other.

    Parameters
    ----------
    config : RunConfig
    phases : sequence of Phase
        The phases that this configuration makes.
    started : bool
        Whether the net starts from weights that are there.
    images : mapping of str to int, optional
        "boxes" and "image labels" -> how many photographs there are to train on; without it nothing is said of them.

    Returns
    -------
    list of str
        A sentence for each, with fields in backquotes; none if all is well.
    """
    notes = []
    for phase in phases:
        burn_in, peak = phase.optimiser.burn_in, phase.optimiser.learning_rate
        enough = max(1, phase.steps // 10)
        if not phase.steps or phase.steps >= 2 * burn_in or burn_in <= enough:
            continue
        if phase.steps <= burn_in:
            reached = learning_rate(phase.optimiser, phase.steps, phase.steps)
            said = (
                f"`burn_in` {burn_in:,}: the learning rate rises for longer than the {phase.steps:,} steps of the "
                f"phase {phase.name}, and ends at {reached:.2g} of {peak:.2g}"
                + (", so that little is learnt" if reached < peak / 2 else "")
            )
        else:
            said = (
                f"`burn_in` {burn_in:,}: the learning rate rises for {burn_in / phase.steps:.0%} of the "
                f"{phase.steps:,} steps of the phase {phase.name}"
            )
        notes.append(f"{said}; say `burn_in` {enough}, or take `preset` small for little data")
    notes += _wrong_number_of_passes(config, phases, images or {})
    joint = config.plan.joint
    untaught = not started and not config.plan.classification_steps
    if joint.enabled and config.plan.steps and joint.image_labels.needs_label_probability and untaught:
        notes.append(
            "image labels are given to boxes by P(label), which a net from random weights does not know: "
            "begin with `classification_steps`, or from trained weights with `init`"
        )
    head, slides, sets = config.net.detector.head, config.net.loss == "slides", len(config.data.box_sets)
    if sets > 1 and not config.is_classifier and (head != "anchors" or slides):
        notes.append(
            f"{'`loss` slides' if slides else f'`head` {head}'}: what one of the {sets} sets with boxes does not label "
            "is background in its images, also where it is a class of another set; the `head` anchors with the `loss` "
            "darknet leaves it alone"
        )
    return notes


_MOST_PASSES = 300
"""As often may a net of random weights see each image; the paper shows each 160 times."""


def _wrong_number_of_passes(config: RunConfig, phases: Sequence[Phase], images: Mapping[str, int]) -> Iterator[str]:
    """What to say where the steps show the images of the last phase not even once, or far too often."""
    count = images.get("boxes", 0)
    if not (count and phases and config.plan.steps):
        return
    share = 1.0
    if config.plan.joint.enabled:
        share = config.plan.joint.ratio[1] / sum(config.plan.joint.ratio)
    shown = config.plan.steps * config.train.batch_size * share
    each = count / (config.train.batch_size * share)  # steps of one pass
    if shown < count:
        yield (
            f"`steps` {config.plan.steps:,}: in batches of {config.train.batch_size} they show {shown:,.0f} of the "
            f"{count:,} images with boxes; {math.ceil(each):,} steps show each once"
        )
    elif shown > _MOST_PASSES * count:
        yield (
            f"`steps` {config.plan.steps:,}: they show each of the {count:,} images with boxes {shown / count:,.0f} "
            f"times; say `steps` {math.ceil(each * _MOST_PASSES / 3):,}, or take `preset` small for little data"
        )


def plan_phases(
    detector: DetectionModel,
    data: Data,
    config: RunConfig,
    *,
    classifier: Model | None = None,
    processes: Processes = Processes(),
) -> list[Phase]:
    """The phases of a run.

    Parameters
    ----------
    detector : DetectionModel
        Trained in place.
    data : Data
    config : RunConfig
    classifier : Model, optional
        What the classification start trains, in place of a new one of the detector's.
    processes : Processes
        This process reads its share of each batch.

    Raises
    ------
    PlanError
        A phase needs images that the data do not have.
    """
    plan, joint_plan = config.plan, config.plan.joint
    check_sources(plan, boxes=data.detection is not None, image_labels=data.classification is not None)
    if joint_plan.enabled and plan.steps and not detector.learns_image_labels:
        raise PlanError(
            f"`joint`: image labels need a region and a tree, and this net has {detector.classes} without one"
        )
    only, sizes = detector.only_size, [*plan.sizes, plan.evaluation_size or plan.size]
    if only is not None and (wrong := [size for size in sizes if size != only]):
        raise PlanError(f"`size` {wrong[0]}: this net takes images of {only} pixels alone; take {only}")
    part = config.train.batch_size // config.train.accumulate
    phases: list[Phase] = []
    takes_over: Callable[[], None] | None = None
    given = config.net.init is not None  # a resumed run does not read it again

    def batches(detection: Source | None, classification: Source | None, sizes: tuple[int, ...]) -> Batches:
        joint = detection is not None and classification is not None
        dataset = MixedDataset(
            detection,
            classification,
            batch_size=config.train.batch_size,
            sizes=sizes,
            # another seed for each phase, or a later one would begin with the images that an earlier one began with;
            # the fourth has that of another run's first, which sees other data
            seed=3 * config.seed + len(phases),
            ratio=joint_plan.ratio if joint else None,
            interleave="batch_by_batch" if joint_plan.batch_by_batch else "in_batch",
            mosaic=joint_plan.mosaic if joint else 0.0,
            box_mosaic=plan.box_mosaic if detection is not None else 0.0,
            detection_augment=data.detection_augment,
            classification_augment=data.classification_augment,
        )

        def from_batch(first: int) -> Iterable[Batch]:
            return make_loader(
                dataset,
                rank=processes.rank,
                world_size=processes.world_size,
                start=first * part,
                parts=config.train.accumulate,
                shards=config.train.exact or None,
                workers=config.machine.workers,
            )

        return from_batch

    if plan.classification_steps:
        classifier = detector.classifier() if classifier is None else classifier
        if classifier is None:
            raise PlanError("a net of `cfg` has no classification start; leave `classification_steps` at 0")
        starting_net = classifier
        for name, steps, size, optimiser in (
            ("classification", plan.classification_steps, plan.classification_size, config.classification_optimiser),
            ("fine-tuning", plan.fine_tuning_steps, plan.fine_tuning_size, config.fine_tuning_optimiser),
        ):
            if steps:
                phases.append(
                    Phase(
                        name=name,
                        steps=steps,
                        model=starting_net,
                        loss=classification_objective(starting_net.classes),
                        batches=batches(None, data.classification, (size,)),
                        optimiser=optimiser,
                        evaluate=_classifier_scores(data, starting_net, config.train, size, processes),
                    )
                )

        def takes_over() -> None:
            detector.initialise_from(starting_net)

    offsets = truth_offsets(joint_plan, data.classes.tree, data.boxed, data.never_boxed)
    loss = detection_objective(detector.spec, joint_plan.image_labels, offsets)
    # of held-out images all classes have boxes
    plain_loss = detection_objective(detector.spec, joint_plan.image_labels)
    evaluate = _detector_scores(data, detector, config.train, plan.evaluation_size or plan.size, plain_loss, processes)
    for name, steps, classification in (
        ("detection", joint_plan.boxes_first, None),
        ("joint" if joint_plan.enabled else "boxes", plan.steps, data.classification if joint_plan.enabled else None),
    ):
        if steps:
            phases.append(
                Phase(
                    name=name,
                    steps=steps,
                    model=detector,
                    loss=loss,
                    batches=batches(data.detection, classification, plan.sizes),
                    optimiser=config.optimiser,
                    begin=takes_over,
                    evaluate=evaluate,
                    given=given,
                )
            )
            takes_over, given = None, False
    return phases


def truth_offsets(
    joint: Joint, tree: WordTree | None, boxed: Sequence[int], never_boxed: Sequence[int]
) -> Tensor | None:
    """What joint training, and its steps on boxes alone, add to the class logits of boxes."""
    if not joint.enabled or tree is None:
        return None
    share = share_with_boxes(boxed, never_boxed, tree)
    return offsets_of_truths(share, joint.image_labels.unboxed_weight)


def _held_out(source: Source, size: int, processes: Processes) -> Iterable[Batch]:
    return make_evaluation_loader(
        source, size, batch_size=EVALUATION_BATCH, rank=processes.rank, world_size=processes.world_size
    )


def _classifier_scores(
    data: Data, classifier: Model, config: TrainConfig, size: int, processes: Processes
) -> Evaluate | None:
    source = data.val_classification
    if source is None or not len(source):
        return None

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        device = next(model.parameters()).device
        images = _held_out(source, size, processes)
        top1 = classification_top1(
            model,
            images,
            classifier.classes,
            data.image_labels,
            device=device,
            precision=pick_precision(device, config.precision),
            processes=processes,
        )
        return {"top1": top1}

    return evaluate


def _detector_scores(
    data: Data, detector: DetectionModel, config: TrainConfig, size: int, loss: Loss, processes: Processes
) -> Evaluate | None:
    boxes, images = (
        None if source is None or not len(source) else _held_out(source, size, processes)
        for source in (data.val_detection, data.val_classification)
    )
    if boxes is None and images is None:
        return None

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        scores: dict[str, float] = {}
        device = next(model.parameters()).device
        precision = pick_precision(device, config.precision)
        held_out = {name: HeldOutLoss(loss, processes) for name in ("detection", "classification")}
        if boxes is not None:
            report = evaluate_detector(
                model,
                boxes,
                detector.classes,
                boxed=set(data.evaluated) & set(data.boxed),
                never_boxed=set(data.evaluated) - set(data.boxed),
                device=device,
                precision=precision,
                parents=False,
                look=held_out["detection"].look,
                processes=processes,
            )
            sets = {name: report[name] for name in ("boxed", "never_boxed") if report[name]["classes"]}
            classes = sum(each["classes"] for each in sets.values())
            if classes:  # the mean over all classes, which picks the best checkpoint
                scores["ap50"] = sum(each["ap50"] * each["classes"] for each in sets.values()) / classes
            scores |= {f"ap50_{name}": each["ap50"] for name, each in sets.items()}
        if images is not None:
            scores["top1"] = classification_top1(
                model,
                images,
                detector.classes,
                data.image_labels,
                device=device,
                precision=precision,
                look=held_out["classification"].look if detector.learns_image_labels else None,
                processes=processes,
            )
        found = {name: each.read() for name, each in held_out.items()}
        return scores | {f"{HELD_OUT}{name}": terms["loss"] for name, terms in found.items() if terms}

    return evaluate
