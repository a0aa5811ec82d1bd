"""Darknet's ``.weights`` files: a header of 16 or 20 bytes, then the floats of each layer that has any, in order.

The header is three int32 (major, minor, revision) and the count of images seen: 8 bytes from version 0.2 on, 4 before.
All floats are float32, little-endian:

* a convolution: its biases, with batch norm the scales, means and variances, and its weights (filters, channels, size,
  size);
* a fully connected layer: its biases, its weights (outputs, inputs), and with batch norm the scales, means and
  variances after them. Where the major or minor version is above 1000, the weights are (inputs, outputs);
* a locally connected layer: its biases (filters, height, width) and its weights (place, filters, channels, size, size).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from yolo9000.darknet.connected import Local
from yolo9000.darknet.net import DarknetNet
from yolo9000.models.tree_head import TreeHead
from yolo9000.runtime.mistakes import Mistake

_PARTIAL_NAME = re.compile(r"\.conv\.([0-9]+|weights)$")
_CHUNK = 1 << 22  # floats that are looked through at a time


class WeightsError(Mistake):
    """A weights file that does not fit; the message says what was expected and where the file ended."""


@dataclass(frozen=True)
class DarknetHeader:
    """The beginning of a weights file.

    Parameters
    ----------
    major, minor, revision : int
        Darknet's version when it was written.
    images_seen : int
        The number of training images up to then.
    not_filled : tuple of str
        After loading, the names of the layers that the file ended before; they keep the weights that they had.
    """

    major: int = 0
    minor: int = 2
    revision: int = 0
    images_seen: int = 0
    not_filled: tuple[str, ...] = ()

    @property
    def version(self) -> tuple[int, int, int]:
        """Major, minor, revision."""
        return self.major, self.minor, self.revision

    @property
    def size(self) -> int:
        """Bytes: 20, or 16 before version 0.2."""
        return 20 if self._is_long else 16

    @property
    def is_transposed(self) -> bool:
        """Whether the weights of fully connected layers are in the order (inputs, outputs)."""
        return self.major > 1000 or self.minor > 1000

    @property
    def _is_long(self) -> bool:
        return self.major * 10 + self.minor >= 2 and self.major < 1000 and self.minor < 1000

    def to_bytes(self) -> bytes:
        """As it stands in the file.

        Raises
        ------
        WeightsError
            If the images seen do not fit into the field of this version.

        Examples
        --------
        >>> DarknetHeader(0, 1, 0, images_seen=5).to_bytes().hex(" ", 4)
        '00000000 01000000 00000000 05000000'
        """
        bits = 64 if self._is_long else 32
        if not 0 <= self.images_seen < 2**bits:
            raise WeightsError(f"images_seen={self.images_seen} does not fit into the {bits} bits of this header")
        return struct.pack("<iiiQ" if self._is_long else "<iiiI", *self.version, self.images_seen)


@dataclass(frozen=True)
class _Array:
    """Where one run of floats belongs: the name for messages, and the tensor in darknet's order."""

    layer: str
    part: str
    tensor: Tensor


def read_darknet_header(path: str | Path) -> DarknetHeader:
    """Read the header alone.

    Parameters
    ----------
    path : str or Path
        The weights file.

    Returns
    -------
    DarknetHeader
        The version and the images seen.

    Raises
    ------
    WeightsError
        If the file is too short for one, or a text file.
    OSError
        If it cannot be read.
    """
    with open(path, "rb") as file:
        begin = file.read(4096)
    if len(begin) >= 8 and not re.search(rb"[^\t\n\r\x20-\x7e]", begin):
        raise WeightsError(f"{path}: a text file, no weights; it begins with {begin[:40].decode()!r}")
    if len(begin) < 12:
        raise WeightsError(f"{path}: {len(begin)} bytes are too few for a header of 16 or 20 bytes")
    header = DarknetHeader(*struct.unpack("<iii", begin[:12]))
    if len(begin) < header.size:
        raise WeightsError(f"{path}: {len(begin)} bytes are too few for its header of {header.size} bytes")
    (seen,) = struct.unpack("<Q" if header.size == 20 else "<I", begin[12 : header.size])
    return replace(header, images_seen=seen)


