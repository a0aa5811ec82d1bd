"""The usual phases of a run: classification start, boxes alone, then boxes and image labels together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from yolo9000.datasets.loader import make_evaluation_loader, make_loader
from yolo9000.datasets.mixed import MixedDataset
from yolo9000.datasets.sample import Batch, Source
from yolo9000.detection.recipes import DEFAULT_RECIPE, Recipe
from yolo9000.engine.data import Data
from yolo9000.engine.evaluation import classification_top1, evaluate_detector, held_out_loss
from yolo9000.engine.objectives import classification_objective, detection_objective
from yolo9000.engine.optimisation import OptimiserConfig
from yolo9000.engine.phases import Loss, Phase, TrainConfig
from yolo9000.models.darknet_detector import AnyDetector
from yolo9000.models.yolov2 import Classifier, Detector
from yolo9000.runtime.distributed import Processes
from yolo9000.runtime.mistakes import Mistake

Batches = Callable[[int], Iterable[Batch]]
Evaluate = Callable[[nn.Module], Mapping[str, float]]

EVALUATION_BATCH = 32
"""Images that an evaluation during training puts through the net at once."""


class PlanError(Mistake):
    """Phases that the data do not allow."""


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """Phases and what each sees.

    Parameters
    ----------
    classification_steps
        Steps of the backbone as a classifier of the labelled images, with the tree softmax (paper, section 3).
    detection_steps
        Steps on boxes alone before joint training.
    steps
        Steps of the last phase: joint, or on boxes alone.
    joint
        Whether the last phase sees classification images too.
    recipe
        What a classification image teaches.
    ratio
        Classification : detection images of the joint phase (paper, section 4: ImageNet larger by 4 to 1).
    interleave
        Both kinds inside each batch, or one kind in a batch.
    mosaic
        Probability that a classification image of the joint phase is a mosaic of four. This and `ratio` hold; those of
        the recipe are what the command line fills them with.
    sizes
        Sides of the network's input in pixels; several are multi-scale training.
    classification_size
        Side during the classification start (paper: 224, then 448).
    seed
        Of the images' order and augmentation.
    workers
        Processes that read and augment images; 0 does it in the training process.
    optimiser, classification_optimiser
        Of the detection phases, and of the classification start.

    Raises
    ------
    PlanError
        A number is negative, or there is nothing to train.
    """

    classification_steps: int = 0
    detection_steps: int = 0
    steps: int = 1000
    joint: bool = True
    recipe: str | Recipe = DEFAULT_RECIPE
    ratio: tuple[int, int] = (4, 1)
    interleave: Literal["in_batch", "batch_by_batch"] = "in_batch"
    mosaic: float = 0.0
    sizes: tuple[int, ...] = (416,)
    classification_size: int = 224
    seed: int = 0
    workers: int = 0
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    classification_optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)

    def __post_init__(self) -> None:
        steps = ("classification_steps", "detection_steps", "steps")
        for name in (*steps, "seed", "workers"):
            if getattr(self, name) < 0:
                raise PlanError(f"`{name}` {getattr(self, name)}: 0 or more is needed")
        if not any(getattr(self, name) for name in steps):
            raise PlanError("nothing to train: `steps` is 0, and so are the steps of the other phases")


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
        A phase needs what is not there; the message names the options.
    """
    if plan.joint and not (boxes and image_labels):
        absent = "image labels (`imagenet`)" if boxes else "boxes (`coco`, `voc` or `tiles`)"
        raise PlanError(f"`joint` trains on boxes and image labels together, and no data with {absent} were named")
    if not boxes and plan.detection_steps + plan.steps:
        raise PlanError("a detector needs images with boxes: name `coco`, `voc` or `tiles`")
    if not image_labels and plan.classification_steps:
        raise PlanError("the classification start needs labelled images: name `imagenet`, or `classification_steps` 0")


