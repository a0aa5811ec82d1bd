"""The tree as answers, on a tree that one can draw."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from wordtree import WordTree
from yolo9000.inference.model import load_detector
from yolo9000.runtime.run_folder import RunFolder
from yolo9000.serving.explorer import Explorer
from yolo9000.serving.refusals import Ambiguous, NoSuchThing
from yolo9000.serving.training_facts import Score, TrainingFacts, facts_of, read_scores

# animal (dog (poodle, lion), cat), thing (lion)
TREE = WordTree(
    ("n1", "n2", "n3", "n4", "n5", "n6", "n7"),
    ("animal", "thing", "dog", "cat", "lion", "poodle", "lion"),
    (-1, -1, 0, 0, 1, 2, 2),
    lemmas=((), (), ("hound", "dog"), (), (), (), ()),
    label_maps={"coco": {"a dog": 2}},
    root="entity.n.01",
)
FACTS = TrainingFacts(
    name="joint", step=9, boxed=frozenset({2, 3}), labelled=frozenset({5}), sources=("coco",), scores={3: Score(0.5, 8)}
)


def test_a_node_with_all_that_is_known() -> None:
    view = Explorer(TREE, FACTS).node(2)
    assert (view.name, view.state, view.depth, view.wnid, view.synset) == ("dog", "boxes", 1, "n3", None)
    assert [each.name for each in view.path] == ["animal", "dog"]
    assert [(each.name, each.state, each.children) for each in view.siblings] == [("cat", "boxes", 0)]
    assert [(each.name, each.state) for each in view.children] == [("poodle", "labels"), ("lion", "none")]
    assert (view.also, view.classes, view.score) == (["hound"], {"coco": "a dog"}, None)
    assert view.below.model_dump() == {"nodes": 2, "leaves": 2, "boxes": 0, "labels": 1}
    cat = Explorer(TREE, FACTS).node(3)
    assert cat.score is not None
    assert cat.score.model_dump() == {"ap50": 0.5, "boxes": 8}
    assert (cat.below.nodes, cat.below.leaves) == (0, 0)


def test_numbers_below_are_of_all_levels_and_leave_out_the_node() -> None:
    assert Explorer(TREE, FACTS).node(0).below.model_dump() == {"nodes": 4, "leaves": 3, "boxes": 2, "labels": 1}


def test_the_outline_goes_level_by_level() -> None:
    outline = Explorer(TREE, FACTS).outline()
    assert outline.node == [0, 1, 2, 3, 4, 5, 6]
    assert outline.parent == [-1, -1, 0, 0, 1, 2, 2]
    assert outline.leaves == [3, 1, 2, 1, 1, 1, 1]
    assert outline.children == [2, 1, 2, 0, 0, 0, 0]
    assert (outline.state, outline.cut) == ("nnbbnln", False)


def test_a_part_of_the_outline() -> None:
    part = Explorer(TREE).outline(0, levels=1)
    assert (part.name, part.parent, part.cut) == (["animal", "dog", "cat"], [-1, 0, 0], True)
    assert Explorer(TREE).outline(2, levels=9).name == ["dog", "poodle", "lion"]


def test_classes_by_what_trained_them() -> None:
    explorer = Explorer(TREE, FACTS)
    assert [(each.name, each.parent, each.ap50) for each in explorer.classes("boxes", 0, 9).classes] == [
        ("cat", "animal", 0.5),
        ("dog", "animal", None),
    ]
    never = explorer.classes("labels", 0, 9)
    assert (never.total, [each.name for each in never.classes]) == (1, ["poodle"])
    assert explorer.classes("boxes", 1, 9).classes[0].name == "dog"


def test_names_that_lead_nowhere_or_to_several_nodes() -> None:
    explorer = Explorer(TREE)
    assert explorer.resolve("HOUND") == 2
    with pytest.raises(NoSuchThing, match="tiger"):
        explorer.resolve("tiger")
    with pytest.raises(Ambiguous) as error:
        explorer.resolve("lion")
    assert error.value.args[1] == (4, 6)
    for node in (-1, 7):
        with pytest.raises(NoSuchThing, match="0 to 6"):
            explorer.node(node)


def test_what_a_run_says(run: RunFolder) -> None:
    trained = load_detector(run.path)
    facts = facts_of(trained)
    assert (facts.name, facts.step, facts.boxed, facts.labelled) == (run.path.name, 5, {3}, {4})
    rows = [
        {"node": 3, "id": "n4", "name": "cat", "ap50": 0.25, "boxes": 4},
        {"node": 4, "id": "n9", "name": "car", "ap50": 0.5, "boxes": 4},  # of another tree
        {"node": 2, "id": "n3", "name": "dog", "ap50": None, "boxes": 0},  # nothing to find
    ]
    file = run.path / "evaluation.json"
    file.write_text(json.dumps({"classes": rows}))
    assert facts_of(trained).scores == {3: (0.25, 4)}


def test_how_much_data_a_class_had(run: RunFolder) -> None:
    """A checkpoint counts what data sets have; scenes are drawn as they are read, each class as often by chance."""
    trained = load_detector(run.path)
    counted = {**trained.content, "taught": {"boxes": {3: 12}, "images": {3: 5, 4: 70}}}
    facts = facts_of(dataclasses.replace(trained, content=counted))
    assert facts.taught == {3: (12, 5, False), 4: (0, 70, False)}
    view = Explorer(TREE, facts).node(3)
    assert view.taught is not None
    assert (view.taught.boxes, view.taught.images, view.taught.about) == (12, 5, False)
    assert Explorer(TREE, facts).node(0).taught is None
    boxes_alone = facts_of(dataclasses.replace(trained, content={**trained.content, "taught": {"boxes": {3: 12}}}))
    assert boxes_alone.taught == {3: (12, None, False)}
    drawn = {**trained.content, "data": {"sets": [], "scenes": 301}, "taught": {}}
    facts = facts_of(dataclasses.replace(trained, content=drawn))
    assert (facts.taught, facts.sources) == (dict.fromkeys((3, 4), (None, 150, True)), ("scenes of pictograms",))
    few = {**drawn, "data": {"sets": [], "scenes": 1}}
    assert facts_of(dataclasses.replace(trained, content=few)).taught == {}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"classes": 3}', '{"classes": [{"node": "x"}]}', "{"])
def test_an_evaluation_of_another_kind_says_nothing(content: str, run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text(content)
    assert read_scores(tmp_path / "evaluation.json", load_detector(run.path)) == {}
