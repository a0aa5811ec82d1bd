"""`Results` in other formats: values typed by hand, and read back by the readers of these formats."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path as File
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from wordtree import WordTree
from yolo9000.datasets.coco import CocoSource
from yolo9000.models import FlatClasses, TreeClasses
from yolo9000.results.boxes import Boxes, Path, Step
from yolo9000.results.file_names import file_name, stem_of
from yolo9000.results.formats import (
    class_names,
    save_crops,
    to_coco,
    to_csv,
    to_fiftyone,
    to_json,
    to_pandas,
    to_supervision,
    to_txt,
)
from yolo9000.results.results import Results
from yolo9000.runtime.mistakes import Mistake

# animal (dog, cat), vehicle
TREE = WordTree(("n1", "n2", "n3", "n4"), ("animal", "vehicle", "dog", "big cat, wild"), (-1, -1, 0, 0))


def results(path: str = "photos/a.jpg") -> Results:
    """A dog that never had a box, and a vehicle, in an image of 80 x 40 whose left half is red."""
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, :40, 0] = 255
    return Results(
        image=image,
        path=path,
        boxes=Boxes(
            xyxy=np.array([[10, 5, 30, 25], [40, 0, 80, 40]], np.float32),
            objectness=np.array([0.6, 0.5], np.float32),
            probability=np.array([0.7, 0.6], np.float32),
            score=np.array([0.42, 0.3], np.float32),
        ),
        nodes=np.array([2, 1]),
        paths=(Path((Step(0, "animal", 0.95), Step(2, "dog", 0.7))), Path((Step(1, "vehicle", 0.6),))),
        classes=TreeClasses(TREE),
        never_boxed=frozenset({2}),
    )


def nothing() -> Results:
    return results()[[]]


def test_json() -> None:
    assert to_json(results()) == {
        "image": "photos/a.jpg",
        "width": 80,
        "height": 40,
        "coordinates": "pixels of the upright image",
        "detections": [
            {
                "box_xyxy": [10.0, 5.0, 30.0, 25.0],
                "score": 0.42,
                "objectness": 0.6,
                "node": 2,
                "probability": 0.7,
                "id": "n3",
                "name": "dog",
                "never_boxed": True,
                "path": [
                    {"id": "n1", "name": "animal", "probability": 0.95},
                    {"id": "n3", "name": "dog", "probability": 0.7},
                ],
            },
            {
                "box_xyxy": [40.0, 0.0, 80.0, 40.0],
                "score": 0.3,
                "objectness": 0.5,
                "node": 1,
                "probability": 0.6,
                "id": "n2",
                "name": "vehicle",
                "path": [{"id": "n2", "name": "vehicle", "probability": 0.6}],
            },
        ],
    }
    assert json.loads(json.dumps(to_json(results()))) == to_json(results())
    assert to_json(nothing())["detections"] == []


def test_classes_without_a_tree_have_no_path() -> None:
    flat = Results(
        image=np.zeros((4, 4, 3), np.uint8),
        path="a.jpg",
        boxes=Boxes(*[np.ones((1, 4), np.float32), *[np.ones(1, np.float32)] * 3]),
        nodes=np.array([1]),
        paths=(Path((Step(1, "cat", 1.0),)),),
        classes=FlatClasses(2, names=("dog", "cat")),
    )
    (entry,) = to_json(flat)["detections"]
    assert entry["name"] == "cat"
    assert "path" not in entry
    assert "id" not in entry
    assert to_coco(flat)["categories"] == [{"id": 2, "name": "cat"}]
    assert class_names(flat.classes) == "dog\ncat\n"


def test_coco() -> None:
    assert to_coco([results(), nothing()]) == {
        "images": [
            {"id": 1, "file_name": "photos/a.jpg", "width": 80, "height": 40},
            {"id": 2, "file_name": "photos/a.jpg", "width": 80, "height": 40},
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 3,
                "bbox": [10.0, 5.0, 20.0, 20.0],
                "area": 400.0,
                "iscrowd": 0,
                "score": 0.42,
            },
            {
                "id": 2,
                "image_id": 1,
                "category_id": 2,
                "bbox": [40.0, 0.0, 40.0, 40.0],
                "area": 1600.0,
                "iscrowd": 0,
                "score": 0.3,
            },
        ],
        "categories": [
            {"id": 2, "name": "vehicle", "wnid": "n2"},
            {"id": 3, "name": "dog", "wnid": "n3", "supercategory": "animal"},
        ],
    }


def test_ids_are_the_numbers_of_coco_s_files_if_all_have_one() -> None:
    two = [results("val2017/000000000139.jpg"), results("val2017/000000000285.jpg")]
    assert [image["id"] for image in to_coco(two)["images"]] == [139, 285]
    assert [image["id"] for image in to_coco([*two, results("a.jpg")])["images"]] == [1, 2, 3]
    assert [image["id"] for image in to_coco([two[0], two[0]])["images"]] == [1, 2]
    assert [image["id"] for image in to_coco(results("\u00b2.jpg"))["images"]] == [1]  # a digit, and no number
    assert [image["id"] for image in to_coco(results("20240131120000123456.jpg"))["images"]] == [1]  # above 2^63


def test_coco_is_read_by_pycocotools_and_by_our_own_reader(tmp_path: File, capsys: pytest.CaptureFixture[str]) -> None:
    one = results("a.png")
    Image.fromarray(one.image).save(tmp_path / "a.png")
    (tmp_path / "found.json").write_text(json.dumps(to_coco(one)))
    truth = COCO(str(tmp_path / "found.json"))
    read = truth.loadRes(to_coco(one)["annotations"])
    assert [(each["bbox"], each["score"]) for each in read.anns.values()] == [
        ([10.0, 5.0, 20.0, 20.0], 0.42),
        ([40.0, 0.0, 40.0, 40.0], 0.3),
    ]
    source = CocoSource(tmp_path / "found.json", {"dog": 2, "vehicle": 1}, images=tmp_path)
    record = source.read(0)
    assert record.boxes_xyxy.tolist() == [[10, 5, 30, 25], [40, 0, 80, 40]]
    assert record.labels.tolist() == [2, 1]


def test_txt() -> None:
    assert to_txt(results()) == (
        "2 0.250000 0.375000 0.250000 0.500000 0.420000\n"  # (10 + 30) / 2 / 80, (5 + 25) / 2 / 40, 20 / 80, 20 / 40
        "1 0.750000 0.500000 0.500000 1.000000 0.300000\n"
    )
    assert to_txt(nothing()) == ""
    assert class_names(results().classes).splitlines()[2] == "dog"


def test_csv_is_read_back() -> None:
    text = to_csv([results(), nothing(), results('b, "c".jpg')])
    assert text.splitlines()[:3] == [
        "image,x0,y0,x1,y1,label,node,id,score,objectness,probability,path",
        "photos/a.jpg,10.0,5.0,30.0,25.0,dog,2,n3,0.42,0.6,0.7,animal > dog",
        "photos/a.jpg,40.0,0.0,80.0,40.0,vehicle,1,n2,0.3,0.5,0.6,vehicle",
    ]
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["image"] for row in rows] == ["photos/a.jpg"] * 2 + ['b, "c".jpg'] * 2
    assert to_csv(results()) == to_csv([results()])


def test_pandas() -> None:
    pytest.importorskip("pandas")
    table = to_pandas(results())
    assert table["label"].tolist() == ["dog", "vehicle"]
    assert table["score"].tolist() == [0.42, 0.3]
    assert table[["x0", "y0", "x1", "y1"]].loc[1].tolist() == [40, 0, 80, 40]
    assert list(to_pandas(nothing()).columns) == list(table.columns)
    assert table.to_csv(index=False) == to_csv(results())


def test_supervision() -> None:
    supervision = pytest.importorskip("supervision")
    found = to_supervision(results())
    assert isinstance(found, supervision.Detections)
    assert found.xyxy.tolist() == [[10, 5, 30, 25], [40, 0, 80, 40]]
    assert found.confidence.tolist() == pytest.approx([0.42, 0.3])
    assert found.class_id.tolist() == [2, 1]
    assert found["class_name"].tolist() == ["dog", "vehicle"]
    assert found[found.confidence > 0.4]["path"].tolist() == ["animal > dog"]
    assert len(to_supervision(nothing())) == 0


def test_fiftyone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in, for FiftyOne brings a database: the names of its fields are those of its documentation."""

    def value(**fields: Any) -> SimpleNamespace:
        return SimpleNamespace(**fields)

    monkeypatch.setitem(sys.modules, "fiftyone", SimpleNamespace(Detection=value, Detections=value))  # type: ignore[arg-type]
    first = to_fiftyone(results()).detections[0]
    assert first.label == "dog"
    assert first.bounding_box == [0.125, 0.125, 0.25, 0.5]
    assert (first.confidence, first.objectness, first.probability, first.path) == (0.42, 0.6, 0.7, "animal > dog")


