"""A net beside its files, and the command that makes them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wordtree import WordTree
from yolo9000 import YOLO9000
from yolo9000.datasets.sample import Record
from yolo9000.detection.config import DecodeConfig
from yolo9000.export import main
from yolo9000.exporting.checking import compare
from yolo9000.exporting.config import ExportConfig
from yolo9000.exporting.engines import open_engine
from yolo9000.exporting.opening import open_exported
from yolo9000.exporting.quantising import quantise_onnx
from yolo9000.exporting.writing import export_model
from yolo9000.inference.darknet_files import letterbox_of
from yolo9000.inference.model import TrainedModel, load_detector
from yolo9000.models import Detector, DetectorConfig, FlatClasses, TreeClasses
from yolo9000.models.classes import Classes
from yolo9000.models.region import copy_of_net
from yolo9000.predict import main as predict
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.run_folder import RunFolder

DECODE = DecodeConfig(threshold=0.5, tree_threshold=0.4)


@pytest.fixture
def photographs() -> list[Record]:
    rng = np.random.default_rng(0)
    return [Record(rng.integers(0, 256, (80, 60, 3), np.uint8), f"{number}.jpg") for number in range(3)]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A folder of one photograph."""
    (tmp_path / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photos" / "a.png")
    return tmp_path / "photos"


def test_a_faithful_file(trained: TrainedModel, exports: Callable[..., Any], photographs: list[Record]) -> None:
    found = compare(trained, open_exported(exports("torchscript").path), photographs, DECODE)
    assert (found.images, found.differing) == (3, ())
    assert found.detections >= 3
    assert found.raw_difference is not None
    assert found.raw_difference < 1e-3
    assert str(found).startswith("3 images: raw outputs differ by ")


def test_a_file_that_is_off_by_one_class(trained: TrainedModel, photographs: list[Record]) -> None:
    """The logit of dog made 50 larger: every animal becomes a dog, and each difference has a line."""
    net = copy_of_net(trained.detector)
    with torch.no_grad():
        for _, bias in net.head.dense_rows():
            if len(bias) == 7:
                bias[2] += 50
    off = dataclasses.replace(trained, model=net)
    found = compare(trained, off, photographs, DECODE)
    assert found.raw_difference == pytest.approx(50, abs=1e-3)
    assert found.differing
    assert all(".jpg: " in line for line in found.differing)
    assert all("found by the file" in line for line in found.differing)
    assert compare(off, off, photographs, DECODE).differing == ()


def test_a_decoded_file_has_no_raw_numbers(
    trained: TrainedModel, exports: Callable[..., Any], photographs: list[Record]
) -> None:
    found = compare(trained, open_exported(exports("torchscript", "decoded").path), photographs, DECODE)
    assert (found.raw_difference, found.differing) == (None, ())
    assert "cannot be compared" in str(found)


@pytest.mark.slow
def test_eight_bits(trained: TrainedModel, exports: Callable[..., Any], tmp_path: Path) -> None:
    folder = exports("onnx")
    import onnx
    from onnx import numpy_helper

    images = torch.rand(4, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    quantise_onnx(folder.model, tmp_path / "int8.onnx", images.split(1))
    before, after = (open_engine(file)(images)[0] for file in (folder.model, tmp_path / "int8.onnx"))
    # seven bits of weights and eight of numbers, layer after layer: not equal, and not another net
    relative = float((after - before).norm() / before.norm())
    assert 1e-3 < relative < 0.25
    stored = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer
    }
    weights = [array for array in stored.values() if array.ndim == 4]
    small = [array for array in weights if array.dtype == np.int8]
    assert len(small) == len(weights) - 1  # the first convolution stays in float
    assert all(abs(array.astype(int)).max() <= 64 for array in small)  # seven bits
    with pytest.raises(ValueError, match="`calibrate`: there is no image"):
        quantise_onnx(folder.model, tmp_path / "none.onnx", [])


@pytest.mark.slow
def test_eight_bits_of_openvino(trained: TrainedModel, photo: Path, tmp_path: Path, needs: Any) -> None:
    needs("openvino")
    pytest.importorskip("nncf", reason="needs the extra openvino")
    folder = export_model(trained, tmp_path / "int8", "openvino", calibrate=[photo])
    assert folder.about["int8"]
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = trained.detector(images).features, open_engine(folder.model)(images)[0]
    relative = float((after - before).norm() / before.norm())
    assert 1e-3 < relative < 0.4  # ranges of one image of noise


# ---------------------------------------------------------------------------------------------------- the command


def test_the_command(
    run: RunFolder, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--format", "torchscript", "--check", str(photo), "--threshold", "0.01"]
    assert main([str(run.path), *words]) == 0
    name = f"{run.path.name}-torchscript"
    said = capsys.readouterr().out
    assert said.startswith(f"written to {name}: config.json ")
    assert "1 images: raw outputs differ by" in said
    assert json.loads((tmp_path / name / "config.json").read_text())["decode"]["threshold"] == 0.01
    assert main([str(run.path), *words]) == 2
    assert capsys.readouterr().err == f"error: {name}: is there already; name another folder with --out\n"
    assert predict([name, str(photo), "--threshold", "0.01", "--out", "seen"]) == 0
    assert predict([str(run.path), str(photo), "--threshold", "0.01", "--out", "before"]) == 0
    seen, before = (json.loads((tmp_path / out / "predictions.json").read_text()) for out in ("seen", "before"))
    assert [box["node"] for box in seen[0]["detections"]] == [box["node"] for box in before[0]["detections"]]


@pytest.mark.parametrize("place", ["checking.compare", "hub.push_to_hub"])
def test_ctrl_c_after_the_folder_was_written(
    place: str,
    run: RunFolder,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"yolo9000.exporting.{place}", stop)
    words = ["--format", "safetensors", "--check", str(photo), "--push-to-hub", "somebody/pets", "--out", "mine"]
    assert main([str(run.path), *words]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted; mine is written"
    assert (tmp_path / "mine" / "config.json").exists()


def test_a_decoded_export_predicts_as_it_was_exported_unless_it_is_asked_otherwise(
    run: RunFolder, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(run.path), "--format", "torchscript", "--decoded", "--threshold", "0.3", "--out", "dec"]) == 0
    assert predict(["dec", str(photo), "--out", "seen"]) == 0
    assert predict([str(run.path), str(photo), "--threshold", "0.3", "--out", "before"]) == 0
    seen, before = (json.loads((tmp_path / out / "predictions.json").read_text()) for out in ("seen", "before"))
    assert [box["node"] for box in seen[0]["detections"]] == [box["node"] for box in before[0]["detections"]]
    capsys.readouterr()
    for words, said in (
        (["--threshold", "0.24"], "error: --threshold 0.24: the exported net decodes inside, with 0.3; export it"),
        (["--decoding", "darknet"], "error: --decoding darknet: the exported net decodes inside, by probability; "),
    ):
        assert predict(["dec", str(photo), "--out", "not", *words]) == 2
        assert capsys.readouterr().err.startswith(said)


def test_the_command_makes_a_card(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(run.path), "--format", "safetensors", "--license", "mit", "--out", "hub"]) == 0
    assert 'license: "mit"' in (tmp_path / "hub" / "README.md").read_text()
    assert "README.md" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--raw", "--decoded"], "--raw and --decoded: a file answers with one of them"),
        (["--format", "darknet", "--raw"], "--raw: darknet holds weights, which answer nothing by themselves"),
        (["--int8"], "--int8 needs a folder of images to take its ranges from; name it with --calibrate"),
        (
            ["--format", "torchscript", "--int8", "--calibrate", "x"],
            "--int8: for onnx and openvino, not for torchscript",
        ),
        (["--calibrate", "x"], "--calibrate: there is nothing to calibrate without --int8"),
        (["--push-to-hub", "a/b"], "--push-to-hub: the Hub keeps safetensors, not onnx"),
        (["--size", "100"], "--size 100: RUN/last.pt has cells of 32 pixels; take a multiple"),
        (["--check", "absent"], "no images at absent (no such file)"),
        (["--int8", "--calibrate", "absent"], "no images at absent (no such file)"),
        (["--int8", "--calibrate", "x", "--calibration-images", "0"], "--calibration-images 0: at least 1 is needed"),
    ],
)
def test_mistakes(
    run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(run.path), *words]) == 2
    assert capsys.readouterr().err == f"error: {message.replace('RUN', str(run.path))}\n"
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to(run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main([str(run.path), "--format", "torchscript", "--out", str(tmp_path / "file" / "out")]) == 2
    assert "cannot write there" in capsys.readouterr().err


def test_an_export_of_an_export(
    exports: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(exports("torchscript").path), "--out", str(tmp_path / "out")]) == 2
    assert "is an export already, whose weights are inside" in capsys.readouterr().err


