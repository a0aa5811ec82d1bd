"""The papers' table, typed by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from yolo9000.evaluation.class_table import class_table, read_evaluations
from yolo9000.runtime.mistakes import Mistake


def row(node: int, ap50: float | None, **more: Any) -> dict[str, Any]:
    return {"node": node, "ap50": ap50, **more}


REPORTS = {
    "tree": {"classes": [row(7, 0.5, name="sofa", label="couch", id="n1"), row(9, 0.25, name="dog"), row(2, None)]},
    "flat": {"classes": [row(1, 0.75, name="dog"), row(0, 0.5, name="couch"), row(3, math.nan, name="cow")]},
    "few": {"classes": [row(1, 0.1, name="dog")]},
}


def test_classes_are_matched_by_the_names_of_the_data() -> None:
    table = class_table(REPORTS)
    assert table.classes == ("couch", "dog")
    assert table.markdown() == (
        "| method | mean | couch | dog |\n"
        "| :- | -: | -: | -: |\n"
        "| tree | 37.5 | **50.0** | 25.0 |\n"
        "| flat | **62.5** | **50.0** | **75.0** |\n"
        "| few | 10.0 (of 1) | - | 10.0 |\n"
    )
    assert table.csv().splitlines() == [
        "method,mean,couch,dog",
        "tree,37.50,50.00,25.00",
        "flat,62.50,50.00,75.00",
        "few,10.00,,10.00",
    ]


def test_two_classes_of_one_name_are_told_apart() -> None:
    mice = {"classes": [row(3, 0.5, name="mouse", id="n3"), row(4, 0.25, name="mouse", id="n4")]}
    assert class_table({"a": mice}).classes == ("mouse (n3)", "mouse (n4)")


def test_the_last_evaluation_of_a_run_counts(tmp_path: Path) -> None:
    for name, value in (("evaluation.json", 0.1), ("evaluation2.json", 0.9)):
        (tmp_path / name).write_text(json.dumps({"classes": [row(1, value, name="dog")]}))
    (method,) = read_evaluations([str(tmp_path)]).items()
    assert method == (tmp_path.name, {"classes": [row(1, 0.9, name="dog")]})


def test_mistakes_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="`metric` voc07: the evaluation of tree has none; VOC's figures are those of"):
        class_table(REPORTS, "voc07")
    with pytest.raises(Mistake, match=r"runs.evaluation\.json|runs: no such evaluation"):
        read_evaluations([str(tmp_path / "runs")])
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "evaluation.json").write_text(json.dumps(REPORTS["few"]))
    (tmp_path / "a.json").write_text("[1]")
    assert list(read_evaluations([str(tmp_path / "a"), f"SSD = 300={tmp_path / 'b'}"])) == ["a", "SSD = 300"]
    with pytest.raises(Mistake, match="there is a method a already; name it with NAME="):
        read_evaluations([str(tmp_path / "a"), str(tmp_path / "a" / "evaluation.json")])
    with pytest.raises(Mistake, match=r"a\.json: no evaluation: "):
        read_evaluations([str(tmp_path / "a.json")])