@pytest.mark.parametrize(
    ("module", "call", "extra"),
    [
        ("pandas", to_pandas, "tables"),
        ("supervision", to_supervision, "supervision"),
        ("fiftyone", to_fiftyone, "fiftyone"),
    ],
)
def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, module: str, call: Any, extra: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Mistake, match=rf'{module} is needed .*: pip install "yolo9000\[{extra}\]"'):
        call(results())


def test_crops_lie_in_a_folder_of_their_label(tmp_path: File) -> None:
    files = save_crops(results(), tmp_path)
    assert files == [tmp_path / "dog" / "a-1.jpg", tmp_path / "vehicle" / "a-1.jpg"]
    with Image.open(files[0]) as dog, Image.open(files[1]) as vehicle:
        assert (dog.size, vehicle.size) == ((20, 20), (40, 40))
        assert np.asarray(dog)[10, 10, 0] > 240
        assert np.asarray(vehicle)[20, 30, 0] < 15
    assert save_crops(results("more/a.jpg"), tmp_path)[0] == tmp_path / "dog" / "a-2.jpg"  # nothing is replaced


def test_names_are_cut_by_their_bytes_and_not_within_a_letter(tmp_path: File) -> None:
    assert stem_of("a" * 250 + ".jpg") == "a" * 200
    assert stem_of("é" * 125 + ".jpg") == "é" * 100
    assert stem_of("a" + "é" * 125 + ".jpg") == "a" + "é" * 99
    assert stem_of("a" * 246 + ".mp4#12") == "a" * 200 + "-000012"
    assert file_name("語" * 100) == "語" * 66
    files = save_crops(results("a" * 250 + ".jpg"), tmp_path)
    assert [file.name for file in files] == ["a" * 200 + "-1.jpg"] * 2


