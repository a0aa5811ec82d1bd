"""How a trained net is opened: configuration, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from tyro.conf import arg

from yolo9000.runtime.config import Precision
from yolo9000.runtime.mistakes import Mistake

Engine: TypeAlias = Literal["onnxruntime", "openvino", "torch"]


@dataclass(frozen=True, kw_only=True)
class OpenConfig:
    """Which net is used, and how images are fitted into it.

    Parameters
    ----------
    cfg : str or None
        The net of darknet's weights: its cfg, or a built-in one. Without it the name of the file says which.
    tree : str or None
        A bundled tree or a file. It gives darknet's weights without a tree their classes; of a run it is checked that
        it was trained with this tree.
    names : str or None
        Names of the classes of darknet's weights without a tree: a file with one a line, in the order of the cfg
        (darknet's .names). The classes of data are matched to them by name. None is COCO's for 80 classes and VOC's
        for 20.
    best : bool
        ``best.pt`` in place of ``last.pt``.
    size : int or None
        Side of the network's input, a multiple of 32. None is the side of the training.
    letterbox : str or None
        How images are fitted into the input: shrunk by area ("area"), or with darknet's arithmetic ("darknet"). None
        is darknet's for a net that darknet trained, and otherwise area. Darknet stretches images for nets of YOLOv1's.
    precision : str or None
        Number format of the convolutions. None is bfloat16 where it pays.
    engine : str or None
        What runs an exported folder: "onnxruntime", "openvino" or "torch". None is the engine that its file is made
        for; OpenVINO also runs ONNX files.
    device : str or None
        ``cpu``, ``cuda`` or ``cuda:1``. None takes the GPU if there is one.

    Raises
    ------
    Mistake
        The size is no multiple of 32.
    """

    cfg: Annotated[str | None, arg(metavar="FILE")] = None
    tree: Annotated[str | None, arg(metavar="FILE")] = None
    names: Annotated[str | None, arg(metavar="FILE")] = None
    best: bool = False
    size: Annotated[int | None, arg(metavar="PIXELS")] = None
    letterbox: Literal["area", "darknet"] | None = None
    precision: Precision | None = None
    engine: Engine | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if self.size is not None and (self.size < 32 or self.size % 32):
            raise Mistake(f"`size` {self.size}: a multiple of 32 is needed")
