"""Any backbone of timm, a library of image models with published weights: the optional extra ``backbones``.

timm is imported when a net of it is built.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from yolo9000.models.backbone import Backbone
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.tensors import full_precision

ANY_SIZE = ("dynamic_img_size", {"dynamic_img_size": True}), ("strict_img_size", {"strict_img_size": False})
"""Options of transformers that are made for images of one size otherwise."""
TRIAL = (1, 3, 64, 96)
"""The shape of an image that shows what a model answers and which parameters a stage depends on."""


class TimmBackbone(Backbone):
    """The features of one of timm's models, up to stride 32 or 16.

    The stages are timm's. With a stride of 32 the net ends with the last stage of that stride, and the finer features
    are those of the last stage of stride 16. With a stride of 16 there are two kinds of models. Where timm can keep the
    grid of the deepest stage fine (``output_stride=16``: convolutions with holes in place of a stride), the net has
    the same stages as with 32, and their published weights. Other models, such as Swin and VGG, end with their last
    stage of stride 16, and `fine_is_coarse` is true.

    Images are normalised by the mean and the standard deviation that the published weights expect, whether the net
    begins with them or not. The momentum of the model's batch norms is that of the configuration.

    Parameters
    ----------
    name : str
        timm's name of the model, and perhaps of its weights: ``resnet18``, ``resnet18.a1_in1k``.
    stride : {16, 32}
        Pixels of a cell of the last features.
    momentum : float
        The momentum of the running statistics of batch norms.
    pretrained : bool
        Begin with the published weights, which are downloaded once.

    Raises
    ------
    Mistake
        timm is not installed, has no such model or no weights for it, or the model has no features of the stride.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, stride: int = 32, momentum: float = 0.01, *, pretrained: bool = False) -> None:
        super().__init__()
        timm = _library(name)
        _check_name(timm, name, pretrained)
        self._plan = plan = _plan(timm, name, stride)
        _check_sizes(timm, plan, stride)
        self.stride = stride
        self.channels, self.fine_channels = plan.channels[plan.coarse], plan.channels[plan.fine]
        self.fine_is_coarse = plan.fine == plan.coarse
        net: Any = plan.net(timm, plan.stages, pretrained=pretrained)
        self.net: nn.Module = net
        self._channels_last = _channels_last(net)
        normal = timm.data.resolve_model_data_config(net)
        self.register_buffer("mean", torch.tensor(normal["mean"]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(normal["std"]).view(1, 3, 1, 1))
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = momentum

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) in 0..1 -> features of stride 16 (B, C_f, S/16, S/16) and of its own stride (B, C, S/s, S/s)."""
        normal = ((full_precision(images) - self.mean) / self.std).to(images.dtype)
        features: list[Tensor] = self.net(normal)
        if self._channels_last:
            features = [one.permute(0, 3, 1, 2) for one in features]
        return features[0], features[-1]

    def load(self, file: str | Path) -> None:
        """Take the weights of a file that timm published for the model, where nothing may be downloaded.

        Parameters
        ----------
        file : str or Path
            ``model.safetensors`` of the model's page on the Hugging Face Hub, or one of the same names. The classifier
            that it has is left out.

        Raises
        ------
        Mistake
            It cannot be read, has not all weights of the model, or has others.
        """
        timm, plan = _library(self._plan.name), self._plan
        state = _read(file)
        with torch.device("meta"):
            needed = timm.create_model(plan.name, num_classes=0, **plan.options).state_dict()
            whole = timm.create_model(plan.name, **plan.options)  # which has the names of a classifier
        if missing := [name for name in needed if name not in state]:
            raise Mistake(
                f"{file}: no weights of timm's {plan.name}; {len(missing)} of {len(needed)} are missing, such as "
                f"{missing[0]}"
            )
        known = {*needed, *whole.state_dict(), *(name for name, _ in whole.named_buffers())}
        if beyond := [name for name in state if name not in known]:
            raise Mistake(
                f"{file}: weights of another model than timm's {plan.name}, which has no {beyond[0]} "
                f"({len(beyond)} such names)"
            )
        try:
            twin = plan.net(timm, plan.stages, pretrained=True, pretrained_cfg_overlay={"state_dict": state})
        except RuntimeError as error:
            said = " ".join(str(error).split())
            raise Mistake(f"{file}: weights of another form than timm's {plan.name} ({said})") from error
        self.net.load_state_dict(twin.state_dict())

    @property
    def num_stages(self) -> int:
        return self._plan.coarse + 1

    def parameters_of_stages(self, number: int) -> Iterator[nn.Parameter]:
        """Those that the features of that stage depend on: each family has another order of its modules."""
        with torch.device("meta"), torch.enable_grad():
            twin = self._plan.net(_library(self._plan.name), [number - 1]).eval()
            twin(torch.zeros(TRIAL))[0].sum().backward()
        reached = {name for name, parameter in twin.named_parameters() if parameter.grad is not None}
        yield from (parameter for name, parameter in self.net.named_parameters() if name in reached)


@dataclass(frozen=True)
class _Plan:
    """How timm is asked for a model, and which of its stages are used."""

    name: str
    options: Mapping[str, Any]
    channels: tuple[int, ...]
    fine: int
    coarse: int

    @property
    def stages(self) -> list[int]:
        return sorted({self.fine, self.coarse})

    def net(self, timm: ModuleType, stages: list[int], **options: Any) -> nn.Module:
        """The model up to the last of these stages, whose features it gives."""
        kept = {"features_only": True, "out_indices": stages, **self.options}
        net: nn.Module = timm.create_model(self.name, **kept, **options)
        return net


def _library(name: str) -> ModuleType:
    try:
        import timm
        import timm.data
    except ImportError as error:
        raise Mistake(
            f"`backbone` timm:{name}: the library timm is not installed ({error}); pip install 'yolo9000[backbones]'"
        ) from error
    module: ModuleType = timm
    return module


def _read(file: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; timm needs that library itself."""
    import safetensors
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        raise Mistake(f"{file}: is torn, or no safetensors file ({error})") from error


