"""Images in, pictures and JSON out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from yolo9000.datasets.sample import Record, Unreadable
from yolo9000.detection.postprocess import DecodeConfig
from yolo9000.engine.prediction import NoImages, find_images, predict_images, read_images, write_predictions
from yolo9000.engine.snapshot import load_detector
from yolo9000.runtime.run_folder import RunFolder


def test_images_are_found_and_missing_ones_listed(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt"):
        (tmp_path / name).touch()
    assert find_images([tmp_path]) == [tmp_path / "a.png", tmp_path / "b.JPG"]
    assert find_images([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]  # named: then it is tried
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoImages, match=r"absent\.jpg \(no such file\).*empty \(a folder without images\)"):
        find_images([tmp_path / "absent.jpg", tmp_path / "empty"])


def test_unreadable_images_are_left_out(tmp_path: Path) -> None:
    Image.new("L", (5, 4)).save(tmp_path / "grey.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    unreadable: list[Unreadable] = []
    records = list(read_images([tmp_path / "broken.jpg", tmp_path / "grey.png"], unreadable))
    assert [record.image.shape for record in records] == [(4, 5, 3)]
    assert [Path(error.key).name for error in unreadable] == ["broken.jpg"]


def test_json_has_pixels_and_the_whole_path(run: RunFolder, squares: type[Any], tmp_path: Path) -> None:
    trained = load_detector(run.path)
    for weight, _ in trained.detector.head.dense_rows():
        torch.nn.init.zeros_(weight)  # every box is its prior; class logits are 0
    image = np.zeros((100, 50, 3), np.uint8)  # a letterbox of 64: scale .64, bands left and right
    records = [squares().read(0), Record(image, "folder/0.jpg"), squares().read(0)]
    predictions = predict_images(
        trained, records, DecodeConfig(threshold=0.01, nms="all"), device=torch.device("cpu"), batch_size=2
    )
    entries = write_predictions(predictions, trained, tmp_path / "out")
    assert entries == json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [entry["picture"] for entry in entries] == ["0.png", "0-2.png", "0-3.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "0-2.png",
        "0-3.png",
        "0.png",
        "predictions.json",
    ]
    tall = entries[1]
    assert (tall["width"], tall["height"]) == (50, 100)
    with Image.open(tmp_path / "out" / "0-2.png") as picture:
        assert picture.size == (50, 100)
    for entry in entries:
        assert entry["detections"]
        for each in entry["detections"]:
            x0, y0, x1, y1 = each["box_xyxy"]
            assert 0 <= x0 <= x1 <= entry["width"]
            assert 0 <= y0 <= y1 <= entry["height"]
            # two top nodes, equally probable: neither is above one half, so the best top node it is
            assert each["name"] == "animal"
            assert each["path"] == [{"id": "n1", "name": "animal", "probability": 0.5}]
            assert each["score"] == pytest.approx(each["objectness"] * 0.5, rel=1e-3)
