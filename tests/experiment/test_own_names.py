"""Classes that a user has named: found in VOC's XMLs and COCO's categories, resolved as a tree resolves any name."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from wordtree import WordTree, load_tree
from wordtree.labels import LabelError, voc_classes, voc_folder
from yolo9000 import train
from yolo9000 import tree as tree_command
from yolo9000.datasets.errors import DatasetError
from yolo9000.experiment import labels
from yolo9000.experiment.config import DataConfig
from yolo9000.experiment.coverage import coverage_csv, format_coverage, measure_coverage
from yolo9000.experiment.data import load_data
from yolo9000.experiment.labels import NodesByName, classes_of_labels
from yolo9000.experiment.layouts import LAYOUTS
from yolo9000.experiment.left_out import with_left_out
from yolo9000.models import TreeClasses
from yolo9000.runtime.mistakes import Mistake

Farm = Callable[[list[list[str]]], str]


@pytest.fixture
def voc(tmp_path: Path) -> Farm:
    """Writes a folder in VOC's layout, an image for each list of names."""

    def write(images: list[list[str]]) -> str:
        root = tmp_path / "farm"
        for folder in ("ImageSets/Main", "Annotations", "JPEGImages"):
            (root / folder).mkdir(parents=True)
        for number, names in enumerate(images):
            Image.new("RGB", (60, 40)).save(root / "JPEGImages" / f"{number}.png")
            things = "".join(
                f"<object><name>{name}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{20 + i}</xmax><ymax>30</ymax>"
                "</bndbox><part><name>leg</name></part></object>"
                for i, name in enumerate(names)
            )
            size = "<size><width>60</width><height>40</height></size>"
            (root / "Annotations" / f"{number}.xml").write_text(f"<annotation>{size}{things}</annotation>")
        listed = "\n".join(map(str, range(len(images))))
        for split in ("train", "val"):
            (root / "ImageSets" / "Main" / f"{split}.txt").write_text(listed)
        return str(root)

    return write


def test_names_of_xmls(voc: Farm, tmp_path: Path) -> None:
    root = voc([["kangaroo", "dog"], [], ["raccoon"]])
    assert voc_folder(root) == {"dog": "n02084071", "kangaroo": "kangaroo", "raccoon": "raccoon"}
    assert voc_folder(f"{root}/Annotations") == voc_folder(root)
    with pytest.raises(LabelError, match=r"looked for Annotations/\*\.xml, as in VOC's layout, and found none"):
        voc_folder(tmp_path)
    (tmp_path / "a.xml").write_text("<annotation/>")
    with pytest.raises(LabelError, match="none of 1 XMLs has an <object> with a <name>"):
        voc_folder(tmp_path)
    (tmp_path / "a.xml").write_text("<annotation>")
    with pytest.raises(LabelError, match=r"a\.xml: "):
        voc_folder(tmp_path)


def test_vocs_own_names_are_vocs_classes(voc: Farm) -> None:
    assert voc_folder(voc([["dog", "tvmonitor"]])) == voc_classes()


