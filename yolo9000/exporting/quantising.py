"""Convolutions in eight bits, after the training: ranges from images, the head in float."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from yolo9000.exporting.errors import ExportError, optional_module
from yolo9000.exporting.formats import INPUT, save_openvino
from yolo9000.exporting.quiet import quietly

QUANTISED = ("Conv", "LeakyRelu", "MaxPool", "Concat", "Add", "Mul", "GlobalAveragePool")
"""Operators that work in eight bits. The products of a head (Gemm, MatMul) are none of them: their numbers are places
of boxes and logits, which eight bits would blur."""


def quantise_onnx(source: Path, target: Path, images: Iterable[Tensor]) -> None:
    """Write an ONNX file whose convolutions work in eight bits.

    Weights have a scale for each output channel, and seven bits: products of eight with eight overflow in the
    instructions of processors without VNNI, and a file shall answer the same on all. Activations have eight bits, and
    the range that they have over the images. The first convolution stays in float: it is a small part of the work, and
    its three channels lose most.

    Parameters
    ----------
    source, target : Path
        The file in float32, and the one that is written.
    images : iterable of Tensor (1, 3, S, S)
        What the net may see, in 0..1.

    Raises
    ------
    EngineAbsent
    ExportError
        There is no image, or a layer cannot be quantised.
    """
    onnx = optional_module("onnx")
    quantisation = optional_module("onnxruntime.quantization")

    base: Any = quantisation.CalibrationDataReader

    class Reader(base):  # type: ignore[misc]  # of a package that may be absent
        def __init__(self) -> None:
            self._images = iter(images)
            self.seen = 0

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._images, None)
            if image is None:
                return None
            self.seen += 1
            return {INPUT: image.contiguous().numpy()}

    reader = Reader()
    nodes = list(onnx.load(str(source)).graph.node)
    read_by = {name: node.op_type for node in nodes for name in node.input}
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    # one without an activation gives a head's numbers
    ends = [node.name for node in convolutions if read_by.get(node.output[0]) not in QUANTISED]
    begin = [node.name for node in convolutions[:1]]
    try:
        with quietly("", "nncf"), tempfile.TemporaryDirectory() as folder:
            prepared = Path(folder) / "prepared.onnx"
            quantisation.shape_inference.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantisation.quantize_static(
                str(prepared),
                str(target),
                reader,
                quant_format=quantisation.QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTISED),
                nodes_to_exclude=[*begin, *ends],
                per_channel=True,
                reduce_range=True,
                activation_type=quantisation.QuantType.QUInt8,
                weight_type=quantisation.QuantType.QInt8,
                calibrate_method=quantisation.CalibrationMethod.MinMax,
                extra_options={"CalibTensorRangeSymmetric": False},
            )
    except Exception as error:
        if not reader.seen:
            raise ExportError("`calibrate`: there is no image to take ranges from") from error
        raise ExportError(f"the net cannot be brought into eight bits: {error}") from error


def quantise_openvino(source: Path, target: Path, images: Iterable[Tensor], *, metadata: Mapping[str, str]) -> None:
    """Write an ONNX file for OpenVINO with convolutions that work in eight bits.

    OpenVINO's own quantiser, NNCF, does it: what `quantise_onnx` writes, OpenVINO runs as slowly as float32.

    Parameters
    ----------
    source, target : Path
        The ONNX file in float32, and the .xml file that is written.
    images : iterable of Tensor (1, 3, S, S)
    metadata : mapping of str to str
        What the file says of itself.

    Raises
    ------
    EngineAbsent
    ExportError
        There is no image, or a layer cannot be quantised.
    """
    openvino, nncf = optional_module("openvino"), optional_module("nncf")
    seen = list(images)
    if not seen:
        raise ExportError("`calibrate`: there is no image to take ranges from")
    try:
        with quietly("", "nncf"):
            model = openvino.Core().read_model(str(source))
            first = next(
                op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"
            )
            small = nncf.quantize(
                model,
                nncf.Dataset(seen, lambda image: image.contiguous().numpy()),
                preset=nncf.QuantizationPreset.MIXED,  # of both signs, as leaky activations are
                subset_size=len(seen),
                ignored_scope=nncf.IgnoredScope(names=[first], types=["MatMul"], validate=False),
            )
    except Exception as error:
        raise ExportError(f"the net cannot be brought into eight bits: {error}") from error
    save_openvino(small, target, metadata)


def shown(images: Iterable[Tensor], total: int) -> Iterator[Tensor]:
    """The images with a bar."""
    yield from tqdm(images, total=total, desc="calibrating", unit="image", disable=None)
