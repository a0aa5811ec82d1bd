"""ImageNet's detection challenge: where its files lie, and which pixels its boxes are of."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.imagenet_det import ImageNetDetSource

XML = """<annotation><folder>val</folder><filename>{0}</filename><size><width>40</width><height>30</height></size>
<object><name>n02084071</name><bndbox><xmin>0</xmin><xmax>9</xmax><ymin>4</ymin><ymax>29</ymax></bndbox></object>
</annotation>"""
LABELS = {"n02084071": 5}


def write(root: Path, part: str = "DET") -> Path:
    for number in (1, 2):
        name = f"ILSVRC2012_val_{number:08}"
        for kind in ("Annotations", "Data"):
            (root / kind / part / "val").mkdir(parents=True, exist_ok=True)
        text = XML.format(name) if number == 1 else "<annotation></annotation>"
        (root / "Annotations" / part / "val" / f"{name}.xml").write_text(text)
        Image.new("RGB", (40, 30)).save(root / "Data" / part / "val" / f"{name}.JPEG")
    return root


@pytest.mark.parametrize("part", ["DET", ""])
def test_pixels_count_from_zero_and_the_last_one_belongs_to_the_box(tmp_path: Path, part: str) -> None:
    write(tmp_path / "ILSVRC", part)
    for root in (tmp_path, tmp_path / "ILSVRC"):
        source = ImageNetDetSource(root, LABELS)
        first, second = source.read(0), source.read(1)
        assert first.key == "ILSVRC2012_val_00000001.JPEG"
        assert first.boxes_xyxy.tolist() == [[0, 4, 10, 30]]
        assert (first.labels.tolist(), len(second.labels)) == ([5], 0)
    assert source.class_names == {5: "n02084071"}
    assert source.truth().difficult.tolist() == [False]


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="looked for Annotations/DET/val and Data/DET/val, found nothing"):
        ImageNetDetSource(tmp_path, LABELS)
    write(tmp_path)
    with pytest.raises(DatasetError, match="looked for Annotations/DET/test"):
        ImageNetDetSource(tmp_path, LABELS, split="test")
    (tmp_path / "Data/DET/test").mkdir()
    with pytest.raises(DatasetError, match="Data/DET/test is there, but .*Annotations/DET/test is not"):
        ImageNetDetSource(tmp_path, LABELS, split="test")
    with pytest.raises(DatasetError, match="1 of 1 classes have no node in the label map: n02084071"):
        ImageNetDetSource(tmp_path, {})
    (tmp_path / "Data/DET/val/ILSVRC2012_val_00000002.JPEG").unlink()
    with pytest.raises(DatasetError, match=r"1 of 2 images are not in .*val: ILSVRC2012_val_00000002\.JPEG"):
        ImageNetDetSource(tmp_path, LABELS)
    for file in tmp_path.rglob("*.xml"):
        file.unlink()
    with pytest.raises(DatasetError, match="val holds no XML"):
        ImageNetDetSource(tmp_path, LABELS)