def test_a_tree_of_own_names_and_the_table_for_those_of_several_meanings(
    voc: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The advice of a training, followed to its end."""
    root = voc([["kangaroo"], ["crane", "gizmotron"]])
    monkeypatch.chdir(tmp_path)
    assert train.main(["--voc", root, "--out", "run"]) == 2
    said = capsys.readouterr().err
    assert "voc: 'crane' has 5 senses under the root\n" in said
    assert "`first_sense`" not in said
    advice = next(line for line in said.splitlines() if line.startswith("  yolo9000 tree")).split()
    assert advice == ["yolo9000", "tree", "build", "--voc", root, "--out", "wordtree.json"]
    assert tree_command.main(advice[2:]) == 2
    assert "voc.categories.csv: fill in, then name it with --categories" in capsys.readouterr().err
    table = Path("voc.categories.csv").read_text()
    assert "`" not in table
    table = table.replace("crane,,", "crane,crane.n.04,").replace("gizmotron,,", "gizmotron,gizmotron < device.n.01,")
    Path("voc.categories.csv").write_text(table)
    assert tree_command.main([*advice[2:], "--categories", "voc.categories.csv"]) == 0
    tree = load_tree("wordtree.json")
    data = load_data(DataConfig(sets=(("voc", root),)), TreeClasses(tree))
    assert data.detection is not None
    assert {tree.names[node] for node in data.boxed} == {"kangaroo", "crane", "gizmotron"}
    assert tree.synsets[tree.label_maps["voc"]["crane"]] == "crane.n.04"


def test_a_tree_without_the_label_map_is_asked_by_name(voc: Farm, caplog: pytest.LogCaptureFixture) -> None:
    labels._tell_once.cache_clear()
    root = voc([["kangaroo"], ["raccoon", "dog"]])
    tree = load_tree("yolo9000")
    with caplog.at_level(logging.WARNING):
        data = load_data(DataConfig(sets=(("voc", root),)), TreeClasses(tree))
    assert {tree.synsets[node] for node in data.boxed} == {"kangaroo.n.01", "raccoon.n.02", "dog.n.01"}
    (said,) = [record.message for record in caplog.records]  # once, and not for each part of the data
    assert said.startswith(f"voc {root}: known by name alone: kangaroo is kangaroo.n.01 (n01877134): mammal > ")
    assert "dog" not in said.partition("alone")[2]  # a name of COCO's, which the tree has a map of


def test_folders_of_images_are_asked_by_name_as_coverage_asks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels._tell_once.cache_clear()
    for split in ("train", "val"):
        for name in ("Norfolk terrier", "dog", "kangaroo"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / split / name / "a.jpg")
    tree = load_tree("yolo9000")
    sets = (("imagenet", str(tmp_path)),)
    with caplog.at_level(logging.WARNING):
        data = load_data(DataConfig(sets=sets), TreeClasses(tree))
    assert data.classification is not None
    read = [data.classification.read(number) for number in range(3)]
    meant = {record.key: tree.synsets[record.image_label or 0] for record in read}
    assert meant == {
        "Norfolk terrier/a.jpg": "norfolk_terrier.n.01",
        "dog/a.jpg": "dog.n.01",
        "kangaroo/a.jpg": "kangaroo.n.01",
    }
    found = measure_coverage(tree, sets)
    assert (found.images.nonzero()[0].tolist(), found.lost) == (list(data.image_labels), ())
    known = with_left_out(NodesByName(TreeClasses(tree)), ["n99999999"])  # beside classes left out, too
    assert (known.get("n99999999"), known.get("kangaroo"), known.get("crane")) == (0, 7405, None)
    (said,) = [record.message for record in caplog.records]
    assert said.startswith(f"imagenet {tmp_path}: known by name alone: Norfolk terrier is norfolk_terrier.n.01 (")


def test_a_name_of_several_nodes_is_no_guess(voc: Farm) -> None:
    with pytest.raises(DatasetError) as error:
        load_data(DataConfig(sets=(("voc", voc([["kangaroo"], ["crane"]])),)), TreeClasses(load_tree("yolo9000")))
    assert "1 of 2 classes have no node in the label map: crane." in str(error.value)
    assert "  crane.n.04 (n03126707): device > lifting device > crane\n" in str(error.value)


def test_names_by_what_knows_them_first() -> None:
    tree = WordTree(("n1", "n2"), ("mouse", "mouse"), (-1, -1), label_maps={"farm": {"mouse": 1}, "coco": {"mouse": 0}})
    assert NodesByName(TreeClasses(tree), "farm")["mouse"] == 1
    assert NodesByName(TreeClasses(tree), "coco")["mouse"] == 0
    names = NodesByName(TreeClasses(WordTree(("n1", "n2"), ("mouse", "mouse"), (-1, -1))))
    assert (names["n2"], names.get("mouse"), len(names), names.resolved) == (1, None, 2, {})


def test_own_categories_of_a_folder_in_cocos_layout(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    for split, padding in (("train", " " * 100), ("val", "")):
        document = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "kangaroo"}]}
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(document) + padding)
    assert LAYOUTS["coco"].labels(str(tmp_path), "train").classes == {"kangaroo": "kangaroo"}
    assert classes_of_labels(DataConfig(sets=(("coco", str(tmp_path)),))).tree.names == ("kangaroo",)
    (tmp_path / "annotations" / "instances_val.json").unlink()
    document["categories"] = [{"id": 1, "name": "dog"}]
    (tmp_path / "annotations" / "instances_train.json").write_text(json.dumps(document))
    assert len(LAYOUTS["coco"].labels(str(tmp_path), "train").classes) == 80


def test_nouns_become_a_tree_with_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nouns.txt").write_text("kangaroo\nforklift\nraccoon.n.02\n")
    assert tree_command.main(["build", "--names", "nouns.txt", "--out", "mine.json"]) == 0
    tree = load_tree("mine.json")
    assert {"kangaroo", "forklift", "raccoon"} <= set(tree.names)
    assert "from nouns" in capsys.readouterr().out


def test_coverage(voc: Farm) -> None:
    tree = load_tree("yolo9000")
    found = measure_coverage(tree, (("voc", voc([["dog", "dog"], ["kangaroo", "dodo bird", "crane"]])),))
    assert {tree.names[node]: int(found.boxes[node]) for node in found.boxes.nonzero()[0]} == {"dog": 2, "kangaroo": 1}
    assert (int(found.boxes_below[tree.node("carnivore.n.01")]), int(found.boxes_below[tree.node("mammal.n.01")])) == (
        2,
        3,
    )
    assert [(each.name, each.count) for each in found.lost] == [("crane", 1), ("dodo bird", 1)]
    text = format_coverage(found).splitlines()
    assert text[1:4] == [
        "     boxes     images  concept",
        "         2          0  dog (dog.n.01)",
        "         1          0  kangaroo (kangaroo.n.01)",
    ]
    assert "  crane (1 in voc" in text[5]
    assert len(coverage_csv(found).splitlines()) == 9419
    with pytest.raises(Mistake, match="`tiles` draws its images"):
        measure_coverage(tree, (("tiles", "x"),))
