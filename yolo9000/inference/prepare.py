"""A trained detector made fast for inference: the same answers, up to rounding, from fewer and cheaper operations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from yolo9000.models.backbone import Backbone
from yolo9000.models.darknet19 import ConvBlock
from yolo9000.models.exact_linear import ExactLinear
from yolo9000.models.model import Model
from yolo9000.models.output import DetectorOutput, joined
from yolo9000.models.region import copy_of_net
from yolo9000.models.tree_head import TreeHead
from yolo9000.runtime.compiling import compile_net
from yolo9000.runtime.config import Layout, Precision, Settings
from yolo9000.runtime.device import FORMATS, DeviceError

Answer = Callable[[Tensor], DetectorOutput]


class PreparedDetector(nn.Module):
    """A detector for inference only; made by `prepare`.

    Attributes
    ----------
    net : Model
        A copy whose batch norms are part of its convolutions.
    images_at_once : int or None
        Images of a batch that go through the net together; None for all.
    settings : Settings
    """

    def __init__(
        self,
        net: Model,
        dtype: torch.dtype,
        *,
        images_at_once: int | None,
        settings: Settings = Settings(),
        compiled: Answer | None = None,
    ) -> None:
        super().__init__()
        self.images_at_once = images_at_once
        self.net = net
        self.dtype = dtype
        self.settings = settings
        self._compiled = compiled

    @torch.no_grad()
    def forward(self, images: Tensor) -> DetectorOutput:
        """(B, 3, S, S) in 0..1 -> raw output."""
        answer = self._compiled or self.net
        parts = images.split(self.images_at_once or max(1, len(images)))
        layout = FORMATS[self.settings.layout]
        return joined([answer(part.to(self.dtype, memory_format=layout)) for part in parts])


def prepare(
    detector: Model,
    *,
    device: torch.device,
    precision: Precision = "float32",
    compile: bool = False,
    layout: Layout = "channels_last",
    at_once: int | None = None,
) -> PreparedDetector:
    """A copy of a detector that answers faster.

    Convolutions take up their batch norms, and work in the memory layout and in the precision. The head
    stays in float32: its products are few, and bfloat16 would cost about a tenth of each conditional probability. So do
    the batch norms of a backbone of timm, which stay beside their convolutions: each family has them in another place.

    Parameters
    ----------
    detector : Model
        Trained; it stays as it is. One that an engine runs is asked as it is, in float32.
    device : torch.device
        Where the copy works.
    precision : {"float32", "bfloat16", "float16"}
        Number format of the convolutions.
    compile : bool
        Also compile the net for each size of its input, which takes tens of seconds the first time and needs a C++
        compiler (on a GPU Triton): for many images of one size.
    layout : {"channels_last", "contiguous"}
        Memory layout of the convolutions.
    at_once : int, optional
        Images of a batch that go through the net together, 0 for all; by default `usual_at_once`.

    Raises
    ------
    DeviceError
        float16 on a CPU, or no compiler; or a net that an engine runs is to be compiled.

    Examples
    --------
    >>> from yolo9000.models import BoxCoding, Detector, DetectorConfig, FlatClasses, RegionSpec
    >>> net = Detector(DetectorConfig(width=0.1), RegionSpec(classes=FlatClasses(7), coding=BoxCoding(((1.0, 1.0),))))
    >>> fast = prepare(net, device=torch.device("cpu"), precision="bfloat16")
    >>> fast(torch.zeros(1, 3, 64, 64)).objectness.dtype
    torch.float32
    """
    if detector.has_engine:  # what is done below was done when it was exported, or is done by the engine
        if compile:
            raise DeviceError("`compile`: an exported net is run by its own engine; leave it out")
        settings = Settings(layout="contiguous", at_once=at_once or 0)  # as engines read images
        return PreparedDetector(detector.eval(), torch.float32, images_at_once=at_once or None, settings=settings)
    if precision == "float16" and device.type == "cpu":
        raise DeviceError("`precision` float16 is for GPUs; on a CPU use bfloat16 or float32")
    dtype: torch.dtype = getattr(torch, precision)
    net = copy_of_net(detector).eval().requires_grad_(False)
    for module in list(net.modules()):
        if isinstance(module, ConvBlock):
            _fuse(module)
    net.to(device)
    net.to(memory_format=FORMATS[layout])
    for module in net.modules():
        _cast(module, dtype)
    at_once = usual_at_once(device, compile=compile) if at_once is None else at_once
    compiled = compile_net(net, device, frozen=True) if compile else None
    settings = Settings(engine="inductor" if compile else "torch", layout=layout, precision=precision, at_once=at_once)
    return PreparedDetector(net, dtype, images_at_once=at_once or None, settings=settings, compiled=compiled)


def prepare_with(detector: Model, settings: Settings, *, device: torch.device) -> PreparedDetector:
    """`prepare` with all settings at once."""
    return prepare(
        detector,
        device=device,
        precision=settings.precision,
        compile=settings.engine == "inductor",
        layout=settings.layout,
        at_once=settings.at_once,
    )


def usual_at_once(device: torch.device, *, compile: bool = False) -> int:
    """Images of a larger batch that go through a net together where nobody has measured; 0 for all.

    On a CPU few: what lies between two layers then stays in the caches, which takes about a tenth less time. Where
    nothing is compiled, each pass brings all weights into the order of the convolutions, which more images share.

    Examples
    --------
    >>> usual_at_once(torch.device("cpu")), usual_at_once(torch.device("cuda"))
    (4, 0)
    """
    if device.type != "cpu":
        return 0
    return 1 if compile else 4


def _fuse(block: ConvBlock) -> None:
    """Make the batch norm of a block, if it has one, part of its convolution."""
    conv, norm = block[0], block[1]
    if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
        block[0] = fuse_conv_bn_eval(conv, norm)
        del block[1]


def _cast(module: nn.Module, dtype: torch.dtype) -> None:
    """Bring the weights of a module, without those of its children, into the precision that it works in."""
    if isinstance(module, TreeHead | ExactLinear | nn.modules.batchnorm._BatchNorm):
        return
    for parameter in module.parameters(recurse=False):
        parameter.data = parameter.data.to(dtype)
    if isinstance(module, Backbone):  # the mean of images is subtracted before they lose their digits
        return
    for name, buffer in module.named_buffers(recurse=False):
        if buffer.is_floating_point():
            setattr(module, name, buffer.to(dtype))
