"""Classes of a data set as nodes: by file, by darknet's file names, by the tree's own label maps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from wordtree import WordTree, load_tree
from yolo9000.datasets.errors import DatasetError
from yolo9000.experiment.class_maps import find_class_map, with_class_map

PETS = WordTree(("n1", "n2", "n3"), ("animal", "dog", "cat"), (-1, 0, 0), label_maps={"pets": {"Cat": 2, "Dog": 1}})


def test_darknets_maps_come_with_the_bundled_tree() -> None:
    tree = load_tree("yolo9000")
    coco = find_class_map("coco9k.map", tree)
    assert list(coco.items())[:3] == [("person", 5177), ("bicycle", 3768), ("car", 3802)]
    assert find_class_map("coco", dataclasses.replace(tree, label_maps={})) == coco  # a tree out of 9k.tree
    assert len(find_class_map("imagenet_det", tree)) == 200
    pruned = tree.prune(list(coco.values()))
    smaller = find_class_map("coco9k.map", dataclasses.replace(pruned.tree, label_maps={}))
    assert smaller["car"] == pruned.old_to_new[3802]  # found by its id


def test_darknets_own_files(shared: Path) -> None:
    tree = load_tree(shared / "tree" / "9k.tree")
    assert find_class_map(str(shared / "tree" / "coco9k.map"), tree)["car"] == 3802
    assert find_class_map(str(shared / "tree" / "inet9k.map"), tree)["n02691156"] == 4107


def test_names_of_the_lines_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "x.map"
    file.write_text("2\n1\n")
    assert find_class_map(str(file), PETS, ["kitten", "puppy"]) == {"kitten": 2, "puppy": 1}
    with pytest.raises(DatasetError, match=r"x\.map: which class is which line\? Put their names into .*x\.names"):
        find_class_map(str(file), PETS)
    (tmp_path / "x.names").write_text("Kitten\n\nPuppy\n")
    assert find_class_map(str(file), PETS) == {"Kitten": 2, "Puppy": 1}
    (tmp_path / "x.names").write_text("Kitten\n")
    with pytest.raises(DatasetError, match=r"x\.map: 2 classes, but .*x\.names names 1 different"):
        find_class_map(str(file), PETS)


def test_the_data_may_have_other_names_for_the_same_classes() -> None:
    assert find_class_map("pets", PETS, ["Felis", "Canis"]) == {"Felis": 2, "Canis": 1}
    assert find_class_map("pets", PETS, ["Dog", "Cat"]) == {"Cat": 2, "Dog": 1}  # its own names in another order
    assert find_class_map("pets", PETS, ["Dog"]) == {"Cat": 2, "Dog": 1}


def test_one_category_of_another_name_moves_no_other() -> None:
    tree = WordTree(
        ("n1", "n2", "n3"), ("cat", "dog", "tv"), (-1, -1, -1), label_maps={"x": {"cat": 0, "dog": 1, "tv": 2}}
    )
    assert find_class_map("x", tree, ["cat", "dog", "television"]) == {"cat": 0, "dog": 1, "television": 2}
    for categories, others in (
        (["dog", "cat", "television"], "tv"),
        (["television", "cat", "dog"], "tv"),
        (["cat", "television"], "dog, tv"),
        (["cat", "dog", "tv", "television"], "there are none"),
    ):
        said = (
            rf"`map` x: the data's categories television are none of its 3 classes, .* its others \({others}\), or give"
        )
        with pytest.raises(DatasetError, match=said):
            find_class_map("x", tree, categories)


def test_what_is_no_map(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"`map` lvis: no such file, .* there are pets, coco9k\.map, inet9k\.map"):
        find_class_map("lvis", PETS)
    with pytest.raises(DatasetError, match="the tree of the model lacks 80 of its 80 nodes: person"):
        find_class_map("coco9k.map", PETS)
    (tmp_path / "x.map").write_text("2\n2\n")
    with pytest.raises(DatasetError, match="the classes a and b are both node 2"):
        find_class_map(str(tmp_path / "x.map"), PETS, ["a", "b"])
    (tmp_path / "x.map").write_text("2\n7\n")
    with pytest.raises(DatasetError, match=r"x\.map:2: '7' is no node of the tree"):
        find_class_map(str(tmp_path / "x.map"), PETS, ["a", "b"])


def test_the_tree_of_the_data_stays_the_tree() -> None:
    tree = with_class_map(PETS, {"kitten": 2})
    assert tree.digest == PETS.digest
    assert tree.label_maps["voc"] == {"kitten": 2}
