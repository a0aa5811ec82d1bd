"""Data with classes of somebody's own: from a folder to a tree and to sources, in each layout."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from wordtree.labels import LabelError
from yolo9000.datasets.errors import DatasetError
from yolo9000.experiment.config import DataConfig
from yolo9000.experiment.data import load_data
from yolo9000.experiment.layouts import LAYOUTS, own_labels
from yolo9000.experiment.prior_boxes import read_box_shapes

VOC_XML = """<annotation><size><width>40</width><height>20</height></size><object><name>{}</name>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>20</ymax></bndbox></object></annotation>"""


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20)).save(path)


def write_voc(root: Path, *names: str) -> Path:
    for folder in ("ImageSets/Main", "Annotations"):
        (root / folder).mkdir(parents=True)
    for name in names:
        picture(root / f"JPEGImages/{name}.jpg")
        (root / f"Annotations/{name}.xml").write_text(VOC_XML.format(name))
    for split in ("train", "val"):
        (root / f"ImageSets/Main/{split}.txt").write_text("\n".join(names))
    return root


def write_yolo(root: Path, names: str, rest: str = "") -> Path:
    for split in ("train", "val"):
        picture(root / f"images/{split}/a.jpg")
        (root / f"labels/{split}").mkdir(parents=True)
        (root / f"labels/{split}/a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: {names}\n{rest}")
    return root


def write_csv(root: Path) -> Path:
    picture(root / "a.jpg")
    table = "path,x0,y0,x1,y1,label,split\na.jpg,10,5,30,15,kangaroo,train\na.jpg,10,5,30,15,forklift,val\n"
    (root / "zoo.csv").write_text(table)
    return root / "zoo.csv"


def names_of(config: DataConfig) -> tuple[list[str], list[list[float]]]:
    """The names of the labels that have boxes, and the boxes of the first image."""
    data = load_data(config)
    assert data.detection is not None
    assert data.val_detection is not None
    return [data.classes.name(node) for node in data.boxed], data.detection.read(0).boxes_xyxy.tolist()


def test_the_classes_of_a_voc_folder_are_read_from_it(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "zoo", "kangaroo", "okapi")
    assert names_of(DataConfig(sets=(("voc", str(root)),))) == (["kangaroo", "okapi"], [[0, 0, 20, 20]])
    assert LAYOUTS["voc"].options(str(root), "train") == f"--voc {root}"


def test_vocs_own_classes_stay_vocs(tmp_path: Path) -> None:
    root = write_voc(tmp_path / "VOC2007", "tvmonitor", "pottedplant")
    classes = load_data(DataConfig(sets=(("voc", str(root)),))).classes
    assert len(classes.label_maps["voc"]) == 20


def test_yolo_data(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "zoo", "[kangaroo, okapi]")
    config = DataConfig(sets=(("yolo", str(root / "data.yaml")),))
    assert names_of(config) == (["kangaroo"], [[10, 5, 30, 15]])
    data = load_data(config)
    assert data.detection is not None
    assert data.detection.labelled_nodes is not None
    assert len(data.detection.labelled_nodes) == 2  # the file lists the okapi, so there is none in its images
    assert list(data.classes.label_maps) == ["zoo"]


def test_the_names_of_cocos_classes_are_cocos(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "desk", "[mouse, keyboard]")
    classes = load_data(DataConfig(sets=(("yolo", str(root)),))).classes
    assert classes.ids["n03793489"] == classes.label_maps["desk"]["mouse"]


def test_a_csv_with_its_held_out_rows(tmp_path: Path) -> None:
    config = DataConfig(sets=(("csv", str(write_csv(tmp_path))),))
    assert names_of(config) == (["kangaroo"], [[10, 5, 30, 15]])
    assert [load_data(config).classes.name(node) for node in load_data(config).never_boxed] == ["forklift"]


def test_sets_of_several_layouts_are_joined(tmp_path: Path) -> None:
    sets = (("yolo", str(write_yolo(tmp_path / "desk", "[kangaroo]"))), ("csv", str(write_csv(tmp_path))))
    data = load_data(DataConfig(sets=sets))
    assert data.detection is not None
    assert len(data.detection) == 2


def test_priors_are_clustered_from_their_boxes(tmp_path: Path) -> None:
    yolo, table = write_yolo(tmp_path / "desk", "[anything at all]"), write_csv(tmp_path)
    # boxes of 20 x 10 pixels in images of 40 x 20
    assert read_box_shapes(yolo=[str(yolo)], csv=[str(table)]).tolist() == [[0.5, 0.25]] * 2


def test_a_name_with_several_meanings_is_explained(tmp_path: Path) -> None:
    root = write_yolo(tmp_path / "site", "[crane, pallet jack]")
    with pytest.raises(DatasetError) as caught:
        load_data(DataConfig(sets=(("yolo", str(root)),)))
    said = str(caught.value)
    assert "'crane' has 5 senses under the root\n      crane.n.01" in said
    assert f"yolo9000 tree build --data {root} --out wordtree.json" in said
    assert "first_sense" not in said
    (root / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames: [crane, pallet jack]\n"
        "concepts: {crane: crane.n.04, pallet jack: pallet jack < truck.n.01}\n"
    )
    data = load_data(DataConfig(sets=(("yolo", str(root)),)))
    assert data.classes.ids["n03126707"] == data.classes.label_maps["site"]["crane"]


def test_a_command_knows_a_layout_by_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    found = {
        "yolo": own_labels(write_yolo(tmp_path / "a", "[okapi]")),
        "csv": own_labels(write_csv(tmp_path / "tables")),
        "voc": own_labels(write_voc(tmp_path / "b", "kangaroo")),
    }
    assert {layout: list(source.classes) for layout, source in found.items()} == {
        "yolo": ["okapi"],
        "csv": ["forklift", "kangaroo"],
        "voc": ["kangaroo"],
    }
    with pytest.raises(LabelError, match=r"looked for Annotations/\*\.xml"):
        own_labels(tmp_path)