def load_darknet_weights(model: nn.Module, path: str | Path, *, partial: bool = False) -> DarknetHeader:
    """Fill a net from a darknet weights file. If anything is wrong with the file, the net stays as it was.

    Parameters
    ----------
    model : Module
        A net of `from_cfg`, or one of ours: layers are filled in the order of the net.
    path : str or Path
        The file. It is mapped into memory, not read into it.
    partial : bool
        Whether a file may end after one of the layers, as ``darknet19.conv.23`` does. A name that ends in ``.conv.``
        and a number, or in ``.conv.weights`` as ``extraction.conv.weights`` does, says that it may.

    Returns
    -------
    DarknetHeader
        The version, the images seen, and which layers were not filled. It is kept as ``model.darknet_header``,
        for `save_darknet_weights`.

    Raises
    ------
    WeightsError
        If the file is truncated, too long, of another net, a text file, or holds a number that is not finite.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from yolo9000.models import Classifier, DetectorConfig, FlatClasses
    >>> model = Classifier(DetectorConfig(width=0.1), FlatClasses(5))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_darknet_weights(model, f"{folder}/a.weights", images_seen=64)
    ...     load_darknet_weights(model, f"{folder}/a.weights")
    DarknetHeader(major=0, minor=2, revision=0, images_seen=64, not_filled=())
    """
    path = Path(path)
    header = read_darknet_header(path)
    arrays = _arrays(model, transposed=header.is_transposed)
    payload = path.stat().st_size - header.size
    held = payload // 4
    filled = _filled(arrays, path, header, payload, partial or _PARTIAL_NAME.search(path.name) is not None)
    if len({array.tensor.data_ptr() for array in arrays[:filled]}) < filled:
        raise WeightsError(
            f"{path}: it has class rows for each prior, and this net shares one set among all; build it without "
            "share_class_rows"
        )
    if held:
        # copy-on-write, so that torch may wrap it; nothing is ever written
        floats: npt.NDArray[np.float32] = np.memmap(path, "<f4", mode="c", offset=header.size, shape=(held,))
        _check_finite(floats, arrays, path)
        begin = 0
        with torch.no_grad():
            for array in arrays[:filled]:
                end = begin + array.tensor.numel()
                array.tensor.copy_(torch.from_numpy(floats[begin:end]).view(array.tensor.shape))
                begin = end
    missing = tuple(dict.fromkeys(array.layer for array in arrays[filled:]))
    header = replace(header, not_filled=missing)
    model.darknet_header = header  # type: ignore[assignment]  # a plain attribute, no parameter
    return header


def save_darknet_weights(
    model: nn.Module, path: str | Path, images_seen: int | None = None, *, header: DarknetHeader | None = None
) -> None:
    """Write a darknet weights file.

    Parameters
    ----------
    model : Module
        A net as for `load_darknet_weights`.
    path : str or Path
        The file, which is replaced when everything is written.
    images_seen : int, optional
        The number of training images up to now; by default it is what the header says.
    header : DarknetHeader, optional
        The header whose version is written; by default it is that of the file that the net was loaded from, else
        0.2.0.

    Raises
    ------
    WeightsError
        If the images seen do not fit into the header.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from yolo9000.darknet import from_cfg
    >>> model = from_cfg("yolov2-tiny-voc")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_darknet_weights(model, f"{folder}/new.weights", images_seen=0)
    ...     Path(folder, "new.weights").stat().st_size
    63471560
    """
    header = header or getattr(model, "darknet_header", None) or DarknetHeader()
    seen = header.images_seen if images_seen is None else images_seen
    begin = replace(header, images_seen=seen).to_bytes()
    path = Path(path)
    unfinished = path.with_name(f"{path.name}.part")  # so that a file of this name is always whole
    with open(unfinished, "wb") as file:
        file.write(begin)
        for array in _arrays(model, transposed=header.is_transposed):
            file.write(array.tensor.detach().cpu().float().contiguous().numpy().astype("<f4", copy=False).data)
    unfinished.replace(path)


