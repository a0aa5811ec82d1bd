"""Whole configurations to start from, and the named recipes of joint training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from yolo9000.detection.config import DEFAULT_RECIPE, find_recipe
from yolo9000.experiment.config import DataConfig, Joint, NetConfig, PlanConfig, RunConfig
from yolo9000.models.config import DetectorConfig
from yolo9000.training.config import OptimiserConfig, TrainConfig

_EVEN_MIX = ("mil",)
"""Recipes whose mosaics and even mix are their own. The paper shows four images with a label, whole, to one with
boxes."""


def joint_recipe(name: str = DEFAULT_RECIPE) -> Joint:
    """How a named recipe mixes image labels with boxes, and what they teach.

    Parameters
    ----------
    name : str
        A name of `yolo9000.detection.RECIPES`.

    Returns
    -------
    Joint

    Raises
    ------
    Mistake
        There is none of that name.

    Examples
    --------
    >>> joint_recipe("mil").mosaic, joint_recipe("paper").mosaic, joint_recipe("paper").ratio
    (0.7, 0.0, (4, 1))
    """
    labels = find_recipe(name)
    return Joint(image_labels=labels) if name in _EVEN_MIX else Joint(image_labels=labels, mosaic=0.0, ratio=(4, 1))


_BOXES_ALONE = Joint(enabled=False)  # `enabled` is what --joint turns on

SCENES = RunConfig(
    data=DataConfig(val_images=300),
    plan=PlanConfig(
        classification_steps=300,
        steps=800,
        joint=_BOXES_ALONE,
        size=96,
        classification_size=96,
        classification_learning_rate=2e-3,
    ),
    net=NetConfig(detector=DetectorConfig(width=0.25, stride=16, batch_norm_momentum=0.1)),
    optimiser=OptimiserConfig(optimizer="adamw", learning_rate=2e-3, weight_decay=0.02, schedule="cosine", burn_in=50),
    train=TrainConfig(batch_size=32, precision=None, ema_decay=0.99, save_every=500),
)
"""Drawn scenes of pictograms or tiles, in minutes on two processor cores."""

SMALL_PHOTOGRAPHS = RunConfig(
    data=DataConfig(val_images=300),
    plan=PlanConfig(
        classification_steps=2000,
        steps=1500,
        joint=_BOXES_ALONE,
        size=160,
        classification_size=96,
        classification_learning_rate=2e-3,
    ),
    net=NetConfig(detector=DetectorConfig(width=0.25, stride=16, batch_norm_momentum=0.1), priors=5),
    optimiser=OptimiserConfig(optimizer="adamw", learning_rate=2e-3, weight_decay=0.02, schedule="cosine", burn_in=100),
    train=TrainConfig(batch_size=32, precision=None, ema_decay=0.99, evaluate_every=500, save_every=500),
)
"""Thousands of photographs, in tens of minutes on two processor cores; or fine-tuning of such a net, in minutes."""

PHOTOGRAPHS = RunConfig(
    data=DataConfig(val_images=2000),
    plan=PlanConfig(classification_steps=100_000, steps=100_000, joint=_BOXES_ALONE),
    train=TrainConfig(precision=None, evaluate_every=5000, save_every=500),
)
"""Hundred thousands of photographs at full scale, in days on a GPU: the paper's net, darknet's optimiser."""

PAPER = replace(
    PHOTOGRAPHS,
    plan=PlanConfig(
        classification_steps=3_200_000,
        steps=500_200,
        joint=replace(joint_recipe("paper"), enabled=False),
        multi_scale=True,
    ),
)
"""YOLO9000 as it was published: 160 epochs of ImageNet's 1,281,167 images as a classifier, in batches of 64, then
yolo9000.cfg's 500,200 steps at many scales, with the paper's reading of image labels."""

PRESETS: dict[str, RunConfig] = {
    "scenes": SCENES,
    "small-photographs": SMALL_PHOTOGRAPHS,
    "photographs": PHOTOGRAPHS,
    "paper": PAPER,
}
"""Every preset by the name that ``--preset`` takes."""
SHORT_NAMES = {"small": "small-photographs"}
"""Other names that it takes."""


_NO_DETECTOR: dict[str, Any] = {"steps": 0, "joint": _BOXES_ALONE}

CLASSIFIERS: dict[str, RunConfig] = {
    "scenes": replace(
        SCENES,
        plan=PlanConfig(
            **_NO_DETECTOR, classification_steps=300, classification_size=96, classification_learning_rate=2e-3
        ),
        train=replace(SCENES.train, best_score="top1"),
    ),
    "small": replace(
        SMALL_PHOTOGRAPHS,
        plan=PlanConfig(
            **_NO_DETECTOR,
            classification_steps=2000,
            classification_size=96,
            classification_learning_rate=2e-3,
            fine_tuning_steps=200,
            fine_tuning_size=160,
            fine_tuning_learning_rate=2e-4,
        ),
        train=replace(SMALL_PHOTOGRAPHS.train, best_score="top1"),
    ),
    "paper": replace(
        PHOTOGRAPHS,
        plan=PlanConfig(**_NO_DETECTOR, classification_steps=3_200_000, fine_tuning_steps=200_000),
        optimiser=OptimiserConfig(schedule="poly"),
        train=replace(PHOTOGRAPHS.train, best_score="top1"),
    ),
}
"""Every preset of a classifier by name. ``scenes`` and ``small`` end in minutes on two processor cores. ``paper`` is
section 2's schedule on ImageNet's 1,281,167 images in batches of 64: 160 epochs at 224 pixels, at a rate of .1 that
falls with the fourth power (darknet), then 10 epochs at 448 pixels, at .001."""


def classifier_preset_for(sets: tuple[tuple[str, str], ...], name: str | None = None) -> RunConfig:
    """The configuration that the training of a classifier begins with.

    Parameters
    ----------
    sets : tuple of (str, str)
        As `DataConfig.sets`. Where no preset is named, drawn scenes and tiles take ``scenes``, photographs ``paper``.
    name : str, optional
        A name of `CLASSIFIERS`.

    Returns
    -------
    RunConfig

    Raises
    ------
    Mistake
        The sets do not go together.

    Examples
    --------
    >>> plan = classifier_preset_for((("imagenet", "DIR"),)).plan
    >>> plan.classification_size, plan.fine_tuning_size, plan.steps
    (224, 448, 0)
    """
    data = DataConfig(sets=sets)
    config = CLASSIFIERS[name or ("scenes" if data.is_embedded or data.drawn_from is not None else "paper")]
    return replace(config, data=replace(config.data, sets=sets))


def preset_for(
    sets: tuple[tuple[str, str], ...], *, name: str | None = None, recipe: str | None = None, started: bool = False
) -> RunConfig:
    """The configuration that a run of some data begins with.

    Parameters
    ----------
    sets : tuple of (str, str)
        As `DataConfig.sets`. They decide where no preset is named: drawn scenes take ``scenes``, photographs take
        ``photographs``.
    name : str, optional
        A name of `PRESETS` or `SHORT_NAMES`.
    recipe : str, optional
        A recipe in place of the preset's own, see `joint_recipe`.
    started : bool
        The net starts from weights that are there, or has another form than ours: it needs no classification start.

    Returns
    -------
    RunConfig

    Raises
    ------
    Mistake
        The sets do not go together, or there is no such recipe.

    Examples
    --------
    >>> preset_for(()).plan.size, preset_for((("coco", "COCO_DIR"),)).plan.size
    (96, 416)
    """
    data = DataConfig(sets=sets)
    drawn = data.is_embedded or data.drawn_from is not None
    config = PRESETS[SHORT_NAMES.get(name or "", name) or ("scenes" if drawn else "photographs")]
    plan = config.plan
    if recipe is not None:
        plan = replace(plan, joint=replace(joint_recipe(recipe), enabled=plan.joint.enabled))
    if started or not data.has_image_labels:
        plan = replace(plan, classification_steps=0)
    return replace(config, plan=plan, data=replace(config.data, sets=sets))