def _check_name(timm: ModuleType, name: str, pretrained: bool) -> None:
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
        raise Mistake(
            f"`backbone` timm:{name}: timm {timm.__version__} has no such model; "
            + (f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists them")
        )
    weights = timm.list_pretrained(name.partition(".")[0] + ".*")
    if "." in name and name not in weights:
        raise Mistake(f"`backbone` timm:{name}: there are no such weights; there are {', '.join(weights) or 'none'}")
    if pretrained and not weights:
        raise Mistake(f"`pretrained`: timm publishes no weights for {name}")


def _plan(timm: ModuleType, name: str, stride: int) -> _Plan:
    """Which options and stages give features of stride 16 and of the stride; looked up on a net without memory."""
    try:
        with torch.device("meta"):
            accepted = inspect.signature(type(timm.create_model(name))).parameters
        options = next((option for parameter, option in ANY_SIZE if parameter in accepted), {})
        strides, channels = _stages(timm, name, options)
    except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, NotImplementedError) as error:
        raise Mistake(f"`backbone` timm:{name}: timm gives no features of it ({error}); choose another") from error
    missing = {16, stride} - set(strides)
    if missing:
        there = ", ".join(map(str, dict.fromkeys(strides)))
        hint = "; for a `stride` of 16 it has them" if missing == {32} else ""
        raise Mistake(
            f"`backbone` timm:{name}: it has features with cells of {there} pixels, and none of "
            f"{' or '.join(map(str, sorted(missing)))}, which a `stride` of {stride} needs{hint}"
        )
    fine = _last(strides, 16)
    if stride == 32:
        return _Plan(name, options, channels, fine, _last(strides, 32))
    if 32 in strides:
        coarse, held = _last(strides, 32), {**options, "output_stride": 16}
        try:
            kept, channels_kept = _stages(timm, name, held)
        except (TypeError, AssertionError, ValueError, NotImplementedError):  # each family refuses in its own way
            kept, channels_kept = (), ()
        if kept and kept[coarse] == 16:
            return _Plan(name, held, channels_kept, fine, coarse)
    return _Plan(name, options, channels, fine, fine)


def _check_sizes(timm: ModuleType, plan: _Plan, stride: int) -> None:
    """Some models take images of one size only, or say other strides and channels than they have."""
    try:
        with torch.device("meta"), torch.no_grad():
            net = plan.net(timm, plan.stages).eval()
            found = [tuple(one.shape[1:]) for one in net(torch.zeros(TRIAL))]
    except (RuntimeError, TypeError, ValueError, AssertionError, NotImplementedError) as error:
        said = str(error) or type(error).__name__
        raise Mistake(f"`backbone` timm:{plan.name}: it does not take images of any size ({said})") from error
    expected = []
    for stage in plan.stages:
        cell = stride if stage == plan.coarse else 16
        shape = plan.channels[stage], TRIAL[2] // cell, TRIAL[3] // cell
        expected.append((*shape[1:], shape[0]) if _channels_last(net) else shape)
    if found != expected:
        raise Mistake(f"`backbone` timm:{plan.name}: features {expected} were expected, it gives {found}")


def _stages(timm: ModuleType, name: str, options: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Stride and channels of every stage."""
    with torch.device("meta"):
        info = timm.create_model(name, features_only=True, **options).feature_info.info
    return tuple(int(stage["reduction"]) for stage in info), tuple(int(stage["num_chs"]) for stage in info)


def _last(strides: tuple[int, ...], stride: int) -> int:
    return max(number for number, one in enumerate(strides) if one == stride)


def _channels_last(net: nn.Module) -> bool:
    """Whether the features are (B, H, W, C), as those of Swin."""
    order = getattr(net, "output_fmt", "NCHW")
    return getattr(order, "value", order) == "NHWC"
