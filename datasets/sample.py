"""What a data set hands to the network and the loss: records, samples, targets and batches.

It is one file because these values are one contract, and none of them means anything without the others.

Legend: ``B`` images, ``M`` boxes of one image, ``I`` ignored boxes, ``R`` labelled areas, ``L`` nodes,
``H W`` height and width. ``boxes_xyxy`` are pixels of an image (``x0 <= x1``, edges, not pixel centres);
``boxes_cxcywh`` are relative to the network's square input, 0..1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yolo9000.datasets.errors import Unreadable as Unreadable  # the contract of `Source.read` names it

Kind = Literal["detection", "classification"]


def _no_boxes() -> NDArray[np.float32]:
    return np.zeros((0, 4), np.float32)


def _no_labels() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Target:
    """What is known about one image: the contract between the data and the loss.

    An image with boxes has a label for each of them. An image with a label has ``image_label`` or ``areas_cxcywh``;
    its boxes, if any, are ignored.

    Parameters
    ----------
    boxes_cxcywh : Tensor (M, 4)
        Centre, width and height relative to the network's input, 0..1, float32.
    labels : Tensor (M,)
        Class index or tree node of each box, int64.
    image_label : int, optional
        Class index or tree node of an image with a label.
    ignore_boxes_cxcywh : Tensor (I, 4), optional
        Crowds and difficult objects, neither positive nor background.
    labelled_nodes : Tensor (L,), optional
        Nodes that the source labels exhaustively; None means everything.
    areas_cxcywh : Tensor (R, 4), optional
        The areas of a mosaic. Somewhere inside rectangle r there is a thing of ``area_labels[r]``.
    area_labels : Tensor (R,), optional
        Class index or tree node of each area, int64.

    Examples
    --------
    >>> import torch
    >>> target = Target(torch.tensor([[0.5, 0.5, 0.2, 0.4]]), torch.tensor([3]))
    >>> len(target.labels), target.is_classification
    (1, False)
    >>> Target.of_image(7).is_classification
    True
    """

    boxes_cxcywh: Tensor
    labels: Tensor
    image_label: int | None = None
    ignore_boxes_cxcywh: Tensor | None = None
    labelled_nodes: Tensor | None = None
    areas_cxcywh: Tensor | None = None
    area_labels: Tensor | None = None

    @classmethod
    def of_image(cls, image_label: int) -> Target:
        """Return the target of an image with a label and no boxes."""
        return cls(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), image_label=image_label)

    @property
    def is_classification(self) -> bool:
        """Whether only labels are known, of the image or of its areas, and no boxes."""
        return self.image_label is not None or self.areas_cxcywh is not None

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Target:
        """Return the same target with its tensors on ``device``."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=non_blocking)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True, eq=False)
class Record:
    """What a source reads: pixels and labels before any augmentation.

    Parameters
    ----------
    image : ndarray (H, W, 3)
        Pixels, uint8, RGB.
    key : str
        File name or id, for messages and evaluation.
    boxes_xyxy : ndarray (M, 4)
        Boxes in pixels of ``image``, float32.
    labels : ndarray (M,)
        Class index or tree node of each box, int64.
    image_label : int, optional
        Class index or tree node of an image with a label.
    ignore_boxes_xyxy : ndarray (I, 4)
        Crowds and difficult objects in pixels of ``image``, float32.
    labelled_nodes : ndarray (L,), optional
        Nodes, int64, that are labelled exhaustively in this image; None means those of its source.
    """

    image: NDArray[np.uint8]
    key: str
    boxes_xyxy: NDArray[np.float32] = field(default_factory=_no_boxes)
    labels: NDArray[np.int64] = field(default_factory=_no_labels)
    image_label: int | None = None
    ignore_boxes_xyxy: NDArray[np.float32] = field(default_factory=_no_boxes)
    labelled_nodes: NDArray[np.int64] | None = None


class Source(Protocol):
    """A set of images that can be read by index, in any order, from any process.

    ``read`` is a pure function of the index and raises :class:`Unreadable` for an image that cannot be decoded.
    ``labelled_nodes`` are the nodes that it labels exhaustively, wherever a record has none of its own; only they can
    be background. None means everything.
    """

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    @property
    def labelled_nodes(self) -> NDArray[np.int64] | None: ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> Record: ...


class LabelledSource(Source, Protocol):
    """A source that knows its labels before it reads an image, as those on disk do."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class index or tree node of each box, or of each image with a label."""

    @property
    def labelled_nodes(self) -> NDArray[np.int64] | None: ...

    @labelled_nodes.setter
    def labelled_nodes(self, nodes: NDArray[np.int64] | None) -> None: ...


