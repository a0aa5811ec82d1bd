"""The script of the joint benchmark on a few tiles, one step a phase: every run ends, and none is repeated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import joint_training

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "joint_benchmark.sh"
BOXED, NEVER_BOXED = ("n02099601", "n02123045"), ("n02085620",)  # golden retriever, tabby; chihuahua


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    root = tmp_path / "some tiles"  # a blank, which a shell script may trip over
    (root / "boxes").mkdir(parents=True)
    for split in ("train", "val"):
        rows = ["wnid\tfile\tx0\ty0\tx1\ty1"]
        for number, wnid in enumerate((*BOXED, *NEVER_BOXED)):
            (root / split / wnid).mkdir(parents=True)
            pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / split / wnid / "a.png")
            rows.append(f"{wnid}\ta.png\t8\t8\t55\t55")
        (root / "boxes" / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    (root / "split.json").write_text(json.dumps({"boxed": BOXED, "image_only": NEVER_BOXED}))
    return root


@pytest.mark.slow
def test_every_leading_run_ends_and_none_is_repeated(
    tiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], hours: bool
) -> None:
    """With all parts but the ablations, or the first."""
    runs = tmp_path / "some runs"
    few = {
        "START": "1",
        "STEPS": "1",
        "IMAGES": "30",
        "DATA": "tiles_a",
        "PARTS": "leading rival flat" if hours else "leading",
        "PYTHON": sys.executable,
    }
    command = ["sh", str(SCRIPT), str(tiles), str(runs), "0"]
    chosen = few | {"PARTS": "leading rival", "VARIANTS": "best paper"}
    subprocess.run(command, env=os.environ | chosen, capture_output=True, text=True, check=True)
    assert {path.parent.name for path in runs.glob("tiles_a/seed0/*/evaluation.json")} == {"best", "paper"}
    first = subprocess.run(command, env=os.environ | few, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    ended = {"detection_only", "all_boxes", "paper", "best"}
    if hours:
        ended |= {"flat", "paper_mosaic", "paper_boxes_first", "paper_boxes_first_mosaic"}
    assert {path.parent.name for path in runs.glob("tiles_a/seed0/*/evaluation.json")} == ended
    report = json.loads((runs / "tiles_a" / "seed0" / "all_boxes" / "evaluation.json").read_text())
    assert (report["boxed"]["classes"], report["never_boxed"]["classes"]) == (2, 1)  # scored by the usual split
    again = subprocess.run(command, env=os.environ | few, capture_output=True, text=True, check=True)
    assert again.stdout == ""
    assert joint_training.main([str(runs)]) == 0
    assert "| best | 1 |" in capsys.readouterr().out


def test_a_training_that_fails_is_not_taken_for_done(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no memory >&2\nexit 137\n")
    broken.chmod(0o755)
    command = ["sh", str(SCRIPT), str(tmp_path / "tiles"), str(tmp_path / "some runs"), "0"]
    few = {"PYTHON": str(broken), "DATA": "tiles_a", "PARTS": "leading"}
    said = subprocess.run(command, env=os.environ | few, capture_output=True, text=True, check=False)
    assert said.returncode != 0
    assert "no memory" in said.stderr
    assert not list(tmp_path.rglob("done"))


def test_without_arguments_it_says_what_it_needs() -> None:
    said = subprocess.run(["sh", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "scripts/joint_benchmark.sh TILES_DIR [RUNS_DIR] [SEED ...]" in said.stderr
