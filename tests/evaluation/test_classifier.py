"""A classifier's figures: typed by hand on the tree of six nodes, and against a slow walk on random trees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wordtree import WordTree
from yolo9000.datasets.loader import make_evaluation_loader
from yolo9000.datasets.sample import Batch
from yolo9000.evaluation.classifier import (
    Answers,
    accuracy_at_depths,
    classify_images,
    information,
    score_answers,
    specificity_curve,
    summed_over_tree,
)
from yolo9000.evaluation.classifier_report import draw_specificity, format_classifier
from yolo9000.models import FlatClasses, RegionSpec, TreeClasses

CPU = torch.device("cpu")
ANIMAL, VEHICLE, DOG, CAT, CAR, POODLE = range(6)
ANIMALS = 1 - math.log(2) / math.log(3)
"""What "animal" tells: two of three leaves are left."""


@pytest.fixture
def tree(region: RegionSpec) -> WordTree:
    """animal (dog (poodle), cat), vehicle (car)"""
    assert region.classes.tree is not None
    return region.classes.tree


def answers(truths: list[int], path: list[list[int]], probabilities: list[list[float]]) -> Answers:
    best = torch.tensor([[row[-1]] for row in path])
    at_depth = torch.tensor(path)
    return Answers(torch.tensor(truths), best, at_depth, torch.tensor(path), torch.tensor(probabilities))


def test_information_typed_by_hand(tree: WordTree) -> None:
    assert information(tree).tolist() == pytest.approx([ANIMALS, 1, 1, 1, 1, 1])


def test_backing_off_typed_by_hand(tree: WordTree) -> None:
    found = answers(
        [POODLE, CAT, CAR, DOG],
        [[ANIMAL, DOG, POODLE], [ANIMAL, DOG, POODLE], [ANIMAL, CAT, -1], [ANIMAL, DOG, POODLE]],
        [[0.9, 0.8, 0.6], [0.8, 0.5, 0.3], [0.6, 0.4, 0.0], [0.9, 0.7, 0.55]],
    )
    leaf, half, sure, none = specificity_curve(tree, found, [0.0, 0.5, 0.65, 1.0])
    # poodle: right; poodle for a cat: wrong; cat for a car: wrong; poodle for some dog: more than the label says
    assert leaf == pytest.approx(
        {
            "threshold": 0,
            "right": 1 / 4,
            "exact": 1 / 4,
            "too_specific": 1 / 4,
            "wrong": 2 / 4,
            "named": 1,
            "depth": 11 / 4,
            "information": 1,
        }
    )
    # poodle; animal for a cat: right; animal for a car: wrong; poodle
    assert half == pytest.approx(
        {
            "threshold": 0.5,
            "right": 2 / 4,
            "exact": 1 / 4,
            "too_specific": 1 / 4,
            "wrong": 1 / 4,
            "named": 1,
            "depth": 8 / 4,
            "information": (2 + 2 * ANIMALS) / 4,
        }
    )
    # dog for a poodle; animal for a cat; a thing for a car; dog
    assert sure == pytest.approx(
        {
            "threshold": 0.65,
            "right": 1,
            "exact": 1 / 4,
            "too_specific": 0,
            "wrong": 0,
            "named": 3 / 4,
            "depth": 5 / 4,
            "information": (2 + ANIMALS) / 4,
        }
    )
    assert (none["right"], none["named"], none["depth"], none["information"]) == (1, 0, 0, 0)


def test_accuracy_at_each_depth_typed_by_hand(tree: WordTree) -> None:
    # cut off: {animal, vehicle}, {dog, cat, car}, {cat, car, poodle}
    found = Answers(
        truths=torch.tensor([POODLE, CAT, CAR, DOG]),
        best=torch.zeros(4, 1, dtype=torch.int64),
        at_depth=torch.tensor(
            [[ANIMAL, DOG, CAT], [ANIMAL, DOG, CAT], [ANIMAL, CAR, CAR], [VEHICLE, DOG, POODLE]],
        ),
    )
    top, middle, leaves = accuracy_at_depths(tree, found)
    assert top == {"depth": 0, "nodes": 2, "images": 4, "accuracy": 0.5}
    assert middle == {"depth": 1, "nodes": 3, "images": 4, "accuracy": 0.75}
    # "dog" says nothing about which dog; cat and car are leaves, and still to be told from poodles
    assert leaves == {"depth": 2, "nodes": 3, "images": 3, "accuracy": pytest.approx(2 / 3)}


def test_nothing_to_look_at_is_nan(tree: WordTree) -> None:
    empty = Answers(*(torch.zeros(0, *shape, dtype=torch.int64) for shape in ((), (1,), (3,), (3,), (3,))))
    report = score_answers(empty, tree)
    assert report["images"] == 0
    assert math.isnan(report["top1"])
    assert all(math.isnan(row["right"]) for row in report["back_off"])
    assert all(math.isnan(row["accuracy"]) for row in report["at_depth"])


class Says(nn.Module):
    """Answers with given logits, image after image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits, self.at = logits, 0

    def forward(self, images: Tensor) -> Tensor:
        self.at += len(images)
        return self.logits[self.at - len(images) : self.at]


