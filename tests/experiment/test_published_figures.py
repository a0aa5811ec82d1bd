"""The figures that people publish, from the command line: VOC's, and the table of the papers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from yolo9000 import evaluate

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
TINY = [str(GOLDEN / "net_yolov2tiny_voc20.weights"), "--cfg", str(GOLDEN / "net_yolov2tiny_voc20.cfg")]
BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"


def write_voc(root: Path) -> str:
    """Two images: a dog and a difficult cat, then a car."""
    for folder in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/Main/val.txt").write_text("1\n2\n")
    things = {"1": [("dog", 0, (1, 1, 32, 32)), ("cat", 1, (33, 33, 64, 64))], "2": [("car", 0, (5, 5, 60, 40))]}
    for name, objects in things.items():
        xml = "".join(
            f"<object><name>{kind}</name><difficult>{difficult}</difficult>{BOX.format(*box)}</object>"
            for kind, difficult, box in objects
        )
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{xml}</annotation>")
        Image.new("RGB", (64, 64), (90, 30 * int(name), 60)).save(root / "JPEGImages" / f"{name}.png")
    return str(root)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("voc")
    out = folder / "tiny.json"
    options = ["--voc", write_voc(folder / "VOC"), "--split", "val", "--device", "cpu", "--out", str(out)]
    assert evaluate.main([*TINY, *options]) == 0
    return out


def test_a_set_in_vocs_layout_has_vocs_figures(report: Path) -> None:
    figures = json.loads(report.read_text())
    assert figures["voc"]["all"]["classes"] == 2  # the cat is difficult
    assert {row["name"] for row in figures["classes"] if row["voc07"] is not None} == {"dog", "car"}
    assert all(row["boxes"] for row in figures["classes"] if row["voc10"] is not None)
    assert "coco" not in figures
