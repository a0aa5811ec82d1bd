"""A function of images as a file: ONNX, OpenVINO's or TorchScript; of any batch, and of any size that the net takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yolo9000.exporting.config import OPSET
from yolo9000.exporting.errors import ExportError, optional_module
from yolo9000.exporting.quiet import quietly

OLDEST_OPSET = 18
"""What the exporter writes by itself; newer ones are made of it."""

INPUT = "images"


def write_onnx(
    function: nn.Module,
    file: Path,
    *,
    size: int,
    outputs: Sequence[str],
    multiple: int | None,
    batch: int | None = None,
    metadata: Mapping[str, str] | None = None,
    opset: int = OPSET,
) -> None:
    """Write a function of images as ONNX.

    Parameters
    ----------
    function : nn.Module
        Images (B, 3, S, S) -> one tensor or several.
    file : Path
    size : int
        A side S that it takes.
    outputs : sequence of str
        Their names.
    multiple : int or None
        Height and width may be any multiples of this; None if they are `size` always.
    batch : int or None
        The images of a batch; None if it may be any number.
    metadata : mapping of str to str, optional
        What the file says of itself.
    opset : int
        The version of ONNX's operators.

    Raises
    ------
    EngineAbsent
        The exporter needs onnx and onnxscript.
    ExportError
        The exporter does not know what to make of a layer, or has no such opset; or the size is no such multiple.
    """
    onnx, _ = optional_module("onnx"), optional_module("onnxscript")
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise ExportError(f"`opset` {opset}: with the installed onnx it is {OLDEST_OPSET} to {newest}")
    if multiple is not None and size % multiple:
        raise ExportError(f"`size` {size}: such a file takes multiples of {multiple} pixels")
    # neither 1 nor 0, for which torch would write a file of its own
    example = torch.zeros(batch or 2, 3, size, size)
    dims: dict[int, Any] = {} if batch else {0: torch.export.Dim("batch", min=1)}
    if multiple is not None:
        example = torch.zeros(batch or 2, 3, 2 * multiple, 3 * multiple)
        dims |= {2: multiple * torch.export.Dim("h", min=1), 3: multiple * torch.export.Dim("w", min=1)}
    try:
        with quietly("torch.onnx", "onnxscript", "onnx_ir"), torch.no_grad():
            program = torch.onnx.export(
                function.eval(),
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=list(outputs),
                dynamic_shapes=(dims,) if dims else None,
                opset_version=opset,
                verbose=False,
            )
        assert program is not None
        program.model.metadata_props.update(metadata or {})
        program.save(str(file))
    except (torch.onnx.errors.OnnxExporterError, torch._dynamo.exc.TorchDynamoException, RuntimeError) as error:
        raise ExportError(
            f"the net cannot be written as ONNX of opset {opset}: {_first_line(error)}; torchscript may take it"
        ) from error


def write_openvino(onnx_file: Path, file: Path, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write an ONNX file as OpenVINO's pair of files, .xml and .bin.

    Parameters
    ----------
    onnx_file : Path
    file : Path
        The .xml file.
    metadata : mapping of str to str, optional
        What the file says of itself; `rt_info` of its own.

    Raises
    ------
    EngineAbsent
    ExportError
        OpenVINO does not know what to make of a layer.
    """
    openvino = optional_module("openvino")
    try:
        model = openvino.convert_model(str(onnx_file))
    except Exception as error:
        raise ExportError(f"the net cannot be written for OpenVINO: {_first_line(error)}") from error
    save_openvino(model, file, metadata or {})


def save_openvino(model: Any, file: Path, metadata: Mapping[str, str]) -> None:
    """Write a model of OpenVINO's in float32, with what the file says of itself."""
    for name, value in metadata.items():
        model.set_rt_info(value, ["model_info", name])
    optional_module("openvino").save_model(model, str(file), compress_to_fp16=False)


def write_torchscript(function: nn.Module, file: Path, *, size: int, metadata: Mapping[str, str] | None = None) -> None:
    """Write a function of images as TorchScript, which torch runs without this program.

    Parameters
    ----------
    function : nn.Module
        Images (B, 3, S, S) -> one tensor or several.
    file : Path
    size : int
        A side S that it takes.
    metadata : mapping of str to str, optional
        What the file says of itself, under ``metadata.json`` beside its code.

    Raises
    ------
    ExportError
        The net cannot be followed.
    """
    try:
        with quietly("torch.onnx", "onnxscript", "onnx_ir"), torch.no_grad():
            traced = torch.jit.trace(function.eval(), (torch.rand(2, 3, size, size),), check_trace=False)
            frozen = torch.jit.freeze(traced)
            torch.jit.save(frozen, str(file), _extra_files=dict(metadata or {}))
    except RuntimeError as error:
        raise ExportError(f"the net cannot be written as TorchScript: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    """What an exporter says in a page, in a line; its causes say more than itself."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]