def images_of(squares: type[Any], count: int) -> Sequence[Batch]:
    return list(make_evaluation_loader(squares("classification", count), 64, batch_size=3))


def test_top5_counts_the_five_best_labels(squares: type[Any]) -> None:
    flat = FlatClasses(9)
    logits = torch.arange(9.0).flip(0).expand(4, 9)  # 0 is the best, 8 the worst; the images show 3 and 4
    found = classify_images(Says(logits), images_of(squares, 4), flat, range(9), device=CPU)
    assert score_answers(found, None) == {"images": 4, "top1": 0.0, "top5": 1.0}
    found = classify_images(Says(-logits), images_of(squares, 4), flat, range(9), device=CPU)
    assert score_answers(found, None)["top5"] == 0.5  # 8 7 6 5 4
    found = classify_images(Says(logits), images_of(squares, 4), flat, [7, 4], device=CPU)
    assert score_answers(found, None) == {"images": 4, "top1": 0.5, "top5": 0.5}


def test_a_tree_of_one_group_has_no_depths(squares: type[Any], tree: WordTree) -> None:
    flat = TreeClasses(tree.flatten(range(6)).tree)
    found = classify_images(Says(torch.eye(6)[[3, 3]]), images_of(squares, 2), flat, range(6), device=CPU)
    assert found.path is None
    assert score_answers(found, flat.tree) == {"images": 2, "top1": 0.5, "top5": pytest.approx(1.0)}


# ------------------------------------------------------------------------------------------------------ slow twins


def random_tree(rng: np.random.Generator) -> WordTree:
    parents = [-1, -1]
    while len(parents) < 25:  # a parent's children lie in a row
        parent = int(rng.integers(max(0, parents[-1]), len(parents)))
        if parent > parents[-1]:
            parents += [parent] * min(int(rng.integers(1, 5)), 25 - len(parents))
    names = tuple(f"n{number}" for number in range(len(parents)))
    return WordTree(names, names, tuple(parents), rest="none")


def walk(tree: WordTree, logits: list[float]) -> tuple[list[float], list[int]]:
    """P of every node, and the path of the best children, one node after the other."""
    probabilities: list[float] = []
    for node, parent in enumerate(tree.parents):
        group = [other for other, above in enumerate(tree.parents) if above == parent]
        share = math.exp(logits[node]) / sum(math.exp(logits[other]) for other in group)
        probabilities.append(share * (probabilities[parent] if parent >= 0 else 1))
    path: list[int] = []
    while True:
        parent = path[-1] if path else -1
        group = [other for other, above in enumerate(tree.parents) if above == parent]
        if not group:
            return probabilities, path
        path.append(max(group, key=lambda node: logits[node]))


