"""The tables of the joint benchmark, from a folder of made-up runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import joint_training


def report(never_boxed: float, *, parents: bool = True) -> dict[str, Any]:
    shares = {"exact": 0.1, "less_exact": 0.5, "wrong": 0.25, "missed": 0.15, "depth": 0.4}
    of_kinds: dict[str, Any] = {
        "corloc": {"share": 0.5},
        "calibration": {"ece": 0.02},
        "back_off": shares,
    }
    found: dict[str, Any] = {name: dict.fromkeys(("boxed", "never_boxed"), value) for name, value in of_kinds.items()}
    found |= {"boxed": {"ap50": 0.3}, "never_boxed": {"ap50": never_boxed}, "top1": None}
    if parents:
        found["at_parents"] = {"boxed": {"ap50": 0.4}, "never_boxed": {"ap50": 2 * never_boxed}}
    return found


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed, variant, content in (
        (0, "paper", report(0.01)),
        (1, "paper", report(0.03)),
        (0, "best", report(0.08)),
        (0, "flat", report(0.04, parents=False)),
    ):
        run = tmp_path / "tiles" / f"seed{seed}" / variant
        run.mkdir(parents=True)
        (run / "evaluation.json").write_text(json.dumps(content))
        (run / "results.csv").write_text("step,phase,ap50_boxed,ap50_never_boxed\n1,joint,0.1,0\n2,joint,0.2,0.1\n")
    return tmp_path


def test_means_spreads_and_ratios(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert joint_training.main([str(runs)]) == 0
    said = capsys.readouterr().out
    scores = said[: said.index("over that of")].splitlines()
    paper = next(line for line in scores if line.startswith("| paper"))
    assert paper.startswith("| paper | 2 | 0.3000 ± 0.0000 | 0.0200 ± 0.0141 | 0.4000 ± 0.0000 | 0.0400 ± 0.0283 |")
    flat = next(line for line in scores if line.startswith("| flat"))
    assert flat.startswith("| flat | 1 | 0.3000 | 0.0400 |  |  | 0.5000 |")  # no parents in a flat tree
    ratios = said[said.index("over that of") :].splitlines()
    assert "| best | 4.00 | 2.00 |" in ratios  # .08 over the mean of .01 and .03, and over .04
    assert "| best | never boxed | 0.100 | 0.500 | 0.250 | 0.150 | 0.400 |" in said
    assert (runs / "tiles.png").stat().st_size > 5_000


def test_a_folder_without_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert joint_training.main([str(tmp_path)]) == 2
    assert "DATA/seedN/VARIANT/evaluation.json and found none" in capsys.readouterr().err
