"""What was found is written into one folder, and nothing that somebody needs is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from yolo9000.datasets.coco import CocoSource
from yolo9000.datasets.sample import Record
from yolo9000.detection.config import DecodeConfig
from yolo9000.inference.model import load_detector
from yolo9000.inference.predictor import Predictor
from yolo9000.inference.sources import open_sources
from yolo9000.results.config import SaveConfig
from yolo9000.results.file_names import seen_from
from yolo9000.results.finding import find_in_images
from yolo9000.results.results import Results
from yolo9000.results.writing import PredictionWriter
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.run_folder import RunFolder


def found(run: RunFolder, records: list[Record], *, flat_head: bool = False) -> Iterator[Results]:
    trained = load_detector(run.path)
    if flat_head:
        for weight, _ in trained.detector.head.dense_rows():
            torch.nn.init.zeros_(weight)  # every box is its prior; class logits are 0
    predictor = Predictor(trained, device=torch.device("cpu"))
    return find_in_images(predictor, records, DecodeConfig(threshold=0.01, nms="all"), batch_size=2)


def write(
    run: RunFolder, records: list[Record], folder: Path, *, flat_head: bool = False, **settings: Any
) -> list[Any]:
    config = settings.pop("config", SaveConfig())
    writer = PredictionWriter(folder, config, **settings)
    entries = [writer.add(results) for results in found(run, records, flat_head=flat_head)]
    writer.close()
    return entries


def grey(name: str, size: tuple[int, int] = (40, 30)) -> Record:
    return Record(np.full((size[1], size[0], 3), 127, np.uint8), name)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_json_has_pixels_and_the_whole_path(run: RunFolder, squares: type[Any], tmp_path: Path) -> None:
    image = np.zeros((100, 50, 3), np.uint8)  # a letterbox of 64: scale .64, bands left and right
    records = [squares().read(0), Record(image, "folder/0.jpg"), squares().read(0)]
    entries = write(run, records, tmp_path / "out", flat_head=True)
    assert entries == json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [entry["picture"] for entry in entries] == ["0.jpg", "0-2.jpg", "0-3.jpg"]
    assert files(tmp_path / "out") == ["0-2.jpg", "0-3.jpg", "0.jpg", "predictions.json"]
    tall = entries[1]
    assert (tall["width"], tall["height"]) == (50, 100)
    with Image.open(tmp_path / "out" / "0-2.jpg") as picture:
        assert picture.size == (200, 400)  # four times: 100 pixels are too few for labels
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


def test_every_format_has_the_same_numbers(run: RunFolder, tmp_path: Path) -> None:
    config = SaveConfig(save_coco=True, save_txt=True, save_csv=True, save_crops=True, picture_format="png")
    records = [grey("a/7.jpg", (400, 300)), grey("b/7.jpg", (400, 300))]
    entries = write(run, records, tmp_path, flat_head=True, config=config)
    scores = [each["score"] for entry in entries for each in entry["detections"]]
    assert scores
    there = files(tmp_path)
    assert [name for name in there if not name.startswith("crops/")] == [
        "7-2.png", "7.png", "classes.txt", "coco.json", "labels/7-2.txt", "labels/7.txt", "predictions.csv",
        "predictions.json",
    ]  # fmt: skip
    coco = json.loads((tmp_path / "coco.json").read_text())
    assert [each["score"] for each in coco["annotations"]] == scores
    assert [each["file_name"] for each in coco["images"]] == ["a/7.jpg", "b/7.jpg"]
    rows = (tmp_path / "predictions.csv").read_text().splitlines()[1:]
    assert [float(row.split(",")[8]) for row in rows] == scores
    lines = [line for name in ("7", "7-2") for line in (tmp_path / f"labels/{name}.txt").read_text().splitlines()]
    assert [float(line.split()[-1]) for line in lines] == scores
    assert (tmp_path / "classes.txt").read_text().split() == ["animal", "vehicle", "dog", "cat", "car", "poodle"]
    each = len(entries[0]["detections"])  # the other image has as many, for the two are equal
    numbers = [*range(1, each + 1)]
    assert [name for name in there if name.startswith("crops/")] == sorted(
        f"crops/animal/{stem}-{number}.jpg" for stem in ("7", "7-2") for number in numbers
    )
    write(run, records[::-1], tmp_path, flat_head=True, config=config)
    assert files(tmp_path) == there  # what is written again takes the place of what was there


@pytest.mark.parametrize(
    ("named", "expected"),
    [("photo.jpg", "../../photo.jpg"), ("photos/a.jpg", "../../photos/a.jpg"), ("/", "../../photos/b.jpg")],
)
@pytest.mark.parametrize("linked", [False, True])
def test_a_training_reads_the_images_themselves(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, expected: str, linked: bool
) -> None:
    """And never the pictures with boxes that lie beside coco.json; also where the folder is a link to elsewhere."""
    monkeypatch.chdir(tmp_path)
    named = str(tmp_path / "photos" / "b.jpg") if named == "/" else named
    Path(named).parent.mkdir(exist_ok=True)
    Image.new("RGB", (400, 300), (127, 127, 127)).save(named)
    out = Path("runs", "predict")
    if linked:
        Path("far", "away", "predict").mkdir(parents=True)
        out.parent.mkdir()
        out.symlink_to(tmp_path / "far" / "away" / "predict")
        expected = f"../{expected}"
    write(run, [grey(named, (400, 300))], out, flat_head=True, config=SaveConfig(save_coco=True))
    coco = json.loads((out / "coco.json").read_text())
    assert [each["file_name"] for each in coco["images"]] == [expected]
    assert json.loads((out / "predictions.json").read_text())[0]["image"] == named
    record = CocoSource(out / "coco.json", {"animal": 0}).read(0)
    assert len(record.boxes_xyxy) == len(coco["annotations"]) > 0
    assert np.unique(record.image).tolist() == [127]  # no box is drawn


def test_what_is_no_file_keeps_its_name_in_coco(run: RunFolder, tmp_path: Path) -> None:
    named = ["https://example.org/a.jpg", "clip.mp4#3"]
    write(run, [grey(name) for name in named], tmp_path, config=SaveConfig(save_coco=True))
    assert [each["file_name"] for each in json.loads((tmp_path / "coco.json").read_text())["images"]] == named


def test_an_image_on_another_drive_is_named_absolutely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_way(*_: object) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr("os.path.relpath", no_way)
    image = photo(tmp_path / "a.jpg")
    assert seen_from(tmp_path / "out", str(image)) == str(tmp_path.resolve() / "a.jpg")


def test_names_of_the_most_bytes_that_a_file_can_have(run: RunFolder, tmp_path: Path) -> None:
    records = [grey("a" * 249 + end, (400, 300)) for end in ("1.jpg", "2.jpg")]
    write(run, records, tmp_path, flat_head=True, config=SaveConfig(save_txt=True, save_crops=True, save_json=False))
    stem = "a" * 200
    there = [name for name in files(tmp_path) if not name.startswith("crops/") or name.endswith("-1.jpg")]
    assert there == [
        f"{stem}-2.jpg", f"{stem}.jpg", "classes.txt", f"crops/animal/{stem}-1.jpg", f"crops/animal/{stem}-2-1.jpg",
        f"labels/{stem}-2.txt", f"labels/{stem}.txt",
    ]  # fmt: skip


def test_nothing_is_made_where_nothing_is_written(run: RunFolder, tmp_path: Path) -> None:
    nothing = SaveConfig(pictures=False, save_json=False)
    assert len(write(run, [grey("a.jpg")], tmp_path / "runs" / "predict", config=nothing)) == 1
    writer = PredictionWriter(tmp_path / "runs" / "predict", SaveConfig())
    assert writer.close() == []  # it failed before the first image
    assert list(tmp_path.iterdir()) == []


def test_a_font_that_is_none_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"`font` absent\.ttf: no TrueType file"):
        PredictionWriter(tmp_path, SaveConfig(font="absent.ttf"))


def test_a_picture_that_is_too_long_for_a_jpeg_is_a_png(
    run: RunFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entries = write(run, [grey("long.jpg", (65_501, 8)), grey("b.jpg")], tmp_path / "out")
    assert files(tmp_path / "out") == ["b.jpg", "long.png", "predictions.json"]
    assert [entry["picture"] for entry in entries] == ["long.png", "b.jpg"]
    assert caplog.messages == ["long.jpg: its picture is too long for a JPEG and is written as long.png"]


def test_what_was_written_is_said(run: RunFolder, tmp_path: Path) -> None:
    writer = PredictionWriter(tmp_path / "out", SaveConfig(save_csv=True))
    for results in found(run, [grey("a.jpg"), grey("b.jpg")]):
        writer.add(results)
    assert writer.close() == ["2 pictures", "predictions.json", "predictions.csv"]


def test_a_video_becomes_a_video(run: RunFolder, tmp_path: Path) -> None:
    file = tmp_path / "clip.mp4"
    source = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 5.0, (400, 300))
    for number in range(4):
        source.write(np.full((300, 400, 3), 60 * number, np.uint8))
    source.release()
    sources = open_sources([file])
    writer = PredictionWriter(tmp_path / "out", SaveConfig(save_video=True), inputs=sources.files, rates=sources.rates)
    for results in found(run, (Record(image, name) for name, image in sources)):  # type: ignore[arg-type]
        writer.add(results)
    assert writer.close() == ["clip.mp4", "predictions.json"]
    assert files(tmp_path / "out") == ["clip.mp4", "predictions.json"]
    made = cv2.VideoCapture(str(tmp_path / "out" / "clip.mp4"))
    frames = []
    while (read := made.read())[0]:
        frames.append(read[1])
    assert made.get(cv2.CAP_PROP_FPS) == 5
    assert [frame.shape for frame in frames] == [(300, 400, 3)] * 4
    assert [round(float(np.median(frame)) / 60) for frame in frames] == [0, 1, 2, 3]


def test_without_an_encoder_the_way_out_is_named(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yolo9000.results.video.CODEC", "none")
    writer = PredictionWriter(tmp_path / "out", SaveConfig(save_video=True), rates={"clip.mp4": 5.0})
    (results,) = found(run, [grey("clip.mp4#0")])
    with pytest.raises(Mistake, match="has no encoder for none here.*leave out `save_video`"):
        writer.add(results)
    assert writer.close() == []
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------ nothing is lost


def photo(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (40, 30), (200, 9, 0)).save(path)
    return path


@pytest.mark.parametrize("called", ["absolute", "relative", "link to the file", "link to the folder", "hard link"])
def test_no_input_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: str) -> None:
    image = photo(tmp_path / "photos" / "a.jpg")
    out, before = tmp_path / "photos", image.read_bytes()
    monkeypatch.chdir(tmp_path)
    match called:
        case "relative":
            image = Path("photos", "..", "photos", "a.jpg")
        case "link to the file":
            out = tmp_path / "other"
            out.mkdir()
            (out / "a.jpg").symlink_to(image)
        case "link to the folder":
            out = tmp_path / "other"
            out.symlink_to(tmp_path / "photos")
        case "hard link":
            out = tmp_path / "other"
            out.mkdir()
            os.link(image, out / "a.jpg")
    with pytest.raises(FileExistsError, match=r"a\.jpg: is one of the images to predict on"):
        PredictionWriter(out, SaveConfig(), inputs=[image])
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == before
    PredictionWriter(out, SaveConfig(pictures=False), inputs=[image])  # then none is in danger


def test_an_input_whose_turn_is_still_to_come_is_not_written_over(run: RunFolder, tmp_path: Path) -> None:
    """The second cat's picture would be cat-2.jpg, which is the third image."""
    inputs = [photo(tmp_path / folder) for folder in ("photos/cat.png", "more/cat.png", "out/cat-2.jpg")]
    before = inputs[2].read_bytes()
    with pytest.raises(FileExistsError, match=r"cat-2\.jpg: is one of the images"):
        write(run, [grey(str(each)) for each in inputs], tmp_path / "out", inputs=inputs[::2])
    assert inputs[2].read_bytes() == before


