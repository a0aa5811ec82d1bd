"""Better, faster, stronger as a list: every step from YOLO to YOLO9000, and past it, as changes of a configuration.

A rung is a name and what it changes; a ladder is a tuple of rungs, each on top of those before it. A new rung needs a
field of the configuration, the code that uses the field, and one line in `ladder_for`.

It imports no torch, so that a command's help is there at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from yolo9000.experiment.config import DataConfig, NetConfig, PlanConfig, RunConfig
from yolo9000.experiment.config_file import override
from yolo9000.experiment.layouts import LAYOUTS
from yolo9000.experiment.presets import PAPER, SMALL_PHOTOGRAPHS, joint_recipe
from yolo9000.models.config import HAND_PICKED, Priors
from yolo9000.runtime.mistakes import Mistake

_BOXES_ALONE = replace(joint_recipe("mil"), enabled=False)

PAPER_BASE = replace(
    PAPER,
    plan=PlanConfig(
        classification_steps=3_200_000,
        fine_tuning_steps=200_000,
        steps=41_400,
        joint=_BOXES_ALONE,
    ),
    optimiser=replace(PAPER.optimiser, milestones=(0.375, 0.5625)),
    train=replace(PAPER.train, evaluate_every=0),
)
"""The published schedule: 160 epochs of ImageNet's 1,281,167 images at 224 pixels and 10 at 448, then 160 epochs of VOC
2007 and 2012 (16,551 images) with a rate that falls after 60 and 90, in batches of 64 (paper, sections 2 and 3)."""

SMALL_BASE = replace(
    SMALL_PHOTOGRAPHS,
    plan=replace(
        SMALL_PHOTOGRAPHS.plan,
        classification_steps=3000,
        classification_size=64,
        fine_tuning_steps=300,
        fine_tuning_learning_rate=5e-4,
        steps=700,
        joint=_BOXES_ALONE,
        size=160,
    ),
    net=NetConfig(detector=replace(SMALL_PHOTOGRAPHS.net.detector, stride=32)),
    train=replace(SMALL_PHOTOGRAPHS.train, evaluate_every=0),
)
"""Three to seven minutes for a rung on one processor core that multiplies bfloat16, and as long for each classifier."""

BASES: dict[str, RunConfig] = {"small": SMALL_BASE, "paper": PAPER_BASE}
"""What ladders begin with, by the name that ``--preset`` takes."""

CAREFUL_RATE = 0.25
"""Learning rate of nets with a fully connected head, and of classifiers without batch norm, relative to that of the
others. Measured with the small base on photographs: at the whole rate YOLO's loss rose beyond a million within 150
steps, and with batch norm its AP50 was .008 after 700, in place of .020 at a quarter."""


@dataclass(frozen=True)
class Rung:
    """A step of the ladder.

    Parameters
    ----------
    name : str
        The head of its column.
    overrides : mapping of str to any
        What it changes: the way of each field -> its value, as `yolo9000.experiment.config_file.override` takes them.
        The first one is the switch that the rung is about.
    paper : float, optional
        The mAP on VOC 2007 that the paper's table 2 has in this column.
    switches : mapping of str to str, optional
        Rows of the table -> the field of each, where the rung is not one row of its own name.
    skipped : str
        Why the rung cannot be trained; empty if it can.
    """

    name: str
    overrides: Mapping[str, Any]
    paper: float | None = None
    switches: Mapping[str, str] | None = None
    skipped: str = ""

    @property
    def slug(self) -> str:
        """Its name as a folder's.

        Examples
        --------
        >>> Rung("batch norm", {}).slug
        'batch-norm'
        """
        return self.name.lower().replace(" ", "-")

    @property
    def rows(self) -> Mapping[str, str]:
        """Rows of the table that it adds -> the field of each."""
        return {self.name: next(iter(self.overrides))} if self.switches is None else self.switches


def ladder_base(sets: tuple[tuple[str, str], ...], preset: str = "small") -> RunConfig:
    """The configuration that a ladder on some data begins with.

    Parameters
    ----------
    sets : tuple of (str, str)
        As `DataConfig.sets`. Where none has image labels the nets start from random weights.
    preset : str
        A name of `BASES`.

    Returns
    -------
    RunConfig

    Examples
    --------
    >>> ladder_base((("coco", "COCO"), ("imagenet", "IMAGENET")), "paper").plan.classification_steps
    3200000
    >>> ladder_base((("coco", "COCO"),), "paper").plan.classification_steps
    0
    """
    base = BASES[preset]
    data = replace(base.data, sets=sets)
    plan = base.plan if data.has_image_labels else replace(base.plan, classification_steps=0, fine_tuning_steps=0)
    return replace(base, data=data, plan=plan)


def ladder_for(base: RunConfig) -> tuple[Rung, ...]:
    """The rungs from YOLO to YOLO9000 and past it, in the order of the paper's table 2.

    Sizes follow from the base. YOLO's cells are twice as large as those of the anchors, as 448 / 64 = 7 x 7 and
    416 / 32 = 13 x 13 are in the paper, and its images are the next larger that have a whole number of them.

    Parameters
    ----------
    base : RunConfig
        Size, stride, width, schedule and data of the whole ladder. Those of the convolutional nets: `plan.size` is the
        paper's 416.

    Returns
    -------
    tuple of Rung

    Raises
    ------
    Mistake
        No ladder fits the base.

    Examples
    --------
    >>> rungs = ladder_for(PAPER_BASE)
    >>> [rung.name for rung in rungs][:3], rungs[0].overrides["plan.size"], rungs[9].overrides["plan.evaluation_size"]
    (['YOLO', 'batch norm', 'high-resolution classifier'], 448, 544)
    """
    plan, form, optimiser = base.plan, base.net.detector, base.optimiser
    if base.net.cfg is not None or base.net.init is not None:
        raise Mistake(f"`{'cfg' if base.net.cfg else 'init'}`: a ladder's nets have its own forms and starts")
    if form.stride == 64:
        raise Mistake("`stride` 64: YOLO's cells are twice as large as those of the other rungs; take 16 or 32")
    coarse = 2 * form.stride
    yolo_size = math.ceil(plan.size / coarse) * coarse
    labels = "" if plan.classification_steps else "the data have no image labels"
    labelled, boxed = plan.joint.ratio
    return (
        Rung(
            "YOLO",
            {
                "net.detector.head": "connected",
                "net.detector.backbone": "extraction",
                "net.detector.batch_norm": False,
                "net.detector.stride": coarse,
                "net.detector.extra_convs": 4,
                "net.flat": True,
                "data.sets": _with_boxes(base.data),
                "plan.size": yolo_size,
                "plan.fine_tuning_steps": 0,
                "optimiser.learning_rate": optimiser.learning_rate * CAREFUL_RATE,
                "plan.classification_learning_rate": plan.classification_learning_rate * CAREFUL_RATE,
            },
            paper=63.4,
            switches={},
        ),
        Rung(
            "batch norm",
            {
                "net.detector.batch_norm": True,
                "plan.classification_learning_rate": plan.classification_learning_rate,
            },
            paper=65.8,
        ),
        Rung(
            "high-resolution classifier",
            {"plan.fine_tuning_steps": plan.fine_tuning_steps, "plan.fine_tuning_size": yolo_size},
            paper=69.5,
            skipped=labels or ("" if plan.fine_tuning_steps else "there are no `fine_tuning_steps`"),
        ),
        Rung(
            "convolutional with anchor boxes",
            {
                "net.detector.head": "anchors",
                "net.priors": _in_cells(HAND_PICKED, plan.size / form.stride),
                "net.location": "unconstrained",
                "net.detector.stride": form.stride,
                "plan.size": plan.size,
                "optimiser.learning_rate": optimiser.learning_rate,
            },
            paper=69.2,
            switches={"convolutional": "net.detector.head", "anchor boxes": "net.priors"},
        ),
        Rung("new network", {"net.detector.backbone": "darknet19", "net.detector.extra_convs": 2}, paper=69.6),
        Rung("dimension priors", {"net.priors": 5}),
        Rung("location prediction", {"net.location": "direct"}, paper=74.4),
        Rung("passthrough", {"net.detector.passthrough": True}, paper=75.4),
        Rung("multi-scale", {"plan.multi_scale": True}, paper=76.8),
        Rung("high-resolution detector", {"plan.evaluation_size": _multiple(plan.size * 544 / 416)}, paper=78.6),
        Rung(
            "joint",
            {
                "plan.joint.enabled": True,
                "net.flat": False,
                "data.sets": base.data.sets,
                # as in yolo9000.cfg: class rows begin as those of the classifier, which reads the same features
                "net.detector.extra_convs": 0,
                "net.detector.passthrough": False,
                # as many images with boxes in a step as before
                "train.batch_size": base.train.batch_size * (labelled + boxed) // boxed,
            },
            skipped=labels,
        ),
        Rung(
            "modern backbone",
            {"net.detector.backbone": _modern(form.width)},
            skipped="" if find_spec("timm") else "timm is not installed",
        ),
    )


def configurations(base: RunConfig, rungs: Sequence[Rung]) -> list[RunConfig]:
    """The configuration of each rung: the base, what the rungs before it change, and what it changes itself.

    A rung that is skipped changes nothing.

    Examples
    --------
    >>> both = configurations(RunConfig(), [Rung("a", {"seed": 1, "plan.steps": 5}), Rung("b", {"seed": 2})])
    >>> [(config.seed, config.plan.steps) for config in both]
    [(1, 5), (2, 5)]
    """
    found: list[RunConfig] = []
    for rung in rungs:
        before = found[-1] if found else base
        found.append(before if rung.skipped else override(before, rung.overrides))
    return found


def ticks(base: RunConfig, rungs: Sequence[Rung]) -> list[dict[str, bool]]:
    """Which switches are on in each column: row of the table -> on or off.

    A switch is on from its rung to the one that gives its field another value.

    Examples
    --------
    >>> ladder = [Rung("third seed", {"seed": 3}), Rung("five", {"plan.steps": 5}), Rung("six", {"plan.steps": 6})]
    >>> ticks(RunConfig(), ladder)[2]
    {'third seed': True, 'five': False, 'six': True}
    """
    rows = {row: (rung, way) for rung in rungs for row, way in rung.rows.items()}
    found: list[dict[str, bool]] = []
    reached: list[Rung] = []
    for rung, config in zip(rungs, configurations(base, rungs), strict=True):
        reached.append(rung)
        found.append(
            {
                row: owner in reached and not owner.skipped and _value(config, way) == owner.overrides[way]
                for row, (owner, way) in rows.items()
            }
        )
    return found


def start_of(base: RunConfig, config: RunConfig) -> RunConfig | None:
    """The run that trains the classifier of a rung; equal for rungs that share it, and None where there is none.

    It knows nothing of what is on top of the backbone, and its classes are the tree of all labels; a detector of flat
    classes takes the backbone alone.

    Parameters
    ----------
    base : RunConfig
        What the ladder begins with.
    config : RunConfig
        That of the rung.

    Returns
    -------
    RunConfig or None
    """
    plan, form = config.plan, config.net.detector
    if not plan.classification_steps:
        return None
    return replace(
        base,
        plan=replace(
            base.plan,
            classification_steps=plan.classification_steps,
            classification_size=plan.classification_size,
            classification_learning_rate=plan.classification_learning_rate,
            fine_tuning_steps=plan.fine_tuning_steps,
            fine_tuning_size=plan.fine_tuning_size,
            fine_tuning_learning_rate=plan.fine_tuning_learning_rate,
            steps=0,
        ),
        net=NetConfig(
            detector=replace(form, head="anchors", stride=min(form.stride, 32), extra_convs=0, passthrough=False),
            priors=((1.0, 1.0),),
        ),
        seed=config.seed,
    )


def _with_boxes(data: DataConfig) -> tuple[tuple[str, str], ...]:
    """The sets whose images have boxes: a detector of boxes alone has no other classes."""
    return tuple(each for each in data.sets if LAYOUTS[each[0]].teaches != "image labels")


def _in_cells(priors: Priors, side: float) -> Priors:
    """Priors relative to the input as grid cells."""
    return tuple((round(width * side, 5), round(height * side, 5)) for width, height in priors)


def _multiple(side: float) -> int:
    """The multiple of 32 next to a side in pixels."""
    return 32 * round(side / 32)


def _modern(width: float) -> str:
    """A backbone of timm's that costs about as much as Darknet-19 of this width."""
    # MobileNetV4 has as many operations as FasterNet, but on a CPU depthwise convolutions take four times as long
    return "timm:fasternet_t0" if width < 0.5 else "timm:convnext_nano"


def _value(config: Any, way: str) -> Any:
    for name in way.split("."):
        config = getattr(config, name)
    return config