def test_a_crop_that_is_too_long_for_a_jpeg_is_a_png(tmp_path: File) -> None:
    boxes = Boxes(np.array([[0, 0, 65_501, 2], [0, 0, 9, 2]], np.float32), *[np.full(2, 0.5, np.float32)] * 3)
    one = results()
    long = Results(np.zeros((2, 65_501, 3), np.uint8), "a.jpg", boxes, one.nodes, one.paths, one.classes)
    assert save_crops(long, tmp_path) == [tmp_path / "dog" / "a-1.png", tmp_path / "vehicle" / "a-1.jpg"]
    with pytest.raises(Mistake, match=r"`file` .*a\.jpg: 65501 x 2 pixels are too long for a JPEG; take \.png"):
        long.save(tmp_path / "a.jpg", enlarge=False)


@pytest.mark.parametrize("suffix", [".mpg", ".fits", ".psd", ".h5", ".grib", ".wmf", ".xbm", ".blp", ".doc", ""])
def test_a_suffix_that_no_coloured_picture_is_written_with_is_a_mistake(tmp_path: File, suffix: str) -> None:
    """Pillow reads the first three only, leaves the next three to other packages, and XBM has no colours."""
    with pytest.raises(Mistake, match=rf"no picture's format ends in {suffix or 'nothing'}; take \.jpg or \.png"):
        results().save(tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".jpg", ".PNG", ".webp", ".gif", ".bmp", ".tiff", ".pdf"])
def test_a_picture_is_written_in_the_format_of_its_suffix(tmp_path: File, suffix: str) -> None:
    results().save(tmp_path / f"a{suffix}")
    assert (tmp_path / f"a{suffix}").stat().st_size > 100


def test_boxes_beyond_the_image_are_cut_and_empty_ones_left_out(tmp_path: File) -> None:
    boxes = Boxes(np.array([[-9, -9, 8.5, 8.2], [90, 2, 95, 9]], np.float32), *[np.full(2, 0.5, np.float32)] * 3)
    one = results()
    beyond = Results(one.image, "a.jpg", boxes, one.nodes, one.paths, one.classes)
    (file,) = save_crops(beyond, tmp_path)
    with Image.open(file) as crop:
        assert crop.size == (9, 9)


def test_frames_of_a_video_have_numbers_in_their_names() -> None:
    assert stem_of("in/clip.mp4#3") == "clip-000003"
    assert stem_of("odd#name.jpg") == "odd#name"
    assert stem_of("clip#\u00b2") == "clip#\u00b2"
    assert stem_of("https://example.org/") == "image"