def test_a_run_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "absent")]) == 2
    assert "absent: no such run or checkpoint" in capsys.readouterr().err


def test_the_form_follows_the_format() -> None:
    assert ExportConfig(format="safetensors").form == "weights"
    assert [ExportConfig(raw=True).form, ExportConfig(decoded=True).form, ExportConfig().form] == [
        "raw",
        "decoded",
        None,
    ]
    with pytest.raises(Mistake, match="`raw` and `decoded`"):
        ExportConfig(raw=True, decoded=True)


def other(trained: TrainedModel, classes: Classes, content: dict[str, Any]) -> TrainedModel:
    """A detector over other classes, which finds all of them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        region = dataclasses.replace(trained.detector.region, classes=classes)
        net = Detector(DetectorConfig(width=0.05), region).eval()
        for weight, bias in net.head.dense_rows():
            torch.nn.init.normal_(weight, std=0.5)
            torch.nn.init.normal_(bias)
    return TrainedModel(net, 96, (3,), (1, 2), 40, content, Path("runs/things/last.pt"))


THINGS = tuple(f"thing {number}" for number in range(20))  # as many as VOC has
ANY = DecodeConfig(threshold=0.02, tree_threshold=0.4)


@pytest.mark.parametrize(
    ("classes", "darknet"),
    [
        (TreeClasses(WordTree(tuple(f"x{n}" for n in range(20)), THINGS, (-1,) * 20)), None),
        (FlatClasses(20, names=THINGS), None),
        (FlatClasses(20, "sigmoid", names=THINGS), {"version": [0, 2, 0], "images_seen": 64}),
        (TreeClasses(WordTree(("x1", "x2", "x3"), ("animal", "dog", "cat"), (-1, 0, 0))), None),
    ],
)
def test_darknets_files_are_opened_as_the_net_that_they_were_made_of(
    trained: TrainedModel, photographs: list[Record], tmp_path: Path, classes: Classes, darknet: Any
) -> None:
    """The names are not those of VOC's classes, and images are fitted into the input as for the run."""
    made_of = other(trained, classes, {"darknet": darknet})
    opened = open_exported(export_model(made_of, tmp_path / "out", "darknet").path)
    assert type(opened.classes) is type(classes)
    assert [opened.classes.name(node) for node in range(classes.number)] == [
        classes.name(node) for node in range(classes.number)
    ]
    assert letterbox_of(opened) is letterbox_of(made_of)
    assert (opened.boxed, opened.never_boxed, opened.step) == ((3,), (1, 2), 40)
    found = compare(made_of, opened, photographs, ANY)
    assert found.differing == ()
    assert found.detections > 0
    saved = YOLO9000.of(opened).save(tmp_path / "again.pt")
    again = load_detector(saved)
    assert (again.classes, again.boxed, again.never_boxed) == (opened.classes, (3,), (1, 2))


def test_other_names_and_another_letterbox_are_differences(trained: TrainedModel, photographs: list[Record]) -> None:
    ours = other(trained, FlatClasses(20, names=THINGS), {})
    renamed = other(trained, FlatClasses(20, names=tuple(f"other {number}" for number in range(20))), {})
    found = compare(ours, renamed, photographs, ANY)
    assert found.raw_difference == 0
    assert len(found.differing) == 2 * found.detections > 0
    assert "thing" in found.differing[0]
    assert "other" in found.differing[-1]
    fitted = compare(ours, dataclasses.replace(ours, content={"darknet": {"images_seen": 1}}), photographs, ANY)
    assert fitted.raw_difference is not None
    assert fitted.raw_difference > 1e-3
