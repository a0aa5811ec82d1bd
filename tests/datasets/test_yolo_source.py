"""YOLO's format: boxes typed by hand, polygons, splits as Ultralytics and Roboflow write them, and what is refused."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.sample import Record
from yolo9000.datasets.writing import write_yolo
from yolo9000.datasets.yolo import YoloSource, read_data_yaml

LABELS = {"cat": 3, "dog": 5}
DATA = "train: images/train\nval: images/val\nnames: [cat, dog]\n"


def picture(path: Path, *, orientation: int | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.new("RGB", (40, 20)).save(path, exif=exif)


def write(root: Path, labels: str | None = "0 0.5 0.5 0.5 0.5\n", *, data: str = DATA) -> Path:
    """Two images of 40 x 20 pixels, of which the second has no file of labels."""
    for name in ("a", "b"):
        picture(root / f"images/train/{name}.jpg")
    (root / "labels/train").mkdir(parents=True, exist_ok=True)
    if labels is not None:
        (root / "labels/train/a.txt").write_text(labels)
    (root / "data.yaml").write_text(data)
    return root


def test_centre_and_size_become_edges_in_pixels(tmp_path: Path) -> None:
    source = YoloSource(write(tmp_path, "1 0.5 0.5 0.5 0.5\n\n0 0.25 0.5 0.1 1.0\n"), LABELS)
    first, second = source.read(0), source.read(1)
    assert first.boxes_xyxy.tolist() == [[10, 5, 30, 15], [8, 0, 12, 20]]
    assert first.labels.tolist() == [5, 3]
    assert (second.key, second.boxes_xyxy.shape) == ("b.jpg", (0, 4))
    assert (source.nodes, source.class_names) == ([3, 5], {3: "cat", 5: "dog"})


def test_a_polygon_gives_the_box_around_it(tmp_path: Path) -> None:
    source = YoloSource(write(tmp_path, "0 0.1 0.5 0.5 0.1 0.9 0.75\n"), LABELS)
    assert source.read(0).boxes_xyxy.tolist() == [[4, 2, 36, 15]]


def test_keypoints_are_left_alone(tmp_path: Path) -> None:
    pose = write(tmp_path, "0 0.5 0.5 0.5 0.5 0.1 0.1 0.9 0.9\n", data=DATA + "kpt_shape: [2, 2]\n")
    assert YoloSource(pose, LABELS).read(0).boxes_xyxy.tolist() == [[10, 5, 30, 15]]


def test_rows_twice_and_boxes_over_the_edge_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = "0 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.5\n1 1.0 0.5 0.5 0.5\n1 1.5 0.5 0.2 0.2\n1 0.5 0.5 0.0 0.5\n"
    with caplog.at_level(logging.WARNING):
        source = YoloSource(write(tmp_path, lines), LABELS)
    assert source.read(0).boxes_xyxy.tolist() == [[10, 5, 30, 15], [30, 5, 40, 15]]
    assert source.index.dropped == {
        "written twice": 1,
        "outside the image": 1,
        "clipped to the image": 1,
        "zero or negative size": 1,
    }
    assert "1 written twice" in caplog.text


def test_boxes_are_of_the_upright_image(tmp_path: Path) -> None:
    root = write(tmp_path, "0 0.5 0.25 1.0 0.5\n")
    picture(root / "images/train/a.jpg", orientation=6)  # stored 40 x 20, upright 20 x 40
    record = YoloSource(root, LABELS).read(0)
    assert record.image.shape == (40, 20, 3)
    assert record.boxes_xyxy.tolist() == [[0, 0, 20, 20]]


def test_an_image_that_stands_on_its_head_is_turned(tmp_path: Path) -> None:
    root = write(tmp_path)
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels).save(root / "images/train/a.jpg", exif=exif)
    image = YoloSource(root, LABELS).read(0).image
    assert image[:8].max() < 50
    assert image[12:].min() > 200


def test_roboflows_folders(tmp_path: Path) -> None:
    picture(tmp_path / "train/images/a.jpg")
    picture(tmp_path / "valid/images/b.jpg")
    for split, name in (("train", "a"), ("valid", "b")):
        (tmp_path / split / "labels").mkdir()
        (tmp_path / split / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    data = "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n"
    (tmp_path / "data.yaml").write_text(data)
    for split, name in (("train", "a.jpg"), ("val", "b.jpg"), ("valid", "b.jpg")):
        source = YoloSource(tmp_path / "data.yaml", LABELS, split=split)
        assert [source.read(number).key for number in range(len(source))] == [name]
    with pytest.raises(DatasetError, match=r"data\.yaml: has no key test; its splits are train, val"):
        YoloSource(tmp_path, LABELS, split="test")


def test_links_to_folders_are_entered_once(tmp_path: Path) -> None:
    root = write(tmp_path / "set")
    picture(tmp_path / "elsewhere/c.jpg")
    folder = root / "images/train"
    (folder / "again").symlink_to("../train")
    (folder / "first").symlink_to("second")  # the folder itself goes before the link to it
    picture(folder / "second/d.jpg")
    for name in ("more", "most"):
        (folder / name).symlink_to(tmp_path / "elsewhere")
    source = YoloSource(root, LABELS)
    keys = [source.read(number).key for number in range(len(source))]
    assert keys == ["a.jpg", "b.jpg", "more/c.jpg", "second/d.jpg"]


def test_a_path_and_numbered_names(tmp_path: Path) -> None:
    write(tmp_path / "set")
    yaml = tmp_path / "mine.yaml"
    yaml.write_text("path: set\ntrain: images/train\nnames:\n  1: dog\n  0: cat\n")
    assert YoloSource(yaml, LABELS).read(0).labels.tolist() == [3]
    yaml.write_text(f"path: {(tmp_path / 'set').as_posix()}\ntrain: images/train\nnames: [cat]\n")
    assert len(YoloSource(yaml, LABELS)) == 2
    yaml.write_text("path: elsewhere\ntrain: images/train\nnames: [cat]\n")
    with pytest.raises(DatasetError, match=r"mine\.yaml: path elsewhere: no such folder"):
        read_data_yaml(yaml)


def test_a_list_of_images_and_labels_beside_them(tmp_path: Path) -> None:
    picture(tmp_path / "photos/a.jpg")
    (tmp_path / "photos/a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "train.txt").write_text("photos/a.jpg\n\n")
    (tmp_path / "data.yaml").write_text("train: [train.txt]\nnames: [cat]\n")
    assert YoloSource(tmp_path, LABELS).read(0).boxes_xyxy.tolist() == [[10, 5, 30, 15]]
    (tmp_path / "train.txt").write_text("photos/a.jpg\nphotos/b.jpg\n")
    with pytest.raises(DatasetError, match=r"train\.txt:2: no such file: .*b\.jpg; a line of the list is the path"):
        YoloSource(tmp_path, LABELS)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2 0.5 0.5 0.5 0.5", r"class 2, but data\.yaml names 2 classes, 0 to 1"),
        ("-1 0.5 0.5 0.5 0.5", "class -1, but"),
        ("0.5 0.5 0.5 0.5 0.5", "class 0.5, but"),
        ("cat 0.5 0.5 0.5 0.5", "'cat' is no number"),
        ("0 0,5 0.5 0.5 0.5", "'0,5' is no number"),
        ("0 0.5 0.5 0.5", "4 numbers"),
        ("0 0.5 0.5 0.5 0.5 0.9", "6 numbers: leave out the last one"),
        ("0 0.5 0.5 0.5 0.5 0.9 0.1 0.2", "8 numbers"),
        ("0 20 10 20 10", "20 looks like pixels; divide by"),
        ("0 nan 0.5 0.5 0.5", "a number is not finite"),
    ],
)
def test_a_wrong_line_is_named_with_its_file(tmp_path: Path, line: str, said: str) -> None:
    root = write(tmp_path, f"0 0.5 0.5 0.5 0.5\n{line}\n")
    with pytest.raises(DatasetError, match=rf"labels/train/a\.txt:2: {said}.*a line is CLASS CENTRE_X"):
        YoloSource(root, LABELS)


def test_several_wrong_lines_are_shown_at_once(tmp_path: Path) -> None:
    root = write(tmp_path, "7 0.5 0.5 0.5 0.5\n" * 6 + "x\n")
    with pytest.raises(DatasetError, match=r"7 lines are wrong.*\n.*a\.txt:1: class 7(.*\n)+.*:5: .*\n  and 2 more$"):
        YoloSource(root, LABELS)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("train: images/train\n", "names must list"),
        ("train: images/train\nnames: {0: cat, 2: dog}\n", "from 0 without a gap, not 0, 2"),
        ("train: images/train\nnames: [cat, cat]\n", "names has cat more than once"),
        ("train: images/train\nnames: [cat, no]\n", "class 1 reads as False in YAML; put the name in quotes"),
        ("train: images/train\nnc: 3\nnames: [cat, dog]\n", "nc is 3, but names has 2"),
        ("names: [cat]\n", "has neither the key train nor val"),
        ("train: 5\nnames: [cat]\n", "train must be a folder, a file with a list of images"),
        ("train: images/nowhere\nnames: [cat]\n", "looked for images in .*nowhere, found no such folder"),
        ("train: [a\nnames: [cat]\n", "is no YAML that can be read: .*line 2"),
        ("just text\n", "must hold keys such as train, val and names"),
        ("train: images/train\nnames: [cat]\nconcepts: {dog: dog.n.01}\n", "concepts gives dog, which names has not"),
        ("train: images/train\nnames: [cat]\nconcepts: [dog]\n", "concepts must give a synset for names"),
    ],
)
def test_a_wrong_data_yaml_names_the_key(tmp_path: Path, data: str, said: str) -> None:
    with pytest.raises(DatasetError, match=rf"data\.yaml: .*{said}"):
        YoloSource(write(tmp_path, data=data), LABELS)


def test_other_folders_show_the_whole_layout(tmp_path: Path) -> None:
    picture(tmp_path / "images/train/a.jpg")
    with pytest.raises(DatasetError, match=r"for data\.yaml, found images/\. Expected:\ndata\.yaml(.*\n)+images"):
        YoloSource(tmp_path, LABELS)
    (tmp_path / "data.yaml").write_text(DATA)
    with pytest.raises(DatasetError, match=r"none of the 1 images of train has a file of labels; looked for .*a\.txt"):
        YoloSource(tmp_path, LABELS)


def test_a_class_without_a_node_is_named(tmp_path: Path) -> None:
    root = write(tmp_path)
    with pytest.raises(DatasetError, match="1 of 2 classes have no node in the label map: dog"):
        YoloSource(root, {"cat": 0})
    assert YoloSource(root, {"cat": 0}, skip_missing=True).nodes == [0]


def test_what_is_written_is_read_back(tmp_path: Path, squares: type[Any]) -> None:
    class Numbered(squares):  # type: ignore[misc]
        """Red is 0, green is 1."""

        def read(self, index: int) -> Record:
            record = super().read(index)
            return replace(record, labels=record.labels - 3)

    write_yolo(tmp_path / "set", {"train": Numbered(length=3), "val": Numbered(length=1)}, ["cat", "dog"])
    source = YoloSource(tmp_path / "set", LABELS)
    assert len(source) == 3
    assert source.labels.tolist() == [3, 5, 3]
    for number in range(3):
        written, read = squares().read(number), source.read(number)
        assert np.array_equal(written.image, read.image)
        assert np.abs(written.boxes_xyxy - read.boxes_xyxy).max() < 1e-3
    with pytest.raises(DatasetError, match="set: exists; name another folder"):
        write_yolo(tmp_path / "set", {}, [])
