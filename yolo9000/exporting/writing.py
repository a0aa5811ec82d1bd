"""A trained detector -> an exported folder."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from yolo9000 import __version__
from yolo9000.datasets.sample import Record, collate, pixels
from yolo9000.detection.config import DecodeConfig
from yolo9000.exporting.config import OPSET, WEIGHTS_ALONE, Form, Format
from yolo9000.exporting.engines import open_engine
from yolo9000.exporting.errors import EngineAbsent, ExportError, optional_module
from yolo9000.exporting.folder import HEAD, MODEL, ExportedFolder, describe_export, new_folder, read_folder, write_about
from yolo9000.exporting.formats import write_onnx, write_openvino, write_torchscript
from yolo9000.exporting.forms import OUTPUTS, exported_form, size_step, sparse_head
from yolo9000.exporting.quantising import quantise_onnx, quantise_openvino, shown
from yolo9000.inference.darknet_files import letterbox_of
from yolo9000.inference.export import save_as_darknet
from yolo9000.inference.model import TrainedModel
from yolo9000.inference.prepare import prepare
from yolo9000.inference.sources import open_sources
from yolo9000.models.model import DetectionModel

log = logging.getLogger(__name__)

TOLERANCE = 1e-3
"""Largest difference, relative to the largest number, between a net and the file that was made of it."""


def export_model(
    trained: TrainedModel,
    out: str | Path,
    format: Format = "onnx",
    *,
    form: Form | None = None,
    size: int | None = None,
    decode: DecodeConfig | None = None,
    calibrate: Sequence[Path] | None = None,
    calibration_images: int = 100,
    opset: int = OPSET,
) -> ExportedFolder:
    """Write a detector as a folder that `open_exported` opens, and other programs run.

    Parameters
    ----------
    trained : TrainedModel
        From a run, a checkpoint or darknet's weights.
    out : str or Path
        The folder. It appears when it is whole.
    format : {"onnx", "openvino", "torchscript", "safetensors", "darknet"}
    form : {"features", "raw", "decoded"}, optional
        What the file answers; see `yolo9000.exporting.config.ExportConfig`. By default "features" where the head reads
        single classes, and otherwise "raw".
    size : int, optional
        The side of the input that is taken unless another is wanted; that of the training by default.
    decode : DecodeConfig, optional
        How detections are made inside of a decoded file.
    calibrate : sequence of Path, optional
        Images, or folders of them, for eight bits; see `yolo9000.exporting.quantising`.
    calibration_images : int
        How many of them are looked at, at equal distances.
    opset : int
        The version of ONNX's operators, for onnx and openvino.

    Returns
    -------
    ExportedFolder

    Raises
    ------
    EngineAbsent
        What writes the format is not installed; the message names the extra.
    ExportError
        The folder is there already; or the net cannot be written so, or answers otherwise when it is run.
    Mistake
        The net does not take that size, or darknet has no such layers.
    """
    out, side, decode = Path(out), trained.input_size(size), decode or DecodeConfig()
    detector = trained.detector
    if detector.has_engine:
        raise ExportError(f"{trained.path}: is an export already, whose weights are inside; export the run again")
    if trained.classes.kept is not None and (form == "decoded" or format == "darknet"):
        raise ExportError(f"{trained.path}: a restricted net, whose choice of classes such a file cannot hold; export "
                          "raw numbers or features, or lift the restriction")  # fmt: skip
    if format in WEIGHTS_ALONE:
        form = "weights"
    elif form is None:
        form = "raw" if sparse_head(detector) is None else "features"
    about = describe_export(trained, kind=format, form=form, size=side, decode=decode, int8=calibrate is not None)
    files = None if calibrate is None else _some(open_sources(calibrate).files, calibration_images)
    with new_folder(out) as folder:
        about["versions"] = _versions(format, int8=calibrate is not None)
        if format in ("onnx", "openvino"):
            about["opset"] = opset
        match format:
            case "safetensors":
                write_safetensors(detector.state_dict(), folder / MODEL[format])
            case "darknet":
                for note in save_as_darknet(trained, folder / MODEL[format]):
                    log.warning("%s", note)
            case _:
                _write_net(trained, folder, form, about, decode, files)
        write_about(folder, about, trained)
    return read_folder(out)


def _write_net(
    trained: TrainedModel,
    folder: Path,
    form: Form,
    about: dict[str, Any],
    decode: DecodeConfig,
    calibrate: Sequence[Path] | None,
) -> None:
    format: Format = about["kind"]
    size: int = about["size"]
    net = prepare(trained.detector, device=torch.device("cpu"), layout="contiguous").net
    assert isinstance(net, DetectionModel)
    function, file = exported_form(net, form, decode), folder / MODEL[format]
    if form == "features":
        head = sparse_head(net)
        assert head is not None
        write_safetensors(head.state_dict(), folder / HEAD)
    metadata = _metadata(trained, about)
    if format == "torchscript":
        write_torchscript(function, file, size=size, metadata={"metadata.json": json.dumps(metadata)})
    else:
        with tempfile.TemporaryDirectory() as scratch:
            plain = file if format == "onnx" and calibrate is None else Path(scratch) / "plain.onnx"
            write_onnx(
                function,
                plain,
                size=size,
                outputs=OUTPUTS[form],
                multiple=size_step(net),
                metadata=metadata,
                opset=about["opset"],
            )
            if calibrate is not None:
                images = shown(_images(trained, calibrate, size), len(calibrate))
                if format == "openvino":
                    quantise_openvino(plain, file, images, metadata=metadata)
                else:
                    quantise_onnx(plain, file, images)
            elif format == "openvino":
                write_openvino(plain, file, metadata=metadata)
    if calibrate is None:
        _verify(function, file, size, size_step(net))


def write_safetensors(state: dict[str, Tensor], file: Path) -> None:
    """Write weights as safetensors.

    Raises
    ------
    EngineAbsent
    """
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    optional_module("safetensors.torch").save_file(plain, str(file), metadata={"format": "pt"})


def _some(files: Sequence[Path], number: int) -> list[Path]:
    """At most so many of some files, at equal distances."""
    number = min(number, len(files))
    return [files[place * len(files) // number] for place in range(number)]


def _images(trained: TrainedModel, files: Iterable[Path], size: int) -> Iterator[Tensor]:
    """Images as the net sees them: (1, 3, S, S)."""
    fitted = letterbox_of(trained)
    for name, image in open_sources(files):
        yield pixels(collate([fitted(Record(image, name), size)]).images, torch.device("cpu"))


def _verify(function: nn.Module, file: Path, size: int, multiple: int | None) -> None:
    """Run the file beside the net, at another batch and size than it was written with.

    Raises
    ------
    ExportError
        It answers otherwise: an exporter took something for constant that is not.
    """
    try:
        engine = open_engine(file)
    except EngineAbsent as absent:
        log.warning("%s was not tried: %s", file.name, absent)
        return
    random = torch.Generator().manual_seed(0)
    sides = [(1, size, size), *([] if multiple is None else [(3, 2 * multiple, multiple)])]
    for batch, height, width in sides:
        images = torch.rand(batch, 3, height, width, generator=random)
        with torch.no_grad():
            expected = function(images)
        parts = [expected] if isinstance(expected, Tensor) else list(expected)
        found = engine(images)
        for ours, theirs in zip(parts, found, strict=True):
            if ours.shape != theirs.shape:
                if len(parts) > 1:  # detections: a box at the threshold may be on either side of it
                    break
                raise ExportError(
                    f"the file answers {tuple(theirs.shape)} for {tuple(images.shape)}, the net {tuple(ours.shape)}"
                )
            difference = (ours.double() - theirs.double()).abs().max().item() if ours.numel() else 0.0
            if len(parts) == 1 and difference > TOLERANCE * max(1.0, ours.abs().max().item()):
                raise ExportError(
                    f"the file answers otherwise than the net, by {difference:.1e} for images {tuple(images.shape)}"
                )


def _metadata(trained: TrainedModel, about: dict[str, Any]) -> dict[str, str]:
    """What other programs may want to read inside of the file itself; all of it is in config.json as well."""
    classes, spec = trained.classes, trained.spec
    names = [classes.name(number) for number in range(classes.number)]
    plain: dict[str, Any] = {"names": names, "decode": about["decode"], "input": about["input"]}
    if coding := getattr(spec, "coding", None):
        plain["priors"] = coding.priors
    if (tree := classes.tree) is not None:
        plain |= {"wnids": tree.wnids, "parents": [int(parent) for parent in tree.parents]}
    numbers = {key: str(about[key]) for key in ("format", "version", "form", "size", "stride")}
    return numbers | {key: json.dumps(value, ensure_ascii=False) for key, value in plain.items()}


def _versions(format: Format, *, int8: bool) -> dict[str, str]:
    """What writes the format, which must be there before anything is written."""
    packages = {"onnx": ["onnx", "onnxscript"], "openvino": ["onnx", "onnxscript", "openvino"]}.get(format, [])
    if int8:
        packages = [*packages, "nncf" if format == "openvino" else "onnxruntime"]
    found = {"yolo9000": __version__, "torch": torch.__version__}
    for package in packages:
        optional_module(package)
        found[package] = importlib.metadata.version(package)
    return found
