"""Runs side by side: what they were told, what they reached, their curves."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from yolo9000 import compare
from yolo9000.comparison.runs import (
    _is_compared,
    configuration_rows,
    draw_runs,
    format_runs,
    read_run,
    read_runs,
    result_rows,
)
from yolo9000.runtime.mistakes import Mistake
from yolo9000.training.curves import FACTS

ROWS = "step,phase,loss,loss/box,ap50_boxed\n5,joint,4.0,1.0,\n10,joint,2.0,0.5,0.25\n15,joi"


def write(folder: Path, steps: int, evaluation: dict[str, Any] | None = None, **config: Any) -> Path:
    folder.mkdir(parents=True)
    content = {"config": {"plan": {"steps": steps, "joint": {"ratio": [1, 1]}}, "seed": 0, **config}}
    content["versions"] = {"torch": "2.6"}
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "results.csv").write_text(ROWS)
    if evaluation is not None:
        (folder / "evaluation.json").write_text(json.dumps(evaluation))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    first = write(tmp_path / "a", 10, {"step": 10, "boxed": {"ap50": 0.5}, "calibration": {"boxed": {"ece": 0.2}}})
    second = write(tmp_path / "b", 20, {"step": 10, "boxed": {"ap50": 0.25}, "calibration": {"boxed": {"ece": 0.1}}})
    third = write(tmp_path / "c", 20, net={"flat": True})
    return [str(first), str(second), str(third)]


def test_the_last_evaluation_counts(runs: list[str]) -> None:
    for number, ap50 in ((2, 0.75), (3, 0.625)):
        (Path(runs[0]) / f"evaluation{number}.json").write_text(json.dumps({"step": 10, "boxed": {"ap50": ap50}}))
    first, second, _ = read_runs(runs)
    assert (first.evaluation["boxed"]["ap50"], second.evaluation["boxed"]["ap50"]) == (0.625, 0.25)


def test_only_what_differs_is_shown(runs: list[str]) -> None:
    assert configuration_rows(read_runs(runs)) == [("plan.steps", ["10", "20", "20"]), ("net.flat", ["-", "-", "yes"])]
    assert format_runs(read_runs([runs[0], f"again={runs[0]}"])).startswith("the runs were told the same\n")


def test_figures_and_which_is_best(runs: list[str]) -> None:
    rows, best = result_rows(read_runs(runs))
    assert rows == [
        ("step", ["10", "10", "10"]),
        ("AP50, with boxes", ["0.500", "0.250", "-"]),
        ("ECE, with boxes", ["0.200", "0.100", "-"]),  # of an error less is better
        ("ap50_boxed, last in results.csv", ["0.250"] * 3),
        ("loss, last in results.csv", ["2.000"] * 3),  # half a line of a run that is writing is no row
    ]
    assert best == [None, 0, 1, None, None]


def test_a_figure_that_is_no_number_is_absent(tmp_path: Path) -> None:
    """JSON has no NaN: a mean over nothing is null."""
    folders = [write(tmp_path / name, 1, {"boxed": {"ap50": None}, "top1": 0.5}) for name in "ab"]
    rows, _ = result_rows(read_runs([str(folder) for folder in folders]))
    assert [title for title, _ in rows if "AP50" in title] == []
    assert not any(math.isnan(float(value)) for _, values in rows for value in values)


def test_names_are_the_parts_of_the_paths_that_differ(tmp_path: Path) -> None:
    folders = [write(tmp_path / seed / "joint", 1) for seed in ("seed0", "seed1")]
    assert [run.name for run in read_runs([str(f) for f in folders])] == ["seed0/joint", "seed1/joint"]
    assert [run.name for run in read_runs([f"x={folders[0]}", str(folders[1])])] == ["x", "joint"]
    with pytest.raises(Mistake, match="another run is called x already; name it with NAME="):
        read_runs([f"x={folder}" for folder in folders])


def test_what_is_no_run(tmp_path: Path, runs: list[str]) -> None:
    with pytest.raises(Mistake, match="name two runs at least"):
        read_runs(runs[:1])
    with pytest.raises(Mistake, match="there is no such folder"):
        read_run(tmp_path / "absent")
    with pytest.raises(Mistake, match="holds no config.json, so it is no run; there are runs in it: a, b, c"):
        read_run(tmp_path)
    (tmp_path / "a" / "evaluation.json").write_text("{")
    with pytest.raises(Mistake, match=r"evaluation\.json: cannot be read"):
        read_run(tmp_path / "a")
    (tmp_path / "a" / "evaluation.json").write_text("[]")
    with pytest.raises(Mistake, match=r"evaluation\.json: not what a run writes"):
        read_run(tmp_path / "a")


def test_reading_changes_nothing(runs: list[str]) -> None:
    """A run may be writing its results."""
    read_run(runs[0])
    assert (Path(runs[0]) / "results.csv").read_text() == ROWS


def test_the_command_writes_tables_and_curves(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([*runs, "--out", str(tmp_path / "out" / "cmp")]) == 0
    shown = capsys.readouterr().out
    assert "plan.steps  10  20   20" in shown
    assert "AP50, with boxes                 0.500 *  0.250" in shown
    written = (tmp_path / "out" / "cmp.md").read_text()
    assert "| AP50, with boxes | **0.500** | 0.250 | - |" in written
    assert "![curves](cmp.png)" in written
    with Image.open(tmp_path / "out" / "cmp.png") as picture:
        assert picture.size[0] == 1200  # loss and AP50 beside each other


def test_results_that_are_damaged(runs: list[str], tmp_path: Path) -> None:
    file = Path(runs[0]) / "results.csv"
    file.write_bytes(b"step,phase,loss,left_out,ap50\n5,joint,4.0,1,0.5\n10,joint,\0\0\0,1,nan\n15,joint,1.5,2,0.75\n")
    found = read_run(runs[0])
    assert (found.column("loss"), found.column("ap50")) == (([5, 15], [4.0, 1.5]), ([5, 15], [0.5, 0.75]))
    assert draw_runs([found, found], tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size[0] == 1200  # loss and AP50; steps that were left out are no score
    file.write_bytes(b"step,loss\n5,\xff\n")
    with pytest.raises(Mistake, match="results.csv: cannot be read"):
        read_run(runs[0])


def test_what_is_no_score_is_known_in_both_places() -> None:
    """`compare` needs no torch, and so does not import the list of the training."""
    assert not [name for name in FACTS if name != "loss" and _is_compared(name)]
    assert _is_compared("loss")


def test_runs_without_results_have_no_curves(tmp_path: Path) -> None:
    found = read_runs([str(write(tmp_path / name, 1)) for name in "ab"])
    for name in "ab":
        (tmp_path / name / "results.csv").unlink()
    found = read_runs([str(tmp_path / name) for name in "ab"])
    assert not draw_runs(found, tmp_path / "no.png")
    assert format_runs(found, markdown=True) == "The runs were told the same.\n\nNo run has results yet."
