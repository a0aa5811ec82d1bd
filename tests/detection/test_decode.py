from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wordtree import WordTree
from yolo9000.detection import DecodeConfig, Detections, RegionSpec, decode, detect, score_nodes
from yolo9000.detection.boxes import iou
from yolo9000.detection.decode import suppress
from yolo9000.models import BoxCoding, DenseRegionOutput, FlatClasses, TreeClasses

# thing > animal > dog > poodle, pug; animal > horse; thing > person
TREE = WordTree(
    tuple(f"x{i}" for i in range(7)),
    ("thing", "animal", "person", "dog", "horse", "poodle", "pug"),
    (-1, 0, 0, 1, 1, 3, 3),
)
THING, ANIMAL, PERSON, DOG, HORSE, POODLE, PUG = range(7)
REGION = RegionSpec(coding=BoxCoding(((2.0, 2.0),)), classes=TreeClasses(TREE))


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def output(boxes: list[tuple[int, int, float, dict[int, float]]], size: int = 4) -> DenseRegionOutput:
    """One image of size x size cells; each box: row, column, objectness, logits of nodes."""
    raw = torch.zeros(1, 12, size, size)
    raw[:, 4] = -20
    for row, column, objectness, logits in boxes:
        raw[0, 4, row, column] = logit(objectness)
        for node, value in logits.items():
            raw[0, 5 + node, row, column] = value
    return DenseRegionOutput(raw, REGION.coding)


SURE = 12.0


def labels(out: DenseRegionOutput, **options: object) -> list[str]:
    (found,) = detect(out, REGION.classes, DecodeConfig(**options))  # type: ignore[arg-type]
    return [TREE.names[node] for node in found.nodes.tolist()]


def test_the_label_is_as_deep_as_the_net_is_sure() -> None:
    # P(animal) = 1, P(dog | animal) = .9, P(poodle | dog) = .6
    out = output([(1, 1, 0.8, {ANIMAL: SURE, DOG: logit(0.9), POODLE: logit(0.6)})])
    (found,) = detect(out, REGION.classes)
    assert found.nodes.tolist() == [POODLE]
    assert found.probabilities.item() == pytest.approx(0.54, rel=1e-4)
    assert found.scores.item() == pytest.approx(0.8 * 0.54, rel=1e-4)
    assert found.paths is not None
    assert found.paths[0] == pytest.approx((1, 1, 0.9, 0.54), rel=1e-4)
    torch.testing.assert_close(found.boxes_cxcywh, torch.tensor([[0.375, 0.375, 0.5, 0.5]]))
    (unsure,) = detect(out, REGION.classes, DecodeConfig(tree_threshold=0.6))
    assert unsure.nodes.tolist() == [DOG]  # "some kind of dog" rather than a guess
    assert unsure.scores.item() == pytest.approx(0.8 * 0.9, rel=1e-4)


def test_the_threshold_is_on_the_score() -> None:
    out = output([(0, 0, 0.5, {PERSON: SURE}), (3, 3, 0.2, {PERSON: SURE})])
    assert len(labels(out, threshold=0.1)) == 2
    assert len(labels(out, threshold=0.3)) == 1
    assert labels(out, threshold=0.6) == []
    # .8 * P(dog) = .72 and .8 * P(poodle) = .432: the box is above .5 as long as it is not asked for its breed
    poodle = output([(1, 1, 0.8, {ANIMAL: SURE, DOG: logit(0.9), POODLE: logit(0.6)})])
    assert labels(poodle, threshold=0.5, tree_threshold=0.6) == ["dog"]
    assert labels(poodle, threshold=0.5, tree_threshold=0.5) == []
    assert labels(poodle, threshold=0.4, tree_threshold=0.5) == ["poodle"]


def overlapping(first: dict[int, float], second: dict[int, float]) -> DenseRegionOutput:
    """Two boxes 2 x 2 cells, one column apart, stretched: IoU well above .45."""
    out = output([(1, 1, 0.9, first), (1, 2, 0.8, second)], size=8)
    out.raw[0, 2] = math.log(3.0)  # 6 cells wide: shifted by one, IoU 5 / 7
    return out


POODLE_BOX = {ANIMAL: SURE, DOG: SURE, POODLE: SURE}
PUG_BOX = {ANIMAL: SURE, DOG: SURE, PUG: SURE}
DOG_BOX = {ANIMAL: SURE, DOG: SURE}  # its breed is undecided
PERSON_BOX = {PERSON: SURE}
HORSE_BOX = {ANIMAL: SURE, HORSE: SURE}


@pytest.mark.parametrize(
    ("first", "second", "tree", "by_class", "all_pairs"),
    [
        (POODLE_BOX, POODLE_BOX, ["poodle"], ["poodle"], ["poodle"]),
        (POODLE_BOX, PUG_BOX, ["poodle"], ["poodle", "pug"], ["poodle"]),  # siblings
        (POODLE_BOX, DOG_BOX, ["poodle"], ["poodle", "dog"], ["poodle"]),  # ancestor
        (DOG_BOX, PUG_BOX, ["dog"], ["dog", "pug"], ["dog"]),
        (PERSON_BOX, HORSE_BOX, ["person", "horse"], ["person", "horse"], ["person"]),  # a person on a horse
    ],
)
def test_which_doubles_are_dropped(
    first: dict[int, float], second: dict[int, float], tree: list[str], by_class: list[str], all_pairs: list[str]
) -> None:
    out = overlapping(first, second)
    assert labels(out, tree_threshold=0.6) == tree
    assert labels(out, tree_threshold=0.6, nms="class") == by_class
    assert labels(out, tree_threshold=0.6, nms="all") == all_pairs


