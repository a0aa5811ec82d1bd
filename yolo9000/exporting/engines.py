"""What runs an exported file: onnxruntime, OpenVINO or torch. Each is a function from images to arrays.

B images, S side of the input.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from yolo9000.exporting.errors import ExportError, optional_module
from yolo9000.exporting.formats import INPUT
from yolo9000.inference.config import Engine
from yolo9000.runtime.config import Precision

SUFFIXES: dict[str, tuple[Engine, ...]] = {
    ".onnx": ("onnxruntime", "openvino"),
    ".xml": ("openvino",),
    ".torchscript": ("torch",),
}
"""Suffix of a file -> the engines that run it, the first of which does unless another is wanted."""


class EngineFile(ABC):
    """A file that an engine has opened: images (B, 3, S, S) in 0..1 -> its outputs.

    It is constant. A copy of a net shares it, for engines cannot be copied.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self, images: Tensor) -> list[Tensor]:
        """The outputs of the file, on the device of the images.

        Raises
        ------
        ExportError
            The engine refuses images of this size.
        """
        try:
            found = self._run(images.detach().float().cpu().contiguous())
        except Exception as error:  # the engines' errors have no class in common but this
            lines = str(error).strip().splitlines()
            raise ExportError(
                f"{self.file}: cannot be run on images of {tuple(images.shape)}: {lines[0][:200] if lines else error!r}"
            ) from error
        return [each.to(images.device) for each in found]

    @abstractmethod
    def _run(self, images: Tensor) -> list[Tensor]:
        """Contiguous float32 images on the CPU -> outputs there."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def open_engine(
    file: Path, engine: Engine | None = None, *, threads: int | None = None, precision: Precision = "float32"
) -> EngineFile:
    """Open a file that an engine runs.

    Parameters
    ----------
    file : Path
        ``.onnx``, ``.xml`` or ``.torchscript``.
    engine : {"onnxruntime", "openvino", "torch"}, optional
        The one that runs it; by default the one that the file is made for.
    threads : int, optional
        Threads of the processor; as many as torch has by default.
    precision : {"float32", "bfloat16"}
        Number format of the convolutions in OpenVINO. The others work in that of the file.

    Returns
    -------
    EngineFile

    Raises
    ------
    EngineAbsent
        The engine is not installed.
    ExportError
        It does not run such files, or cannot read this one.
    """
    known = SUFFIXES.get(file.suffix, ())
    if engine is not None and engine not in known:
        raise ExportError(f"`engine` {engine}: {file.name} is run by {' or '.join(known) or 'none of the engines'}")
    threads = threads or torch.get_num_threads()
    match engine or known[0]:
        case "onnxruntime":
            return _OnnxRuntime(file, threads)
        case "openvino":
            return _OpenVino(file, threads, precision)
        case _:
            return _TorchScript(file)


class _OnnxRuntime(EngineFile):
    def __init__(self, file: Path, threads: int) -> None:
        super().__init__(file)
        runtime = optional_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors; it warns of choices that it makes itself
        try:
            self._session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise _unreadable(file, "onnxruntime", error) from error

    def _run(self, images: Tensor) -> list[Tensor]:
        return [torch.from_numpy(each) for each in self._session.run(None, {INPUT: images.numpy()})]


class _OpenVino(EngineFile):
    def __init__(self, file: Path, threads: int, precision: Precision) -> None:
        super().__init__(file)
        openvino = optional_module("openvino")
        options = {  # its own choice would be bfloat16 where the processor multiplies it
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        core = openvino.Core()
        try:
            compiled = core.compile_model(core.read_model(str(file)), "CPU", options)
        except Exception as error:
            raise _unreadable(file, "openvino", error) from error
        self._outputs = len(compiled.outputs)
        self._request = compiled.create_infer_request()

    def _run(self, images: Tensor) -> list[Tensor]:
        found = self._request.infer([images.numpy()])  # copies: the request keeps its own
        return [torch.from_numpy(found[number]) for number in range(self._outputs)]


class _TorchScript(EngineFile):
    def __init__(self, file: Path) -> None:
        super().__init__(file)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that torch.jit as a whole is old
                self._module = torch.jit.load(str(file), map_location="cpu").eval()
        except (RuntimeError, ValueError) as error:
            raise _unreadable(file, "torch", error) from error

    def _run(self, images: Tensor) -> list[Tensor]:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self._module(images)
        return [found] if isinstance(found, Tensor) else list(found)


def _unreadable(file: Path, engine: str, error: Exception) -> ExportError:
    lines = str(error).strip().splitlines()
    return ExportError(
        f"{file}: {engine} cannot read it, so it is torn, or no such file ({lines[0][:200] if lines else ''})"
    )
