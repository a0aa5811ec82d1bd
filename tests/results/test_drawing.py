"""Pictures of what was found stay readable at every size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wordtree import WordTree
from yolo9000.detection.results import Detections
from yolo9000.models import TreeClasses
from yolo9000.results.boxes import Boxes, Path, Step
from yolo9000.results.colours import node_colour
from yolo9000.results.drawing import Mark, draw_detections, draw_marks, draw_results, marks_of
from yolo9000.results.results import Results

# animal (dog, cat), vehicle
TREE = WordTree(("a", "v", "d", "c"), ("animal", "vehicle", "dog", "cat"), (-1, -1, 0, 0))
CLASSES = TreeClasses(TREE)
RED = (250, 0, 0)


def results(image: np.ndarray, *, never_boxed: frozenset[int] = frozenset()) -> Results:
    """A dog of score .42 and a vehicle of score .3."""
    return Results(
        image=image,
        path="a.jpg",
        boxes=Boxes(
            xyxy=np.array([[100, 120, 300, 300], [310, 200, 380, 290]], np.float32),
            objectness=np.array([0.6, 0.5], np.float32),
            probability=np.array([0.7, 0.6], np.float32),
            score=np.array([0.42, 0.3], np.float32),
        ),
        nodes=np.array([2, 1]),
        paths=(Path((Step(0, "animal", 0.95), Step(2, "dog", 0.7))), Path((Step(1, "vehicle", 0.6),))),
        classes=CLASSES,
        never_boxed=never_boxed,
    )


def test_the_number_drawn_is_the_score() -> None:
    dog, vehicle = marks_of(results(np.zeros((400, 400, 3), np.uint8)))
    assert (dog.name, dog.number, dog.further, dog.dashed) == ("dog", "0.42", (), False)
    assert (vehicle.name, vehicle.number) == ("vehicle", "0.30")
    assert dog.box_xyxy == (100, 120, 300, 300)
    assert dog.colour == node_colour(CLASSES, 2)


def test_the_path_goes_up_from_the_label_and_new_classes_have_a_star() -> None:
    dog, vehicle = marks_of(results(np.zeros((400, 400, 3), np.uint8), never_boxed=frozenset({2})), path=True)
    assert dog.further == ("70% dog", "95% animal")
    assert (dog.name, dog.dashed) == ("dog*", True)
    assert (vehicle.name, vehicle.dashed, vehicle.further) == ("vehicle", False, ("60% vehicle",))


def test_detections_are_drawn_as_results_are() -> None:
    found = results(np.zeros((400, 400, 3), np.uint8), never_boxed=frozenset({1}))
    detections = Detections(
        boxes_cxcywh=torch.zeros(2, 4),  # relative to the input of the net: not looked at
        scores=torch.from_numpy(found.boxes.score),
        nodes=torch.from_numpy(found.nodes),
        objectness=torch.from_numpy(found.boxes.objectness),
        probabilities=torch.from_numpy(found.boxes.probability),
    )
    boxes = torch.from_numpy(found.boxes.xyxy)
    picture = draw_detections(found.image, detections, boxes, CLASSES, starred=[1])
    assert np.array_equal(np.asarray(picture), np.asarray(draw_results(found)))


def test_boxes_are_drawn_where_they_are_and_the_image_is_untouched() -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    picture = np.asarray(draw_results(results(image)))
    assert image.max() == 0
    assert picture.shape == (400, 400, 3)
    for y, x in ((200, 100), (200, 299), (299, 200), (120, 290)):  # left, right, lower and upper edge
        assert tuple(picture[y, x]) == node_colour(CLASSES, 2)
    assert picture[130:290, 110:290].max() == 0  # inside
    assert picture[:100].max() == 0  # above the label
    assert picture[301:, :300].max() == 0


def test_small_pictures_are_enlarged_by_a_whole_factor_unless_told_otherwise() -> None:
    image = np.zeros((64, 48, 3), np.uint8)
    mark = Mark((10, 20, 40, 60), "dog", "0.42", RED)
    picture = draw_marks(image, [mark])
    assert picture.size == (6 * 48, 6 * 64)
    assert tuple(np.asarray(picture)[6 * 40, 60]) == RED
    assert draw_marks(image, [mark], enlarge=False).size == (48, 64)
    assert draw_marks(np.zeros((400, 30, 3), np.uint8), [mark]).size == (30, 400)


def ink(name: str, number: str, size: tuple[int, int], **more: object) -> np.ndarray:
    """Where the label of a box in the middle is, which has another colour than the rest."""
    mark = Mark((size[0] / 2, size[1] / 2, size[0] / 2, size[1] / 2), name, number, RED)
    return np.asarray(draw_marks(Image.new("RGB", size, (0, 0, 255)), [mark], enlarge=False, **more))  # type: ignore[arg-type]


def test_names_are_shortened_and_numbers_are_not() -> None:
    """A long name ends in an ellipsis: what is drawn is the picture of the shortened text."""
    whole = ink("a very long name of a thing that is not here", "0.42", (1000, 40), text_size=12)
    narrow = ink("a very long name of a thing that is not here", "0.42", (100, 40), text_size=12)
    red = (narrow == RED).all(axis=2)
    assert red.any(axis=0)[:98].sum() > 85  # it takes the whole width
    assert not np.array_equal(whole[:, 450:550], narrow)
    only_number = ink("a very long name", "0.42", (32, 40), text_size=12)
    assert np.array_equal(only_number, ink("", "0.42", (32, 40), text_size=12))
    nothing = ink("a very long name", "0.42", (12, 40), text_size=12)
    assert not (nothing == RED).all(axis=2)[:15].any()


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 8), st.booleans(), st.data())
@settings(max_examples=25)
def test_every_picture_can_be_drawn_on(
    width: int, height: int, number: int, enlarge: bool, data: st.DataObject
) -> None:
    values = st.floats(-50, 600, width=32)
    marks = []
    for each in range(number):
        x0, x1 = sorted((data.draw(values), data.draw(values)))
        y0, y1 = sorted((data.draw(values), data.draw(values)))
        marks.append(
            Mark((x0, y0, x1, y1), "Norfolk terrier"[: each + 1], "0.50", RED, ("70% dog",) * (each % 3), each % 2 == 0)
        )
    picture = draw_marks(Image.new("L", (width, height), 9), marks, enlarge=enlarge)
    assert picture.width % width == 0
    assert picture.size == (width * (picture.width // width), height * (picture.width // width))


@pytest.mark.parametrize(
    ("size", "least", "most"), [((256, 192), 11, 16), ((1920, 1080), 30, 60), ((3840, 2160), 60, 120)]
)
def test_labels_grow_with_the_picture(size: tuple[int, int], least: int, most: int) -> None:
    picture = np.asarray(
        draw_marks(
            Image.new("RGB", size),
            [Mark((size[0] / 2, size[1] / 2, size[0] / 2, size[1] / 2), "dog", "0.42", RED)],
            enlarge=False,
        )
    )
    rows = (picture == RED).all(axis=2).sum(axis=1)
    assert least <= (rows > 0.5 * rows.max()).sum() <= most


def test_crowds_get_smaller_letters_and_lose_the_path_first() -> None:
    def height(number: int, further: tuple[str, ...] = ()) -> int:
        """The label of the first of several boxes that are at the same place: how high it is."""
        marks = [Mark((200, 200, 210, 210), "elephant", "0.42", RED, further)]
        marks += [Mark((200, 200, 210, 210), "elephant", "0.42", (0, 0, 250), further)] * (number - 1)
        picture = np.asarray(draw_marks(Image.new("RGB", (400, 400)), marks))
        return int((picture == RED).all(axis=2)[:199].any(axis=1).sum())

    alone, path = height(1), height(1, ("70% elephant", "80% animal"))
    assert path > 2.5 * alone
    assert height(25, ("70% elephant", "80% animal")) <= alone
    assert height(80) < alone


def test_nothing_found_draws_nothing() -> None:
    image = np.full((8, 8, 3), 7, np.uint8)
    assert (np.asarray(draw_marks(image, [])) == 7).all()
