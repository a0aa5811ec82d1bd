"""Presets and recipes: the numbers that runs begin with, and what does not fit each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args, get_type_hints

import pytest
from torch import nn

from yolo9000.detection.config import RECIPES
from yolo9000.experiment.config import DataConfig, Joint, NetConfig, PlanConfig, RunConfig
from yolo9000.experiment.config_file import override
from yolo9000.experiment.plan import what_does_not_fit
from yolo9000.experiment.presets import PRESETS, SHORT_NAMES, joint_recipe, preset_for
from yolo9000.models.config import DetectorConfig
from yolo9000.runtime.mistakes import Mistake
from yolo9000.train import Beginning
from yolo9000.training.phases import Phase

PHOTOGRAPHS = (("coco", "C"), ("imagenet", "I"))


@pytest.mark.parametrize(("field", "names"), [("preset", PRESETS | SHORT_NAMES), ("recipe", RECIPES)])
def test_the_names_that_the_command_takes(field: str, names: dict[str, Any]) -> None:
    choices = [each for each in get_args(get_type_hints(Beginning)[field]) if each is not type(None)]
    assert [get_args(each) for each in choices if each is not Literal] == [tuple(names)]


@pytest.mark.parametrize(
    ("recipe", "mosaic", "ratio"),
    [("mil", 0.7, (1, 1)), *((name, 0.0, (4, 1)) for name in RECIPES if name != "mil")],
)
def test_what_a_recipe_mixes(recipe: str, mosaic: float, ratio: tuple[int, int]) -> None:
    joint = joint_recipe(recipe)
    assert (joint.mosaic, joint.ratio, joint.boxes_first, joint.enabled) == (mosaic, ratio, 0, True)
    assert joint.image_labels == RECIPES[recipe]


def test_the_paper_is_its_fair_reading() -> None:
    paper, literal = RECIPES["paper"], RECIPES["paper-literal"]
    assert (paper.pick, paper.objectness, paper.spread) == ("objectness_label", "floor", "picked")
    assert (literal.pick, literal.objectness, literal.spread) == ("label", "floor", "picked")


@pytest.mark.parametrize(
    ("sets", "options", "expected"),  # size, steps as a classifier, steps, epochs' worth of burn-in, optimizer
    [
        ((), {}, (96, 300, 800, 50, "adamw")),
        ((("tiles", "T"),), {}, (96, 300, 800, 50, "adamw")),
        (PHOTOGRAPHS, {}, (416, 100_000, 100_000, 1000, "sgd")),
        ((("coco", "C"),), {}, (416, 0, 100_000, 1000, "sgd")),  # nothing to classify
        (PHOTOGRAPHS, {"started": True}, (416, 0, 100_000, 1000, "sgd")),
        (PHOTOGRAPHS, {"name": "small-photographs"}, (160, 2000, 1500, 100, "adamw")),
        (PHOTOGRAPHS, {"name": "paper"}, (416, 3_200_000, 500_200, 1000, "sgd")),
    ],
)
def test_what_a_run_begins_with(
    sets: tuple[tuple[str, str], ...], options: dict[str, Any], expected: tuple[object, ...]
) -> None:
    config = preset_for(sets, **options)
    plan, optimiser = config.plan, config.optimiser
    found = (plan.size, plan.classification_steps, plan.steps, optimiser.burn_in, optimiser.optimizer)
    assert found == expected
    assert config.data.sets == sets
    assert not plan.joint.enabled


def test_a_preset_with_another_recipe() -> None:
    assert PRESETS["paper"].plan.joint.image_labels == RECIPES["paper"]
    assert preset_for(PHOTOGRAPHS, name="paper", recipe="mil").plan.joint.mosaic == 0.7
    assert preset_for(PHOTOGRAPHS, name="paper", recipe="mil").plan.multi_scale
    with pytest.raises(Mistake, match="`recipe` 'yolo': mil, paper"):
        preset_for((), recipe="yolo")


def phases_of(config: RunConfig) -> Sequence[Phase]:
    """As `plan_phases` makes them, without data."""
    plan = config.plan
    named = (
        ("classification", plan.classification_steps, config.classification_optimiser),
        ("detection", plan.joint.boxes_first, config.optimiser),
        ("joint" if plan.joint.enabled else "boxes", plan.steps, config.optimiser),
    )
    return [
        Phase(
            name=name, steps=steps, model=nn.Identity(), loss=lambda *_: {}, batches=lambda _: (), optimiser=optimiser
        )
        for name, steps, optimiser in named
        if steps
    ]


def warnings_of(config: RunConfig, *, started: bool = False) -> list[str]:
    return what_does_not_fit(config, phases_of(config), started=started)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("joint", [True, False])
def test_the_numbers_of_a_preset_fit(name: str, joint: bool) -> None:
    assert warnings_of(override(PRESETS[name], {"plan.joint.enabled": joint})) == []


def test_a_burn_in_that_outlasts_the_phase() -> None:
    plan = PlanConfig(classification_steps=2000, steps=500)
    (said,) = warnings_of(RunConfig(plan=plan))
    # a sixteenth of .001
    assert said.startswith("`burn_in` 1,000: the learning rate rises for longer than the 500 steps of the phase")
    assert "the phase joint, and ends at 6.3e-05 of 0.001" in said
    assert said.endswith("of 0.001, so that little is learnt; say `burn_in` 50, or take `preset` small for little data")
    (said,) = warnings_of(override(RunConfig(plan=plan), {"optimiser.burn_in": 375}))
    assert said.startswith("`burn_in` 375: the learning rate rises for 75% of the 500 steps of the phase joint; say")
    assert warnings_of(override(RunConfig(plan=plan), {"optimiser.burn_in": 250})) == []


def test_a_loss_that_takes_for_background_what_a_set_does_not_label() -> None:
    def said(boxes: int, head: str = "anchors", **net: object) -> list[str]:
        data = DataConfig(sets=(("coco", "a"), ("voc", "b"), ("imagenet", "c"))[-boxes - 1 :])
        changed = NetConfig(detector=DetectorConfig(head=head), **net)  # type: ignore[arg-type]
        config = RunConfig(data=data, net=changed, plan=PlanConfig(joint=Joint(enabled=False)))
        config = override(config, {"optimiser.burn_in": 0})
        return what_does_not_fit(config, phases_of(config), started=True)

    assert said(2, head="grid") == [
        "`head` grid: what one of the 2 sets with boxes does not label is background in its images, also where it is a "
        "class of another set; the `head` anchors with the `loss` darknet leaves it alone"
    ]
    assert said(2, loss="slides", flat=True)[0].startswith("`loss` slides: what one of the 2 sets")
    assert said(1, head="connected") == said(2) == []


def test_steps_that_do_not_fit_the_number_of_images() -> None:
    plan = PlanConfig(steps=2000, joint=Joint(enabled=False))

    def said(images: int, **plan_changes: object) -> list[str]:
        config = RunConfig(plan=replace(plan, **plan_changes))  # type: ignore[arg-type]
        return what_does_not_fit(config, phases_of(config), started=True, images={"boxes": images})

    # 2,000 batches of 64 show 128,000 images
    assert said(128_001) == [
        "`steps` 2,000: in batches of 64 they show 128,000 of the 128,001 images with boxes; 2,001 steps show each once"
    ]
    assert said(128_000) == said(427) == said(0) == []
    assert said(64) == [
        "`steps` 2,000: they show each of the 64 images with boxes 2,000 times; say `steps` 100, or take `preset` "
        "small for little data"
    ]
    # half of each batch are images with a label
    assert "show 64,000 of the 100,000 images with boxes; 3,125 steps" in said(100_000, joint=Joint())[0]


def test_a_short_name_of_a_preset() -> None:
    assert preset_for(PHOTOGRAPHS, name="small") == preset_for(PHOTOGRAPHS, name="small-photographs")


def test_image_labels_for_a_net_that_knows_nothing() -> None:
    config = RunConfig(plan=PlanConfig(steps=5000))
    (said,) = warnings_of(config)
    assert "P(label), which a net from random weights does not know" in said
    assert "`classification_steps`" in said
    assert "`init`" in said
    assert warnings_of(config, started=True) == []
    assert warnings_of(override(config, {"plan.classification_steps": 2000})) == []
    assert warnings_of(override(config, {"plan.joint.enabled": False})) == []
    # a recipe that goes by objectness or by place needs no such knowledge
    assert warnings_of(override(config, {"plan.joint": joint_recipe("constant")})) == []
    assert len(warnings_of(override(config, {"plan.joint": joint_recipe("paper")}))) == 1
