"""What a training run consists of, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from yolo9000.engine.optimisation import OptimiserConfig
from yolo9000.runtime.device import Precision
from yolo9000.runtime.mistakes import Mistake

Loss = Callable[[Any, Sequence[Any], int], dict[str, Tensor]]
"""(what the model answers, targets, images seen) -> named terms, summed over the images."""


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
    name
        As shown in the progress line and in ``results.csv``.
    steps
        Updates of the weights.
    model
        Images (B, 3, S, S) -> whatever `loss` reads. Phases may share one.
    loss
        See `Loss`. The sum of its terms over the whole batch, divided by the batch size, is minimised.
    batches
        Number of the first wanted batch of this phase, from 0 -> the batches from there on, this process's share.
    optimiser
        Optimiser and schedule; a phase starts with a fresh one.
    begin
        Called when the phase starts, not when it is resumed: takes over weights of an earlier phase's model.
    evaluate
        A model -> named scores, for ``results.csv``.
    """

    name: str
    steps: int
    model: nn.Module
    loss: Loss
    batches: Callable[[int], Iterable[ImageBatch]]
    optimiser: OptimiserConfig
    begin: Callable[[], None] | None = None
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What all phases of a run have in common.

    Parameters
    ----------
    batch_size
        Images of one update, over all processes and parts (darknet: 64).
    accumulate
        Parts that an update is computed in, to save memory (darknet's subdivisions).
    precision
        Of the forward pass; the loss is float32 always. float16 scales the loss.
    ema_decay
        Of the averaged weights that are evaluated and handed over to the next phase; None keeps none.
    log_every, evaluate_every, save_every
        In steps. Evaluation and saving also happen at the end of each phase; 0 leaves it at that.
    evaluate_at
        Further steps of a phase after which it is evaluated.
    best_score
        The score of `Phase.evaluate` that picks ``best.pt``.
    channels_last
        Memory layout of the convolutions; faster on GPUs with mixed precision and on most CPUs.
    compile
        Compile the models, once for each size of their input. For GPUs; on a CPU it was slower.

    Raises
    ------
    Mistake
        The batch cannot be cut into equal parts, or a number is out of its range.
    """

    batch_size: int = 64
    accumulate: int = 1
    precision: Precision = "float32"
    ema_decay: float | None = 0.9998
    log_every: int = 10
    evaluate_every: int = 0
    evaluate_at: tuple[int, ...] = ()
    save_every: int = 1000
    best_score: str = "ap50"
    channels_last: bool = True
    compile: bool = False

    def __post_init__(self) -> None:
        for name in ("batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise Mistake(f"`{name}` {getattr(self, name)}: at least 1 is needed")
        if self.batch_size % self.accumulate:
            raise Mistake(
                f"`accumulate` {self.accumulate}: a batch of {self.batch_size} images cannot be cut into "
                f"{self.accumulate} equal parts"
            )
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise Mistake(f"`ema_decay` {self.ema_decay}: a decay of the averaged weights is at least 0 and below 1")
        for name in ("log_every", "evaluate_every", "save_every"):
            if getattr(self, name) < 0:
                raise Mistake(f"`{name}` {getattr(self, name)}: 0 or more is needed")
