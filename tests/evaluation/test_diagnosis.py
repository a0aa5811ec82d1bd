"""What is said of boxes, names and probabilities, on scenes small enough to be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wordtree import TreeDistribution, WordTree
from yolo9000.datasets.sample import Target
from yolo9000.evaluation.diagnosis import TREE_THRESHOLDS, back_off_scores, diagnose
from yolo9000.evaluation.observation import Observation, highest_boxes, joined, observe
from yolo9000.models import BoxCoding, DenseRegionOutput, FlatClasses, RegionSpec, TreeClasses

ANIMAL, VEHICLE, DOG, CAT, CAR, POODLE = range(6)
LABELS = (DOG, CAT, CAR, POODLE)
# animal .8 (dog .6 (poodle .3, else .3), cat .2), vehicle .2 (car .1, else .1)
POODLE_LIKE = {ANIMAL: math.log(4), DOG: math.log(3), POODLE: 0.0, CAR: 0.0}

CODING = BoxCoding(((1.0, 1.0), (2.0, 2.0)))
Box = tuple[int, int, int, float, dict[int, float]]
"""Prior (its side in cells less 1), row, column, objectness, class logits that are not 0."""


def scene(*images: Sequence[Box], classes: int = 6) -> DenseRegionOutput:
    """Boxes in the middle of cells of a 2 x 2 grid, as large as their prior: one cell, or the whole image."""
    raw = torch.zeros(len(images), 2, 5 + classes, 2, 2)
    raw[:, :, 4] = -20.0
    for image, boxes in enumerate(images):
        for prior, row, column, objectness, logits in boxes:
            raw[image, prior, 4, row, column] = math.log(objectness / (1 - objectness))
            for node, logit in logits.items():
                raw[image, prior, 5 + node, row, column] = logit
    return DenseRegionOutput(raw.flatten(1, 2), CODING)


def truth(*boxes: tuple[tuple[float, float, float, float], int]) -> Target:
    return Target(
        torch.tensor([box for box, _ in boxes]).reshape(-1, 4),
        torch.tensor([label for _, label in boxes], dtype=torch.int64),
    )


TOP_LEFT, BOTTOM_RIGHT = (0.25, 0.25, 0.5, 0.5), (0.75, 0.75, 0.5, 0.5)


def claims_of(seen: Observation) -> dict[int, tuple[float, bool]]:
    rows = zip(seen.claimed_nodes.tolist(), seen.claimed.tolist(), seen.claim_right.tolist(), strict=True)
    return {node: (round(claimed, 5), right) for node, claimed, right in rows}


def test_a_scene_of_two_things(region: RegionSpec) -> None:
    output = scene([(0, 0, 0, 0.9, POODLE_LIKE)])
    seen = observe(output, [truth((TOP_LEFT, POODLE), (BOTTOM_RIGHT, CAR))], region.classes, LABELS)
    assert seen.labels.tolist() == [POODLE, CAR]
    assert seen.found.tolist() == [True, False]
    assert seen.answers.tolist() == [[ANIMAL, DOG, POODLE]]
    torch.testing.assert_close(seen.answer_probabilities, torch.tensor([[0.8, 0.6, 0.3]]))
    assert claims_of(seen) == {
        ANIMAL: (0.8, True),
        VEHICLE: (0.2, False),
        DOG: (0.6, True),
        CAT: (0.2, False),
        CAR: (0.1, False),
        POODLE: (0.3, True),
    }
    # the box of the highest objectness * P(car) is the only one that is there, and holds no car
    assert seen.present.tolist() == [CAR, POODLE]
    assert seen.localised.tolist() == [False, True]


def test_the_best_box_is_the_surest_of_those_that_overlap_enough(region: RegionSpec) -> None:
    boxes: list[Box] = [
        (1, 0, 1, 0.7, POODLE_LIKE),  # .3 above the truth: IoU .7 / 1.3
        (1, 1, 1, 0.6, {CAR: 9.0}),  # .2 below it: .8 / 1.2
        (0, 0, 0, 0.9, {CAT: 9.0}),  # beside it
    ]
    tall = truth(((0.75, 0.55, 1.0, 1.0), DOG))
    seen = observe(scene(boxes), [tall], region.classes, LABELS)
    assert seen.found.tolist() == [True]
    assert seen.answers.tolist() == [[ANIMAL, DOG, POODLE]]
    assert not observe(scene(boxes), [tall], region.classes, LABELS, threshold=0.8).found.any()
    # three quarters of the image, upper ones: .56 / 1.19 with a box of the image's size in the first cell
    wide = truth(((0.5, 0.375, 1.0, 0.75), DOG))
    seen = observe(scene([(1, 0, 0, 0.9, POODLE_LIKE)]), [wide], region.classes, LABELS)
    assert (seen.found.tolist(), seen.localised.tolist(), seen.among_ten.tolist()) == ([False], [False], [False])


def test_nothing_is_claimed_below_a_label_that_is_no_leaf(region: RegionSpec) -> None:
    seen = observe(scene([(0, 0, 0, 0.9, POODLE_LIKE)]), [truth((TOP_LEFT, DOG))], region.classes, LABELS)
    assert set(claims_of(seen)) == {ANIMAL, VEHICLE, DOG, CAT, CAR}  # it may be a poodle or not


def test_corloc_asks_for_objectness_times_the_label(region: RegionSpec) -> None:
    cat, no_cat = {ANIMAL: 20.0, CAT: 20.0}, {ANIMAL: 20.0, CAT: -math.log(3)}  # P(cat) 1 and .25
    things = truth((BOTTOM_RIGHT, CAT), (BOTTOM_RIGHT, CAT))
    right = scene([(0, 0, 0, 0.9, no_cat), (0, 1, 1, 0.3, cat)])  # .225 against .3
    wrong = scene([(0, 0, 0, 0.9, no_cat), (0, 1, 1, 0.2, cat)])  # .225 against .2
    assert observe(right, [things], region.classes, LABELS).localised.tolist() == [True]  # two cats are one pair
    assert observe(wrong, [things], region.classes, LABELS).localised.tolist() == [False]
    # found, and among ten boxes, whatever it is called
    assert observe(wrong, [things], region.classes, LABELS).found.tolist() == [True, True]
    assert observe(wrong, [things], region.classes, LABELS).among_ten.tolist() == [True, True]


def test_doubles_take_no_place_among_the_ten() -> None:
    # twelve boxes in one place and one elsewhere, which is the least sure
    boxes = torch.tensor([[0.3, 0.3, 0.2, 0.2]] * 12 + [[0.7, 0.7, 0.2, 0.2]])[None]
    ten = highest_boxes(boxes, torch.linspace(0.9, 0.1, 13)[None])
    assert ten.shape == (1, 10, 4)
    assert ten[0, :, 0].tolist() == pytest.approx([0.3, 0.7, *[0] * 8])
    assert ten[0, 2:].abs().sum() == 0


# animal (dog (poodle), cat), vehicle (car): six found truths, the seventh is missed
SEEN = Observation(
    labels=torch.tensor([POODLE, POODLE, CAT, CAR, DOG, CAR, CAT]),
    found=torch.tensor([True, True, True, True, True, True, False]),
    among_ten=torch.tensor([True, True, True, True, False, False, False]),
    answers=torch.tensor(
        [
            [ANIMAL, DOG, POODLE],
            [ANIMAL, DOG, POODLE],
            [ANIMAL, DOG, POODLE],
            [ANIMAL, CAT, -1],
            [ANIMAL, DOG, POODLE],
            [VEHICLE, CAR, -1],
        ]
    ),
    answer_probabilities=torch.tensor(
        [
            [0.95, 0.85, 0.75],
            [0.95, 0.65, 0.15],
            [0.85, 0.35, 0.25],
            [0.65, 0.55, 0],
            [0.75, 0.65, 0.55],
            [0.45, 0.35, 0],
        ]
    ),
    claimed=torch.tensor([0.85, 0.95, 0.15, 0.55, 0.55]),
    claimed_nodes=torch.tensor([ANIMAL, ANIMAL, POODLE, CAR, CAT]),
    claim_right=torch.tensor([True, True, False, True, False]),
    present=torch.tensor([POODLE, POODLE, CAT, CAR]),
    localised=torch.tensor([True, False, True, False]),
)


def test_backing_off_by_hand(region: RegionSpec) -> None:
    assert region.classes.tree is not None
    scores = back_off_scores(SEEN, region.classes.tree, LABELS, 0.5)
    # poodle: poodle; poodle: dog; cat: animal; car: cat; dog: poodle; car: vehicle, the best of the improbable
    assert scores["boxes"] == 7
    shares = {name: round(7 * scores[name]) for name in ("exact", "less_exact", "finer", "wrong", "missed", "found")}
    assert shares == {"exact": 1, "less_exact": 3, "finer": 1, "wrong": 1, "missed": 1, "found": 6}
    assert scores["depth"] == pytest.approx((1 + 1 / 2 + 0 + 1 + 0) / 5)
    sweep = {each["tree_threshold"]: each for each in scores["sweep"]}
    assert list(sweep) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    # at .1 all say something: the dogs and the second car are right, the cat and the first car are not
    assert sweep[0.1]["answered"] == 1
    assert sweep[0.1]["precision"] == pytest.approx(4 / 6)
    assert sweep[0.1]["depth"] == 1
    # at .6: poodle, dog, animal (says nothing), animal (nothing), dog, and nothing that is probable enough
    assert sweep[0.6]["answered"] == pytest.approx(3 / 6)
    assert sweep[0.6]["precision"] == 1
    assert sweep[0.6]["depth"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    # at .9 two animals
    assert sweep[0.9]["answered"] == 0
    assert math.isnan(sweep[0.9]["precision"])
    only_cars = back_off_scores(SEEN, region.classes.tree, [CAR], 0.5)
    assert (only_cars["boxes"], only_cars["less_exact"], only_cars["wrong"]) == (2, 0.5, 0.5)
    assert math.isnan(back_off_scores(SEEN, region.classes.tree, [VEHICLE], 0.5)["exact"])


def test_the_whole_report(region: RegionSpec) -> None:
    report = diagnose([SEEN], region.classes, boxed=[CAT, CAR], never_boxed=[DOG, POODLE, CAR], tree_threshold=0.7)
    assert report["corloc"] == {"boxed": {"share": 0.5, "labels": 2}, "never_boxed": {"share": 0.5, "labels": 2}}
    assert report["recall_at_10"]["boxed"] == {"share": 0.5, "boxes": 4}  # a label that had boxes counts once
    assert report["recall_at_10"]["never_boxed"] == {"share": pytest.approx(2 / 3), "boxes": 3}
    assert report["back_off"]["tree_threshold"] == 0.7
    assert report["back_off"]["never_boxed"]["exact"] == pytest.approx(1 / 3)
    twice = diagnose([SEEN, SEEN], region.classes, boxed=[CAT, CAR], never_boxed=[DOG, POODLE], tree_threshold=0.7)
    assert twice["recall_at_10"]["boxed"] == {"share": 0.5, "boxes": 8}
    assert diagnose([], region.classes, boxed=[], never_boxed=[]) == {}


@pytest.mark.parametrize("softmax", [True, False])
def test_flat_classes_have_nothing_to_back_off_to(softmax: bool) -> None:
    flat = RegionSpec(
        coding=BoxCoding(((1.0, 1.0), (2.0, 2.0))), classes=FlatClasses(3, "softmax" if softmax else "sigmoid")
    )
    output = scene([(0, 0, 0, 0.9, {0: math.log(3)}), (0, 1, 1, 0.5, {2: 20.0})], classes=3)
    seen = observe(output, [truth((TOP_LEFT, 0), (BOTTOM_RIGHT, 2))], flat.classes, range(3))
    assert seen.localised.tolist() == [True, True]
    assert seen.answers.tolist() == [[0], [2]]  # a class is its own path
    first = [round(each, 4) for each in seen.claimed[:3].tolist()]
    assert first == ([0.6, 0.2, 0.2] if softmax else [0.75, 0.5, 0.5])
    assert seen.claim_right[:3].tolist() == [True, False, False]
    report = diagnose([seen], flat.classes, boxed=[0], never_boxed=[1, 2])
    assert set(report) == {"corloc", "recall_at_10", "calibration", "confusions"}


def test_images_without_a_truth(region: RegionSpec) -> None:
    boxes = [(0, 0, 0, 0.9, POODLE_LIKE)]
    unasked = truth((TOP_LEFT, CAT))
    nothing = observe(scene(boxes, boxes), [truth(), unasked], region.classes, [CAR])
    assert [len(each) for each in nothing] == [0] * len(nothing)
    flat = RegionSpec(coding=BoxCoding(region.coding.priors), classes=FlatClasses(6))
    assert [len(each) for each in observe(scene(boxes), [truth()], flat.classes, [CAR])] == [0] * len(nothing)
    seen = observe(scene(boxes), [truth((TOP_LEFT, CAR))], region.classes, [CAR])
    assert joined([nothing, seen]).labels.tolist() == [CAR]
    report = diagnose([nothing], region.classes, boxed=[CAR], never_boxed=[])
    assert math.isnan(report["corloc"]["boxed"]["share"])
    assert math.isnan(report["calibration"]["boxed"]["ece"])
    with pytest.raises(ValueError, match="1 targets for 2 images"):
        observe(scene(boxes, boxes), [truth()], region.classes, [CAR])


@st.composite
def trees(draw: st.DrawFn) -> WordTree:
    """Trees of up to twelve nodes."""
    parents = sorted(draw(st.integers(-1, max(-1, node - 1))) for node in range(draw(st.integers(1, 12))))
    names = tuple(f"n{node}" for node in range(len(parents)))
    return WordTree(names, names, tuple(parents), rest=draw(st.sampled_from(["none", "only_child", "all"])))


@settings(deadline=None, max_examples=settings.default.max_examples)
@given(tree=trees(), seed=st.integers(0, 2**32 - 1), softmax=st.booleans(), flat=st.booleans())
def test_against_a_slow_twin(tree: WordTree, seed: int, softmax: bool, flat: bool) -> None:
    """Names and places, one truth at a time, from the probabilities of all nodes at all boxes."""
    generator = torch.Generator().manual_seed(seed)
    classes = len(tree)
    region = RegionSpec(
        coding=BoxCoding(((1.0, 1.0), (2.0, 2.0))),
        classes=FlatClasses(classes, "softmax" if softmax else "sigmoid") if flat else TreeClasses(tree),
    )
    raw = torch.randn(3, 2, 5 + classes, 2, 2, generator=generator) * 2
    raw[:, :, :4] = 0  # every box in the middle of its cell and as large as its prior
    output = DenseRegionOutput(raw.flatten(1, 2), CODING)
    boxes_of = torch.tensor([TOP_LEFT, BOTTOM_RIGHT, (0.75, 0.75, 1.0, 0.9), (0.25, 0.75, 1.0, 1.0)])
    targets = [
        Target(
            boxes_of[torch.randint(4, (n,), generator=generator)],
            torch.randint(classes, (n,), generator=generator),
        )
        for n in (2, 0, 4)
    ]
    seen = observe(output, targets, region.classes, range(classes))

    def overlap(a: Sequence[float], b: Sequence[float]) -> float:
        sides = [
            min(a[k] + a[k + 2] / 2, b[k] + b[k + 2] / 2) - max(a[k] - a[k + 2] / 2, b[k] - b[k + 2] / 2)
            for k in (0, 1)
        ]
        shared = max(0.0, sides[0]) * max(0.0, sides[1])
        return shared / (a[2] * a[3] + b[2] * b[3] - shared)

    found: list[bool] = []
    best_logits: list[Tensor] = []
    labels: list[int] = []
    localised = {}
    for image, target in enumerate(targets):
        everything = []  # (box, objectness, class logits, P of each)
        for prior, row, column in [(p, r, c) for p in (0, 1) for r in (0, 1) for c in (0, 1)]:
            logits = raw[image, prior, 5:, row, column]
            if flat:
                probability = logits.softmax(-1) if softmax else logits.sigmoid()
            else:
                probability = torch.stack([TreeDistribution(tree, logits).prob(node) for node in range(classes)])
            side = (prior + 1) / 2
            box = (column / 2 + 0.25, row / 2 + 0.25, side, side)
            everything.append((box, float(raw[image, prior, 4, row, column].sigmoid()), logits, probability))
        for truth_box, label in zip(target.boxes_cxcywh.tolist(), target.labels.tolist(), strict=True):
            there = [each for each in everything if overlap(each[0], truth_box) >= 0.5 and each[1] > 0.005]
            labels.append(label)
            found.append(bool(there))
            if there:
                best_logits.append(max(there, key=lambda each: each[1])[2])
            pick = max(everything, key=lambda each: each[1] * float(each[3][label]))
            hit = overlap(pick[0], truth_box) >= 0.5
            localised[image, label] = localised.get((image, label), False) or hit
    assert seen.labels.tolist() == labels
    assert seen.found.tolist() == found
    assert seen.localised.tolist() == [localised[pair] for pair in sorted(localised)]
    if flat:
        return
    scores = back_off_scores(seen, tree, range(classes), 0.4)
    of_found = [label for label, is_found in zip(labels, found, strict=True) if is_found]
    assert scores["exact"] + scores["less_exact"] + scores["finer"] + scores["wrong"] + scores[
        "missed"
    ] == pytest.approx(1)
    named = [int(TreeDistribution(tree, logits).back_off(0.4)) for logits in best_logits]
    pairs = list(zip(named, of_found, strict=True))
    assert scores["exact"] * len(labels) == pytest.approx(sum(name == label for name, label in pairs))
    assert scores["less_exact"] * len(labels) == pytest.approx(sum(tree.is_ancestor(*pair) for pair in pairs))
    assert scores["finer"] * len(labels) == pytest.approx(sum(tree.is_ancestor(b, a) for a, b in pairs))
    for each in scores["sweep"]:
        answers = [
            int(TreeDistribution(tree, logits).back_off(each["tree_threshold"], none=True)) for logits in best_logits
        ]
        said = [
            (a, b) for a, b in zip(answers, of_found, strict=True) if a >= 0 and (tree.depth(a) or not tree.children(a))
        ]
        right = sum(a == b or tree.is_ancestor(a, b) or tree.is_ancestor(b, a) for a, b in said)
        if said:
            assert each["precision"] == pytest.approx(right / len(said))
        elif found and any(found):
            assert each["answered"] == 0


@settings(deadline=None, max_examples=settings.default.max_examples // 2)
@given(tree=trees(), seed=st.integers(0, 2**32 - 1))
def test_a_perfect_detector_makes_no_mistake(tree: WordTree, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    cells = [TOP_LEFT, BOTTOM_RIGHT]
    labels = [
        [tree.leaves[int(torch.randint(len(tree.leaves), (1,), generator=generator))] for _ in cells] for _ in "ab"
    ]
    sure = [
        [(0, cell, cell, 0.99, dict.fromkeys(tree.path(label), 30.0)) for cell, label in enumerate(of_image)]
        for of_image in labels
    ]
    targets = [truth(*zip(cells, of_image, strict=True)) for of_image in labels]
    region = RegionSpec(coding=BoxCoding(((1.0, 1.0), (2.0, 2.0))), classes=TreeClasses(tree))
    seen = observe(scene(*sure, classes=len(tree)), targets, region.classes, tree.leaves)
    report = diagnose([seen], region.classes, boxed=tree.leaves, never_boxed=[])
    assert report["corloc"]["boxed"]["share"] == 1
    assert report["recall_at_10"]["boxed"]["share"] == 1
    assert report["back_off"]["boxed"]["exact"] == 1
    assert report["back_off"]["boxed"]["depth"] == 1
    assert report["calibration"]["boxed"]["ece"] == pytest.approx(0, abs=1e-6)
    assert report["calibration"]["boxed"]["unclaimed"] == 0
    assert all(each["precision"] == 1 for each in report["back_off"]["boxed"]["sweep"] if each["answered"])
    assert len(report["back_off"]["boxed"]["sweep"]) == len(TREE_THRESHOLDS)
