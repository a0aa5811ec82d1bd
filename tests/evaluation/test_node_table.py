"""The table of concepts: confusions among siblings counted by hand, and sums up the tree."""

from __future__ import annotations

import csv
import io

import torch
from torch import Tensor

from wordtree import WordTree
from yolo9000.evaluation.node_table import node_csv, node_markdown, node_rows, sibling_confusions
from yolo9000.evaluation.observation import Observation
from yolo9000.models.flat_classes import FlatClasses
from yolo9000.models.tree_classes import TreeClasses

# animal (dog (poodle, husky), cat), vehicle (car)
CLASSES = TreeClasses(
    WordTree(
        ("n1", "n2", "n3", "n4", "n5", "n6", "n7"),
        ("animal", "vehicle", "dog", "cat", "car", "poodle", "husky"),
        (-1, -1, 0, 0, 1, 2, 2),
    )
)
ANIMAL, VEHICLE, DOG, CAT, CAR, POODLE, HUSKY = range(7)


def observation(labels: list[int], found: list[bool], answers: list[list[int]], present: list[int]) -> Observation:
    nothing = torch.zeros(0)
    none = torch.zeros(0, dtype=torch.int64)
    is_right: Tensor = torch.zeros(0, dtype=torch.bool)
    return Observation(
        labels=torch.tensor(labels),
        found=torch.tensor(found),
        among_ten=torch.tensor(found),
        answers=torch.tensor(answers),
        answer_probabilities=nothing,
        claimed=nothing,
        claimed_nodes=none,
        claim_right=is_right,
        present=torch.tensor(present),
        localised=is_right,
    )


SEEN = observation(
    [POODLE, POODLE, POODLE, CAT, CAT, CAR, DOG, HUSKY],
    [True, True, True, True, True, True, True, False],
    [
        [ANIMAL, DOG, POODLE],
        [ANIMAL, DOG, HUSKY],  # taken for a husky
        [ANIMAL, CAT, -1],  # a dog taken for a cat, and no breed is asked
        [ANIMAL, CAT, -1],
        [VEHICLE, CAR, -1],  # an animal taken for a vehicle
        [VEHICLE, CAR, -1],
        [ANIMAL, DOG, HUSKY],  # a dog of an unknown breed: nothing is asked below it
    ],
    [POODLE, CAT, CAR, DOG],
)


def test_where_two_ways_part_is_the_confusion() -> None:
    found = {row.pop("node"): row for row in sibling_confusions(SEEN, CLASSES)}
    assert found[ANIMAL] == {"boxes": 7, "images": 3, "asked": 6, "right": 5, "taken_for": [[VEHICLE, 1]]}
    assert found[DOG] == {"boxes": 5, "images": 2, "asked": 4, "right": 3, "taken_for": [[CAT, 1]]}
    assert found[POODLE] == {"boxes": 3, "images": 1, "asked": 2, "right": 1, "taken_for": [[HUSKY, 1]]}
    assert found[HUSKY] == {"boxes": 1, "images": 0, "asked": 0, "right": 0, "taken_for": []}
    assert found[CAT] == {"boxes": 2, "images": 1, "asked": 1, "right": 1, "taken_for": []}
    assert found[VEHICLE] == found[CAR] == {"boxes": 1, "images": 1, "asked": 1, "right": 1, "taken_for": []}


def test_flat_classes_are_all_siblings() -> None:
    flat = FlatClasses(number=3, names=("a", "b", "c"))
    seen = observation([0, 0, 0, 2], [True] * 4, [[0], [2], [1], [2]], [0, 2])
    found = {row["node"]: row for row in sibling_confusions(seen, flat)}
    assert (found[0]["asked"], found[0]["right"], found[0]["taken_for"]) == (3, 1, [[1, 1], [2, 1]])
    assert found[2]["taken_for"] == []


def test_rows_sum_what_is_below() -> None:
    report = {
        "confusions": sibling_confusions(SEEN, CLASSES),
        "classes": [
            {"node": POODLE, "boxes": 3, "ap50": 0.5, "ap": 0.25},
            {"node": HUSKY, "boxes": 0, "ap50": 0, "ap": 0},
        ],
    }
    rows = {
        row["name"]: row for row in node_rows(report, CLASSES, {"boxes": {POODLE: 20, CAT: 5}, "images": {HUSKY: 7}})
    }
    assert (rows["animal"]["trained_boxes"], rows["animal"]["trained_images"]) == (25, 7)
    assert (rows["dog"]["trained_boxes"], rows["husky"]["trained_images"]) == (20, 7)
    assert (rows["poodle"]["ap50"], rows["husky"]["ap50"], rows["dog"]["ap50"]) == (0.5, None, None)
    assert (rows["poodle"]["depth"], rows["poodle"]["taken_for"], rows["poodle"]["id"]) == (2, "husky 1", "n6")


def test_the_table_in_both_forms() -> None:
    rows = node_rows({"confusions": sibling_confusions(SEEN, CLASSES)}, CLASSES)
    table = node_markdown(rows).splitlines()
    assert table[4] == "| animal |  |  | 7 | 3 |  |  | 5 of 6 | vehicle 1 |"
    assert "| &nbsp;&nbsp;&nbsp;&nbsp;poodle |  |  | 3 | 1 |  |  | 1 of 2 | husky 1 |" in table
    read = list(csv.DictReader(io.StringIO(node_csv(rows))))
    assert (read[0]["name"], read[0]["asked"], read[0]["trained_boxes"]) == ("animal", "6", "")
    assert [row["name"] for row in read] == ["animal", "dog", "poodle", "husky", "cat", "vehicle", "car"]
