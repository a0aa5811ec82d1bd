"""Every command of docs/predict.md runs as it stands, but for addresses and cameras, which are only parsed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from yolo9000 import predict
from yolo9000.results.config import SaveConfig
from yolo9000.runtime.run_folder import RunFolder

PAGE = Path(__file__).resolve().parents[2] / "docs" / "predict.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
    if line.startswith("yolo9000 predict")
]


@pytest.fixture
def workplace(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(run.path, tmp_path / "runs" / "joint")
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for name in ("photo.jpg", "other.png", "photos/a.jpg", "photos/deep/a2.jpg"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(tmp_path / name)
    video = cv2.VideoWriter(str(tmp_path / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 5.0, (64, 48))
    for grey in (0, 90):
        video.write(np.full((48, 64, 3), grey, np.uint8))
    video.release()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(COMMANDS) > 10
    for line in COMMANDS:
        words = shlex.split(line.partition("|")[0], comments=True)[2:]
        if any(word.startswith("https://") or word in ("--source", "--weights") for word in words):
            continue
        before = set(workplace.glob("runs/*"))
        assert predict.main(words) == 0, line
        made = set(workplace.glob("runs/*")) - before
        assert len(made) == (0 if "--no-save-json" in words else 1), line
        capsys.readouterr()
    (video,) = workplace.glob("runs/*/clip.mp4")
    assert {path.name for path in video.parent.iterdir()} == {"clip.mp4", "predictions.json"}


def test_every_field_of_what_is_saved_is_on_the_page() -> None:
    for name in SaveConfig.__dataclass_fields__:
        flag = name.replace("_", "-")
        assert f"--{flag}" in TEXT or f"--no-{flag}" in TEXT, name


def test_the_json_of_the_page_has_the_keys_of_a_prediction(workplace: Path) -> None:
    assert predict.main(["runs/joint", "photo.jpg", "--threshold", "0"]) == 0
    (entry,) = json.loads((workplace / "runs/predict/predictions.json").read_text())
    shown = json.loads(re.findall(r"^```json\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)[0])
    assert list(shown) == list(entry)
    detections = [list(each) for each in entry["detections"]]
    assert [key for key in shown["detections"][0] if key != "never_boxed"] in detections
