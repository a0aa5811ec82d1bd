"""The three meanings of class channels: by hand, there and back through a description, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from wordtree import UnknownName, WordTree
from yolo9000.darknet import name_classes
from yolo9000.inference.nets import classes_of
from yolo9000.models import BoxCoding, Classes, DenseRegionOutput, FlatClasses, TreeClasses
from yolo9000.models.class_names import find_classes
from yolo9000.runtime.mistakes import Mistake

# animal (dog, cat), tool
TREE = WordTree(("a", "t", "d", "c"), ("animal", "tool", "dog", "cat"), (-1, -1, 0, 0))
LOGITS = torch.tensor([[math.log(3.0), 0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("classes", "probabilities", "conditionals"),
    [
        (TreeClasses(TREE), [0.75, 0.25, 0.375, 0.375], [0.75, 0.25, 0.5, 0.5]),
        (FlatClasses(4), [0.5, 1 / 6, 1 / 6, 1 / 6], [0.5, 1 / 6, 1 / 6, 1 / 6]),
        (FlatClasses(4, "sigmoid"), [0.75, 0.5, 0.5, 0.5], [0.75, 0.5, 0.5, 0.5]),
    ],
)
def test_probabilities_by_hand(classes: Classes, probabilities: list[float], conditionals: list[float]) -> None:
    expected = torch.tensor([probabilities])
    torch.testing.assert_close(classes.probabilities(LOGITS), expected)
    torch.testing.assert_close(classes.log_probabilities(LOGITS), expected.log())
    torch.testing.assert_close(classes.conditionals(LOGITS), torch.tensor([conditionals]))
    output = DenseRegionOutput(torch.cat([torch.zeros(1, 5), LOGITS], dim=1)[:, :, None, None], BoxCoding(((1, 1),)))
    labels = torch.tensor([0, 2])
    read = classes.label_reader(output, labels)
    two = read(torch.tensor([0]), torch.tensor([0, 0]), torch.tensor([0, 1]))
    torch.testing.assert_close(two, expected[0, labels].log())
    best = classes.best_labels(output, torch.tensor([0]), 0.5)
    assert (best.nodes.tolist(), best.probabilities.tolist()) == ([0], [pytest.approx(probabilities[0])])


@pytest.mark.parametrize(
    ("classes", "loss"),
    [
        (TreeClasses(TREE), -math.log(0.375)),
        (FlatClasses(4), math.log(6)),
        (FlatClasses(4, "sigmoid"), math.log(4) + 3 * math.log(2)),  # the first is wrongly sure, the others undecided
    ],
)
def test_the_loss_of_an_image_label_by_hand(classes: Classes, loss: float) -> None:
    assert classes.image_loss(LOGITS, torch.tensor([2])).item() == pytest.approx(loss, rel=1e-5)


def test_names() -> None:
    assert TreeClasses(TREE).identity(3) == {"id": "c", "name": "cat"}
    assert FlatClasses(2, names=("x", "y")).identity(1) == {"name": "y"}
    assert (FlatClasses(2).identity(1), FlatClasses(2).name(1)) == ({}, "1")


def test_classes_without_names_are_named_by_their_numbers() -> None:
    classes = FlatClasses(4)
    assert find_classes(classes, ["3", 0]) == (3, 0)
    with pytest.raises(UnknownName, match="4 is no class: they are 0 to 3"):
        find_classes(classes, "4")
    for name in ("dog", "\u00b2"):
        with pytest.raises(UnknownName, match="the 4 classes have no names; give a number, or name them"):
            find_classes(classes, name)


@pytest.mark.parametrize(
    "classes",
    [TreeClasses(TREE, map=(2, 3)), FlatClasses(2), FlatClasses(2, "sigmoid", names=("x", "y"), map=(1, 0))],
)
def test_a_description_brings_them_back(classes: Classes) -> None:
    assert classes_of(classes.description) == classes


@pytest.mark.parametrize(
    ("number", "values", "message"),
    [
        (0, {}, "at least 1"),
        (2, {"over": "other"}, "softmax, sigmoid or linear"),
        (2, {"names": ("x",)}, "1 names for 2 classes"),
        (2, {"names": ("x", "x")}, "x stands there more than once"),
        (2, {"map": (2,)}, r"\[2\] are outside 0\.\.1"),
    ],
)
def test_what_cannot_be_is_refused(number: int, values: dict[str, Any], message: str) -> None:
    with pytest.raises(Mistake, match=message):
        FlatClasses(number, **values)


def test_what_a_person_says_of_the_classes_of_a_cfg() -> None:
    assert name_classes(FlatClasses(80)).name(2) == "car"
    assert name_classes(FlatClasses(20, "sigmoid")).name(0) == "aeroplane"
    assert name_classes(FlatClasses(3, map=(1,))) == FlatClasses(3)
    assert name_classes(FlatClasses(4), tree=TREE) == TreeClasses(TREE)
    for classes, given, message in (
        (TreeClasses(TREE), {"names": ["x"] * 4}, "nodes of a tree"),
        (FlatClasses(4, "sigmoid"), {"tree": TREE}, "form no tree"),
        (FlatClasses(3), {"tree": TREE}, "4 nodes, the net has 3"),
    ):
        with pytest.raises(Mistake, match=message):
            name_classes(classes, **given)  # type: ignore[arg-type]
