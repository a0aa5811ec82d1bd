"""Extraction: the backbone of YOLOv1, at any width."""

from __future__ import annotations

from yolo9000.models.darknet19 import Layer, PlainBackbone

# the first 20 convolutions of YOLOv1 (its paper, figure 3), which are pretrained as a classifier
EXTRACTION: tuple[Layer, ...] = (
    (64, 7, 2), "M",
    (192, 3), "M",
    (128, 1), (256, 3), (256, 1), (512, 3), "M",
    *((256, 1), (512, 3)) * 4, (512, 1), (1024, 3), "M",
    *((512, 1), (1024, 3)) * 2,
)  # fmt: skip


class Extraction(PlainBackbone):
    """The first 20 convolutions of YOLOv1, which its authors train as a classifier before they detect with them.

    YOLOv1's last four are `extra_convs` with a stride of 64. The paper has no batch norm, darknet has. The first layer
    halves the image, so there are five stages; the features of stride 16 have as many channels as the last ones.

    Examples
    --------
    >>> import torch
    >>> [features.shape for features in Extraction(width=0.25)(torch.zeros(1, 3, 64, 64))]
    [torch.Size([1, 256, 4, 4]), torch.Size([1, 256, 2, 2])]
    """

    layers = EXTRACTION