@pytest.mark.parametrize("seed", range(5))
def test_all_figures_equal_those_of_a_walk(squares: type[Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    tree = random_tree(rng)
    logits = torch.from_numpy(rng.normal(size=(10, len(tree))) * 2)
    found = classify_images(Says(logits), images_of(squares, 10), TreeClasses(tree), range(len(tree)), device=CPU)
    truths = torch.from_numpy(rng.integers(0, len(tree), 10))
    report = score_answers(found._replace(truths=truths), tree)
    walks = [walk(tree, row) for row in logits.tolist()]
    leaves = [node for node in range(len(tree)) if node not in tree.parents]

    for row in report["back_off"]:
        right, depth, tells = 0, 0, 0.0
        for truth, (probabilities, path) in zip(truths.tolist(), walks, strict=True):
            named = [node for node in path if np.float32(probabilities[node]) > row["threshold"]]
            right += not named or named[-1] in tree.path(truth)
            depth += len(named)
            if named:
                below = sum(named[-1] in tree.path(leaf) for leaf in leaves)
                tells += 1 - math.log2(below) / math.log2(len(leaves))
        assert (row["right"], row["depth"]) == (right / 10, depth / 10)
        assert row["information"] == pytest.approx(tells / 10, abs=1e-6)
        assert row["right"] + row["too_specific"] + row["wrong"] == pytest.approx(1)

    for row in report["at_depth"]:
        cut = [
            node
            for node in range(len(tree))
            if tree.depth(node) == row["depth"] or (node in leaves and tree.depth(node) < row["depth"])
        ]
        hits = []
        for truth, (probabilities, _) in zip(truths.tolist(), walks, strict=True):
            wanted = [node for node in tree.path(truth) if node in cut]
            if wanted:
                hits.append(max(cut, key=lambda node: probabilities[node]) == wanted[0])
        assert (row["images"], row["nodes"]) == (len(hits), len(cut))
        assert row["accuracy"] == pytest.approx(sum(hits) / len(hits))


@pytest.mark.parametrize("seed", range(3))
def test_a_node_is_as_probable_as_the_flat_classes_below_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tree = replace(random_tree(rng), rest="only_child")
    leaves = list(tree.leaves)
    flat = TreeClasses(tree.flatten(leaves).tree)
    logits = torch.from_numpy(rng.normal(size=(4, len(leaves))))
    probabilities, path, along = summed_over_tree(flat, tree)(logits)
    of_leaf = logits.softmax(dim=1)
    for row in range(4):
        sums = [
            sum(float(of_leaf[row, number]) for number, leaf in enumerate(leaves) if node in tree.path(leaf))
            for node in range(len(tree))
        ]
        assert probabilities[row].tolist() == pytest.approx(sums, abs=1e-6)
        steps = [node for node in path[row].tolist() if node >= 0]
        for parent, node in zip([-1, *steps], steps, strict=False):
            children = [other for other, above in enumerate(tree.parents) if above == parent]
            assert sums[node] == pytest.approx(max(sums[child] for child in children))
        assert along[row, : len(steps)].tolist() == pytest.approx([sums[node] for node in steps], abs=1e-6)
        assert steps[-1] in leaves


def test_classes_that_the_tree_does_not_have(tree: WordTree) -> None:
    others = TreeClasses(WordTree(("x1", "n2"), ("x", "y"), (-1, -1)))
    with pytest.raises(ValueError, match="no node for 1 of the classes: x1"):
        summed_over_tree(others, tree)


def test_the_table_and_the_picture(tree: WordTree, tmp_path: Path) -> None:
    found = answers([POODLE, CAT], [[0, 2, 5], [0, 2, 5]], [[0.9, 0.8, 0.6], [0.8, 0.5, 0.3]])
    scores = score_answers(found, tree)
    text = format_classifier({"classifier": scores, "left_out": {"images": 2, "back_off": scores["back_off"]}})
    assert "top-1 0.500" in text
    assert "classes that were left out of training, 2 images" in text
    draw_specificity({"a": scores["back_off"], "a, left out": scores["back_off"]}, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
