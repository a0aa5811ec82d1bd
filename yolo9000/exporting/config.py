"""What an export is told: configuration, without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from tyro.conf import arg

from yolo9000.detection.config import DecodeConfig
from yolo9000.runtime.mistakes import Mistake

Format: TypeAlias = Literal["onnx", "openvino", "torchscript", "safetensors", "darknet"]
Form: TypeAlias = Literal["features", "raw", "decoded", "weights"]
"""What a file answers: the features that a head beside it reads, raw numbers, or detections. Formats that hold weights
alone answer nothing by themselves."""

OPSET = 20
"""The version of ONNX's operators that is written: onnxruntime reads it from 1.17 on, OpenVINO from 2024.0 on."""

WEIGHTS_ALONE: tuple[Format, ...] = ("safetensors", "darknet")


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Which files are made of a trained detector.

    Parameters
    ----------
    format : str
        "onnx" (onnxruntime and others), "openvino", "torchscript" (torch without this program), "safetensors" (weights
        with config.json, tree.json and a model card, as the Hugging Face Hub keeps models) or "darknet".
    out : str or None
        The folder that is made. Without it that is NAME-FORMAT in the working directory, for a run or a file of this
        name.
    raw : bool
        The file answers with all raw numbers, in darknet's dense layout. With thousands of classes most of the time
        then goes into numbers that nobody reads. By default a net whose head reads single classes is cut before it:
        the file answers with features, and the head's weights lie beside it, for this program.
    decoded : bool
        The file answers with detections: thresholds, the descent of the tree and the suppression of doubles are
        inside, for programs that know nothing of either. Class numbers are computed for boxes above the threshold
        only.
    opset : int
        The version of ONNX's operators, for onnx and openvino.
    int8 : bool
        Convolutions in eight bits, whose ranges are taken from the images of `calibrate`. The head stays in float32.
        For onnx and openvino.
    calibrate : str or None
        A folder of images like those that the net will see; not the ones that it is scored on.
    calibration_images : int
        Images of it that are looked at, at equal distances.
    check : tuple of str
        Images, or folders of them, on which the net and the files are both run afterwards. What differs is printed.
    license : str or None
        The licence that the model card states, such as ``cc-by-sa-4.0``. Without it the card says that it is not
        chosen.
    push_to_hub : str or None
        Also upload the folder to this repository of the Hugging Face Hub, OWNER/NAME. For safetensors.
    decode : DecodeConfig
        How detections are made inside of a `decoded` file, and the defaults that other files state.

    Raises
    ------
    Mistake
        Two fields do not go together.
    """

    format: Format = "onnx"
    out: Annotated[str | None, arg(metavar="DIR")] = None
    raw: bool = False
    decoded: bool = False
    opset: Annotated[int, arg(metavar="N")] = OPSET
    int8: bool = False
    calibrate: Annotated[str | None, arg(metavar="DIR")] = None
    calibration_images: Annotated[int, arg(metavar="N")] = 100
    check: Annotated[tuple[str, ...], arg(metavar="IMAGES")] = ()
    license: Annotated[str | None, arg(metavar="NAME")] = None
    push_to_hub: Annotated[str | None, arg(metavar="OWNER/NAME")] = None
    decode: DecodeConfig = field(default_factory=DecodeConfig)

    def __post_init__(self) -> None:
        if self.raw and self.decoded:
            raise Mistake("`raw` and `decoded`: a file answers with one of them")
        if self.format in WEIGHTS_ALONE and (self.raw or self.decoded):
            raise Mistake(
                f"`{'raw' if self.raw else 'decoded'}`: {self.format} holds weights, which answer nothing by themselves"
            )
        if self.int8 and self.format not in ("onnx", "openvino"):
            raise Mistake(f"`int8`: for onnx and openvino, not for {self.format}")
        if self.int8 and self.calibrate is None:
            raise Mistake("`int8` needs a folder of images to take its ranges from; name it with `calibrate`")
        if self.calibrate is not None and not self.int8:
            raise Mistake("`calibrate`: there is nothing to calibrate without `int8`")
        if self.calibration_images < 1:
            raise Mistake(f"`calibration_images` {self.calibration_images}: at least 1 is needed")
        if self.push_to_hub is not None and self.format != "safetensors":
            raise Mistake(f"`push_to_hub`: the Hub keeps safetensors, not {self.format}")

    @property
    def form(self) -> Form | None:
        """What the file answers, if it was said."""
        if self.format in WEIGHTS_ALONE:
            return "weights"
        return "raw" if self.raw else "decoded" if self.decoded else None
