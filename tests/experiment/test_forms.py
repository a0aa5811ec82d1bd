"""Rungs of the ladder as fields: what each changes in a run, and which do not go together."""

from __future__ import annotations

from typing import Any

import pytest

from wordtree import WordTree
from yolo9000.experiment.assemble import assemble
from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.config_file import override
from yolo9000.experiment.labels import without_tree
from yolo9000.experiment.plan import check_loss
from yolo9000.experiment.presets import SCENES
from yolo9000.models import FlatClasses, TreeClasses
from yolo9000.runtime.distributed import Processes
from yolo9000.runtime.mistakes import Mistake

BASE = override(
    SCENES,
    {
        "data.val_images": 4,
        "plan.size": 64,
        "plan.classification_size": 32,
        "net.detector.width": 0.05,
        "net.priors": 2,
    },
)
CONNECTED: dict[str, Any] = {"net.detector.head": "connected", "net.detector.stride": 32}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({**CONNECTED, "plan.multi_scale": True}, "`multi_scale`: the fully connected"),
        ({**CONNECTED, "plan.evaluation_size": 96}, "`evaluation_size`: the fully connected"),
        ({**CONNECTED, "plan.joint.enabled": True}, "`joint`: an image label"),
        ({**CONNECTED, "net.location": "unconstrained"}, "`location` unconstrained is relative to priors"),
        ({**CONNECTED, "net.loss": "slides"}, "`loss` slides is of the head anchors"),
        ({**CONNECTED, "net.detector.share_class_rows": True}, "`share_class_rows`"),
        ({"net.loss": "paper"}, "`loss` paper is of the heads grid and connected"),
        ({"net.loss": "slides", "net.flat": True, "plan.joint.enabled": True}, "`joint`: the `loss` slides"),
        ({"net.loss": "slides"}, "`loss` slides .* `flat`"),
        ({"net.detector.stride": 64}, "`stride` 64: one of `extra_convs`"),
        ({"net.detector.stride": 64, "net.detector.extra_convs": 1, "plan.size": 96}, "`size`: 96 is no multiple"),
        (
            {
                "net.detector.stride": 64,
                "net.detector.extra_convs": 1,
                "plan.size": 448,
                "plan.evaluation_size": 480,
            },
            "`evaluation_size`: 480 is no multiple of the `stride` 64",
        ),
        ({"net.detector.backbone": "vgg"}, "`backbone` vgg"),
        ({"net.detector.pretrained": True}, "`pretrained`"),
        ({"plan.classification_steps": 0, "plan.fine_tuning_steps": 5}, "`fine_tuning_steps` go on"),
        ({"plan.fine_tuning_size": 100}, "`fine_tuning_size` 100"),
        ({"net.cfg": "yolov2-tiny", "net.flat": True}, "`flat` is of a net of ours"),
        ({"net.cfg": "yolov2-tiny", "net.location": "unconstrained"}, "`location` is of a net of ours"),
        ({"data.val": "instances.json"}, "`val` holds out photographs"),
        ({"data.val": "instances.json", "data.sets": (("imagenet", "I"),)}, "`val` holds out photographs"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Mistake, match=message):
        override(BASE, changes)


def test_two_changes_that_are_right_together_alone() -> None:
    """`head` connected with one size; the order in which the changes are named does not matter."""
    base = override(BASE, {"plan.multi_scale": True})
    changed = override(base, {**CONNECTED, "plan.multi_scale": False, "net.loss": "paper"})
    assert changed == override(base, {"net.loss": "paper", "plan.multi_scale": False, **CONNECTED})
    assert changed.net.loss == "paper"


def test_a_classifier_is_fine_tuned_at_another_size_and_rate_before_detection() -> None:
    config = override(
        BASE,
        {"plan.fine_tuning_steps": 3, "plan.fine_tuning_size": 96, "plan.fine_tuning_learning_rate": 0.5},
    )
    phases = assemble(config).phases
    assert [(phase.name, phase.steps) for phase in phases] == [
        ("classification", 300), ("fine-tuning", 3), ("boxes", 800),
    ]  # fmt: skip
    assert phases[0].model is phases[1].model
    assert phases[1].optimiser.learning_rate == 0.5
    assert [next(iter(phase.batches(0))).images.shape[-1] for phase in phases] == [32, 96, 64]


def test_flat_classes_are_the_labels_beside_each_other() -> None:
    flat = assemble(override(BASE, {"net.flat": True})).detector.classes
    tree = assemble(BASE).detector.classes
    assert isinstance(flat, TreeClasses)
    assert isinstance(tree, TreeClasses)
    assert (flat.number, len(flat.tree.group_sizes)) == (126, 1)
    assert tree.number > 126
    assert set(flat.tree.label_maps["scenes"]) == set(tree.tree.label_maps["scenes"])


def test_names_that_stand_for_two_things_are_told_apart() -> None:
    maps = {"farm": {"bank": 1, "money bank": 2}}
    tree = WordTree(("a", "b", "c"), ("thing", "bank", "bank"), (-1, 0, 0), label_maps=maps)
    flat = without_tree(TreeClasses(tree), "linear")
    assert isinstance(flat, FlatClasses)
    assert flat.names == ("bank (b)", "bank (c)")
    assert flat.label_maps == {"farm": {"bank": 0, "money bank": 1}}
    assert flat.identity(1) == {"id": "c", "name": "bank (c)"}


def test_a_detector_is_evaluated_and_used_at_the_evaluation_size() -> None:
    assembly = assemble(override(BASE, {"plan.evaluation_size": 96}))
    assert assembly.description["size"] == 96
    assert assemble(BASE).description["size"] == 64


def test_hand_picked_priors_grow_with_the_grid() -> None:
    """The largest one, 512 x 512 pixels of an image of 800, is .64 of the input: 2.56 cells of 16 pixels, of 64."""
    coding = assemble(override(BASE, {"net.priors": "hand-picked"})).detector.spec.description["coding"]
    assert len(coding["priors"]) == 9
    assert [2.56, 2.56] in [[round(side, 3) for side in prior] for prior in coding["priors"]]


def test_unconstrained_locations_and_other_losses_reach_the_net() -> None:
    config = override(BASE, {"net.location": "unconstrained", "net.loss": "slides", "net.flat": True})
    region = assemble(config).detector.spec.description
    assert region["coding"]["kind"] == "unconstrained"
    assert region["loss"]["form"] == "slides"
    assert isinstance(config, RunConfig)


@pytest.mark.parametrize(
    ("changes", "processes", "message"),
    [
        ({"train.accumulate": 2}, 1, "`loss` slides .* `accumulate` 2 .*; take `accumulate` 1"),
        ({"train.exact": 4}, 1, "`loss` slides .* `exact` 4 .*; take `exact` 0"),
        ({}, 2, "`loss` slides .* 2 processes .*; train in one"),
    ],
)
def test_a_loss_that_needs_the_whole_update_gets_no_parts(
    changes: dict[str, Any], processes: int, message: str
) -> None:
    several, slides = Processes(rank=0, world_size=processes), {"net.loss": "slides", "net.flat": True}
    with pytest.raises(Mistake, match=message):
        assemble(override(BASE, {**slides, **changes}), processes=several)
    check_loss(override(BASE, slides), 1)
    check_loss(override(BASE, {"net.flat": True, **changes}), processes)
