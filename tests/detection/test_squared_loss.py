"""The squared errors of the lectures, typed by hand on one cell and on a grid of two."""

from __future__ import annotations

import math

import pytest
import torch

from wordtree import WordTree
from yolo9000.detection import RegionSpec, Target, slides_loss
from yolo9000.models import BoxCoding, DenseRegionOutput, FlatClasses, LossConfig, TreeClasses

SCALES = LossConfig(object_scale=2.0, noobject_scale=3.0, class_scale=5.0, coord_scale=7.0, form="slides")
REGION = RegionSpec(classes=FlatClasses(2), coding=BoxCoding(((1.0, 1.0),)), loss=SCALES)


def output(raw: torch.Tensor, region: RegionSpec = REGION) -> DenseRegionOutput:
    return DenseRegionOutput(raw, region.coding)


def test_a_grid_of_two_cells_by_hand() -> None:
    """1 x 2 cells. The truth lies in the left one, half as wide as a cell and as high as the image."""
    raw = torch.zeros(1, 7, 1, 2)
    raw[0, 2, 0, 0] = math.log(2.0)  # the left box is 2 cells wide, which is the whole image; and 1 cell high
    raw[0, 5, 0, 0] = math.log(3.0)  # p = .75, .25
    raw[0, 4, 0, 1] = math.log(3.0)  # the right box: to = .75
    truth = Target(torch.tensor([[0.125, 0.5, 0.25, 1.0]]), torch.tensor([1]))
    terms = slides_loss(output(raw), [truth], REGION)
    # the centre is at .25 of its cell, and sigmoid(0) = .5; exp(tw) = 2 where .5 would be right; exp(th) = 1
    assert terms["box"].item() == pytest.approx(7 * (0.25**2 + 0 + 1.5**2 + 0))
    # the left box: centre .25, width 1 of the image: from -.25 to .75; the truth from 0 to .25: IoU .25 / 1
    assert terms["objectness"].item() == pytest.approx(2 * (0.5 - 0.25) ** 2)
    assert terms["background"].item() == pytest.approx(3 * 0.75**2)
    assert terms["class"].item() == pytest.approx(5 * (0.75**2 + 0.75**2))


def test_each_term_is_over_the_number_of_boxes_and_times_the_batch() -> None:
    truth = Target(torch.tensor([[0.5, 0.5, 1.0, 1.0]]), torch.tensor([0]))
    two = Target(torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0]]), torch.tensor([0, 1]))
    raw = torch.randn(2, 7, 1, 2, generator=torch.Generator().manual_seed(0))
    one, other = (slides_loss(output(raw[n : n + 1]), [t], REGION) for n, t in ((0, truth), (1, two)))
    both = slides_loss(output(raw), [truth, two], REGION)
    for name, value in both.items():  # means over 1 and 2 boxes -> a mean over 3, times 2 images
        assert value.item() == pytest.approx(2 * (one[name] * 1 + other[name] * 2).item() / 3)


def test_images_without_a_box_are_background_alone() -> None:
    empty = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    raw = torch.zeros(1, 7, 2, 2, requires_grad=True)
    terms = slides_loss(output(raw), [empty], REGION)
    assert {name: term.item() for name, term in terms.items()} == {
        "box": 0, "objectness": 0, "background": 3 * 4 * 0.25, "class": 0,
    }  # fmt: skip
    sum(terms.values()).backward()
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()


@pytest.mark.parametrize("kind", ["direct", "unconstrained"])
def test_its_gradient(kind: str) -> None:
    region = RegionSpec(classes=FlatClasses(2), coding=BoxCoding(((1.0, 2.0), (2.0, 1.0)), kind), loss=SCALES)  # type: ignore[arg-type]
    truth = Target(torch.tensor([[0.3, 0.4, 0.4, 0.3]]), torch.tensor([1]))
    raw = torch.randn(1, 14, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    fixed = slides_loss(output(raw.detach(), region), [truth], region)["objectness"]
    assert fixed.item() > 0  # the IoU that it is taught is a target: no gradient passes, so it is left out below

    def rest(value: torch.Tensor) -> tuple[torch.Tensor, ...]:
        terms = slides_loss(output(value, region), [truth], region)
        return terms["box"], terms["background"], terms["class"]

    assert torch.autograd.gradcheck(rest, (raw,))


def test_what_it_does_not_know_is_refused() -> None:
    raw = torch.zeros(1, 7, 1, 1)
    with pytest.raises(ValueError, match="boxes alone"):
        slides_loss(output(raw), [Target.of_image(0)], REGION)
    with pytest.raises(ValueError, match="0 targets for 1 images"):
        slides_loss(output(raw), [], REGION)
    tree = WordTree(("a", "b", "c"), ("animal", "dog", "cat"), (-1, 0, 0))
    deep = RegionSpec(classes=TreeClasses(tree), coding=REGION.coding)
    truth = Target(torch.tensor([[0.5, 0.5, 1.0, 1.0]]), torch.tensor([1]))
    with pytest.raises(ValueError, match="several softmaxes"):
        slides_loss(output(torch.zeros(1, 8, 1, 1)), [truth], deep)
    flat = RegionSpec(classes=TreeClasses(tree.flatten(["dog", "cat"]).tree), coding=REGION.coding)
    assert slides_loss(output(raw), [truth], flat)["class"].item() == pytest.approx(0.5)
