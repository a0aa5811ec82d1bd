"""What may watch a training: an object whose methods are called as it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from yolo9000.runtime.logs import Value
from yolo9000.runtime.run_folder import RunFolder


@dataclass(frozen=True)
class Moment:
    """Where a training is.

    Parameters
    ----------
    run : RunFolder
        The run's folder.
    step : int
        Steps done in the whole run.
    steps : int
        Steps of the whole run.
    phase : str
        The name of the phase, such as "classification" or "joint".
    """

    run: RunFolder
    step: int
    steps: int
    phase: str


class Callback:
    """Watches a training.

    Derive from it and write the methods that are wanted; those that are not written do nothing. (So it is a class and
    no Protocol, of which all had to be written.) The first of several processes calls them, in the order in which the
    callbacks were given, between two steps: the training waits. What they raise ends it, as any error does.

    Examples
    --------
    >>> class Printer(Callback):
    ...     def on_evaluation(self, at, scores, model):
    ...         print(f"{at.step} of {at.steps}: {scores['ap50']:.2f}")
    >>> at = Moment(RunFolder(Path("runs/joint")), 500, 1000, "joint")
    >>> Printer().on_evaluation(at, {"ap50": 0.25}, nn.Identity())
    500 of 1000: 0.25
    >>> Printer().on_end(at, interrupted=False)
    """

    def on_start(self, at: Moment) -> None:
        """Before the first step; a run that is resumed starts at the step of its checkpoint."""

    def on_step(self, at: Moment, values: Mapping[str, Value]) -> None:
        """After a step whose losses are read, which is every `log_every` steps.

        Parameters
        ----------
        at : Moment
        values : mapping of str to number or str
            The row that ``results.csv`` gets: loss, terms, learning rate, images a second.
        """

    def on_evaluation(self, at: Moment, scores: Mapping[str, float], model: nn.Module) -> None:
        """After an evaluation.

        Parameters
        ----------
        at : Moment
        scores : mapping of str to float
            What ``results.csv`` gets.
        model : nn.Module
            The weights that were evaluated, in evaluation mode: the averaged ones if there are such. They may be used,
            and must not be changed.
        """

    def on_checkpoint(self, at: Moment, path: Path) -> None:
        """After a checkpoint was written, ``last.pt`` or ``best.pt``."""

    def on_end(self, at: Moment, *, interrupted: bool) -> None:
        """After the last step, or after Ctrl-C (`interrupted`); not after an error."""
