"""Losses and scores for TensorBoard, in the run's folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from torch import nn

from yolo9000.runtime.logs import Value
from yolo9000.runtime.mistakes import Mistake
from yolo9000.training.callbacks import Callback, Moment


def has_tensorboard() -> bool:
    """Whether the package ``tensorboard`` is installed."""
    return importlib.util.find_spec("tensorboard") is not None


class TensorBoard(Callback):
    """Writes ``events.out.tfevents.*`` into the run's folder; ``tensorboard --logdir runs`` shows all runs.

    Raises
    ------
    Mistake
        The package ``tensorboard`` is not installed.
    """

    def __init__(self) -> None:
        if not has_tensorboard():
            raise Mistake("TensorBoard is not installed; pip install 'yolo9000[tensorboard]'")
        self._writer: Any = None

    def on_start(self, at: Moment) -> None:
        """Open the file."""
        from torch.utils.tensorboard import SummaryWriter  # seconds, which only a training should pay

        self._writer = SummaryWriter(str(at.run.path), purge_step=at.step + 1 if at.step else None)

    def on_step(self, at: Moment, values: Mapping[str, Value]) -> None:
        """Write the numbers of a row."""
        self._write(at.step, {name: value for name, value in values.items() if name not in ("step", "phase")})

    def on_evaluation(self, at: Moment, scores: Mapping[str, float], model: nn.Module) -> None:
        """Write the scores."""
        self._write(at.step, {f"held_out/{name.removeprefix('held_out/')}": score for name, score in scores.items()})

    def on_end(self, at: Moment, *, interrupted: bool) -> None:
        """Close the file."""
        self._writer.close()

    def _write(self, step: int, values: Mapping[str, Value]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, float(value), step)
        self._writer.flush()
