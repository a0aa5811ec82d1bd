"""What a training run consists of, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from yolo9000.training.config import OptimiserConfig

Loss = Callable[[Any, Sequence[Any], int], dict[str, Tensor]]
"""(what the model answers, targets, images seen) -> named terms, summed over the images."""

HELD_OUT = "held_out/"
"""What names of scores begin with that are losses: less is better."""


class ImageBatch(Protocol):
    """What the loop reads of a batch: images (B, 3, S, S), bytes or floats in 0..1, and one target an image."""

    @property
    def images(self) -> Tensor: ...

    @property
    def targets(self) -> Sequence[Any]: ...


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of training.

    Parameters
    ----------
    name : str
        The name that is shown in the progress line and in ``results.csv``.
    steps : int
        Updates of the weights.
    model : nn.Module
        Images (B, 3, S, S) -> whatever `loss` reads. Phases may share one.
    loss : Loss
        What the model answers -> named terms. Their sum over the whole batch, divided by the batch size, is minimised.
    batches : callable
        Number of the first wanted batch of this phase, from 0 -> the batches from there on, this process's share.
    optimiser : OptimiserConfig
        Optimiser and schedule; a phase starts with a fresh one.
    begin : callable, optional
        It is called when the phase starts, not when it is resumed, and takes over weights of an earlier phase's model.
    evaluate : callable, optional
        A model -> named scores, for ``results.csv``. More is better, but for names that begin with `HELD_OUT`.
    given : bool
        The model begins with weights from outside the run, so checkpoints of phases before its own hold them.
    """

    name: str
    steps: int
    model: nn.Module
    loss: Loss
    batches: Callable[[int], Iterable[ImageBatch]]
    optimiser: OptimiserConfig
    begin: Callable[[], None] | None = None
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None
    given: bool = False
