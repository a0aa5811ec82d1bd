"""How a trained net is opened: configuration, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from tyro.conf import arg

from yolo9000.runtime.config import Precision, Settings
from yolo9000.runtime.mistakes import Mistake

Engine: TypeAlias = Literal["auto", "torch", "inductor", "openvino", "onnxruntime"]


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
        Side of the network's input, a multiple of its cells: of 32, 16 or 64 pixels. None is the side of the training.
    letterbox : str or None
        How images are fitted into the input: shrunk by area ("area"), or with darknet's arithmetic ("darknet"). None
        is darknet's for a net that darknet trained, and otherwise area. Darknet stretches images for nets of YOLOv1's.
    precision : str or None
        Number format of the convolutions. None is what is fastest: bfloat16 only where the hardware multiplies it.
    engine : str or None
        What runs the convolutions: "torch", "inductor" (torch, with the net compiled), "openvino" or "onnxruntime",
        whose extras must be installed; "auto" tries all that are, once. The head stays ours. None is torch, and of an
        exported folder the engine that its file is made for; OpenVINO also runs ONNX files.
    settings : str
        How the convolutions are computed. "auto" tries the ways on the net itself for a second or two, the first time
        that it is used on this machine, and keeps the fastest in a small file in the user's cache. "unmeasured" tries
        nothing. Or they are named, some or all: ``fixed:layout=contiguous,precision=float32,at_once=4,engine=torch``.
    device : str or None
        ``cpu``, ``cuda`` or ``cuda:1``. None takes the GPU if there is one.

    Raises
    ------
    Mistake
        The size is no side, or the settings are none.
    """

    cfg: Annotated[str | None, arg(metavar="FILE")] = None
    tree: Annotated[str | None, arg(metavar="FILE")] = None
    names: Annotated[str | None, arg(metavar="FILE")] = None
    best: bool = False
    size: Annotated[int | None, arg(metavar="PIXELS")] = None
    letterbox: Literal["area", "darknet"] | None = None
    precision: Precision | None = None
    engine: Engine | None = None
    settings: Annotated[str, arg(metavar="WHICH")] = "auto"
    device: str | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:  # what it is a multiple of depends on the net
            raise Mistake(f"`size` {self.size}: at least 1 is needed")
        Settings().changed(self.settings)
