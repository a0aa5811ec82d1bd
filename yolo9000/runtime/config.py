"""Which part of the machine works, and in which precision: configuration, without torch."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, Self, get_args

from tyro.conf import arg

from yolo9000.runtime.mistakes import Mistake

Precision = Literal["float32", "bfloat16", "float16"]
Layout = Literal["channels_last", "contiguous"]
Engine = Literal["torch", "inductor", "openvino", "onnxruntime"]
"""What runs the convolutions; "inductor" is torch with the net compiled."""

SETTINGS_VARIABLE = "YOLO9000_SETTINGS"
"""Stands for "auto" where it is set."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a net is computed on a machine. They change how fast it is, and answers by rounding only.

    Parameters
    ----------
    engine : {"torch", "inductor", "openvino", "onnxruntime"}
        What runs the convolutions.
    layout : {"channels_last", "contiguous"}
        Memory layout of torch's convolutions.
    precision : {"float32", "bfloat16", "float16"}
        Their number format.
    at_once : int
        Images of a batch that go through the net together in a prediction; 0 for all.

    Raises
    ------
    Mistake
        A value is none of these.

    Examples
    --------
    >>> Settings(layout="contiguous").text
    'fixed:engine=torch,layout=contiguous,precision=float32,at_once=0'
    """

    engine: Engine = "torch"
    layout: Layout = "channels_last"
    precision: Precision = "float32"
    at_once: int = 0

    def __post_init__(self) -> None:
        for name, known in (("engine", Engine), ("layout", Layout), ("precision", Precision)):
            if getattr(self, name) not in get_args(known):
                raise Mistake(f"`settings`: {name} {getattr(self, name)} is none of {', '.join(get_args(known))}")
        if self.at_once < 0:
            raise Mistake(f"`settings`: at_once {self.at_once}: 0 (all) or more is needed")

    @property
    def text(self) -> str:
        """The settings as the option ``--settings`` takes them."""
        return "fixed:" + ",".join(f"{each.name}={getattr(self, each.name)}" for each in fields(self))

    def changed(self, text: str) -> Self:
        """These settings but for what a text fixes: "auto" and "unmeasured" change nothing.

        Parameters
        ----------
        text : str
            ``fixed:layout=contiguous,precision=float32``: some of the fields, or all.

        Raises
        ------
        Mistake
            It is no such text; the message says what one looks like.

        Examples
        --------
        >>> Settings().changed("fixed:layout=contiguous,at_once=4")
        Settings(engine='torch', layout='contiguous', precision='float32', at_once=4)
        """
        changes: dict[str, Any] = {}
        known = [each.name for each in fields(self)]
        for part in fixed_parts(text):
            name, _, value = part.partition("=")
            if name not in known or not value or name in changes:
                raise Mistake(f"`settings` {text}: {part!r} is no NAME=VALUE, once, of {', '.join(known)}")
            if name == "at_once" and not value.isdecimal():
                raise Mistake(f"`settings` {text}: at_once {value} is no number of images")
            changes[name] = int(value) if name == "at_once" else value
        return replace(self, **changes)


def fixed_parts(text: str) -> list[str]:
    """What a text of settings fixes: nothing for "auto" and "unmeasured".

    Raises
    ------
    Mistake
        It is none of the three.

    Examples
    --------
    >>> fixed_parts("fixed:layout=contiguous,at_once=4"), fixed_parts("auto")
    (['layout=contiguous', 'at_once=4'], [])
    """
    if text in ("auto", "unmeasured"):
        return []
    kind, _, parts = text.partition(":")
    if kind != "fixed" or not parts:
        raise Mistake(f"`settings` {text}: auto, unmeasured or fixed:NAME=VALUE,.. is needed")
    return parts.split(",")


def wanted_settings(text: str) -> str:
    """The text itself, or for "auto" what the environment says."""
    return os.environ.get(SETTINGS_VARIABLE) or text if text == "auto" else text


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
    deterministic : bool
        Take only algorithms that give the same bits each time, or stop where torch has none. A CPU does so anyway with
        the same number of threads; a GPU becomes slower.

    Raises
    ------
    Mistake
        A number is too small.
    """

    device: str | None = None
    threads: Annotated[int | None, arg(metavar="N")] = None
    workers: Annotated[int, arg(metavar="N")] = 0
    rank_timeout: Annotated[float, arg(metavar="SECONDS")] = 600.0
    deterministic: bool = False

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise Mistake(f"`threads` {self.threads}: at least 1 is needed")
        if self.workers < 0:
            raise Mistake(f"`workers` {self.workers}: 0 or more is needed")
        if not self.rank_timeout >= 5:
            raise Mistake(f"`rank_timeout` {self.rank_timeout}: at least 5 seconds are needed")
