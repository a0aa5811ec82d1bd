"""What is written stays in the run's folder, whatever images and classes are called."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from yolo9000.__main__ import main
from yolo9000.runtime.output_folder import OutputFolder
from yolo9000.runtime.run_folder import RunFolder

NAMES = [b" two blanks .jpg", b"a\nline.jpg", b"x..jpg", b"caf\xe9.jpg", "é.jpg".encode(), b"-rf.jpg", b"a#3.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_strange_names_are_predicted_on_and_written_inside(run: RunFolder, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    for name in NAMES:
        Image.fromarray(pixels).save(photos / "x.jpg")
        os.rename(photos / "x.jpg", os.fsencode(photos) + b"/" + name)
    (photos / "broken.jpg").write_bytes(b"\xff\xd8")
    out = tmp_path / "out"
    options = ["--save-csv", "--save-coco", "--save-txt", "--save-crops", "--out", str(out), "--threshold", "0"]
    status = main(["predict", str(run.path), str(photos), *options, "--max-detections", "2"])
    assert status == 1  # of the broken one
    entries = json.loads((out / "predictions.json").read_text())
    assert len(entries) == len(NAMES)
    assert len(list(out.glob("*.jpg"))) == len(NAMES)
    assert b"caf\xe9.jpg" in (out / "predictions.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photos"]
    assert len(list(photos.iterdir())) == len(NAMES) + 1


@pytest.mark.parametrize("name", ["../stolen", "/etc/stolen", "crops/../../stolen"])
def test_no_file_is_written_outside(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no file in"):
        OutputFolder(tmp_path / "out").file(name)
    assert list(tmp_path.iterdir()) == []