@given(st.integers(0, 12), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_suppression_equals_a_double_loop(count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 4, generator=generator) * 0.3 + 0.3
    scores = torch.rand(count, generator=generator)
    nodes = torch.randint(0, 7, (count,), generator=generator)
    doubles = (iou(boxes[:, None], boxes) > 0.45) & TreeClasses(TREE).related(nodes)
    kept = suppress(scores, doubles.numpy().__getitem__, 100)
    expected: list[int] = []
    for i in sorted(range(count), key=lambda i: -scores[i].item()):

        def one_object(a: int, b: int) -> bool:
            same_parent = TREE.parents[a] == TREE.parents[b]
            return a == b or same_parent or TREE.is_ancestor(a, b) or TREE.is_ancestor(b, a)

        if not any(one_object(int(nodes[i]), int(nodes[j])) and iou(boxes[i], boxes[j]) > 0.45 for j in expected):
            expected.append(i)
    assert kept.tolist() == expected


def test_score_nodes_gives_every_box_every_asked_label() -> None:
    out = output([(0, 0, 0.5, {ANIMAL: SURE, DOG: logit(0.7)}), (3, 3, 0.9, {PERSON: SURE})])
    (found,) = score_nodes(out, REGION.classes, [DOG, PERSON], threshold=0.1)
    columns = [round(cx, 3) for cx in found.boxes_cxcywh[:, 0].tolist()]
    by = dict(zip(zip(found.nodes.tolist(), columns, strict=True), found.scores.tolist(), strict=True))
    assert len(by) == 4
    assert by[DOG, 0.125] == pytest.approx(0.35, rel=1e-4)
    assert by[PERSON, 0.875] == pytest.approx(0.9, rel=1e-4)
    assert by[PERSON, 0.125] < 1e-4
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


@pytest.mark.parametrize("max_detections", [1, 7, 100])
def test_pairs_are_scored_as_one_image_and_one_double_at_a_time(
    max_detections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    raw = torch.randn(3, 12, 6, 6)
    raw[1, 4] = -20.0  # an image without a box between two with many
    out, nodes = DenseRegionOutput(raw, REGION.coding), [DOG, HORSE, PERSON]
    together = score_nodes(out, REGION.classes, nodes, threshold=0.3, max_detections=max_detections)
    monkeypatch.setattr(decode, "NUMBERS_AT_ONCE", 1)
    apart = score_nodes(out, REGION.classes, nodes, threshold=0.3, max_detections=max_detections)
    for image, (one, other) in enumerate(zip(together, apart, strict=True)):
        objectness = out.objectness[image].sigmoid()
        alive = objectness > 0.3
        boxes = out.boxes_cxcywh[image][alive]
        logits = out.class_logits(alive.nonzero().squeeze(1) + image * len(alive))
        scores = (objectness[alive, None] * REGION.classes.probabilities(logits)[:, nodes]).tolist()
        pairs = sorted(((s, b, n) for b, row in enumerate(scores) for n, s in enumerate(row)), reverse=True)
        kept: list[tuple[float, int, int]] = []
        for pair in pairs:
            doubles = [k for k in kept if k[2] == pair[2] and iou(boxes[k[1]], boxes[pair[1]]) > 0.45]
            if not doubles and len(kept) < max_detections:
                kept.append(pair)
        for found in (one, other):
            assert found.nodes.tolist() == [nodes[n] for _, _, n in kept]
            assert found.scores.tolist() == pytest.approx([s for s, _, _ in kept], abs=1e-5)
            assert torch.equal(found.boxes_cxcywh, boxes[[b for _, b, _ in kept]])
    assert len(together[1]) == 0


def test_an_image_without_any_box_gives_none() -> None:
    assert labels(output([])) == []
    (found,) = score_nodes(output([]), REGION.classes, [DOG])
    assert isinstance(found, Detections)
    assert len(found) == 0


def test_flat_classes_are_decoded_without_a_tree() -> None:
    flat = RegionSpec(coding=BoxCoding(((2.0, 2.0),)), classes=FlatClasses(7))
    (found,) = detect(output([(1, 1, 0.8, {4: 20.0})]), flat.classes)
    assert found.nodes.tolist() == [4]
    assert found.scores.item() == pytest.approx(0.8, rel=1e-4)
    assert found.paths is None


def test_the_whole_path_is_kept() -> None:
    out = output([(1, 1, 0.8, {ANIMAL: SURE, DOG: logit(0.9), POODLE: logit(0.6)})])
    (found,) = detect(out, REGION.classes)
    assert found.paths is not None
    assert found.paths[0] == pytest.approx((1, 1, 0.9, 0.54), abs=1e-3)  # thing, animal, dog, poodle


def test_a_batch_of_no_images_gives_none() -> None:
    assert detect(DenseRegionOutput(torch.zeros(0, 5 + len(TREE), 4, 4), REGION.coding), REGION.classes) == []
