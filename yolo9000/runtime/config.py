"""Which part of the machine works, and in which precision: configuration, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import arg

from yolo9000.runtime.mistakes import Mistake

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class MachineConfig:
    """Where a run is computed. None of it changes which images are seen.

    Parameters
    ----------
    device : str or None
        ``cpu``, ``cuda`` or ``cuda:1``. None takes the GPU if there is one.
    threads : int or None
        Threads of torch on the CPU; None leaves it to torch. Another number gives other roundings.
    workers : int
        Processes that read and augment images. With 0 the training process does it.
    rank_timeout : float
        Seconds after which one of several processes (torchrun) that gives no sign of life ends the others.

    Raises
    ------
    Mistake
        A number is too small.
    """

    device: str | None = None
    threads: Annotated[int | None, arg(metavar="N")] = None
    workers: Annotated[int, arg(metavar="N")] = 0
    rank_timeout: Annotated[float, arg(metavar="SECONDS")] = 600.0

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise Mistake(f"`threads` {self.threads}: at least 1 is needed")
        if self.workers < 0:
            raise Mistake(f"`workers` {self.workers}: 0 or more is needed")
        if not self.rank_timeout >= 5:
            raise Mistake(f"`rank_timeout` {self.rank_timeout}: at least 5 seconds are needed")
