"""A label of any depth teaches its path alone: "dog" teaches dogs and animals and says nothing of breeds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wordtree import WordTree
from wordtree.softmax import log_probs
from yolo9000.detection import RECIPES, RegionSpec, Target, joint_loss
from yolo9000.models import BoxCoding, TreeClasses

NAMES = ("animal", "tool", "dog", "cat", "saw", "poodle", "pug")
DOG, CAT, POODLE, PUG = 2, 3, 5, 6
TREE = WordTree(NAMES, NAMES, (-1, -1, 0, 0, 1, 2, 2), rest="only_child")
REGION = RegionSpec(coding=BoxCoding(((1.0, 1.0), (2.0, 2.0))), classes=TreeClasses(TREE))
GRID = 3
BOX = torch.tensor([[0.5, 0.5, 0.3, 0.3]])


@st.composite
def trees(draw: st.DrawFn) -> WordTree:
    """A tree of up to 14 nodes, level by level as tree order wants it."""
    parents = [-1] * draw(st.integers(1, 3))
    at = 0
    while at < len(parents) and len(parents) < 12:
        parents += [at] * draw(st.integers(0, 3))
        at += 1
    names = tuple(map(str, range(len(parents))))
    return WordTree(names, names, tuple(parents), rest=draw(st.sampled_from(["none", "only_child", "all"])))


def boxed(label: int) -> Target:
    return Target(BOX, torch.tensor([label]))


def in_region(label: int) -> Target:
    nothing = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    return Target(*nothing, areas_cxcywh=BOX, area_labels=torch.tensor([label]))


def class_gradient(raw: Tensor, target: Target, region: RegionSpec, recipe: str) -> Tensor:
    """The gradient of the whole loss with respect to the class logits: (K, boxes)."""
    terms = joint_loss(raw, [target], region, images_seen=10**6, recipe=recipe)
    (gradient,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), raw)
    by_box = gradient.unflatten(1, (region.coding.num_priors, -1))[0, :, 5:]
    return by_box.movedim(1, 0).flatten(1)


@settings(max_examples=40, deadline=None)
@given(
    tree=trees(),
    make=st.sampled_from([boxed, Target.of_image, in_region]),
    recipe=st.sampled_from(list(RECIPES)),
    data=st.data(),
)
def test_only_the_sibling_groups_on_the_path_are_taught(
    tree: WordTree, make: object, recipe: str, data: st.DataObject
) -> None:
    label = data.draw(st.integers(0, len(tree) - 1))
    region = RegionSpec(coding=BoxCoding(REGION.coding.priors), classes=TreeClasses(tree))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    raw = torch.randn(1, region.channels, GRID, GRID, generator=generator, requires_grad=True)
    assert callable(make)
    gradient = class_gradient(raw, make(label), region, recipe)
    path = set(tree.path(label))
    for node in range(len(tree)):
        with_path = path & {other for other in range(len(tree)) if tree.parents[other] == tree.parents[node]}
        if not with_path:  # no sibling of it, and not itself, lies on the path
            assert (gradient[node] == 0).all()
        elif node in path:
            assert (gradient[node] <= 0).all()  # never pushed down at any box
        else:
            assert (gradient[node] >= 0).all()


@pytest.mark.parametrize("make", [boxed, Target.of_image, in_region])
def test_learning_dogs_raises_dogs_and_animals_and_leaves_the_breeds_alone(make: object) -> None:
    assert callable(make)
    generator = torch.Generator().manual_seed(1)
    raw = torch.randn(1, REGION.channels, GRID, GRID, generator=generator, requires_grad=True)
    optimiser = torch.optim.SGD([raw], lr=0.3)

    def of_boxes() -> Tensor:
        with torch.no_grad():
            logits = raw.unflatten(1, (2, -1))[0, :, 5:].movedim(1, -1).flatten(0, 2)
            return log_probs(logits, TREE).exp()

    before = of_boxes()
    for _ in range(40):
        optimiser.zero_grad()
        torch.stack(
            list(joint_loss(raw, [make(DOG)], REGION, images_seen=10**6, recipe="paper").values())
        ).sum().backward()
        optimiser.step()
        now = of_boxes()
        assert all((now[:, node] <= now[:, TREE.parents[node]]).all() for node in range(7) if TREE.parents[node] >= 0)
    taught = (now[:, DOG] - before[:, DOG]).argmax()
    assert now[taught, DOG] > 0.9
    assert now[taught, 0] > 0.9  # an animal
    for breed in (POODLE, PUG):
        torch.testing.assert_close(now[:, breed] / now[:, DOG], before[:, breed] / before[:, DOG])


def test_breeds_are_neither_background_nor_wrong_where_dogs_are_labelled() -> None:
    def losses(labelled: Tensor | None) -> tuple[float, Tensor]:
        raw = torch.zeros(1, REGION.channels, GRID, GRID)
        raw.view(2, 12, GRID, GRID)[:, 4] = 1.0  # every box is sure that it shows ...
        raw.view(2, 12, GRID, GRID)[:, 5 + DOG] = 9.0
        raw.view(2, 12, GRID, GRID)[:, 5] = 9.0
        raw.view(2, 12, GRID, GRID)[:, 5 + POODLE] = 9.0  # ... a poodle
        raw.requires_grad_()
        target = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), labelled_nodes=labelled)
        terms = joint_loss(raw, [target], REGION, images_seen=10**6)
        terms["background"].backward()
        assert raw.grad is not None
        return terms["background"].item(), raw.grad.view(2, 12, GRID, GRID)[:, 4]

    everything, gradient = losses(None)
    # a set that labels dogs labels poodles, as dogs: a poodle without a box is none
    of_dogs, gradient_of_dogs = losses(torch.tensor([DOG]))
    assert of_dogs == pytest.approx(everything, rel=1e-3)
    torch.testing.assert_close(gradient_of_dogs, gradient, rtol=1e-2, atol=0)
    # one that labels cats, or pugs, says nothing of it
    for other in (CAT, PUG):
        of_others, gradient_of_others = losses(torch.tensor([other]))
        assert of_others < 0.01 * everything
        assert (gradient_of_others.abs() < 0.01 * gradient.abs()).all()


@settings(max_examples=settings.default.max_examples, deadline=None)
@given(tree=trees(), seed=st.integers(0, 10**6), scale=st.sampled_from([0.1, 3.0, 100.0]))
def test_no_child_is_likelier_than_its_parent_to_the_last_bit(tree: WordTree, seed: int, scale: float) -> None:
    logits = torch.randn(50, len(tree), generator=torch.Generator().manual_seed(seed)) * scale
    for dtype in (torch.float32, torch.bfloat16):
        found = log_probs(logits.to(dtype), tree)
        assert (found <= 0).all()
        for node, parent in enumerate(tree.parents):
            if parent >= 0:
                assert (found[:, node] <= found[:, parent]).all()
