"""A checkpoint is enough to rebuild the detector, and does not pass for what it is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from wordtree import TreeMismatch, WordTree, save_tree
from yolo9000.inference.model import (
    checkpoint_of,
    describe_model,
    initialise_classifier,
    initialise_detector,
    load_detector,
    load_model,
    start_from_classifier,
)
from yolo9000.inference.nets import build_detector, build_model, region_of
from yolo9000.inference.same_classes import check_same_classes
from yolo9000.models import (
    BoxCoding,
    Classifier,
    Darknet19,
    Detector,
    DetectorConfig,
    FlatClasses,
    LossConfig,
    RegionSpec,
    TreeClasses,
)
from yolo9000.models.classes import Classes
from yolo9000.runtime.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.run_folder import RunFolder

PETS = WordTree(
    ("n1", "n2", "n3"),
    ("animal", "dog", "cat"),
    (-1, 0, 0),
    ("animal.n.01", None, "cat.n.01"),
    (("beast",), (), ()),
    rest="only_child",
    label_maps={"pets": {"Cat": 2, "Dog": 1}},
    root="entity.n.01",
    notes={"made": ["by", "hand"]},
)


def change(run: RunFolder, **content: Any) -> None:
    save_checkpoint(run.last, {**load_checkpoint(run.last), **content})


def test_everything_comes_back(run: RunFolder) -> None:
    trained = load_detector(run.path)
    assert (trained.size, trained.boxed, trained.never_boxed, trained.step) == (64, (3,), (4,), 5)
    assert trained.spec.classes.tree is not None
    assert trained.spec.classes.tree.names[5] == "poodle"
    assert trained.spec.coding.priors == ((1.0, 1.0), (2.0, 2.0))
    assert not trained.detector.training
    assert load_detector(run.last).step == 5  # the file itself


def test_a_size_that_its_cells_do_not_divide_is_refused(run: RunFolder) -> None:
    """Whether it is wanted, or that of a checkpoint of before trainings looked at it."""
    trained = load_detector(run.path)
    assert (trained.input_size(), trained.input_size(96)) == (64, 96)
    with pytest.raises(Mistake, match=r"`size` 80: .* has cells of 32 pixels; take a multiple"):
        trained.input_size(80)
    with pytest.raises(Mistake, match=r"`size` 48: .* has cells of 32 pixels; take a multiple"):
        dataclasses.replace(trained, size=48).input_size()


def test_the_tree_keeps_everything(tmp_path: Path) -> None:
    region = RegionSpec(coding=BoxCoding(((1.0, 1.0),)), classes=TreeClasses(PETS), loss=LossConfig(thresh=0.25))
    save_checkpoint(tmp_path / "a.pt", describe_model(Detector(DetectorConfig(width=0.05), region), size=416))
    back = region_of(load_checkpoint(tmp_path / "a.pt")["detector"]["region"])
    assert back == region
    assert list(back.classes.label_maps["pets"]) == ["Cat", "Dog"]


def test_averaged_weights_are_preferred(run: RunFolder) -> None:
    state = load_checkpoint(run.last)["model"]
    change(run, average={"updates": 1, "model": {name: torch.zeros_like(value) for name, value in state.items()}})
    assert load_detector(run.path).detector.head.class_weight.abs().max() == 0
    assert load_detector(run.path, averaged=False).detector.head.class_weight.abs().max() > 0


def test_an_exchanged_tree_file_is_noticed(run: RunFolder) -> None:
    save_tree(PETS, run.tree)
    with pytest.raises(TreeMismatch, match="trained on a tree of 6 nodes, this one has 3"):
        load_detector(run.path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wnids": ("n1", "n9", "n3")}, "node 1 has the id n2 there and n9 here"),
        ({"parents": (-1, 0, 1)}, "node 2 has the parent 0 there and 1 here"),
        ({"rest": "none"}, "trained with rest='only_child', this tree has 'none'"),
    ],
)
def test_trees_of_one_size_that_differ(changes: dict[str, Any], message: str) -> None:
    ours = TreeClasses(PETS)
    check_same_classes(TreeClasses(dataclasses.replace(PETS, names=("a", "b", "c"))), ours, "last.pt")  # no logits
    with pytest.raises(TreeMismatch, match=message):
        check_same_classes(TreeClasses(dataclasses.replace(PETS, **changes)), ours, "last.pt")


def test_a_tree_and_none(run: RunFolder) -> None:
    with pytest.raises(TreeMismatch, match=r"last\.pt has no tree, but a tree is used here"):
        check_same_classes(TreeClasses(PETS), FlatClasses(3), "last.pt")
    check_same_classes(FlatClasses(3), FlatClasses(3), "last.pt")


def test_flat_classes_that_differ() -> None:
    ours = FlatClasses(2, names=("cat", "dog"))
    check_same_classes(ours, FlatClasses(2), "last.pt")  # it says nothing of its classes but their number
    with pytest.raises(TreeMismatch, match=r"last\.pt has 3 classes, here are 2"):
        check_same_classes(ours, FlatClasses(3), "last.pt")
    with pytest.raises(TreeMismatch, match=r"last\.pt: its class 0 is dog, and cat here"):
        check_same_classes(ours, FlatClasses(2, names=("dog", "cat")), "last.pt")


def test_classification_phase_has_no_detector_yet(run: RunFolder) -> None:
    classifier = Classifier(DetectorConfig(width=0.05), FlatClasses(6))
    change(run, net=classifier.description, model=classifier.state_dict())
    with pytest.raises(CheckpointError, match="no detector yet.*`resume`.*`init`"):
        load_detector(run.path)


def test_where_a_checkpoint_is_looked_for(run: RunFolder, tmp_path: Path) -> None:
    assert checkpoint_of(run.path) == run.last
    with pytest.raises(CheckpointError, match=r"looked for best\.pt, found last\.pt"):
        checkpoint_of(run.path, best=True)
    with pytest.raises(CheckpointError, match="no such run"):
        checkpoint_of(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="did you mean .*run0"):
        checkpoint_of(run.path.parent)  # one level too high


def test_initialising_needs_the_same_net(run: RunFolder) -> None:
    trained = load_detector(run.path)
    new = Detector(trained.detector.config, trained.spec)
    assert initialise_detector(new, trained) == []
    assert torch.equal(new.head.class_weight, trained.detector.head.class_weight)
    with pytest.raises(CheckpointError, match="a net of the form"):
        initialise_detector(Detector(DetectorConfig(width=0.1), trained.spec), trained)
    other_priors = dataclasses.replace(trained.spec, coding=BoxCoding(((3.0, 3.0), (2.0, 2.0))))
    with pytest.raises(CheckpointError, match="its boxes are"):
        initialise_detector(Detector(trained.detector.config, other_priors), trained)


def test_initialising_over_another_tree_says_what_was_carried_over(run: RunFolder) -> None:
    trained = load_detector(run.path)
    other_tree = RegionSpec(coding=BoxCoding(trained.spec.coding.priors), classes=TreeClasses(PETS))
    notes = initialise_detector(Detector(trained.detector.config, other_tree), trained)
    assert notes[0] == f"{run.last}: another tree; 3 of its 6 nodes are carried over"
    assert "3 nodes are dropped: cat, car, poodle" in notes


def test_published_weights_are_not_fetched_again_for_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm", reason="the extra backbones is not installed")
    asked = []
    monkeypatch.setattr(
        "yolo9000.models.backbones.TimmBackbone",
        lambda *_, pretrained: asked.append(pretrained) or Darknet19(0.05),
    )
    config = DetectorConfig(backbone="timm:resnet10t", pretrained=True)
    net = Classifier(config, FlatClasses(2))
    assert build_model(net.description).description["config"]["backbone"] == "timm:resnet10t"
    assert asked == [True, False]


def test_freezing_is_no_other_net(run: RunFolder) -> None:
    trained = load_detector(run.path)
    frozen = dataclasses.replace(trained.detector.config, frozen_stages=2)
    assert initialise_detector(Detector(frozen, trained.spec), trained) == []


def classifier_of(run: RunFolder, config: DetectorConfig, classes: Classes) -> Classifier:
    classifier = Classifier(config, classes)
    change(run, net=classifier.description, model=classifier.state_dict())
    return classifier


def test_what_a_detector_takes_of_a_classifier_and_what_starts_anew(run: RunFolder) -> None:
    trained = load_detector(run.path)
    config, classes = trained.detector.config, trained.classes
    given = classifier_of(run, config, classes)
    start = load_model(run.path)
    plain = Detector(config, trained.spec)
    taken = f"backbone and class rows of the classifier {run.last}, after 5 steps; what starts anew: box rows"
    assert start_from_classifier(plain, start) == [taken]
    form = dataclasses.replace(config, passthrough=True, extra_convs=2)
    fine = Detector(form, trained.spec)
    (said,) = start_from_classifier(fine, start)
    assert said == (
        f"backbone of the classifier {run.last}, after 5 steps; what starts anew: "
        "extra convolutions, passthrough, merging convolution, head"
    )
    for name, value in given.backbone.state_dict().items():
        assert torch.equal(fine.backbone.state_dict()[name], value)
    with pytest.raises(CheckpointError, match="give `backbone`, `width`, `stride`"):
        start_from_classifier(Detector(dataclasses.replace(config, width=0.1), trained.spec), start)


def test_what_a_classifier_starts_from(run: RunFolder) -> None:
    detector = load_detector(run.path)
    config, classes = detector.detector.config, detector.classes
    new = Classifier(config, classes)
    before = new.last.weight.detach().clone()
    (said,) = initialise_classifier(new, detector)
    assert said == f"backbone of the detector {run.last}, after 5 steps; the last layer starts anew"
    assert torch.equal(new.last.weight, before)

    given = classifier_of(run, config, classes)
    (said,) = initialise_classifier(new, load_model(run.path))
    assert said == f"all layers of the classifier {run.last}, after 5 steps"
    assert torch.equal(new.last.weight, given.last.weight)

    # PETS has animal, dog and another node; a tree of other ids has nothing in common
    pets = Classifier(config, TreeClasses(PETS))
    notes = initialise_classifier(pets, load_model(run.path))
    assert notes[1] == f"{run.last}: another tree; 3 of its 6 nodes are carried over"
    strangers = TreeClasses(WordTree(("x1", "x2"), ("x", "y"), (-1, -1)))
    (said,) = initialise_classifier(Classifier(config, strangers), load_model(run.path))
    assert said.endswith("whose classes are others; the last layer starts anew")
    with pytest.raises(CheckpointError, match="give `backbone`, `width` and `stride`"):
        initialise_classifier(Classifier(dataclasses.replace(config, width=0.1), classes), load_model(run.path))


@pytest.mark.parametrize("head", ["grid", "connected"])
def test_a_head_and_its_numbers_go_together(head: Any, region: RegionSpec) -> None:
    form = DetectorConfig(width=0.05, head=head)
    assert not form.has_priors
    with pytest.raises(ValueError, match=f"a head '{head}' does not give the numbers of a RegionSpec"):
        build_detector(form, region, 64)
    assert DetectorConfig().has_priors
