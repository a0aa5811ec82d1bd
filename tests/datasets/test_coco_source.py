from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from yolo9000.datasets.coco import CocoSource
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.sample import Unreadable

LABELS = {"cat": 3, "dog": 5}


def _annotation(image: int, category: int | None, bbox: Any, **more: Any) -> dict[str, Any]:
    return {"id": 0, "image_id": image, "category_id": category, "bbox": bbox, **more}


def _write(root: Path, **changes: Any) -> Path:
    """Three images of 40 x 30, of which the last has no annotations."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "train2017").mkdir(exist_ok=True)
    for name in "abc":
        Image.new("RGB", (40, 30)).save(root / "train2017" / f"{name}.jpg")
    data: dict[str, Any] = {
        "images": [{"id": 10 - i, "file_name": f"{n}.jpg", "width": 40, "height": 30} for i, n in enumerate("abc")],
        "categories": [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}],
        "annotations": [
            _annotation(9, 18, [1, 2, 3, 4], iscrowd=0, segmentation=[[1, 2, 3]]),
            _annotation(10, 17, [10, 10, 20, 5]),  # no iscrowd
            _annotation(9, 17, [0, 0, 40, 30], iscrowd=1),
        ],
    }
    data.update(changes)
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(data))
    return root


def test_boxes_labels_crowds_and_background(tmp_path: Path) -> None:
    source = CocoSource(_write(tmp_path), LABELS)
    a, b, c = (source.read(i) for i in range(len(source)))
    assert (a.key, b.key, c.key) == ("a.jpg", "b.jpg", "c.jpg")
    assert a.boxes_xyxy.tolist() == [[10, 10, 30, 15]]
    assert a.labels.tolist() == [3]
    assert b.boxes_xyxy.tolist() == [[1, 2, 4, 6]]
    assert b.labels.tolist() == [5]
    assert b.ignore_boxes_xyxy.tolist() == [[0, 0, 40, 30]]
    assert c.boxes_xyxy.shape == (0, 4)
    assert c.image.shape == (30, 40, 3)
    assert source.kind == "detection"
    assert source.image_ids.tolist() == [10, 9, 8]
    assert a.image_label is None
    assert source.index.relative_sizes().tolist() == [pytest.approx([0.5, 0.125]), pytest.approx([0.075, 0.1])]


def test_images_of_an_annotation_file_may_lie_in_the_folder_images(tmp_path: Path) -> None:
    """annotations/train.json, and its photographs in images/train."""
    root = _write(tmp_path)
    file = (root / "annotations" / "instances_train2017.json").rename(root / "annotations" / "train.json")
    (root / "images").mkdir()
    (root / "train2017").rename(root / "images" / "train")
    assert CocoSource(file, LABELS).read(0).key == "a.jpg"


def test_the_truth_is_what_the_file_states(tmp_path: Path) -> None:
    annotations = [
        _annotation(9, 18, [1, 2, 3, 4], area=7.5, iscrowd=0),
        _annotation(10, 17, [30, 10, 20, 5]),  # sticks out by 10; no area, no iscrowd
        _annotation(9, 17, [0, 0, 40, 30], area=1000, iscrowd=1),
        _annotation(9, 17, None, area=3),
        _annotation(9, 17, [1, 2, float("nan"), 4]),
        _annotation(11, 17, [1, 2, 3, 4]),  # there is no image 11
        _annotation(9, 19, [1, 2, 3, 4]),  # without a node
    ]
    categories = [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}, {"id": 19, "name": "axolotl"}]
    source = CocoSource(_write(tmp_path, annotations=annotations, categories=categories), LABELS, skip_missing=True)
    truth = source.truth()
    assert truth.names == ("c.jpg", "b.jpg", "a.jpg")  # by their ids 8, 9 and 10
    assert truth.images.tolist() == [1, 2, 1]
    assert truth.labels.tolist() == [5, 3, 3]
    assert truth.boxes_xywh.tolist() == [[1, 2, 3, 4], [30, 10, 20, 5], [0, 0, 40, 30]]
    assert truth.areas.tolist() == [7.5, 100, 1000]
    assert truth.crowd.tolist() == [False, False, True]
    nothing = CocoSource(_write(tmp_path, annotations=[]), LABELS).truth()
    assert nothing.boxes_xywh.shape == (0, 4)


@pytest.mark.parametrize("split", ["train2017", "train"])
def test_split_with_and_without_the_year(tmp_path: Path, split: str) -> None:
    assert len(CocoSource(_write(tmp_path), LABELS, split=split)) == 3


def test_of_several_files_one_is_to_be_named(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "annotations" / "instances_train2014.json").write_text("{}")
    with pytest.raises(DatasetError, match="several files of train. Pass one .*: train2014, train2017"):
        CocoSource(tmp_path, LABELS, split="train")


def test_an_annotation_file_itself(tmp_path: Path) -> None:
    _write(tmp_path)
    assert len(CocoSource(tmp_path / "annotations" / "instances_train2017.json", LABELS)) == 3
    (tmp_path / "train2017").rename(tmp_path / "pictures")
    with pytest.raises(DatasetError, match=r"looked for the images in .*train2017, found no such folder"):
        CocoSource(tmp_path, LABELS)
    assert len(CocoSource(tmp_path, LABELS, images=tmp_path / "pictures")) == 3


def test_bad_boxes_are_clipped_or_dropped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = [
        _annotation(10, 17, [5, 5, 0, 4]),  # zero
        _annotation(10, 17, [5, 5, -3, 4]),  # negative
        _annotation(10, 17, [float("nan"), 5, 3, 4]),
        _annotation(10, 17, [1, 2, float("inf"), 4]),
        _annotation(10, 17, None),
        _annotation(10, 17, [1, 2, 3]),
        _annotation(10, 17, [50, 5, 3, 4]),  # outside
        _annotation(10, 17, [-5, 5, 3, 4]),  # outside
        _annotation(10, 17, [-5, 5, 10, 40]),  # clipped to 0 5 5 30
        _annotation(10, 17, [0, 0, 40.5, 30]),  # rounding: clipped, not worth a word
        _annotation(777, 17, [0, 0, 4, 3]),  # an image that is not listed
    ]
    with caplog.at_level(logging.WARNING):
        source = CocoSource(_write(tmp_path, annotations=bad), LABELS)
    assert source.read(0).boxes_xyxy.tolist() == [[0, 5, 5, 30], [0, 0, 40, 30]]
    assert source.index.dropped == {
        "of an image that is not listed": 1,
        "not finite": 4,
        "zero or negative size": 2,
        "outside the image": 2,
        "clipped to the image": 1,
    }
    assert len(caplog.messages) == 1
    assert "2 outside the image" in caplog.text


def test_missing_width_and_height_come_from_the_file(tmp_path: Path) -> None:
    images = [{"id": 10, "file_name": "a.jpg"}]
    source = CocoSource(_write(tmp_path, images=images, annotations=[_annotation(10, 17, [30, 20, 30, 30])]), LABELS)
    assert source.read(0).boxes_xyxy.tolist() == [[30, 20, 40, 30]]


def test_another_size_than_the_json_says_is_unreadable(tmp_path: Path) -> None:
    source = CocoSource(_write(tmp_path), LABELS)
    Image.new("RGB", (30, 40)).save(tmp_path / "train2017" / "a.jpg")
    with pytest.raises(Unreadable, match=r"a\.jpg: 30 x 40 pixels, but its boxes are for 40 x 30"):
        source.read(0)
    (tmp_path / "train2017" / "a.jpg").unlink()
    with pytest.raises(Unreadable, match=r"a\.jpg: No such file"):
        source.read(0)


def test_categories_without_a_node_are_all_listed(tmp_path: Path) -> None:
    names = ["cat", *(f"thing {i}" for i in range(30))]
    _write(tmp_path, categories=[{"id": 17 + i, "name": name} for i, name in enumerate(names)])
    with pytest.raises(DatasetError) as caught:
        CocoSource(tmp_path, {"cat": 0})
    assert all(name in str(caught.value) for name in names[1:])
    assert "30 of 31 categories" in str(caught.value)
    source = CocoSource(tmp_path, {"cat": 0}, skip_missing=True)
    assert source.read(0).labels.tolist() == [0]
    assert source.index.dropped == {"without a node": 1}
    with pytest.raises(DatasetError, match="none of its 31 categories"):
        CocoSource(tmp_path, {"bird": 0}, skip_missing=True)


def test_absent_files_are_named(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "train2017" / "b.jpg").unlink()
    with pytest.raises(
        DatasetError, match=r"1 of its 3 images are not in .*train2017: b\.jpg\. Found there: a\.jpg, c\.jpg"
    ):
        CocoSource(tmp_path, LABELS)


def test_one_level_too_high_or_too_low(tmp_path: Path) -> None:
    root = _write(tmp_path / "data" / "coco")
    with pytest.raises(
        DatasetError, match=r"looked for annotations/instances_train2017\.json, found coco/.*pass .*coco"
    ):
        CocoSource(root.parent, LABELS)
    with pytest.raises(DatasetError, match=r"found a\.jpg, b\.jpg, c\.jpg\. That is one level too low: pass .*coco\."):
        CocoSource(root / "train2017", LABELS)
    with pytest.raises(DatasetError, match="no such folder; .*data has coco/"):
        CocoSource(tmp_path / "data" / "cocoa", LABELS)
    with pytest.raises(DatasetError, match=r"looked for annotations/instances_val2017\.json"):
        CocoSource(root, LABELS, split="val2017")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "not valid JSON"),
        ("[]", "no COCO instances file.*found a list"),
        ('{"images": [], "annotations": []}', "looked for the lists categories, found images, annotations"),
        ('{"images": [], "annotations": [], "categories": []}', "names no image|none of its 0"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "no file_name"),
        ('{"images": [], "annotations": [{"caption": "a dog"}], "categories": []}', "no bbox"),
    ],
)
def test_other_jsons_are_refused(tmp_path: Path, text: str, match: str) -> None:
    _write(tmp_path)
    (tmp_path / "annotations" / "instances_train2017.json").write_text(text)
    with pytest.raises(DatasetError, match=match):
        CocoSource(tmp_path, LABELS)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"images": [3]}, r"instances_train2017\.json: images\[0\] is no object with keys, but 3"),
        (
            {"images": [{"id": "a", "file_name": "a.jpg"}]},
            r"images\[0\]: id must be a whole number, not 'a'",
        ),
        (
            {"annotations": [_annotation(10, 17, [1, 2, 3, 4]), {"bbox": []}]},
            r"annotations\[1\] has no image_id and",
        ),
        (
            {"annotations": [_annotation(10, None, [1, 2, 3, 4])]},
            "category_id must be a whole number, not None",
        ),
        ({"categories": [{"id": 17, "name": "cat"}, {"id": 17, "name": "dog"}]}, "categories have the same id: 17"),
    ],
)
def test_entries_of_a_wrong_kind_are_named(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(DatasetError, match=match):
        CocoSource(_write(tmp_path, **changes), LABELS)


def test_sizes_that_are_no_numbers_come_from_the_file(tmp_path: Path) -> None:
    images = [{"id": 10, "file_name": "a.jpg", "width": "wide", "height": None}]
    source = CocoSource(_write(tmp_path, images=images, annotations=[]), LABELS)
    assert source.read(0).image.shape == (30, 40, 3)


def test_doubled_ids_and_unknown_categories(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="categories that it does not list: 99"):
        CocoSource(_write(tmp_path, annotations=[_annotation(9, 99, [1, 2, 3, 4])]), LABELS)
    images = [{"id": 1, "file_name": f"{n}.jpg", "width": 40, "height": 30} for n in "ab"]
    with pytest.raises(DatasetError, match="same id: 1"):
        CocoSource(_write(tmp_path, images=images, annotations=[]), LABELS)


def test_real_images(shared: Path) -> None:
    root = shared / "data" / "coco"
    data = json.loads((root / "annotations" / "instances_train2017.json").read_text())
    source = CocoSource(root, {category["name"]: i for i, category in enumerate(data["categories"])})
    assert len(source) == 337
    assert source.index.ignore.sum() == 28
    assert len(source.index.labels) == 2838
    # a slow twin on some images
    node = {category["id"]: i for i, category in enumerate(data["categories"])}
    for i in range(0, 337, 40):
        record = source.read(i)
        mine = [a for a in data["annotations"] if a["image_id"] == data["images"][i]["id"]]
        plain = [a for a in mine if not a["iscrowd"]]
        assert record.labels.tolist() == [node[a["category_id"]] for a in plain]
        expected = [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in plain)]
        assert np.allclose(record.boxes_xyxy, np.reshape(expected, (-1, 4)), atol=0.5)
        assert len(record.ignore_boxes_xyxy) == len(mine) - len(plain)
        assert record.key == data["images"][i]["file_name"]


def _lying(path: Path, orientation: int | None) -> None:
    """An image stored as 24 x 16, green in its upper left block of 8 x 8; upright (6) that is the upper right one."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :8] = (0, 255, 0)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, quality=95, subsampling=0, exif=exif)


