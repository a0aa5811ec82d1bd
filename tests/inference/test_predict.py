"""Images in, pictures and JSON out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from yolo9000.datasets.sample import Record, Unreadable
from yolo9000.detection.config import DecodeConfig
from yolo9000.inference.model import load_detector
from yolo9000.inference.predict import (
    NoImages,
    Prediction,
    choose_folder,
    find_images,
    predict_images,
    read_images,
    write_predictions,
)
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


def test_images_are_seen_upright(run: RunFolder, tmp_path: Path) -> None:
    pixels = np.zeros((16, 48, 3), np.uint8)
    pixels[:, :16] = 255  # the left third as a camera stores it; upright, the upper one
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "lying.jpg", quality=95, exif=exif)
    upright = np.zeros((48, 16, 3), np.uint8)
    upright[:16] = 255
    Image.fromarray(upright).save(tmp_path / "upright.png")
    records = list(read_images([tmp_path / "lying.jpg", tmp_path / "upright.png"], []))
    assert records[0].image.shape == (48, 16, 3)
    assert np.abs(records[0].image.astype(int) - records[1].image).max() < 10  # JPEG's losses
    (entry,) = write(run, [tmp_path / "lying.jpg"], tmp_path / "out")
    assert (entry["width"], entry["height"]) == (16, 48)
    with Image.open(tmp_path / "out" / "lying.png") as picture:
        assert picture.size == (16, 48)


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


# ------------------------------------------------------------------------------------------------ nothing is lost


def photos(folder: Path, *names: str) -> list[Path]:
    folder.mkdir()
    for number, name in enumerate(names):
        Image.new("RGB", (40, 30), (200, number, 0)).save(folder / name)
    return [folder / name for name in names]


def write(run: RunFolder, images: list[Path], folder: Path, **settings: Any) -> list[dict[str, Any]]:
    trained = load_detector(run.path)
    predictions = predict_images(trained, read_images(images, []), device=torch.device("cpu"), batch_size=1)
    return write_predictions(predictions, trained, folder, **settings)


def never() -> Iterator[Prediction]:
    """Predictions that nobody may ask for."""
    pytest.fail("something was computed")
    yield


def test_a_folder_that_holds_something_is_not_written_to(run: RunFolder, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "photos", "a.png", "b.jpg")
    before = {path.name: path.read_bytes() for path in inputs}
    message = (
        r"photos: the folder holds something already \(a\.png, b\.jpg\); name another folder, or ask with `overwrite`"
    )
    with pytest.raises(FileExistsError, match=message):
        choose_folder(tmp_path / "photos", inputs)
    with pytest.raises(FileExistsError, match=message):
        write_predictions(never(), load_detector(run.path), tmp_path / "photos")
    assert {path.name: path.read_bytes() for path in (tmp_path / "photos").iterdir()} == before


@pytest.mark.parametrize("called", ["absolute", "relative", "link to the file", "link to the folder", "hard link"])
def test_no_input_is_written_over_whatever_is_told(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: str
) -> None:
    (image,) = photos(tmp_path / "photos", "a.png")
    out, before = tmp_path / "photos", image.read_bytes()
    monkeypatch.chdir(tmp_path)
    match called:
        case "relative":
            image = Path("photos", "..", "photos", "a.png")
        case "link to the file":
            (tmp_path / "other").mkdir()
            (tmp_path / "other" / "a.png").symlink_to(image)
            out = tmp_path / "other"
        case "link to the folder":
            (tmp_path / "other").symlink_to(tmp_path / "photos")
            out = tmp_path / "other"
        case "hard link":
            (tmp_path / "other").mkdir()
            os.link(image, tmp_path / "other" / "a.png")
            out = tmp_path / "other"
    with pytest.raises(FileExistsError, match=r"a\.png: is one of the images to predict on"):
        choose_folder(out, [image], overwrite=True)
    with pytest.raises(FileExistsError, match=r"a\.png: is one of the images to predict on"):
        write_predictions(never(), load_detector(run.path), out, inputs=[image], overwrite=True)
    assert (tmp_path / "photos" / "a.png").read_bytes() == before


def test_an_input_whose_turn_is_still_to_come_is_not_written_over(run: RunFolder, tmp_path: Path) -> None:
    """The second cat's picture would be cat-2.png, which is the third image."""
    first = photos(tmp_path / "photos", "cat.jpg")
    second = photos(tmp_path / "more", "cat.jpg")
    third = photos(tmp_path / "out", "cat-2.png")
    before = third[0].read_bytes()
    inputs = [*first, *second, *third]
    with pytest.raises(FileExistsError, match=r"cat-2\.png: is one of the images"):
        write(run, inputs, tmp_path / "out", inputs=inputs, overwrite=True)
    assert third[0].read_bytes() == before


def test_overwriting_replaces_the_files_of_the_same_names_alone(run: RunFolder, tmp_path: Path) -> None:
    inputs = photos(tmp_path / "photos", "a.jpg")
    out = tmp_path / "out"
    write(run, inputs, out)
    (out / "notes.txt").write_text("mine")
    (out / "a.png").write_bytes(b"old")
    (out / "predictions.json").write_text("old")
    with pytest.raises(ValueError, match="inputs: the image files are needed"):
        write(run, inputs, out, overwrite=True)
    entries = write(run, inputs, out, inputs=inputs, overwrite=True)
    assert json.loads((out / "predictions.json").read_text()) == entries
    with Image.open(out / "a.png") as picture:
        assert picture.size == (40, 30)
    assert (out / "notes.txt").read_text() == "mine"


def test_a_list_of_predictions_that_is_an_input_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "predictions.json").write_text("an image, says the user")
    with pytest.raises(FileExistsError, match=r"predictions\.json: is one of the images"):
        choose_folder(tmp_path, [tmp_path / "predictions.json"], overwrite=True)


def test_the_next_free_folder_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert choose_folder() == Path("predictions")
    Path("predictions").mkdir()
    assert choose_folder() == Path("predictions")  # empty
    Path("predictions", "a.png").touch()
    assert choose_folder() == Path("predictions-2")
    Path("predictions-2").touch()  # a file
    assert choose_folder() == Path("predictions-3")
    assert choose_folder(overwrite=True) == Path("predictions")
    assert not Path("predictions-3").exists()