@dataclass(frozen=True)
class Placement:
    """Where an image lies in the network's input: ``input = pixel * scale + offset``, then mirrored if ``flipped``.

    Parameters
    ----------
    width, height : int
        Size of the image in pixels, before anything was done to it.
    scale_x, scale_y : float
        Number of input pixels for one image pixel.
    offset_x, offset_y : float
        Distance in input pixels from the input's left and top to the image's.
    size : int
        Side of the network's square input in pixels.
    flipped : bool
        Whether the input was mirrored left to right (augmentation only).

    Examples
    --------
    A 200 x 100 image in a 100 x 100 input: half size, a band of 25 above and below.

    >>> import torch
    >>> placement = Placement(200, 100, 0.5, 0.5, 0.0, 25.0, 100)
    >>> placement.to_image(torch.tensor([[0.5, 0.5, 1.0, 0.5]]))
    tensor([[  0.,   0., 200., 100.]])
    """

    width: int
    height: int
    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float
    size: int
    flipped: bool = False

    def to_image(self, boxes_cxcywh: Tensor, *, clip: bool = True) -> Tensor:
        """Return ``(..., 4)`` boxes of the network's input as ``boxes_xyxy`` in pixels of the image."""
        cx, cy, w, h = (boxes_cxcywh * self.size).unbind(-1)
        if self.flipped:
            cx = self.size - cx
        x0, x1 = ((cx + sign * w / 2 - self.offset_x) / self.scale_x for sign in (-1, 1))
        y0, y1 = ((cy + sign * h / 2 - self.offset_y) / self.scale_y for sign in (-1, 1))
        if clip:
            x0, x1 = x0.clamp(0, self.width), x1.clamp(0, self.width)
            y0, y1 = y0.clamp(0, self.height), y1.clamp(0, self.height)
        return torch.stack((x0, y0, x1, y1), -1)

    def to_input(self, boxes_xyxy: Tensor) -> Tensor:
        """Return ``(..., 4)`` boxes in pixels of the image as ``boxes_cxcywh`` of the network's input, not clipped."""
        x0, y0, x1, y1 = boxes_xyxy.unbind(-1)
        x0, x1 = x0 * self.scale_x + self.offset_x, x1 * self.scale_x + self.offset_x
        y0, y1 = y0 * self.scale_y + self.offset_y, y1 * self.scale_y + self.offset_y
        cx = (x0 + x1) / 2
        if self.flipped:
            cx = self.size - cx
        return torch.stack((cx, (y0 + y1) / 2, x1 - x0, y1 - y0), -1) / self.size


@dataclass(frozen=True)
class Replacement:
    """An unreadable image, for which the next of its source was taken."""

    source: str
    key: str
    reason: str


@dataclass(frozen=True, eq=False)
class Sample:
    """One input of the network.

    Parameters
    ----------
    image : Tensor (3, H, W)
        RGB: uint8, 0..255, best as a view of ``(H, W, 3)`` pixels; or float32, 0..1, where a byte is too
        coarse (darknet's numbers). :func:`pixels` makes floats of either.
    target : Target
        What is known about the image.
    key : str
        Its file name or id.
    placement : Placement
        Where it lies in the input.
    replaced : tuple of Replacement
        The unreadable images for which this one stands.
    comes_again : bool
        Whether an evaluation has the same image once more, so that this one does not count.
    """

    image: Tensor
    target: Target
    key: str
    placement: Placement
    replaced: tuple[Replacement, ...] = ()
    comes_again: bool = False


_TENSORS = ("boxes_cxcywh", "labels", "ignore_boxes_cxcywh", "labelled_nodes", "areas_cxcywh", "area_labels")