def count_floats(model: nn.Module) -> int:
    """The number of floats of a net's weights file after the header.

    Examples
    --------
    >>> from yolo9000.darknet import from_cfg
    >>> with torch.device("meta"):
    ...     count_floats(from_cfg("yolov2"))
    50983561
    """
    return sum(array.tensor.numel() for array in _arrays(model))


def _arrays(model: nn.Module, *, transposed: bool = False) -> list[_Array]:
    """Everything that a file holds, in its order."""
    arrays: list[_Array] = []
    modules = list(model.named_modules())
    for (name, module), (_, after) in zip(modules, [*modules[1:], ("", None)], strict=True):
        if isinstance(module, nn.Conv2d | nn.Linear | Local):
            layer = _layer_name(model, name)
            arrays += (_Array(layer, part, tensor) for part, tensor in _parts(module, after, transposed))
        elif isinstance(module, TreeHead):
            layer, rows = _layer_name(model, name), module.dense_rows()
            arrays += (_Array(layer, "biases", bias) for _, bias in rows)
            arrays += (_Array(layer, "weights", weight) for weight, _ in rows)
    return arrays


def _parts(
    module: nn.Conv2d | nn.Linear | Local, after: nn.Module | None, transposed: bool
) -> Iterator[tuple[str, Tensor]]:
    weight = module.weight
    if isinstance(module, nn.Linear):
        weight = weight.t() if transposed else weight
    if isinstance(after, nn.BatchNorm2d | nn.BatchNorm1d):
        assert after.running_mean is not None
        assert after.running_var is not None
        names = ("scales", "rolling means", "rolling variances")
        statistics = list(zip(names, (after.weight, after.running_mean, after.running_var), strict=True))
        yield "biases", after.bias
        if isinstance(module, nn.Linear):  # its weights stand in the middle
            yield "weights", weight
            yield from statistics
            return
        yield from statistics
    elif module.bias is not None:
        yield "biases", module.bias
    yield "weights", weight


def _layer_name(model: nn.Module, name: str) -> str:
    if not isinstance(model, DarknetNet):
        return name.removesuffix(".0")
    number = int(name.split(".")[1])
    section = model.cfg.layers[number]
    return f"layer {number} ([{section.name}] in line {section.line})"


def _filled(arrays: list[_Array], path: Path, header: DarknetHeader, payload: int, partial: bool) -> int:
    """How many of the arrays the file fills; it must end after a layer."""
    held, odd_bytes = divmod(payload, 4)
    expected = sum(array.tensor.numel() for array in arrays)
    says = f"{expected:,} floats were expected after the header of {header.size} bytes, the file has {held:,}"
    if held > expected or (held == expected and odd_bytes):
        extra = f"{held - expected:,} floats" + (f" and {odd_bytes} bytes" if odd_bytes else "")
        raise WeightsError(f"{path}: too long by {extra}: {says}. It is of another net, or another header's length")
    end = 0
    for number, array in enumerate(arrays):
        if held == end and not odd_bytes and number and array.layer != arrays[number - 1].layer:
            if partial:
                return number
            raise WeightsError(
                f"{path}: ends after {arrays[number - 1].layer}: {says}. If only a part of the net is to be filled, "
                "say partial=True"
            )
        if held < end + array.tensor.numel():
            within = f"{held - end:,} of {array.tensor.numel():,} floats into the {array.part} of {array.layer}"
            raise WeightsError(f"{path}: truncated or of another net: {says} and ends {within}")
        end += array.tensor.numel()
    return len(arrays)


def _check_finite(floats: npt.NDArray[np.float32], arrays: list[_Array], path: Path) -> None:
    for begin in range(0, len(floats), _CHUNK):
        finite = np.isfinite(floats[begin : begin + _CHUNK])
        if finite.all():
            continue
        at = begin + int(np.argmin(finite))
        end = 0
        for array in arrays:
            end += array.tensor.numel()
            if at < end:
                break
        raise WeightsError(
            f"{path}: float {at:,} of {len(floats):,} is {floats[at]}, in the {array.part} of {array.layer}: the file "
            f"is damaged or of another net ({sum(a.tensor.numel() for a in arrays):,} floats were expected)"
        )
