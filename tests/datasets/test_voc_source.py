from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.voc import VocSource

LABELS = {"cat": 3, "dog": 5}

XML = """<annotation><filename>000001.jpg</filename><size><width>40</width><height>30</height><depth>3</depth></size>
<object><name>dog</name><difficult>0</difficult>
  <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
  <bndbox><xmax>10</xmax><xmin>1</xmin><ymin>1</ymin><ymax>30</ymax></bndbox></object>
<object><name>cat</name><difficult>1</difficult>
  <bndbox><xmin>5.5</xmin><ymin>6</ymin><xmax>40</xmax><ymax>30</ymax></bndbox></object>
</annotation>"""


def _write(root: Path) -> Path:
    for folder in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "ImageSets/Main/train.txt").write_text("000001\r\n000002  1\n\n")
    (root / "Annotations/000001.xml").write_text(XML)
    (root / "Annotations/000002.xml").write_text("<annotation></annotation>")
    for name in ("000001.jpg", "000002.png"):
        Image.new("RGB", (40, 30)).save(root / "JPEGImages" / name)
    return root


def test_boxes_count_from_one_and_difficult_is_ignored(tmp_path: Path) -> None:
    source = VocSource(_write(tmp_path), LABELS, split="train")
    first, second = source.read(0), source.read(1)
    assert first.boxes_xyxy.tolist() == [[0, 0, 10, 30]]  # the object's own box, not its head's
    assert first.labels.tolist() == [5]
    assert first.ignore_boxes_xyxy.tolist() == [[4.5, 5, 40, 30]]
    assert (second.key, len(second.boxes_xyxy)) == ("000002.png", 0)
    assert second.image.shape == (30, 40, 3)


def test_wrong_levels_and_splits(tmp_path: Path) -> None:
    root = _write(tmp_path / "VOCdevkit" / "VOC2007")
    for folder in (tmp_path, tmp_path / "VOCdevkit"):
        with pytest.raises(
            DatasetError, match=r"looked for ImageSets/Main/train\.txt, found VOC.*too high: pass .*VOC2007"
        ):
            VocSource(folder, LABELS, split="train")
    with pytest.raises(DatasetError, match=r"too low: pass .*VOC2007\."):
        VocSource(root / "JPEGImages", LABELS, split="train")
    with pytest.raises(DatasetError, match="Splits there: train"):
        VocSource(root, LABELS, split="trainval")


def test_a_list_is_utf8_with_or_without_a_mark(tmp_path: Path) -> None:
    root = _write(tmp_path)
    listing = root / "ImageSets/Main/train.txt"
    listing.write_bytes(b"\xef\xbb\xbf000001\n000002\n")
    assert [VocSource(root, LABELS, split="train").read(i).key for i in range(2)] == ["000001.jpg", "000002.png"]
    listing.write_bytes("größe\n".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"Main/train\.txt: is no text that can be read .*; save it as UTF-8"):
        VocSource(root, LABELS, split="train")


def test_classes_without_a_node_are_all_listed(tmp_path: Path) -> None:
    root = _write(tmp_path)
    with pytest.raises(DatasetError, match="2 of 2 classes have no node in the label map: cat, dog"):
        VocSource(root, {}, split="train")
    source = VocSource(root, {"dog": 0}, split="train", skip_missing=True)
    assert source.read(0).ignore_boxes_xyxy.shape == (0, 4)


def test_absent_files_are_named(tmp_path: Path) -> None:
    root = _write(tmp_path)
    (root / "JPEGImages/000001.jpg").unlink()
    with pytest.raises(DatasetError, match="1 of 2 images are not in .*JPEGImages: 000001"):
        VocSource(root, LABELS, split="train")
    (root / "Annotations/000002.xml").unlink()
    with pytest.raises(DatasetError, match=r"have no Annotations/\*\.xml: 000002"):
        VocSource(root, LABELS, split="train")


def test_a_broken_xml_is_named(tmp_path: Path) -> None:
    root = _write(tmp_path)
    (root / "Annotations/000001.xml").write_text("<annotation><object>")
    with pytest.raises(DatasetError, match=r"000001\.xml: "):
        VocSource(root, LABELS, split="train")
    (root / "Annotations/000001.xml").write_text("<annotation><object><bndbox/></object></annotation>")
    with pytest.raises(DatasetError, match=r"000001\.xml: object 1 has no <name>"):
        VocSource(root, LABELS, split="train")
    (root / "ImageSets/Main/train.txt").write_text("")
    with pytest.raises(DatasetError, match=r"train\.txt names no image"):
        VocSource(root, LABELS, split="train")


@pytest.mark.parametrize(("size", "upright"), [((40, 30), False), ((30, 40), True)])
def test_the_size_says_which_pixels_the_boxes_are_for(tmp_path: Path, size: tuple[int, int], upright: bool) -> None:
    root = _write(tmp_path)
    stated = XML.replace("<width>40</width><height>30</height>", f"<width>{size[0]}</width><height>{size[1]}</height>")
    (root / "Annotations/000001.xml").write_text(stated)
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:, :20] = 255  # the left half as it is stored; upright, the upper one
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(root / "JPEGImages" / "000001.jpg", quality=95, exif=exif)
    image = VocSource(root, LABELS, split="train").read(0).image
    assert image.shape == (size[1], size[0], 3)
    half = image[:16] if upright else image[:, :16]
    assert half.min() > 200


def test_the_truth_keeps_the_labels_of_difficult_objects(tmp_path: Path) -> None:
    truth = VocSource(_write(tmp_path), LABELS, split="train").truth()
    assert truth.names == ("000001.jpg", "000002.png")
    assert truth.images.tolist() == [0, 0]
    assert truth.labels.tolist() == [5, 3]
    assert truth.difficult.tolist() == [False, True]
    assert truth.boxes_xyxy.tolist() == [[0, 0, 10, 30], [4.5, 5, 40, 30]]