@pytest.mark.parametrize(
    ("orientation", "size", "bbox"),
    [
        (None, (24, 16), [0, 0, 8, 8]),
        (6, (24, 16), [0, 0, 8, 8]),  # the boxes are for the pixels as they are stored
        (6, (16, 24), [8, 0, 8, 8]),  # for the upright ones
        (8, (16, 24), [0, 16, 8, 8]),
        (5, (16, 24), [0, 0, 8, 8]),
        (7, (16, 24), [8, 16, 8, 8]),
        (3, (24, 16), [0, 0, 8, 8]),  # the size does not say: stored, as in COCO
    ],
)
def test_the_size_says_which_pixels_the_boxes_are_for(
    tmp_path: Path, orientation: int | None, size: tuple[int, int], bbox: list[int]
) -> None:
    images = [{"id": 10, "file_name": "a.jpg", "width": size[0], "height": size[1]}]
    source = CocoSource(_write(tmp_path, images=images, annotations=[_annotation(10, 17, bbox)]), LABELS)
    _lying(tmp_path / "train2017" / "a.jpg", orientation)
    record = source.read(0)
    assert record.image.shape == (size[1], size[0], 3)
    x0, y0, x1, y1 = record.boxes_xyxy[0].astype(int)
    green = record.image[..., 1] > 200
    assert green[y0:y1, x0:x1].all()
    assert green.sum() == 64


@pytest.mark.parametrize(
    ("orientation", "size", "advice"),
    [
        (None, (16, 24), ": width and height are swapped, and no EXIF orientation says so"),
        (3, (16, 24), ": width and height are swapped, and no EXIF orientation says so"),
        (6, (16, 16), ""),
    ],
)
def test_a_size_that_fits_in_no_way_is_unreadable(
    tmp_path: Path, orientation: int | None, size: tuple[int, int], advice: str
) -> None:
    images = [{"id": 10, "file_name": "a.jpg", "width": size[0], "height": size[1]}]
    source = CocoSource(_write(tmp_path, images=images, annotations=[]), LABELS)
    _lying(tmp_path / "train2017" / "a.jpg", orientation)
    with pytest.raises(Unreadable) as caught:
        source.read(0)
    assert str(caught.value) == f"a.jpg: 24 x 16 pixels, but its boxes are for {size[0]} x {size[1]}{advice}"