@dataclass(frozen=True, eq=False)
class _PackedTargets:
    """All targets of a batch in one tensor per field, so that they travel in six pieces and not in hundreds.

    A worker process sends each tensor through a file descriptor of its own, and a GPU copy costs the same 10 us for
    four numbers as for four thousand.
    """

    flat: dict[str, Tensor]
    parts: dict[str, list[int]]  # a field's distinct tensors: their lengths ...
    which: dict[str, list[int]]  # ... and each target's number among them (targets share labelled_nodes), -1 = None
    image_labels: list[int | None]

    @classmethod
    def pack(cls, targets: Sequence[Target]) -> _PackedTargets:
        flat, parts, which = {}, {}, {}
        for name in _TENSORS:
            distinct: dict[int, int] = {}
            tensors: list[Tensor] = []
            numbers = []
            for target in targets:
                tensor = getattr(target, name)
                if tensor is not None and id(tensor) not in distinct:
                    distinct[id(tensor)] = len(tensors)
                    tensors.append(tensor)
                numbers.append(-1 if tensor is None else distinct[id(tensor)])
            if tensors:
                flat[name] = torch.cat(tensors)
            parts[name], which[name] = [len(t) for t in tensors], numbers
        return cls(flat, parts, which, [target.image_label for target in targets])

    def unpack(self) -> list[Target]:
        fields: dict[str, list[Tensor | None]] = {}
        for name in _TENSORS:
            tensors = list(self.flat[name].split(self.parts[name])) if name in self.flat else []
            fields[name] = [None if number < 0 else tensors[number] for number in self.which[name]]
        values: list[dict[str, Any]] = [{name: fields[name][i] for name in _TENSORS} for i in range(len(self))]
        return [Target(**v, image_label=label) for v, label in zip(values, self.image_labels, strict=True)]

    def __len__(self) -> int:
        return len(self.image_labels)


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples that go through the network together.

    Parameters
    ----------
    images : Tensor (B, 3, H, W)
        RGB, uint8 or float32 as in :class:`Sample`, in channels_last memory. A network wants
        ``pixels(batch.images, device)``.
    targets : list of Target
        What is known about each image.
    keys : list of str
        The file name or id of each image.
    placements : list of Placement
        Where each image lies in its input.
    replaced : tuple of Replacement
        The unreadable images that this batch would have had.
    """

    images: Tensor
    targets: list[Target]
    keys: list[str]
    placements: list[Placement]
    replaced: tuple[Replacement, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def pin_memory(self) -> Batch:
        """Return the batch with its pixels in page-locked memory, as ``DataLoader(pin_memory=True)`` asks for."""
        return replace(self, images=self.images.pin_memory())

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Return the batch with images and targets on ``device``; keys and placements stay as they are."""
        device = torch.device(device)
        packed = _PackedTargets.pack(self.targets)
        for name, tensor in packed.flat.items():
            # A copy from pageable memory would wait for the GPU however non_blocking is set.
            pin = non_blocking and device.type == "cuda" and tensor.device.type == "cpu" and tensor.numel() > 0
            packed.flat[name] = (tensor.pin_memory() if pin else tensor).to(device, non_blocking=non_blocking)
        return replace(self, images=self.images.to(device, non_blocking=non_blocking), targets=packed.unpack())

    def __getstate__(self) -> dict[str, Any]:
        packed = _PackedTargets.pack(self.targets)
        # numpy arrays go through the worker's pipe by value; tensors would each take a file descriptor.
        arrays = {name: tensor.cpu().numpy() for name, tensor in packed.flat.items()}
        return {**vars(self), "targets": replace(packed, flat={}), "_arrays": arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        arrays, packed = state.pop("_arrays"), state["targets"]
        packed.flat.update({name: torch.from_numpy(array) for name, array in arrays.items()})
        vars(self).update(state, targets=packed.unpack())


def pixels(
    images: Tensor,
    device: torch.device | str | None = None,
    *,
    non_blocking: bool = False,
    memory_format: torch.memory_format = torch.channels_last,
) -> Tensor:
    """Return a batch's images as a network takes them.

    Bytes become floats on the device: a quarter of the floats' way through workers, memory and bus.

    Parameters
    ----------
    images : Tensor (B, 3, H, W)
        Bytes (uint8), 0..255, or floats, 0..1.
    device : torch.device or str, optional
        Where the images go; None leaves them where they are.
    non_blocking : bool
        Do not wait for the copy; for images in page-locked memory.
    memory_format : torch.memory_format
        How the result lies in memory.

    Returns
    -------
    images : Tensor (B, 3, H, W)
        Floats, float32, 0..1; floats that were given keep their type and are not copied without need.

    Examples
    --------
    >>> import torch
    >>> pixels(torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)).flatten()
    tensor([0.0000, 0.2000, 1.0000])
    """
    there = images.to(device, non_blocking=non_blocking)
    if there.dtype == torch.uint8:
        return there.to(torch.float32, memory_format=memory_format).div_(255)
    return there.contiguous(memory_format=memory_format)


def collate(samples: Sequence[Sample]) -> Batch:
    """Return one batch of samples that all have the same size.

    Bytes stay bytes, unless there are floats among them.

    Raises
    ------
    ValueError
        If there is no sample, or their sizes differ.

    Examples
    --------
    >>> import torch
    >>> image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    >>> sample = Sample(image, Target.of_image(1), "a.jpg", Placement(32, 32, 1, 1, 0, 0, 32))
    >>> batch = collate([sample, sample])
    >>> batch.images.shape, batch.keys
    (torch.Size([2, 3, 32, 32]), ['a.jpg', 'a.jpg'])
    """
    if not samples:
        raise ValueError("collate: a batch needs at least one sample")
    shapes = {tuple(sample.image.shape) for sample in samples}
    if len(shapes) > 1:
        raise ValueError(f"collate: the images of a batch must have one size, not {sorted(shapes)}")
    rows = [sample.image.permute(1, 2, 0) for sample in samples]  # back to (H, W, 3): one plain copy each
    if len({image.dtype for image in rows}) > 1:
        rows = [image.float().div_(255) if image.dtype == torch.uint8 else image for image in rows]
    return Batch(
        images=torch.stack(rows).permute(0, 3, 1, 2),
        targets=[sample.target for sample in samples],
        keys=[sample.key for sample in samples],
        placements=[sample.placement for sample in samples],
        replaced=tuple(r for sample in samples for r in sample.replaced),
    )
