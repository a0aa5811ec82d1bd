"""What a classification image teaches under each recipe, on a net of a few boxes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from wordtree import WordTree, load_tree
from yolo9000.detection import RECIPES, RegionSpec, Target, joint_loss
from yolo9000.detection.config import ImageLabels, find_recipe
from yolo9000.detection.loss import offsets_of_truths
from yolo9000.models import BoxCoding, FlatClasses, TreeClasses
from yolo9000.models.tree_classes import outside_of, share_with_boxes

TREE = WordTree(("animal", "dog", "cat", "poodle", "pug"), ("animal", "dog", "cat", "poodle", "pug"), (-1, 0, 0, 1, 1))
REGION = RegionSpec(coding=BoxCoding(((1.0, 1.0), (3.0, 3.0))), classes=TreeClasses(TREE))
H = W = 4
NONE = torch.zeros(0, 4)


def raw_of(entries: dict[tuple[int, int, int], dict[int, float]], objectness: float = -6.0) -> Tensor:
    """(1, 20, 4, 4): zeros, a low objectness everywhere, and what is named by (prior, row, column) and entry."""
    raw = torch.zeros(1, 2, 10, H, W)
    raw[:, :, 4] = objectness
    for (prior, row, column), values in entries.items():
        for entry, value in values.items():
            raw[0, prior, entry, row, column] = value
    return raw.reshape(1, 20, H, W).requires_grad_()


def losses(raw: Tensor, target: Target, recipe: str | ImageLabels) -> tuple[dict[str, float], Tensor]:
    terms = joint_loss(raw, [target], REGION, images_seen=10**6, recipe=recipe)
    torch.stack(list(terms.values())).sum().backward()
    assert raw.grad is not None
    return {k: v.item() for k, v in terms.items()}, raw.grad.reshape(2, 10, H, W)


def touched(grad: Tensor, entries: slice | int) -> set[tuple[int, ...]]:
    part = grad[:, entries] if isinstance(entries, int) else grad[:, entries].abs().amax(dim=1)
    return {tuple(index) for index in part.nonzero().tolist()}


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_a_classification_image_never_teaches_a_box(recipe: str) -> None:
    raw = torch.randn(1, 20, H, W, requires_grad=True)
    target = Target(torch.tensor([[0.5, 0.5, 0.2, 0.2]]), torch.tensor([2]), image_label=3)  # its box is ignored
    terms, grad = losses(raw, target, recipe)
    assert (grad[:, :4] == 0).all()
    assert terms["box"] == terms["objectness"] == terms["background"] == terms["class"] == terms["prior_pull"] == 0
    assert terms["image_class"] > 0


def test_the_papers_sentence_read_alone_picks_the_highest_label_probability_and_lifts_objectness_to_a_floor() -> None:
    poodle = {5 + 0: 2.0, 5 + 1: 2.0, 5 + 3: 2.0}
    raw = raw_of({(0, 1, 2): poodle | {4: math.log(0.1 / 0.9)}, (1, 3, 3): {4: 5.0}})
    terms, grad = losses(raw, Target.of_image(3), "paper-literal")
    assert touched(grad, slice(5, 10)) == {(0, 1, 2)}
    assert touched(grad, 4) == {(0, 1, 2)}  # nothing at the other boxes, however sure they are
    assert terms["image_objectness"] == pytest.approx(0.5 * 5 * (0.3 - 0.1) ** 2)
    assert grad[0, 4, 1, 2] == pytest.approx(-5 * (0.3 - 0.1) * 0.1 * 0.9)
    above, grad = losses(raw_of({(0, 1, 2): poodle | {4: 0.0}}), Target.of_image(3), "paper-literal")
    assert above["image_objectness"] == 0  # one half is above the floor already
    assert (grad[:, 4] == 0).all()


def test_paper_picks_the_box_that_is_surest_to_show_the_label_and_lifts_objectness_to_a_floor() -> None:
    poodle = {5 + 0: 2.0, 5 + 1: 2.0, 5 + 3: 2.0}
    raw = raw_of({(0, 1, 2): poodle, (1, 3, 3): {4: math.log(0.1 / 0.9)}})  # P(poodle) .68 x .0025, 1/4 x .1
    terms, grad = losses(raw, Target.of_image(3), "paper")
    assert touched(grad, slice(5, 10)) == {(1, 3, 3)}
    assert touched(grad, 4) == {(1, 3, 3)}
    assert terms["image_objectness"] == pytest.approx(0.5 * 5 * (0.3 - 0.1) ** 2)
    assert grad[1, 4, 3, 3] == pytest.approx(-5 * (0.3 - 0.1) * 0.1 * 0.9)


def test_darknet_picks_objectness_times_label_and_calls_the_others_background() -> None:
    poodle = {5 + 0: 2.0, 5 + 1: 2.0, 5 + 3: 2.0}
    raw = raw_of({(0, 1, 2): poodle, (1, 3, 3): {4: 5.0}})
    _, grad = losses(raw, Target.of_image(3), "darknet")
    assert touched(grad, slice(5, 10)) == {(1, 3, 3)}
    assert len(touched(grad, 4)) == 2 * H * W - 1
    assert (1, 3, 3) not in touched(grad, 4)


def test_overlap_shares_the_label_among_the_largest_confident_box_and_its_overlaps() -> None:
    # prior 1 is 3 x 3 cells of 4 x 4; its neighbours at (1, 1) and (1, 2) overlap by 2/4; a sure small box does not win
    sure = math.log(0.8 / 0.2)
    raw = raw_of({(1, 1, 1): {4: sure}, (1, 2, 1): {4: math.log(0.6 / 0.4)}, (0, 3, 3): {4: math.log(0.95 / 0.05)}})
    terms, grad = losses(raw, Target.of_image(1), "overlap")
    assert terms["image_objectness"] == 0
    assert (grad[:, 4] == 0).all()
    # picked: the largest inside the image among those above 0.475; both large boxes are candidates; IoU 2/4 = .5: alone
    assert touched(grad, slice(5, 10)) == {(1, 1, 1)} or touched(grad, slice(5, 10)) == {(1, 2, 1)}
    big = {2: math.log(4 / 3), 3: math.log(4 / 3)}  # 4 x 4 cells: neighbours overlap by 3/5
    raw = raw_of({(1, 1, 1): {4: sure} | big, (1, 2, 1): {4: math.log(0.6 / 0.4)} | big, (0, 3, 3): {4: 3.0}})
    _, grad = losses(raw, Target.of_image(1), "overlap")
    # every overlapping box of the region takes part, in proportion to its objectness; the small one does not
    share = grad[:, 5 + 1].abs()
    assert share[0, 3, 3] == 0
    assert share[1, 1, 1] / share[1, 2, 1] == pytest.approx(0.8 / 0.6, rel=1e-5)
    total = share.sum().item()
    assert total == pytest.approx(0.5, rel=1e-5)  # the parts add up to one image: p - 1 of two equal siblings


def sure(probability: float) -> float:
    return math.log(probability / (1 - probability))


# two boxes that do not touch: a sure small one at (0, 0, 0), a large one at (1, 2, 2) with an objectness of .6
TWO = {(0, 0, 0): {4: sure(0.8)}, (1, 2, 2): {4: sure(0.6)}}


def test_max_size_takes_the_largest_of_the_confident_boxes_alone() -> None:
    _, grad = losses(raw_of(TWO), Target.of_image(1), "max-size")
    assert touched(grad, slice(5, 10)) == {(1, 2, 2)}
    _, grad = losses(raw_of(TWO | {(1, 2, 2): {4: sure(0.3)}}), Target.of_image(1), "max-size")  # below half of .8
    assert touched(grad, slice(5, 10)) == {(0, 0, 0)}


def test_objectness_shares_by_its_square_wherever_the_boxes_are() -> None:
    _, grad = losses(raw_of(TWO, objectness=-40.0), Target.of_image(1), "objectness")
    share = grad[:, 5 + 1].abs()
    assert share[0, 0, 0] / share[1, 2, 2] == pytest.approx(0.8**2 / 0.6**2, rel=1e-4)
    assert share.sum().item() == pytest.approx(0.5, rel=1e-4)
    assert (grad[:, 4] == 0).all()


def test_mil_shares_by_the_square_times_the_label_probability() -> None:
    dog = {5 + 1: math.log(3.0)}  # P(dog | animal) is 3/4 there, and 1/2 at the sure box; only one animal: certain
    _, grad = losses(raw_of(TWO | {(1, 2, 2): TWO[1, 2, 2] | dog}, objectness=-40.0), Target.of_image(1), "mil")
    share = grad[:, 5 + 1].abs()
    parts = [0.8**2 * 1 / 2, 0.6**2 * 3 / 4]
    # the gradient of a share is that share times 1 - P(dog | animal)
    assert share[0, 0, 0].item() == pytest.approx(parts[0] / sum(parts) * 1 / 2, rel=1e-4)
    assert share[1, 2, 2].item() == pytest.approx(parts[1] / sum(parts) * 1 / 4, rel=1e-4)


def test_constant_takes_the_box_in_the_middle_whatever_the_net_says() -> None:
    # half of a 4 x 4 grid is 2 x 2 cells: prior 1 x 1 has an IoU of at most 1/4 with it, 3 x 3 off the middle 4/9
    region = torch.tensor([[0.375, 0.625, 0.5, 0.5]])  # its middle is that of cell (2, 1)
    target = Target(NONE, torch.zeros(0, dtype=torch.long), areas_cxcywh=region, area_labels=torch.tensor([1]))
    _, grad = losses(raw_of(TWO), target, "constant")
    assert touched(grad, slice(5, 10)) == {(0, 2, 1)}  # 1 x 1 cells, as half of a region of 2 x 2 is


def test_labels_reach_the_path_and_nothing_below() -> None:
    _, grad = losses(raw_of({}), Target.of_image(1), "paper")  # "dog": its breeds are not touched
    assert (grad[:, 5 + 3 :] == 0).all()
    assert touched(grad, 5 + 1) == touched(grad, 5 + 2)


def test_regions_of_a_mosaic_each_teach_inside_themselves() -> None:
    halves = torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.75, 0.5, 0.5, 1.0]])
    target = Target(NONE, torch.zeros(0, dtype=torch.long), areas_cxcywh=halves, area_labels=torch.tensor([3, 2]))
    raw = raw_of({(0, 1, 3): {4: 6.0}, (0, 0, 0): {4: -5.0}})
    for recipe in RECIPES:
        raw.grad = None
        terms, grad = losses(raw, target, recipe)
        columns_of_cat = {c for _, _, c in touched(grad, slice(5, 10))}
        assert columns_of_cat & {0, 1}
        assert columns_of_cat & {2, 3}
        assert terms["image_class"] == pytest.approx(math.log(2) * 2 + math.log(2), rel=1e-5)


def test_ignored_areas_and_unlabelled_kinds_are_not_background() -> None:
    empty = torch.zeros(0, dtype=torch.long)
    raw = raw_of({}, objectness=0.0)
    plain, _ = losses(raw, Target(NONE, empty), "overlap")
    left = torch.tensor([[0.25, 0.5, 0.5, 1.0]])
    ignoring, grad = losses(raw_of({}, objectness=0.0), Target(NONE, empty, ignore_boxes_cxcywh=left), "overlap")
    assert ignoring["background"] < plain["background"]
    assert {c for p, _, c in touched(grad, 4) if p == 0} == {2, 3}
    # this source labels cats only; a box that is surely a dog is left alone, one that is surely a cat is not
    surely = {(0, 0, 0): {5 + 1: 9.0}, (0, 0, 1): {5 + 2: 9.0}}
    cats = Target(NONE, empty, labelled_nodes=torch.tensor([2]))
    _, grad = losses(raw_of(surely, objectness=0.0), cats, "overlap")
    assert (0, 0, 0) not in touched(grad, 4)
    assert (0, 0, 1) in touched(grad, 4)
    assert len(touched(grad, 4)) == 2 * H * W - 1


def test_a_mixture_is_the_sum_of_its_images() -> None:
    torch.manual_seed(0)
    raw = torch.randn(4, 20, H, W)
    targets = [
        Target(torch.rand(3, 4) * 0.5 + 0.2, torch.tensor([1, 3, 4])),
        Target.of_image(4),
        Target(NONE, torch.zeros(0, dtype=torch.long)),
        Target.of_image(0),
    ]
    for recipe in RECIPES:
        together = joint_loss(raw, targets, REGION, images_seen=5, recipe=recipe)
        alone = [joint_loss(raw[i : i + 1], targets[i : i + 1], REGION, images_seen=5, recipe=recipe) for i in range(4)]
        for name, value in together.items():
            torch.testing.assert_close(value, torch.stack([terms[name] for terms in alone]).sum())


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_images_of_several_sources_are_judged_each_by_its_own(order: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    raw = 3 * torch.randn(4, 20, H, W)
    sources = [torch.tensor([2]), torch.tensor([3, 4]), None, torch.tensor([2])]  # the last says the same as the first
    targets = [Target(torch.rand(1, 4) * 0.4 + 0.3, torch.tensor([2]), labelled_nodes=nodes) for nodes in sources]
    alone = [joint_loss(raw[i : i + 1], [targets[i]], REGION, images_seen=10**6)["background"] for i in order]
    together = joint_loss(raw[list(order)], [targets[i] for i in order], REGION, images_seen=10**6)["background"]
    torch.testing.assert_close(together, torch.stack(alone).sum())
    everything = [replace(target, labelled_nodes=None) for target in targets]
    assert together < joint_loss(raw, everything, REGION, images_seen=10**6)["background"]


def test_half_precision_output_gives_a_float32_loss() -> None:
    terms = joint_loss(torch.randn(1, 20, H, W).bfloat16(), [Target.of_image(3)], REGION, images_seen=0)
    assert {value.dtype for value in terms.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target(torch.rand(1, 4), torch.tensor([5])), r"labels of image 0: 5 is outside 0\.\.4"),
        (Target.of_image(9), r"image label of image 0: 9 is outside"),
    ],
)
def test_labels_outside_the_tree_are_refused(target: Target, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        joint_loss(torch.zeros(1, 20, H, W), [target], REGION, images_seen=0)


def test_an_image_label_needs_a_tree() -> None:
    flat = RegionSpec(coding=BoxCoding(REGION.coding.priors), classes=FlatClasses(5))
    with pytest.raises(ValueError, match="needs a tree"):
        joint_loss(torch.zeros(1, 20, H, W), [Target.of_image(3)], flat, images_seen=0)


def test_recipes_are_found_by_name() -> None:
    assert find_recipe("darknet").objectness == "background"
    assert find_recipe(RECIPES["paper"]) is RECIPES["paper"]
    with pytest.raises(ValueError, match="`recipe` 'yolo': mil, paper, paper-literal, darknet, overlap"):
        find_recipe("yolo")


@pytest.mark.parametrize("seed", range(6))
def test_what_a_source_does_not_label_by_the_definition(seed: int) -> None:
    tree = load_tree("coco")
    nodes = torch.randperm(len(tree), generator=torch.Generator().manual_seed(seed))[: 1 + 6 * seed]
    labelled = set(nodes.tolist())
    above = {ancestor for node in labelled for ancestor in tree.path(node)}

    def apart(node: int) -> bool:
        return node not in above and not labelled & set(tree.path(node))

    # apart from all that is labelled, while its parent (if any) is above something labelled: the highest such node
    expected = [apart(n) and (tree.parents[n] < 0 or tree.parents[n] in above) for n in range(len(tree))]
    assert outside_of(nodes, tree).tolist() == expected


def test_a_class_without_boxes_counts_less_among_the_siblings_of_a_box() -> None:
    # only poodles have boxes; cats and pugs come as image labels: half of all dogs, a third of all animals have boxes
    share = share_with_boxes([3], [2, 4], TREE)
    assert share.tolist() == pytest.approx([1 / 3, 1 / 2, 0, 1, 0])
    poodle = Target(torch.tensor([[0.375, 0.375, 0.25, 0.25]]), torch.tensor([3]))  # 1 x 1 cells, in cell (1, 1)

    def class_loss(weight: float) -> tuple[float, list[float]]:
        raw = raw_of({})
        terms = joint_loss(raw, [poodle], REGION, images_seen=10**6, truth_offsets=offsets_of_truths(share, weight))
        terms["class"].backward()
        assert raw.grad is not None
        return terms["class"].item(), raw.grad.reshape(2, 10, H, W)[0, 5:, 1, 1].tolist()

    loss, grad = class_loss(1.0)  # as darknet's: one of two, twice
    assert loss == pytest.approx(math.log(4))
    assert grad == pytest.approx([0, -1 / 2, 1 / 2, -1 / 2, 1 / 2])
    loss, grad = class_loss(0.5)  # dogs count 3/4 and cats 1/2: 3/5; poodles 1 and pugs 1/2: 2/3
    assert loss == pytest.approx(-math.log(3 / 5 * 2 / 3))
    assert grad == pytest.approx([0, -2 / 5, 2 / 5, -1 / 3, 1 / 3])
    loss, grad = class_loss(0.0)  # a box that can only be a poodle teaches nothing, and least of all "no cat"
    assert loss == 0
    assert grad == [0, 0, 0, 0, 0]
    assert offsets_of_truths(share, 1.0) is None


@pytest.mark.parametrize("seed", range(4))
def test_the_share_that_comes_with_boxes_by_the_definition(seed: int) -> None:
    tree = load_tree("coco")
    drawn = torch.randperm(len(tree), generator=torch.Generator().manual_seed(seed))[:40].tolist()
    boxed, others = drawn[:15], drawn[15:]

    def counts(label: int) -> bool:  # what stands above a label with boxes has no things of its own
        return label in boxed or not any(label in tree.path(each) for each in boxed)

    for node, share in enumerate(share_with_boxes(boxed, others, tree).tolist()):
        under = [label for label in drawn if counts(label) and node in tree.path(label)]
        with_boxes = [label for label in under if any(each in tree.path(label) for each in boxed)]
        assert share == pytest.approx(len(with_boxes) / len(under) if under else 1)


def test_an_image_label_is_told_among_all_its_siblings_whatever_has_boxes() -> None:
    offsets = offsets_of_truths(share_with_boxes([3], [2, 4], TREE), 0.0)
    assert offsets is not None
    raw, target = raw_of({}), Target.of_image(3)
    terms = joint_loss(raw, [target], REGION, images_seen=10**6, truth_offsets=offsets)
    assert terms["image_class"].item() == pytest.approx(math.log(4), rel=1e-5)
