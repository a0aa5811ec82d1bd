"""The tool that puts evaluations of classifiers beside each other."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[2] / "tools" / "hierarchical_accuracy.py"


@pytest.fixture
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hierarchical_accuracy", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def evaluation(path: Path, right: float) -> str:
    def row(threshold: float) -> dict[str, Any]:
        return {"threshold": threshold, "right": right, "too_specific": 0.0, "depth": 2.0, "information": 0.5}

    curve = [row(threshold) for threshold in (0.0, 0.25, 0.5, 0.75, 0.9)]
    path.write_text(json.dumps({"classifier": {"back_off": curve}, "left_out": {"back_off": curve}}))
    return str(path)


def test_seeds_are_averaged(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"tree={evaluation(tmp_path / f'{seed}.json', right)}" for seed, right in enumerate((0.25, 0.75))]
    words.append(f"flat={evaluation(tmp_path / 'flat.json', 0.125)}")
    assert tool.main([*words, "--out", str(tmp_path / "a.png")]) == 0
    table = capsys.readouterr().out
    assert "| right: tree, known | 0.500 | 0.500 | 0.500 | 0.500 | 0.500 |" in table
    assert "| right: flat, left out | 0.125 |" in table
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_without_left_out_classes_the_known_ones_are_shown(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        file = Path(evaluation(tmp_path / f"{name}.json", 0.25))
        file.write_text(json.dumps({"classifier": json.loads(file.read_text())["classifier"]}))
    words = [f"{name}={tmp_path / name}.json" for name in ("a", "b")]
    assert tool.main([*words, "--out", str(tmp_path / "a.png")]) == 0
    table = capsys.readouterr().out
    assert "| right: b, known | 0.250 |" in table
    assert "left out" not in table
    evaluation(tmp_path / "a.json", 0.25)  # one that has some is not shown beside one that has none
    assert tool.main([*words, "--out", str(tmp_path / "a.png")]) == 2
    assert f"{tmp_path / 'b.json'}: no curve of classes left out" in capsys.readouterr().err


def test_an_evaluation_without_a_tree(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "flat.json").write_text(json.dumps({"classifier": {"top1": 0.5}}))
    assert tool.main([f"flat={tmp_path / 'flat.json'}", "--out", str(tmp_path / "a.png")]) == 2
    assert "no curve of classes known" in capsys.readouterr().err
    assert tool.main(["flat", "--out", str(tmp_path / "a.png")]) == 2
