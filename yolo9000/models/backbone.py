"""What every backbone is to the nets on top of it.

B images, C channels, S side of the image in pixels, s stride of the backbone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """Images -> features at two strides.

    Attributes
    ----------
    stride : int
        Pixels of a cell of the last features.
    channels, fine_channels : int
        Channels of the last features, and of those of stride 16.
    """

    stride: int
    channels: int
    fine_channels: int

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) in 0..1 -> features of stride 16 (B, C_f, S/16, S/16) and of its own stride (B, C, S/s, S/s)."""
