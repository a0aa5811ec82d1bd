from __future__ import annotations

import pytest

from wordtree.labels import coco_classes, voc_classes
from wordtree.senses import nearer_senses

COCO = coco_classes()


@pytest.mark.parametrize("classes", [COCO, voc_classes()], ids=["coco", "voc"])
def test_well_known_sets_mean_what_they_say(classes: dict[str, str]) -> None:
    assert nearer_senses(classes) == []


@pytest.mark.parametrize("others", [["cat"], ["cat", "dog", "horse"], ["bird", "bear", "sheep"]])
def test_a_mouse_among_animals_is_said(others: list[str]) -> None:
    (found,) = nearer_senses({name: COCO[name] for name in ("mouse", *others)})
    assert (found.name, found.taken, found.nearer) == ("mouse", "mouse.n.04", "mouse.n.01")


@pytest.mark.parametrize("others", [["keyboard"], ["laptop", "tv"], []])
def test_a_mouse_among_machines_is_not(others: list[str]) -> None:
    assert nearer_senses({name: COCO[name] for name in ("mouse", *others)}) == []


def test_ids_of_the_users_own_are_left_alone() -> None:
    assert nearer_senses({"mouse": "x-mouse", "cat": COCO["cat"]}) == []
