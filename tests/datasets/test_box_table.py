"""Boxes in a CSV: the columns, pixels and relative edges, splits, and the rows that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from yolo9000.datasets.box_table import CsvSource, csv_labels
from yolo9000.datasets.errors import DatasetError

LABELS = {"cat": 3, "dog": 5}


def write(root: Path, text: str) -> Path:
    (root / "photos").mkdir(exist_ok=True)
    for name in ("a", "b", "c"):
        Image.new("RGB", (40, 20)).save(root / "photos" / f"{name}.jpg")
    (root / "boxes.csv").write_text(text)
    return root / "boxes.csv"


def boxes(source: CsvSource) -> list[tuple[str, list[list[float]], list[int]]]:
    records = [source.read(number) for number in range(len(source))]
    return [(record.key, record.boxes_xyxy.tolist(), record.labels.tolist()) for record in records]


def test_without_a_header_the_columns_are_path_edges_label(tmp_path: Path) -> None:
    file = write(tmp_path, "photos/b.jpg,10,5,30,15,cat\nphotos/a.jpg,0,0,40,20,dog\nphotos/b.jpg,1,2,3,4,dog\n")
    assert boxes(CsvSource(file, LABELS)) == [
        ("b.jpg", [[10, 5, 30, 15], [1, 2, 3, 4]], [3, 5]),
        ("a.jpg", [[0, 0, 40, 20]], [5]),
    ]


@pytest.mark.parametrize(
    "header",
    [
        "label,y1,x1,y0,x0,path",
        "class,ymax,xmax,ymin,xmin,filename",
        "class_name,y2,x2,y1,x1,image",
        "Name,Bottom,Right,Top,Left,File",
    ],
)
def test_a_header_names_the_columns(tmp_path: Path, header: str) -> None:
    file = write(tmp_path, f"width,{header}\n40,cat,15,30,5,10,photos/a.jpg\n")
    assert boxes(CsvSource(file, LABELS)) == [("a.jpg", [[10, 5, 30, 15]], [3])]


def test_edges_up_to_one_are_relative(tmp_path: Path) -> None:
    file = write(tmp_path, "photos/a.jpg,0.25,0.25,0.75,0.75,cat\nphotos/a.jpg,0,0,1,1,dog\n")
    assert boxes(CsvSource(file, LABELS)) == [("a.jpg", [[10, 5, 30, 15], [0, 0, 40, 20]], [3, 5])]


def test_a_relative_edge_may_hang_over_by_rounding(tmp_path: Path) -> None:
    file = write(tmp_path, "photos/a.jpg,0.25,0.25,0.75,0.75,cat\nphotos/a.jpg,-0.000001,0,1.000001,1,dog\n")
    source = CsvSource(file, LABELS)
    assert boxes(source) == [("a.jpg", [[10, 5, 30, 15], [0, 0, 40, 20]], [3, 5])]
    assert source.index.dropped == {}
    file = write(tmp_path, "photos/a.jpg,0.25,0.25,0.75,0.75,cat\nphotos/a.jpg,0,0,2,1,dog\n")
    assert boxes(CsvSource(file, LABELS)) == [("a.jpg", [[0.25, 0.25, 0.75, 0.75], [0, 0, 2, 1]], [3, 5])]


def test_a_row_with_a_path_alone_is_an_image_without_a_box(tmp_path: Path) -> None:
    file = write(tmp_path, "# made by hand\nphotos/a.jpg,,,,,\nphotos/c.jpg\nphotos/b.jpg,1,2,3,4,cat\n")
    assert boxes(CsvSource(file, LABELS)) == [("a.jpg", [], []), ("c.jpg", [], []), ("b.jpg", [[1, 2, 3, 4]], [3])]


def test_the_column_split(tmp_path: Path) -> None:
    rows = "photos/a.jpg,1,2,3,4,cat,train\nphotos/b.jpg,1,2,3,4,dog,val\nphotos/c.jpg,,,,,,\n"
    file = write(tmp_path, f"path,x0,y0,x1,y1,label,split\n{rows}")
    assert [key for key, _, _ in boxes(CsvSource(file, LABELS))] == ["a.jpg", "c.jpg"]
    assert [key for key, _, _ in boxes(CsvSource(file, LABELS, split="val"))] == ["b.jpg"]
    assert csv_labels(file, "train") == ["cat", "dog"]
    with pytest.raises(DatasetError, match="no image of the split test; its splits are train, val"):
        CsvSource(file, LABELS, split="test")


def test_a_folder_with_a_file_for_each_split(tmp_path: Path) -> None:
    write(tmp_path, "").rename(tmp_path / "val.csv")
    (tmp_path / "train.csv").write_text("photos/a.jpg,1,2,3,4,cat\n")
    (tmp_path / "val.csv").write_text("photos/b.jpg,1,2,3,4,dog\n")
    assert [key for key, _, _ in boxes(CsvSource(tmp_path, LABELS, split="val"))] == ["b.jpg"]
    assert csv_labels(tmp_path, "train") == ["cat", "dog"]
    with pytest.raises(DatasetError, match=r"with test\.csv, found photos/, train\.csv, val\.csv\. Expected:\nboxes"):
        CsvSource(tmp_path, LABELS, split="test")


def test_other_tables_of_a_folder_are_passed_over(tmp_path: Path) -> None:
    """Such as the table that ``tree build`` writes there, to be filled in."""
    write(tmp_path, "photos/a.jpg,1,2,3,4,cat\n").rename(tmp_path / "train.csv")
    (tmp_path / "farm.categories.csv").write_text("name,concept,note\ncat,,crane: it has 2 meanings\n")
    (tmp_path / "images.csv").write_text("image,label\nphotos/a.jpg,cow\n")
    (tmp_path / "notes.csv").write_text("who;when\nme;today\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "val.csv").write_text("photos/c.jpg\nphotos/b.jpg,1,2,3,4,dog\n")
    (tmp_path / "more.csv").write_text("label,x0,y0,x1,y1,path\nbird,1,2,3,4,photos/a.jpg\n")
    assert csv_labels(tmp_path, "train") == ["bird", "cat", "dog"]
    (tmp_path / "train.csv").write_text("image,label\nphotos/a.jpg,cow\n")
    with pytest.raises(DatasetError, match=r"train\.csv:1: names the columns image, label; path, x0"):
        csv_labels(tmp_path, "train")


def test_a_file_without_the_column_holds_nothing_out(tmp_path: Path) -> None:
    file = write(tmp_path, "photos/a.jpg,1,2,3,4,cat\n")
    with pytest.raises(DatasetError, match="no image of the split val; its splits are train"):
        CsvSource(file, LABELS, split="val")


def test_rows_twice_and_boxes_over_the_edge_are_counted(tmp_path: Path) -> None:
    rows = ["10,5,30,15,cat", "10,5,30,15,cat", "30,5,60,15,dog", "50,5,60,15,dog", "9,5,9,15,dog"]
    source = CsvSource(write(tmp_path, "".join(f"photos/a.jpg,{row}\n" for row in rows)), LABELS)
    assert boxes(source) == [("a.jpg", [[10, 5, 30, 15], [30, 5, 40, 15]], [3, 5])]
    assert source.index.dropped == {
        "written twice": 1,
        "outside the image": 1,
        "clipped to the image": 1,
        "zero or negative size": 1,
    }


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("photos/a.jpg,1,2,3,4,", "a box without a label"),
        ("photos/a.jpg,1,2,three,4,cat", "1,2,three,4: four numbers are needed"),
        ("photos/a.jpg,1,2,3,,cat", "1,2,3,: four numbers are needed"),
        ("photos/a.jpg,,,,,cat", ",,,: four numbers are needed"),
        ("photos/a.jpg,1,2,inf,4,cat", "1,2,inf,4: a number is not finite"),
        ("photos/a.jpg,30,5,10,15,cat", "30,5,10,15: the right and lower edge come last, not width and height"),
        ("photos/z.jpg,1,2,3,4,cat", r"no such image: .*photos/z\.jpg"),
        (",1,2,3,4,cat", "the path is empty"),
        ("photos/a.jpg,1,2,3,4,cat,0.9", "7 cells; name the columns in the first row"),
    ],
)
def test_a_wrong_row_is_named_with_file_and_line(tmp_path: Path, row: str, said: str) -> None:
    file = write(tmp_path, f"photos/b.jpg,1,2,3,4,cat\n\n{row}\n")
    with pytest.raises(DatasetError, match=rf"boxes\.csv:3: {said}.*a row is path,x0,y0,x1,y1,label"):
        CsvSource(file, LABELS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path;x0;y0;x1;y1;label\n", r"boxes\.csv:1: expected commas"),
        ("path,x0,y0,label\n", r"boxes\.csv:1: names the columns path, x0, y0, label; path, x0, y0, x1, y1 and label"),
        ("", r"boxes\.csv: has no image of the split train"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        CsvSource(write(tmp_path, text), LABELS)


def test_a_label_without_a_node_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, "photos/a.jpg,1,2,3,4,cow\nphotos/a.jpg,2,2,3,4,cat\n")
    with pytest.raises(DatasetError, match="1 of 2 labels have no node in the label map: cow"):
        CsvSource(file, LABELS)
    assert boxes(CsvSource(file, LABELS, skip_missing=True)) == [("a.jpg", [[2, 2, 3, 4]], [3])]
