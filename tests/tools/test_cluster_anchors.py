"""tools/cluster_anchors.py as a stranger runs it, on files made here."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from yolo9000.experiment.config import NetConfig
from yolo9000.options import parse

TOOL = Path(__file__).resolve().parents[2] / "tools" / "cluster_anchors.py"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Return a function that runs the tool's main in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the tool puts the repository first
    specification = importlib.util.spec_from_file_location("cluster_anchors_tool", TOOL)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return lambda *arguments: module.main([str(argument) for argument in arguments])


def write_coco(root: Path, sizes: list[tuple[int, int]], width: int = 400, height: int = 200) -> Path:
    """One image with boxes of these sizes, a crowd, and a category that no tree knows."""
    (root / "annotations").mkdir(parents=True)
    (root / "train2017").mkdir()
    (root / "train2017" / "1.jpg").touch()
    boxes = [{"bbox": [0, 0, w, h], "iscrowd": 0} for w, h in sizes] + [{"bbox": [0, 0, 399, 5], "iscrowd": 1}]
    document = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": width, "height": height}],
        "categories": [{"id": 1, "name": "frobnicator"}],
        "annotations": [{"id": i, "image_id": 1, "category_id": 1, **box} for i, box in enumerate(boxes, 1)],
    }
    file = root / "annotations" / "instances_train2017.json"
    file.write_text(json.dumps(document))
    return file


def test_priors_for_a_training_and_for_a_cfg(
    cluster: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """400 pixels are the longer side: a box of 200 x 100 is half and a quarter of the input, whatever its size."""
    file = write_coco(tmp_path / "coco", [(40, 40)] * 3 + [(200, 100)] * 2)
    assert cluster("--coco", tmp_path / "coco", "-k", 2, "--size", 416, "--stride", 32) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "5 boxes; average IoU of a box with the best of 2 priors: 1.0000",
        "--priors 1.3x1.3,6.5x3.25",
        "anchors = 1.3,1.3, 6.5,3.25",
    ]
    net = parse(NetConfig, said[1].split(), program="train", about="")
    assert net.priors == ((1.3, 1.3), (6.5, 3.25))
    assert cluster("--coco", file, "-k", 2, "--size", 96, "--stride", 16) == 0
    assert "--priors 0.6x0.6,3.0x1.5\n" in capsys.readouterr().out


def test_several_sets_are_joined(
    cluster: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_coco(tmp_path / "one", [(40, 40)])
    write_coco(tmp_path / "two", [(200, 100)])
    root = tmp_path / "voc"
    for folder in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets" / "Main" / "train.txt").write_text("1\n")
    (root / "JPEGImages" / "1.jpg").touch()
    (root / "Annotations" / "1.xml").write_text(
        "<annotation><size><width>400</width><height>400</height></size><object><name>gizmo</name><bndbox>"
        "<xmin>1</xmin><ymin>1</ymin><xmax>40</xmax><ymax>400</ymax></bndbox></object></annotation>"
    )
    assert cluster("--coco", "one", "--coco", "two", "--voc", "voc", "-k", 3, "--size", 320) == 0
    assert "--priors 1.0x1.0,1.0x10.0,5.0x2.5\n" in capsys.readouterr().out


def test_comparison_and_curve(cluster: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_coco(tmp_path / "coco", [(10 * i, 200 - 9 * i) for i in range(1, 21)])
    assert cluster("--coco", "coco", "--compare", "--curve", "fit.png", "--restarts", 2) == 0
    said = capsys.readouterr()
    assert said.err == ""  # no progress bar where there is no terminal
    table, csv = said.out.split("\n\n")[1:]
    assert [line.split(" | ")[0] for line in table.splitlines()[2:7]] == [
        "| Cluster SSE 5", "| Cluster IoU 5", "| Cluster SSE 9", "| Cluster IoU 9", "| Anchor Boxes 9 (picked by hand)",
    ]  # fmt: skip
    assert csv.splitlines()[0] == "k,iou,euclidean"
    assert [line.split(",")[0] for line in csv.splitlines()[1:]] == [str(k) for k in range(1, 16)]
    assert Path("fit.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--coco, --voc, --yolo or --csv: name a data set with boxes"),
        (["--coco", "coco", "-k", 3], "-k 3: they need at least 3 boxes of different shape, there are 2"),
        (["--coco", "coco", "-k", 0], "-k 0, --restarts 1: at least 1 is needed of each"),
        (["--coco", "coco", "-k", 1, "--seed", -1], "--seed -1: at least 0 is needed"),
        (["--coco", "coco", "-k", 1, "--size", 0], "--size 0, --stride 32: both are numbers of pixels, at least 1"),
    ],
)
def test_mistakes_are_one_line(
    cluster: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    options: list[str | int],
    message: str,
) -> None:
    write_coco(tmp_path / "coco", [(40, 40), (80, 40)])
    assert cluster(*options) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}")
    assert said.count("\n") == 1


def test_a_folder_that_is_not_laid_out_as_its_option_wants_is_answered_with_the_layout(
    cluster: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cluster("--coco", "nowhere") == 2
    first, *layout = capsys.readouterr().err.splitlines()
    assert first.startswith("error: nowhere: looked for annotations/instances_train.json")
    assert first.endswith("Expected:")
    assert [line.split("/")[0] for line in layout] == ["coco"] * len(layout) != []


def test_it_is_thin() -> None:
    assert len(TOOL.read_text(encoding="utf-8").splitlines()) <= 80
