"""Colours of branches and pictures that stay readable."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from wordtree import WordTree
from yolo9000.detection.results import Detections
from yolo9000.inference.drawing import branch_hues, draw_detections, node_colour
from yolo9000.models import FlatClasses, TreeClasses

# animal (dog (poodle, pug), cat), vehicle (car, lorry)
TREE = WordTree(
    ("a", "v", "d", "c", "k", "l", "p", "g"),
    ("animal", "vehicle", "dog", "cat", "car", "lorry", "poodle", "pug"),
    (-1, -1, 0, 0, 1, 1, 2, 2),
)
CLASSES = TreeClasses(TREE)


def test_hues_follow_the_tree() -> None:
    # five leaves in the order of a walk: poodle, pug, cat, car, lorry, at .1 .3 .5 .7 .9
    expected = {
        "poodle": 0.1,
        "pug": 0.3,
        "cat": 0.5,
        "car": 0.7,
        "lorry": 0.9,
        "dog": 0.2,
        "animal": 0.3,
        "vehicle": 0.8,
    }
    assert {name: round(hue, 6) for name, hue in zip(TREE.names, branch_hues(TREE), strict=True)} == expected


def detections(n: int) -> Detections:
    ones = torch.ones(n)
    return Detections(
        boxes_cxcywh=torch.rand(n, 4), scores=ones, nodes=torch.arange(n), objectness=ones, probabilities=ones
    )


def test_boxes_are_drawn_where_they_are_and_the_image_is_untouched() -> None:
    image = np.zeros((100, 120, 3), np.uint8)
    found = detections(1)
    picture = np.asarray(draw_detections(image, found, torch.tensor([[20.0, 40.0, 100.0, 90.0]]), CLASSES))
    assert image.max() == 0
    assert picture.shape == (100, 120, 3)
    assert tuple(picture[65, 20]) == node_colour(CLASSES, 0)  # left edge
    assert tuple(picture[65, 60]) == (0, 0, 0)  # inside
    assert picture[:20].max() == 0  # above the label


def test_labels_stay_inside_the_picture() -> None:
    image = Image.new("L", (64, 48), 128)
    corners = torch.tensor([[50.0, 0.0, 64.0, 10.0], [0.0, 40.0, 3.0, 48.0], [60.0, 44.0, 60.0, 44.0]])
    assert draw_detections(image, detections(3), corners, FlatClasses(4)).size == (64, 48)


def test_nothing_found_draws_nothing() -> None:
    image = np.full((8, 8, 3), 7, np.uint8)
    assert (np.asarray(draw_detections(image, detections(0), torch.zeros(0, 4), CLASSES)) == 7).all()


def test_a_star_marks_labels_that_never_had_a_box() -> None:
    picture, boxes = np.zeros((96, 96, 3), np.uint8), torch.tensor([[10.0, 40.0, 60.0, 90.0]])
    plain = draw_detections(picture, detections(1), boxes, CLASSES)
    starred = draw_detections(picture, detections(1), boxes, CLASSES, starred={0})
    other = draw_detections(picture, detections(1), boxes, CLASSES, starred={3})
    assert np.array_equal(np.asarray(plain), np.asarray(other))
    assert not np.array_equal(np.asarray(plain), np.asarray(starred))
