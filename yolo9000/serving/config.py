"""How the page is served: configuration, without torch and without the web framework."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import arg

from yolo9000.inference.config import OpenConfig
from yolo9000.runtime.mistakes import Mistake

PHOTO_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff")
"""What we take. Pillow opens more, some of it with other programs, which no stranger's file should start."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a request may cost.

    Parameters
    ----------
    max_megabytes : float
        The largest photo that is taken, as a file.
    max_megapixels : float
        And how many millions of pixels it may have; more than 89 are never decoded. A small file can hold a large
        picture; its header is read before anything is decoded.
    slowdown : float
        A photo is taken if its answer can be expected after at most this many times what it would take alone. Others
        are sent away (429), and told when to come again. A larger number lets more wait, and each of them longer.
    waiting : int
        Photos that may be received or wait for an answer, whatever is expected.
    together : int
        Waiting photos that go through the net at once.
    upload_seconds : float
        How long an upload may take.
    answer_seconds : float
        How long a photo may wait for its answer.
    kept : int
        Photos whose boxes can be asked about later. The numbers of the boxes are kept for it, the pixels are not.
    boxes : int
        Most boxes of one photo, those of the highest score.

    Raises
    ------
    Mistake
        A number is not positive or not finite, or `slowdown` is below 1.
    """

    max_megabytes: Annotated[float, arg(metavar="MB")] = 16.0
    max_megapixels: Annotated[float, arg(metavar="MP")] = 40.0
    slowdown: Annotated[float, arg(metavar="X")] = 1.5
    waiting: Annotated[int, arg(metavar="N")] = 16
    together: Annotated[int, arg(metavar="N")] = 4
    upload_seconds: Annotated[float, arg(metavar="S")] = 20.0
    answer_seconds: Annotated[float, arg(metavar="S")] = 60.0
    kept: Annotated[int, arg(metavar="N")] = 32
    boxes: Annotated[int, arg(metavar="N")] = 200

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < math.inf:
                raise Mistake(f"`{name}` {value}: a positive, finite number is needed")
        if not self.slowdown >= 1:
            raise Mistake(f"`slowdown` {self.slowdown}: 1 is the least; a photo that is alone is never taken below it")

    @property
    def max_bytes(self) -> int:
        """`max_megabytes` in bytes."""
        return int(self.max_megabytes * 1e6)

    @property
    def max_pixels(self) -> int:
        """`max_megapixels` in pixels."""
        return int(self.max_megapixels * 1e6)


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """What is served, to whom, and what a request may cost.

    Parameters
    ----------
    open : OpenConfig
        Which net answers for photos, and how they are fitted into it. Without a run, `tree` is the tree that is shown;
        by default the one of the original YOLO9000.
    limits : Limits
        What a request may cost.
    host : str
        The address that is listened at. 127.0.0.1 is reached from this machine alone; 0.0.0.0 from every machine that
        can reach this one, without a password.
    port : int
        The port; 0 takes one that is free.

    Raises
    ------
    Mistake
        There is no such port.
    """

    open: OpenConfig = field(default_factory=OpenConfig)
    limits: Limits = field(default_factory=Limits)
    host: Annotated[str, arg(metavar="ADDRESS")] = "127.0.0.1"
    port: Annotated[int, arg(metavar="N")] = 8000

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise Mistake(f"`port` {self.port}: a number from 0 to 65535 is needed")
