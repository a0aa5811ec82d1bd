"""How a net is computed fastest here: measured once on the net itself, and kept in a small file for the next time.

Only one function looks at a clock, `time_in_turn`. What follows from the times is `fastest`, which knows nothing else.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch

from yolo9000.runtime.checkpoint import write_atomically
from yolo9000.runtime.config import Layout, Precision, Settings, fixed_parts, wanted_settings
from yolo9000.runtime.inventory import processor
from yolo9000.runtime.mistakes import Mistake

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # what was chosen is told by every command

Timings = Mapping[Settings, Sequence[float]]
"""Seconds for an image, several times."""

MARGIN = 0.02
"""What another way must be faster by than the usual one: less may be a neighbour's doing, and other settings mean other
roundings."""
BUDGET_SECONDS = 0.7
MOST_ROUNDS = 30


def fastest(timings: Timings, usual: Settings, *, margin: float = MARGIN) -> Settings:
    """The settings with the least time; the usual ones unless others are clearly faster.

    The least of several times counts: neighbours on a machine only ever lengthen them.

    Parameters
    ----------
    timings : mapping of Settings to sequence of float
        At least one time of at least one.
    usual : Settings
        What is taken without measuring.
    margin : float
        By how much another must be faster.

    Examples
    --------
    >>> rows, blocks = Settings(), Settings(layout="contiguous")
    >>> fastest({rows: [0.4, 0.31], blocks: [0.9, 0.305]}, rows).layout
    'channels_last'
    >>> fastest({rows: [0.4, 0.31], blocks: [0.9, 0.25]}, rows).layout
    'contiguous'
    """
    least = {settings: min(times) for settings, times in timings.items() if times}
    winner = min(least, key=least.__getitem__)
    return usual if usual in least and least[usual] <= (1 + margin) * least[winner] else winner


def time_in_turn(
    runs: Mapping[Settings, Callable[[], object]], *, images: int = 1, budget: float = BUDGET_SECONDS
) -> dict[Settings, list[float]]:
    """Seconds for an image of several ways to do the same, in turn and after a run that does not count.

    Parameters
    ----------
    runs : mapping of Settings to callable
    images : int
        How many a run is about.
    budget : float
        No round begins after so many seconds, but one is made.
    """
    for run in runs.values():
        run()
    found: dict[Settings, list[float]] = {settings: [] for settings in runs}
    began, rounds = time.perf_counter(), 0
    while rounds == 0 or (rounds < MOST_ROUNDS and time.perf_counter() - began < budget):
        for settings, run in runs.items():
            started = time.perf_counter()
            run()
            found[settings].append((time.perf_counter() - started) / images)
        rounds += 1
    return found


def settle(
    wanted: str,
    usual: Settings,
    *,
    precision: Precision | None,
    purpose: Mapping[str, Any],
    measure: Callable[[], Timings] | None,
) -> Settings:
    """The settings that are wanted: fixed ones, the usual ones, or the fastest, which are measured once.

    Parameters
    ----------
    wanted : str
        "auto", "unmeasured" or ``fixed:..``, see `yolo9000.runtime.config.Settings.changed`.
    usual : Settings
        What is taken without measuring; it has the `precision`.
    precision : str or None
        The one that is asked for by its own option, if any.
    purpose : mapping
        Plain values that tell this use of this net from all others.
    measure : callable, optional
        Times the candidates. Without it nothing is measured.

    Raises
    ------
    Mistake
        Precision and settings contradict each other, or the settings are no such text.
    """
    wanted = wanted_settings(wanted)
    if fixed_parts(wanted):
        chosen = usual.changed(wanted)
        if precision is not None and chosen.precision != precision:
            raise Mistake(f"`precision` {precision}: `settings` {wanted} says another; leave one of them out")
        return chosen
    if wanted == "unmeasured" or measure is None:
        return usual
    key, file = _key(purpose), settings_file()
    known = _kept(file).get(key)
    if isinstance(known, str):
        try:
            return usual.changed(known)
        except Mistake:
            pass  # another version's; it is measured again
    timings = measure()
    chosen = fastest(timings, usual)
    log.info("%s", described(chosen, timings, usual))
    _keep(file, key, chosen.text)
    return chosen


def described(chosen: Settings, timings: Timings, usual: Settings) -> str:
    """What was chosen, and by how much.

    Examples
    --------
    >>> described(Settings(), {Settings(): [0.1], Settings(layout="contiguous"): [0.12]}, Settings())
    'settings, measured once: torch, channels last, float32, all images at once; 100.0 ms an image, others 120.0 ms'
    """
    words = [chosen.engine, chosen.layout.replace("_", " "), chosen.precision]
    words.append(f"{chosen.at_once or 'all'} image{'s' * (chosen.at_once != 1)} at once")
    others = [min(times) for settings, times in timings.items() if settings != chosen and times]
    beside = f", others {', '.join(f'{1e3 * each:.1f}' for each in sorted(others))} ms" if others else ""
    return f"settings, measured once: {', '.join(words)}; {1e3 * min(timings[chosen]):.1f} ms an image{beside}"


def settings_file() -> Path:
    """Where choices are kept: ``settings.json`` in this program's folder of the user's cache."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "yolo9000" / "settings.json"


def limits() -> dict[str, str]:
    """What the environment holds torch's and oneDNN's instructions down to, if anything."""
    names = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _key(purpose: Mapping[str, Any]) -> str:
    machine = {
        **processor(),
        **limits(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    return json.dumps(machine | dict(purpose), sort_keys=True)


def _kept(file: Path) -> dict[str, Any]:
    """What a file keeps; nothing where it is absent or damaged, for everything in it can be measured again."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _keep(file: Path, key: str, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, (json.dumps(_kept(file) | {key: text}, indent=1, sort_keys=True) + "\n").encode())
    except OSError as error:
        log.info("%s cannot be written (%s): the next command measures again", file, error.strerror or error)


def variants(usual: Settings, precisions: Iterable[Precision]) -> list[Settings]:
    """The usual settings in both layouts and some precisions, the usual ones first.

    Examples
    --------
    >>> [(each.layout, each.precision) for each in variants(Settings(), ["float32"])]
    [('channels_last', 'float32'), ('contiguous', 'float32')]
    """
    found = [replace(usual, layout=layout, precision=each) for each in precisions for layout in get_args(Layout)]
    return sorted(found, key=lambda each: each != usual)
