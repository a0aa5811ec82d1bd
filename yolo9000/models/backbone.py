"""What every backbone is to the nets on top of it.

B images, C channels, S side of the image in pixels, s stride of the backbone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Self

from torch import Tensor, nn

from yolo9000.runtime.mistakes import Mistake


class Backbone(nn.Module, ABC):
    """Images -> features at two strides.

    Its first stages can be frozen: their weights take no gradients, and their batch norms keep their statistics.

    Attributes
    ----------
    stride : int
        Pixels of a cell of the last features.
    channels, fine_channels : int
        Channels of the last features, and of those of stride 16.
    fine_is_coarse : bool
        Both features are the same.
    """

    stride: int
    channels: int
    fine_channels: int
    fine_is_coarse: bool = False

    def __init__(self) -> None:
        super().__init__()
        self._frozen: frozenset[str] = frozenset()  # names, for a copy of the net has modules of its own

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) in 0..1 -> features of stride 16 (B, C_f, S/16, S/16) and of its own stride (B, C, S/s, S/s)."""

    @property
    @abstractmethod
    def num_stages(self) -> int:
        """How many stages there are to freeze. The features halve their side from one to the next, as a rule."""

    @abstractmethod
    def parameters_of_stages(self, number: int) -> Iterable[nn.Parameter]:
        """The parameters of the first `number` stages, counted from the image; 1 or more."""

    def freeze(self, stages: int) -> None:
        """Leave the first stages as they are from now on; 0 changes nothing.

        Raises
        ------
        Mistake
            There are not so many.

        Examples
        --------
        >>> from yolo9000.models.darknet19 import Darknet19
        >>> backbone = Darknet19(width=0.1)
        >>> backbone.freeze(2)
        >>> backbone.train().fine[0].training, backbone.fine[4].training
        (False, True)
        """
        if stages > self.num_stages:
            raise Mistake(f"`frozen_stages` {stages}: this backbone has {self.num_stages} stages")
        if not stages:
            return
        for parameter in self.parameters_of_stages(stages):
            parameter.requires_grad_(False)
        self._frozen = frozenset(name for name, module in self.named_modules() if _is_frozen(module))
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for what is frozen."""
        super().train(mode)
        if mode and self._frozen:
            for name, module in self.named_modules():
                if name in self._frozen:
                    module.eval()
        return self


def _is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