def test_an_input_among_the_crops_is_not_written_over(run: RunFolder, tmp_path: Path) -> None:
    inputs = [photo(tmp_path / "a.jpg"), tmp_path / "out" / "crops" / "animal" / "a-1.jpg"]
    inputs[1].parent.mkdir(parents=True)
    photo(inputs[1])
    before = inputs[1].read_bytes()
    crops = SaveConfig(save_crops=True)
    with pytest.raises(FileExistsError, match=r"a-1\.jpg: is one of the images"):
        write(run, [grey("a.jpg", (400, 300))], tmp_path / "out", flat_head=True, inputs=inputs, config=crops)
    assert inputs[1].read_bytes() == before


def test_a_list_of_predictions_that_is_an_input_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "predictions.json").write_text("an image, says the user")
    with pytest.raises(FileExistsError, match=r"predictions\.json: is one of the images"):
        PredictionWriter(tmp_path, SaveConfig(), inputs=[tmp_path / "predictions.json"])


def test_files_of_the_same_names_alone_are_replaced(run: RunFolder, tmp_path: Path) -> None:
    for name in ("notes.txt", "a.jpg", "predictions.json"):
        (tmp_path / name).write_text("old")
    entries = write(run, [grey("photos/a.png", (400, 300))], tmp_path)
    assert json.loads((tmp_path / "predictions.json").read_text()) == entries
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.size == (400, 300)
    assert (tmp_path / "notes.txt").read_text() == "old"
