"""Several ways to do one job, measured in turn, and the table of their ratios.

A row of the table compares ours with a peer, or with a naive twin of our own. Other loads come and go on a machine, so
only ratios count: the sides run in turn (A B A B ...) in one process, and medians are compared.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch

from yolo9000.runtime.inventory import processor
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.settings import limits

PAUSE_SECONDS = 0.02
"""Between two sides: the threads of a runtime that just answered go on spinning for a while."""

FAST_ROW_SECONDS = 2.0
"""A row whose rounds take less goes on for as long, for its medians cost nothing."""

MAX_ROUNDS = 50

Unit = Literal["ms", "MB"]


class PeerAbsent(Exception):
    """A peer is not installed; the message says how to get it."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large the jobs are.

    Parameters
    ----------
    quick : bool
        Use tiny nets and few images: this shows that a row runs, not how fast anything is.
    rounds : int
        How many times every side is measured.
    """

    quick: bool = False
    rounds: int = 5


@dataclass(frozen=True, kw_only=True)
class Side:
    """One way to do the job of a row.

    Parameters
    ----------
    run : callable
        Does the job once. In a row of "ms" its wall clock counts and its answer goes to `Row.difference`; in one of
        "MB" its answer is the measure.
    setting : str
        Threads, layout, precision: what the side was given.
    """

    run: Callable[[], Any]
    setting: str = ""


Sides = Mapping[str, Side | PeerAbsent]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Two sides of a row, and what their ratio should be.

    Parameters
    ----------
    other : str
        The side that ours is compared with; empty for a `limit`.
    ours : str
        The side whose figure is ours.
    at_least : float, optional
        The other's figure divided by ours should be this much: "so many times as fast".
    at_most : float, optional
        Ours divided by the other's should be no more: "at this price". Without either the ratio is only told.
    price : bool
        Tell ours divided by the other's although there is no target.
    limit : float, optional
        What our figure alone has to stay below, for what no peer can do.
    """

    other: str = ""
    ours: str = "ours"
    at_least: float | None = None
    at_most: float | None = None
    price: bool = False
    limit: float | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A job that several sides do.

    Parameters
    ----------
    name : str
        What the command line calls it; a word of it up to a hyphen selects all rows that begin so.
    what : str
        The job in words, for the table's second column.
    prepare : callable (Scale, ExitStack) -> mapping of str to Side or PeerAbsent
        Makes everything that is not measured. What has to be ended goes onto the stack.
    goals : tuple of Goal
        The lines of the table.
    unit : {"ms", "MB"}
        The unit of the figures.
    difference : callable, optional
        How far a side's answer is from the reference's (both are given, the reference's first); None where they
        cannot be compared.
    reference : str
        The side that the others' answers are compared with.
    tolerance : float
        What the difference may be for a side of the reference's precision.
    in_a_row : bool
        Each measured run follows one of the same side that is not measured, as the steps of a training do. A step
        gives gigabytes back and takes them again; the side that comes after a smaller one would pay for all.
    """

    name: str
    what: str
    prepare: Callable[[Scale, ExitStack], Sides]
    goals: tuple[Goal, ...]
    unit: Unit = "ms"
    difference: Callable[[Any, Any], float] | None = None
    reference: str = "ours"
    tolerance: float = 1e-4
    in_a_row: bool = False


@dataclass(kw_only=True)
class Measurement:
    """What a row gave: every sample of every side, in ms or MB."""

    row: Row
    samples: dict[str, list[float]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    differences: dict[str, float] = field(default_factory=dict)
    load: tuple[float, float] = (0.0, 0.0)

    def median(self, side: str) -> float | None:
        """Median of a side; None if it was not measured."""
        return statistics.median(self.samples[side]) if self.samples.get(side) else None


def measure(row: Row, scale: Scale) -> Iterator[Measurement]:
    """Measure a row; yields the same, growing, measurement after each side and round.

    So a caller that is interrupted still has what was measured.

    Examples
    --------
    >>> row = Row(
    ...     name="sum",
    ...     what="add numbers",
    ...     prepare=lambda scale, stack: {"ours": Side(run=lambda: 45), "loop": Side(run=lambda: sum(range(10)))},
    ...     goals=(Goal(other="loop"),),
    ...     difference=lambda ours, other: abs(ours - other),
    ... )
    >>> *_, last = measure(row, Scale(rounds=3))
    >>> sorted(last.samples), len(last.samples["loop"]) >= 3, last.differences
    (['loop', 'ours'], True, {'loop': 0.0})
    """
    with ExitStack() as stack:
        prepared = row.prepare(scale, stack)
        result = Measurement(row=row, load=(os.getloadavg()[0], 0.0))
        sides: dict[str, Side] = {}
        for name, side in prepared.items():
            if isinstance(side, PeerAbsent):
                result.absent[name] = str(side)
            else:
                sides[name] = side
                result.settings[name] = side.setting
        _warm_up(row, sides, result)
        yield result
        started, rounds = time.perf_counter(), 0
        while rounds < scale.rounds or (
            row.unit == "ms" and rounds < MAX_ROUNDS and time.perf_counter() - started < FAST_ROW_SECONDS
        ):
            for name, side in sides.items():
                result.samples.setdefault(name, []).append(_cost(row, side))
                result.load = (result.load[0], os.getloadavg()[0])
                yield result
            rounds += 1


def _warm_up(row: Row, sides: Mapping[str, Side], result: Measurement) -> None:
    if row.unit == "MB":  # each measure is a process of its own
        return
    answers = {name: side.run() for name, side in sides.items()}
    if row.difference is not None and row.reference in answers:
        reference = answers.pop(row.reference)
        result.differences = {name: float(row.difference(reference, answer)) for name, answer in answers.items()}


def _cost(row: Row, side: Side) -> float:
    if row.unit == "MB":
        return float(side.run())
    if row.in_a_row:
        side.run()
    else:
        time.sleep(PAUSE_SECONDS)
    started = time.perf_counter()
    side.run()
    return 1e3 * (time.perf_counter() - started)


def select(rows: Sequence[Row], words: Sequence[str]) -> list[Row]:
    """The rows that the words name: a whole name, or its beginning up to a hyphen; all rows without words.

    Raises
    ------
    ValueError
        If a word names none.

    Examples
    --------
    >>> rows = [Row(name=n, what="", prepare=lambda s, t: {}, goals=()) for n in ("head-time", "head-memory", "ap")]
    >>> [row.name for row in select(rows, ["head", "ap"])]
    ['head-time', 'head-memory', 'ap']
    """
    wanted: set[str] = set()
    for word in words:
        named = {row.name for row in rows if row.name == word}
        named = named or {row.name for row in rows if row.name.startswith(f"{word}-")}
        if not named:
            raise Mistake(f"{word}: no such row; there are {', '.join(row.name for row in rows)}")
        wanted |= named
    return [row for row in rows if not words or row.name in wanted]


def table(measurements: Sequence[Measurement]) -> str:
    """The comparison as Markdown: one line a goal, then what every side was given.

    Examples
    --------
    >>> row = Row(name="sum", what="add", prepare=lambda s, t: {}, goals=(Goal(other="loop", at_least=3.0),))
    >>> print(table([Measurement(row=row, samples={"ours": [2.0], "loop": [8.0]})]).split("Settings")[0].strip())
    | row | what | against | ours | other | ratio | target | met |
    | --- | --- | --- | --- | --- | --- | --- | --- |
    | sum | add | loop | 2 ms | 8 ms | 4.00 | >= 3 | yes |
    """
    lines = ["| row | what | against | ours | other | ratio | target | met |", "| " + "--- | " * 8]
    lines[1] = lines[1].rstrip()
    for result in measurements:
        lines += [_line(result, goal) for goal in result.row.goals]
    lines += ["", "Settings:", ""]
    for result in measurements:
        for name, setting in result.settings.items():
            apart = f"; answers differ by {result.differences[name]:.1e}" if name in result.differences else ""
            rounds = f"; {len(result.samples.get(name, []))} samples"
            lines.append(f"- {result.row.name}, {name}: {setting}{rounds}{apart}")
    return "\n".join(lines)


def _line(result: Measurement, goal: Goal) -> str:
    row, target = result.row, _target(goal, result.row.unit)
    against = goal.other if goal.ours == "ours" else f"{goal.other} ({goal.ours.removeprefix('ours, ')})"
    if goal.ours in result.absent or goal.other in result.absent:
        reason = result.absent.get(goal.other) or result.absent[goal.ours]
        return f"| {row.name} | {row.what} | {against} | - | - | not installed: {reason} | {target} | - |"
    ours, other = result.median(goal.ours), result.median(goal.other) if goal.limit is None else goal.limit
    if ours is None or other is None:
        return f"| {row.name} | {row.what} | {against} | - | - | not measured | {target} | - |"
    if goal.limit is not None:
        met = "yes" if ours < goal.limit else "no"
        return f"| {row.name} | {row.what} | - | {_figure(ours, row.unit)} | - | - | {target} | {met} |"
    is_price = goal.at_most is not None or goal.price
    value = ours / other if is_price else other / max(ours, 1e-9)
    met = "-"
    if goal.at_least is not None:
        met = "yes" if value >= goal.at_least else "no"
    elif goal.at_most is not None:
        met = "yes" if value <= goal.at_most else "no"
    figures = f"{_figure(ours, row.unit)} | {_figure(other, row.unit)}"
    return f"| {row.name} | {row.what} | {against} | {figures} | {value:.2f} | {target} | {met} |"


def _target(goal: Goal, unit: Unit) -> str:
    if goal.limit is not None:
        return f"< {_figure(goal.limit, unit)}"
    if goal.at_least is not None:
        return f">= {goal.at_least:g}"
    return "-" if goal.at_most is None else f"<= {goal.at_most:g}"


def _figure(value: float, unit: Unit) -> str:
    if unit == "ms" and value >= 10_000:
        return f"{value / 1e3:.1f} s"
    return f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, its features, threads, versions, and the load as it is."""
    return {
        "processor": processor()["name"],
        "features": " ".join(processor()["features"]) or "unknown",
        "held down to": " ".join(f"{name}={value}" for name, value in limits().items()) or "nothing",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def as_json(measurements: Sequence[Measurement], where: Mapping[str, Any]) -> str:
    """Every sample, for a look at the spread."""
    rows = []
    for result in measurements:
        row = result.row
        entry = {key: value for key, value in vars(result).items() if key != "row"}
        goals = [asdict(goal) for goal in row.goals]
        rows.append({"name": row.name, "what": row.what, "unit": row.unit, "goals": goals, **entry})
    return json.dumps({"machine": dict(where), "rows": rows}, indent=1)


def run_rows(rows: Sequence[Row], scale: Scale) -> list[Measurement]:
    """Measure the rows one after the other, telling on stderr how far it is; Ctrl-C ends it with what there is."""
    results: list[Measurement] = []
    try:
        for row in rows:
            print(f"{row.name}: {row.what}", file=sys.stderr, flush=True)
            results.append(Measurement(row=row))
            for result in measure(row, scale):
                results[-1] = result
            medians = ", ".join(f"{name} {_figure(result.median(name) or 0, row.unit)}" for name in result.samples)
            print(f"  {medians}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("interrupted; this is what was measured", file=sys.stderr)
    return results
