"""The figures that people publish, from the command line: VOC's, and the table of the papers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from yolo9000 import evaluate

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
TINY = [str(GOLDEN / "net_yolov2tiny_voc20.weights"), "--cfg", str(GOLDEN / "net_yolov2tiny_voc20.cfg")]
BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_the_table_of_two_evaluations(report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "table.md"
    class_table = tool("class_table")
    assert class_table.main([f"one={report}", f"two={report}", "--metric", "voc10", "--out", str(out)]) == 0
    assert capsys.readouterr().out == out.read_text()
    assert out.read_text().splitlines()[0] == "| method | mean | car | dog |"
    assert [line.split(",")[0] for line in out.with_suffix(".csv").read_text().splitlines()] == ["method", "one", "two"]
    assert class_table.main([str(report), str(report)]) == 2
    assert "there is a method tiny already" in capsys.readouterr().err
