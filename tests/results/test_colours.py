"""Colours of branches, and text that can be read on them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wordtree import WordTree, load_tree
from yolo9000.models import FlatClasses, TreeClasses
from yolo9000.results.colours import branch_hues, contrast, from_oklch, node_colour, text_colour

# animal (dog (poodle, pug), cat), vehicle (car, lorry)
TREE = WordTree(
    ("a", "v", "d", "c", "k", "l", "p", "g"),
    ("animal", "vehicle", "dog", "cat", "car", "lorry", "poodle", "pug"),
    (-1, -1, 0, 0, 1, 1, 2, 2),
)


def test_hues_follow_the_tree() -> None:
    # leaves in the order of a walk: poodle, pug, cat, car, lorry take parts .7071 .7071 1 .7071 .7071 of 3.8284
    expected = {
        "poodle": 0.0923,
        "pug": 0.2770,
        "cat": 0.5,
        "car": 0.7230,
        "lorry": 0.9077,
        "dog": 0.1847,
        "animal": 0.3153,
        "vehicle": 0.8153,
    }
    assert dict(zip(TREE.names, branch_hues(TREE), strict=True)) == pytest.approx(expected, abs=1e-4)


def test_the_branches_of_a_large_tree_differ_and_relatives_do_not() -> None:
    tree = load_tree("yolo9000")
    hues = branch_hues(tree)

    def apart(one: str, other: str) -> float:
        distance = abs(hues[tree.node(one)] - hues[tree.node(other)])
        return min(distance, 1 - distance)

    assert apart("Norfolk terrier", "Siamese cat") < 0.03
    assert apart("terrier", "dog") < 0.02
    assert apart("dog", "person") > 0.08
    assert apart("dog", "truck") > 0.2
    assert apart("chair", "truck") > 0.05


@pytest.mark.parametrize(
    ("lch", "expected"),
    [  # the corners of sRGB in OKLCH, as CSS Color 4 lists them
        ((0.627955, 0.257683, 29.2339), (255, 0, 0)),
        ((0.866440, 0.294827, 142.4953), (0, 255, 0)),
        ((0.452014, 0.313214, 264.0520), (0, 0, 255)),
        ((0.967983, 0.211006, 109.7692), (255, 255, 0)),
        ((0.0, 0.0, 0.0), (0, 0, 0)),
    ],
)
def test_oklch(lch: tuple[float, float, float], expected: tuple[int, int, int]) -> None:
    assert np.abs(np.subtract(from_oklch(lch[0], lch[1], lch[2] / 360), expected)).max() <= 1


def test_contrast_is_that_of_wcag() -> None:
    assert contrast((255, 255, 255), (118, 118, 118)) == pytest.approx(4.54, abs=0.005)  # the greys it is known by
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.005)
    assert contrast((255, 0, 0), (255, 255, 255)) == pytest.approx(4.0, abs=0.005)


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_text_can_be_read_on_every_colour(background: tuple[int, int, int]) -> None:
    assert contrast(text_colour(background), background) >= 4.5


def test_siblings_differ_in_lightness_and_flat_classes_in_hue() -> None:
    classes = TreeClasses(TREE)
    colours = [node_colour(classes, node) for node in range(len(TREE))]
    assert len(set(colours)) == len(colours)
    poodle, pug = (colours[TREE.names.index(name)] for name in ("poodle", "pug"))
    assert contrast(poodle, pug) > 1.3
    flat = [node_colour(FlatClasses(20), node) for node in range(20)]
    assert min(sum(abs(a - b) for a, b in zip(x, y, strict=True)) for x in flat for y in flat if x is not y) > 20
