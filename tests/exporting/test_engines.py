"""Exported files run by their engines: the same detections as the net, at any batch and size."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from yolo9000.datasets.sample import Record
from yolo9000.detection.config import DecodeConfig
from yolo9000.exporting.config import Form, Format
from yolo9000.exporting.engines import open_engine
from yolo9000.exporting.errors import EngineAbsent, ExportError
from yolo9000.exporting.formats import write_onnx
from yolo9000.exporting.opening import open_exported
from yolo9000.exporting.writing import export_model
from yolo9000.inference.model import TrainedModel
from yolo9000.inference.predictor import Found, Predictor
from yolo9000.inference.prepare import prepare
from yolo9000.models import DetectorConfig, FlatClasses, GridSpec, Yolov1
from yolo9000.results.finding import results_of
from yolo9000.results.formats import to_json
from yolo9000.runtime.device import DeviceError

CPU = torch.device("cpu")
DECODE = DecodeConfig(threshold=0.5, tree_threshold=0.4)
slow = pytest.mark.slow
FILES: list[Any] = [
    ("onnx", None),
    ("torchscript", None),
    ("torchscript", "raw"),
    ("torchscript", "decoded"),
    ("safetensors", None),
    pytest.param("onnx", "raw", marks=slow),
    pytest.param("onnx", "decoded", marks=slow),
    pytest.param("openvino", None, marks=slow),
    pytest.param("openvino", "raw", marks=slow),
    pytest.param("openvino", "decoded", marks=slow),
]


def photographs() -> list[Record]:
    rng = np.random.default_rng(0)
    shapes = ((60, 80), (96, 96), (120, 50))
    return [Record(rng.integers(0, 256, (*shape, 3), np.uint8), f"{shape}.jpg") for shape in shapes]


def predicted(trained: TrainedModel, size: int) -> list[Found]:
    """Two images go through the net together, and then the third."""
    predictor, records = Predictor(trained, device=CPU), photographs()
    return [each for some in (records[:2], records[2:]) for each in predictor.find(some, DECODE, size=size)]


@pytest.mark.parametrize("size", [64, 96])
@pytest.mark.parametrize(("format", "form"), FILES)
def test_the_same_is_found(
    trained: TrainedModel, exports: Callable[..., Any], format: Format, form: Form | None, size: int
) -> None:
    folder = exports(format, form)
    opened = open_exported(folder.path)
    assert (opened.size, opened.boxed, opened.never_boxed, opened.step) == (96, (3, 4), (5, 6), 40)
    expected, found = predicted(trained, size), predicted(opened, size)
    assert sum(len(each.detections) for each in expected) >= 6
    for ours, theirs in zip(expected, found, strict=True):
        assert theirs.detections.nodes.tolist() == ours.detections.nodes.tolist()
        torch.testing.assert_close(theirs.boxes_xyxy, ours.boxes_xyxy, rtol=1e-3, atol=0.02)
        torch.testing.assert_close(theirs.detections.scores, ours.detections.scores, rtol=1e-3, atol=1e-4)
        plain, again = (to_json(results_of(each, trained.classes))["detections"] for each in (ours, theirs))
        assert [[level["name"] for level in box["path"]] for box in again] == [
            [level["name"] for level in box["path"]] for box in plain
        ]


@pytest.mark.parametrize("format", ["onnx", "torchscript", pytest.param("openvino", marks=slow)])
def test_batch_height_and_width_are_free(trained: TrainedModel, exports: Callable[..., Any], format: Format) -> None:
    engine = open_engine(exports(format).model)
    fused = prepare(trained.detector, device=CPU).net
    for shape in ((1, 3, 32, 32), (5, 3, 64, 160), (2, 3, 96, 96)):
        images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = fused(images).features
        (found,) = engine(images)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("format", ["onnx", "torchscript"])
def test_images_that_the_file_does_not_take_are_a_named_error(exports: Callable[..., Any], format: Format) -> None:
    engine = open_engine(exports(format).model)
    with pytest.raises(ExportError, match=r"model\.\w+: cannot be run on images of \(1, 4, 64, 64\)"):
        engine(torch.zeros(1, 4, 64, 64))


def test_an_onnx_file_is_run_by_openvino_too(trained: TrainedModel, exports: Callable[..., Any], needs: Any) -> None:
    needs("openvino")
    opened = open_exported(exports("onnx").path, engine="openvino")
    for ours, theirs in zip(predicted(trained, 64), predicted(opened, 64), strict=True):
        assert theirs.detections.nodes.tolist() == ours.detections.nodes.tolist()


def test_a_file_says_inside_what_its_numbers_mean(exports: Callable[..., Any]) -> None:
    folder = exports("onnx")
    import onnxruntime

    metadata = onnxruntime.InferenceSession(str(folder.model)).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["names"])[2] == "dog"
    assert json.loads(metadata["parents"]) == [-1, -1, 0, 0, 1, 2, 2]
    assert json.loads(metadata["priors"]) == [[1.0, 1.0], [2.0, 1.5]]
    assert (metadata["size"], metadata["form"]) == ("96", "features")


def test_a_decoded_file_decodes_in_one_way(exports: Callable[..., Any]) -> None:
    opened = open_exported(exports("torchscript", "decoded").path)
    assert opened.detector.decodes_inside
    predictor = Predictor(opened, device=CPU)
    (first, *_) = predictor.find(photographs(), None)  # without a wish: as it was exported
    assert len(first.detections)
    with pytest.raises(ValueError, match=r"`threshold` 0.24: the exported net decodes inside, with 0.5; export it"):
        predictor.find(photographs(), DecodeConfig())


def yolov1(head: Any, folder: Path) -> TrainedModel:
    torch.manual_seed(0)
    spec = GridSpec(classes=FlatClasses(3, "linear", names=("cat", "dog", "car")))
    net = Yolov1(DetectorConfig(width=0.05, head=head, stride=64, extra_convs=2), spec, 128).eval()
    last = net.get_submodule("head.4" if head == "connected" else "head.last")
    torch.nn.init.normal_(last.weight, std=0.3)
    torch.nn.init.constant_(last.bias, 0.5)
    return TrainedModel(net, 128, (0, 1, 2), (), 7, {}, folder / "last.pt")


def test_a_net_of_one_size_stays_one(tmp_path: Path) -> None:
    trained = yolov1("connected", tmp_path)
    with pytest.raises(ValueError, match="`size` 192: .* takes images of 128 pixels alone"):
        export_model(trained, tmp_path / "other", "torchscript", size=192)
    with pytest.raises(ExportError, match="no features to export; take `raw`"):
        export_model(trained, tmp_path / "other", "torchscript", form="features")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("format", ["torchscript", pytest.param("onnx", marks=pytest.mark.slow)])
@pytest.mark.parametrize("head", ["connected", "grid"])
def test_yolov1s_numbers_are_written_for_one_size_and_any_batch(
    tmp_path: Path, head: Any, format: Format, needs: Any
) -> None:
    needs(format)
    trained = yolov1(head, tmp_path)
    assert (trained.detector.only_size is None) == (head == "grid")
    opened = open_exported(export_model(trained, tmp_path / "out", format).path)
    with pytest.raises(ValueError, match="takes images of 128 pixels alone, as its file was written for them"):
        opened.input_size(64)
    for batch in (1, 3):
        images = torch.rand(batch, 3, 128, 128)
        with torch.no_grad():
            expected, found = trained.detector(images), opened.detector(images)
        torch.testing.assert_close(found.raw, expected.raw, rtol=1e-4, atol=1e-5)
    assert opened.classes.name(1) == "dog"
    inside = export_model(trained, tmp_path / "inside", format, form="decoded", decode=DecodeConfig(threshold=0.1))
    (found, *_) = Predictor(open_exported(inside.path), device=CPU).find(photographs(), None)
    assert len(found.detections) > 0


def test_an_engine_is_asked_in_float_and_never_compiled(exports: Callable[..., Any]) -> None:
    detector = open_exported(exports("torchscript").path).detector
    prepared = prepare(detector, device=CPU, precision="bfloat16")
    assert prepared.dtype == torch.float32
    with pytest.raises(DeviceError, match="`compile`: an exported net is run by its own engine"):
        prepare(detector, device=CPU, compile=True)
    assert copy.deepcopy(detector).engine is detector.engine  # no engine can be copied


def test_an_export_is_not_exported_again(exports: Callable[..., Any], tmp_path: Path) -> None:
    opened = open_exported(exports("torchscript").path)
    with pytest.raises(ExportError, match="is an export already"):
        export_model(opened, tmp_path / "again", "torchscript")


@pytest.mark.parametrize(
    ("package", "format", "extra"),
    [("onnx", "onnx", "export"), ("openvino", "openvino", "openvino"), ("safetensors.torch", "safetensors", "export")],
)
def test_an_absent_package_is_named_with_its_extra(
    trained: TrainedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    format: Format,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # what an import of an absent package finds
    with pytest.raises(EngineAbsent, match=rf"{package.partition('.')[0]} is not installed.*yolo9000\[{extra}\]"):
        export_model(trained, tmp_path / "out", format)
    assert list(tmp_path.iterdir()) == []


def test_an_absent_engine_is_named_when_a_file_is_opened(
    exports: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exports("onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineAbsent, match=r"onnxruntime is not installed.*yolo9000\[export\]"):
        open_exported(folder.path)


class Sorted(torch.nn.Module):
    """Something that ONNX has no operator for: a stable sort."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.sort(stable=True).values


def test_what_onnx_cannot_express_is_an_error_in_one_line(tmp_path: Path, needs: Any) -> None:
    needs("onnx")
    with pytest.raises(ExportError, match=r"`opset` 99: with the installed onnx it is 18 to \d+"):
        write_onnx(torch.nn.Conv2d(3, 4, 1), tmp_path / "x.onnx", size=32, outputs=["y"], multiple=None, opset=99)
    with pytest.raises(ExportError, match="`size` 80: such a file takes multiples of 32 pixels"):
        write_onnx(torch.nn.Conv2d(3, 4, 1), tmp_path / "x.onnx", size=80, outputs=["y"], multiple=32)
    with pytest.raises(
        ExportError, match=r"cannot be written as ONNX of opset 20: .*sort.*; torchscript may"
    ) as caught:
        write_onnx(Sorted(), tmp_path / "x.onnx", size=32, outputs=["y"], multiple=None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_an_engine_that_does_not_run_such_a_file(exports: Callable[..., Any], engine: Any) -> None:
    with pytest.raises(ExportError, match=f"`engine` {engine}: model.torchscript is run by torch"):
        open_exported(exports("torchscript").path, engine=engine)
