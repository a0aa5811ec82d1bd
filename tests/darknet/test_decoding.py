"""``decoding="darknet"`` against darknet's own numbers, and by hand where darknet's differ from ours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wordtree import TreeDistribution, WordTree, load_tree
from yolo9000.darknet import region_activations
from yolo9000.darknet.decoding import (
    absolute_probabilities,
    darknet_scores,
    detect_as_darknet,
    suppress_by_class,
    top_prediction,
    undo_letterbox,
)
from yolo9000.detection import DecodeConfig, RegionSpec, detect
from yolo9000.models import BoxCoding, DenseRegionOutput, FlatClasses, TreeClasses

GOLDEN = Path(__file__).parents[1] / "golden"
TREE40 = load_tree(GOLDEN / "tree40.tree")
TREE_REGION = RegionSpec(coding=BoxCoding(((0.55, 0.8), (1.3, 1.9), (2.6, 2.2))), classes=TreeClasses(TREE40))
FLAT_PRIORS = ((0.57, 0.68), (1.2, 1.4), (2.1, 2.4), (3.0, 1.6), (3.6, 3.9))
FLAT = RegionSpec(coding=BoxCoding(FLAT_PRIORS), classes=FlatClasses(20))
CASES: dict[str, tuple[RegionSpec, tuple[int, int], str]] = {  # file: region, the net's width and height, array
    "region_tree40": (TREE_REGION, (4, 4), "raw"),
    "region_voc20": (FLAT, (5, 4), "raw"),
    "net_yolov2tiny_voc20": (FLAT, (96, 96), "raw_gpubn"),
}


@pytest.mark.parametrize("case", CASES)
def test_boxes_in_the_image(case: str) -> None:
    region, network, raw = CASES[case]
    z = np.load(GOLDEN / f"{case}.npz")
    found = darknet_scores(DenseRegionOutput(torch.tensor(z[raw]), region.coding), region.classes, threshold=0.5)
    names = [name for name in z.files if "_boxes_" in name]
    assert len(names) in (4, 8)
    for name in names:
        image, width, height, relative = map(int, re.findall(r"\d+", name))
        boxes = undo_letterbox(found[image].boxes_cxcywh, network, (width, height), relative=bool(relative))
        tolerance = 1e-5 if relative else 1e-5 * max(width, height)
        np.testing.assert_allclose(boxes.numpy(), z[name], rtol=1e-5, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_objectness_scores_and_suppression(case: str) -> None:
    region, _, raw = CASES[case]
    z = np.load(GOLDEN / f"{case}.npz")
    output = DenseRegionOutput(torch.tensor(z[raw]), region.coding)
    names = [name for name in z.files if name.endswith("_obj")]
    assert len(names) == {"region_tree40": 14, "region_voc20": 8, "net_yolov2tiny_voc20": 4}[case]
    for name in names:
        image, threshold, *descent = re.findall(r"[0-9.]+", name)
        found = darknet_scores(
            output, region.classes, threshold=float(threshold), tree_threshold=float(descent[0]) if descent else 0.5
        )[int(image)]
        stem = name.removesuffix("obj")
        np.testing.assert_allclose(found.objectness.numpy(), z[name], atol=1e-5, err_msg=name)
        np.testing.assert_allclose(found.scores.numpy(), z[stem + "prob"], atol=1e-5, err_msg=name)
        np.testing.assert_allclose(suppress_by_class(found).numpy(), z[stem + "nms_prob"], atol=1e-5, err_msg=name)


@pytest.mark.parametrize("case", CASES)
def test_activations(case: str) -> None:
    region, _, raw = CASES[case]
    z = np.load(GOLDEN / f"{case}.npz")
    np.testing.assert_allclose(region_activations(torch.tensor(z[raw]), region).numpy(), z["output"], atol=1e-5)


def test_classifier_with_a_hierarchy() -> None:
    z = np.load(GOLDEN / "net_darknet19_tree40.npz")
    distribution = TreeDistribution(TREE40, torch.tensor(z["logits"]))
    conditional = TreeClasses(TREE40).conditionals(distribution.logits)
    np.testing.assert_allclose(conditional.numpy(), z["output"], atol=1e-5)
    np.testing.assert_allclose(distribution.probs().numpy(), z["hier_abs"], atol=1e-5)
    np.testing.assert_allclose(absolute_probabilities(conditional, TREE40).numpy(), z["hier_abs"], atol=1e-5)
    leaves = absolute_probabilities(conditional, TREE40, only_leaves=True)
    np.testing.assert_allclose(leaves.numpy(), z["hier_abs_leaves"], atol=1e-5)
    for threshold in (0.1, 0.3, 0.5, 0.9):
        expected = z[f"top_conditional_th{threshold}"].tolist()
        assert top_prediction(conditional, TREE40, threshold).tolist() == expected
        assert distribution.back_off(threshold).tolist() == expected


# animal (dog (poodle, pug), cat), rock
TREE = WordTree(tuple("abcdef"), ("animal", "rock", "dog", "cat", "poodle", "pug"), (-1, -1, 0, 0, 2, 2))


def walk(values: list[float], tree: WordTree, threshold: float) -> int:
    """The walk as darknet's tree.c goes it, box by box."""
    product, group, parent = 1.0, [n for n in range(len(tree)) if tree.parents[n] < 0], -1
    while True:
        best = max(max(values[n] for n in group), 0.0)
        node = next((n for n in group if values[n] == best), 0) if best > 0 else 0
        if not product * best > threshold:
            return node if parent < 0 else parent
        product *= best
        group, parent = list(tree.children(node)), node
        if not group:
            return node