def plan_phases(
    detector: AnyDetector,
    data: Data,
    plan: PlanConfig,
    config: TrainConfig,
    *,
    processes: Processes = Processes(),
    evaluation_size: int | None = None,
) -> list[Phase]:
    """The phases of a run.

    Parameters
    ----------
    detector : Detector or DarknetDetector
        Trained in place.
    data : Data
    plan : PlanConfig
    config : TrainConfig
    processes : Processes
        This process reads its share of each batch.
    evaluation_size : int, optional
        Side of the network's input in evaluations; the largest of ``plan.sizes`` by default.

    Raises
    ------
    PlanError
        A phase needs images that the data do not have.
    """
    check_sources(plan, boxes=data.detection is not None, image_labels=data.classification is not None)
    part = config.batch_size // config.accumulate
    phases: list[Phase] = []
    takes_over: Callable[[], None] | None = None

    def batches(detection: Source | None, classification: Source | None, sizes: tuple[int, ...]) -> Batches:
        joint = detection is not None and classification is not None
        dataset = MixedDataset(
            detection,
            classification,
            batch_size=part,
            sizes=sizes,
            # another seed for each phase, or a later one would begin with the images that an earlier one began with
            seed=3 * plan.seed + len(phases),
            ratio=plan.ratio if joint else None,
            interleave=plan.interleave,
            mosaic=plan.mosaic if joint else 0.0,
            detection_augment=data.detection_augment,
            classification_augment=data.classification_augment,
        )

        def from_batch(first: int) -> Iterable[Batch]:
            return make_loader(
                dataset,
                rank=processes.rank,
                world_size=processes.world_size,
                start=first * part,
                workers=plan.workers,
            )

        return from_batch

    if plan.classification_steps:
        if not isinstance(detector, Detector):
            raise PlanError("a net of `cfg` has no classification start; leave `classification_steps` at 0")
        own = detector
        classifier = Classifier(own.config, own.region.num_classes)
        phases.append(
            Phase(
                name="classification",
                steps=plan.classification_steps,
                model=classifier,
                loss=classification_objective(detector.region),
                batches=batches(None, data.classification, (plan.classification_size,)),
                optimiser=plan.classification_optimiser,
                evaluate=_classifier_scores(data, detector, config, plan.classification_size),
            )
        )

        def takes_over() -> None:
            own.initialise_from(classifier)

    loss = detection_objective(detector.region, plan.recipe)
    evaluate = _detector_scores(data, detector, config, evaluation_size or max(plan.sizes), loss)
    for name, steps, classification in (
        ("detection", plan.detection_steps, None),
        ("joint" if plan.joint else "boxes", plan.steps, data.classification if plan.joint else None),
    ):
        if steps:
            phases.append(
                Phase(
                    name=name,
                    steps=steps,
                    model=detector,
                    loss=loss,
                    batches=batches(data.detection, classification, plan.sizes),
                    optimiser=plan.optimiser,
                    begin=takes_over,
                    evaluate=evaluate,
                )
            )
            takes_over = None
    return phases


def _classifier_scores(data: Data, detector: AnyDetector, config: TrainConfig, size: int) -> Evaluate | None:
    source = data.val_classification
    if source is None or not len(source):
        return None

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        device = next(model.parameters()).device
        images = make_evaluation_loader(source, size, batch_size=EVALUATION_BATCH)
        top1 = classification_top1(
            model, images, detector.region, data.image_labels, device=device, precision=config.precision
        )
        return {"top1": top1}

    return evaluate


def _detector_scores(data: Data, detector: AnyDetector, config: TrainConfig, size: int, loss: Loss) -> Evaluate | None:
    boxes, images = (
        None if source is None or not len(source) else make_evaluation_loader(source, size, batch_size=EVALUATION_BATCH)
        for source in (data.val_detection, data.val_classification)
    )
    if boxes is None and images is None:
        return None

    def evaluate(model: nn.Module) -> Mapping[str, float]:
        scores: dict[str, float] = {}
        device, region, precision = next(model.parameters()).device, detector.region, config.precision
        if boxes is not None:
            report = evaluate_detector(
                model,
                boxes,
                region,
                boxed=set(data.evaluated) & set(data.boxed),
                never_boxed=set(data.evaluated) - set(data.boxed),
                device=device,
                precision=precision,
                parents=False,
            )
            sets = {name: report[name] for name in ("boxed", "never_boxed") if report[name]["classes"]}
            classes = sum(each["classes"] for each in sets.values())
            if classes:  # the mean over all classes, which picks the best checkpoint
                scores["ap50"] = sum(each["ap50"] * each["classes"] for each in sets.values()) / classes
            scores |= {f"ap50_{name}": each["ap50"] for name, each in sets.items()}
        if images is not None:
            scores["top1"] = classification_top1(
                model, images, region, data.image_labels, device=device, precision=precision
            )
        for name, loader in (("detection", boxes), ("classification", images)):
            if loader is not None:
                held_out = held_out_loss(model, loader, loss, device=device, precision=precision)
                scores[f"held_out/{name}"] = held_out["loss"]
        return scores

    return evaluate
