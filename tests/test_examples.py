"""Every script of examples/ runs as its first line says, and shows what it is there to show."""

from __future__ import annotations

import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
WORDS: dict[str, tuple[list[str], str]] = {
    "query_tree.py": ([], r"a Norfolk terrier and a Siamese cat are both a carnivore[\s\S]*0\.9 sure: "),
    "own_tree.py": ([], r"truck > pallet jack[\s\S]*written to mine\.json"),
    "ask_about_boxes.py": (["runs/joint", "photo.jpg"], r"Pr\(terrier\|hunting dog\)=[\s\S]*drawn in found\.jpg"),
    "count_kinds.py": (["runs/joint", "photos", "dog.n.01"], r"dog\.n\.01: [1-9]"),
    "only_my_classes.py": (["runs/joint", "photo.jpg", "dog", "cat"], r"terrier[\s\S]*mine\.pt is a checkpoint"),
    "export_and_compare.py": (["runs/joint", "photo.jpg"], r"exported: the same [1-9]\d* boxes"),
    "train_and_evaluate.py": (["out", "3"], r"never_boxed: AP50 0\.\d{3}"),
}
SLOW = {"export_and_compare.py", "train_and_evaluate.py"}


def test_all_are_listed() -> None:
    scripts = {file.name for file in EXAMPLES.glob("*.py")}
    assert scripts == set(WORDS)
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+\.py)", readme, re.MULTILINE)) == scripts


@pytest.mark.parametrize(
    "script", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in WORDS]
)
def test_it_runs(
    script: str, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if script.startswith("export"):
        pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
        pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    words, shown = WORDS[script]
    shutil.copytree(workplace, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, *words])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert re.search(shown, capsys.readouterr().out)