@pytest.mark.parametrize("seed", range(8))
def test_the_walk_equals_a_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tree = [TREE40, TREE][seed % 2]
    values = rng.integers(0, 4, (60, len(tree))) / 4  # many ties, many zeros
    values[0], values[1] = 0, 1
    for threshold in (0.0, 0.1, 0.3, 0.7):
        found = top_prediction(torch.tensor(values), tree, threshold).tolist()
        assert found == [walk(row.tolist(), tree, threshold) for row in values]


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def output(*boxes: dict[int, float]) -> DenseRegionOutput:
    """One image, one row of cells, one prior; each box: entry -> raw value; objectness .8 and .7, .6 .."""
    raw = torch.zeros(1, 11, 1, len(boxes))
    for column, entries in enumerate(boxes):
        raw[0, 4, 0, column] = logit(0.8 - 0.1 * column)
        for entry, value in entries.items():
            raw[0, entry, 0, column] = value
    return DenseRegionOutput(raw, REGION.coding)


REGION = RegionSpec(coding=BoxCoding(((1.0, 1.0),)), classes=TreeClasses(TREE))
DOG = {5: logit(0.9), 7: logit(0.8)}  # P(animal) = .9, P(dog | animal) = .8


def test_labels_stop_higher_than_by_probability_and_the_score_is_the_objectness() -> None:
    found = output({**DOG, 9: logit(0.95)})  # P(dog) = .72, P(poodle) = .684
    (ours,) = detect(found, REGION.classes, DecodeConfig(tree_threshold=0.6))
    (darknets,) = detect_as_darknet(found, REGION.classes, DecodeConfig(tree_threshold=0.6))
    assert (ours.nodes.item(), darknets.nodes.item()) == (4, 2)  # .9 * .72 = .648 > .6, .648 * .684 is not
    assert ours.scores.item() == pytest.approx(0.8 * 0.684, rel=1e-5)
    assert darknets.scores.item() == pytest.approx(0.8, rel=1e-5)
    assert darknets.probabilities.item() == pytest.approx(0.72, rel=1e-5)
    assert darknets.paths is not None
    assert darknets.paths[0] == pytest.approx((0.9, 0.72), rel=1e-5)


def test_related_labels_do_not_suppress_each_other() -> None:
    wide = {2: 2.0}  # widths of e^2 cells: neighbours overlap
    found = output({**DOG, **wide}, {**DOG, **wide, 9: 20.0}, {**DOG, **wide})
    (darknets,) = detect_as_darknet(found, REGION.classes, DecodeConfig(tree_threshold=0.4))
    assert darknets.nodes.tolist() == [2, 4]  # dog, poodle; the third box is a dog again
    assert darknets.objectness.tolist() == pytest.approx([0.8, 0.7], rel=1e-5)
    (ours,) = detect(found, REGION.classes, DecodeConfig(tree_threshold=0.4))
    assert len(ours) == 1
    (one,) = detect_as_darknet(found, REGION.classes, DecodeConfig(tree_threshold=0.4, max_detections=1))
    assert one.nodes.tolist() == [2]


def test_flat_classes_may_share_a_box() -> None:
    flat = FlatClasses(6, "sigmoid")
    (found,) = detect_as_darknet(output({5: 20.0, 6: 20.0}), flat, DecodeConfig(threshold=0.5))
    assert (found.nodes.tolist(), found.paths) == ([0, 1], None)
    assert found.scores.tolist() == pytest.approx([0.8, 0.8], rel=1e-5)


def test_a_map_scores_its_nodes() -> None:
    (found,) = darknet_scores(output(DOG, {}), REGION.classes, threshold=0.1, class_map=(3, 2, 5))
    # cat .8 * .9 * .2, dog .8 * .9 * .8, pug .8 * .72 * .5; all below .1 in the undecided second box but for none
    expected = [[0.144, 0.576, 0.288], [0.7 * 0.25, 0.7 * 0.25, 0.7 * 0.125]]
    expected[1][2] = 0.0  # .0875 is not above the threshold
    np.testing.assert_allclose(found.scores.numpy(), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="class_map: 6 is no node"):
        darknet_scores(output({}), REGION.classes, threshold=0.1, class_map=(6,))
    with pytest.raises(ValueError, match="no tree"):
        darknet_scores(output({}), FlatClasses(6), threshold=0.1, class_map=(1,))


@pytest.mark.parametrize("classes", [TreeClasses(TREE), FlatClasses(6)])
def test_no_box_above_the_threshold(classes: Any) -> None:
    (found,) = detect_as_darknet(output({}, {}), classes, DecodeConfig(threshold=0.95))
    assert (len(found), tuple(found.boxes_cxcywh.shape)) == (0, (0, 4))
