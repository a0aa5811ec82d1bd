"""The papers' ladder as they print it: one column a rung, one row a switch, mAP in the last row; and as a picture."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from yolo9000.runtime.checkpoint import write_atomically

_TICK = "✓"
_NONE = ""


@dataclass(frozen=True, kw_only=True)
class Column:
    """What one rung of a ladder came to.

    Parameters
    ----------
    name : str
        The rung's name.
    ticks : mapping of str to bool
        Row of the table -> whether that switch is on.
    paper : float, optional
        The mAP of this column in the paper, in percent.
    skipped : str
        Why it was not trained; empty if it was.
    ap50, never_boxed : mapping of int to float
        Seed -> mean AP50 of the classes that had boxes in training, and of those that had none.
    parameters : int, optional
        Those of the net.
    gflops : float, optional
        Billions of multiplications and additions for an image; see `yolo9000.models.cost.gflops`.
    size : int, optional
        Side of the images that it was evaluated on.
    """

    name: str
    ticks: Mapping[str, bool]
    paper: float | None = None
    skipped: str = ""
    ap50: Mapping[int, float] = field(default_factory=dict)
    never_boxed: Mapping[int, float] = field(default_factory=dict)
    parameters: int | None = None
    gflops: float | None = None
    size: int | None = None


def format_ladder(columns: Sequence[Column]) -> str:
    """The ladder as a table in Markdown, in the form of the paper's table 2.

    Parameters
    ----------
    columns : sequence of Column
        All have the same rows.

    Returns
    -------
    str
        Scores are percent: the mean over seeds, and the standard deviation where there are several.

    Examples
    --------
    >>> print(format_ladder([
    ...     Column(name="YOLO", ticks={"batch norm": False}, paper=63.4, ap50={0: 0.5}),
    ...     Column(name="batch norm", ticks={"batch norm": True}, paper=65.8, ap50={0: 0.5, 1: 0.6}, size=448),
    ... ]))
    |  | YOLO | batch norm |
    | --- | :-: | :-: |
    | batch norm |  | ✓ |
    | million parameters |  |  |
    | GFLOPs |  |  |
    | pixels |  | 448 |
    | **mAP** | **50.0** | **55.0 ± 7.1** |
    | the paper's, VOC 2007 | 63.4 | 65.8 |
    """
    rows = list(dict.fromkeys(row for column in columns for row in column.ticks))
    lines = [_line("", [column.name for column in columns]), _line("---", [":-:"] * len(columns))]

    def row(title: str, cell: Callable[[Column], str]) -> None:
        lines.append(_line(title, [cell(column) for column in columns]))

    for title in rows:
        row(title, lambda column, title=title: _TICK if column.ticks.get(title) else _NONE)  # type: ignore[misc]
    row("million parameters", lambda column: _NONE if column.parameters is None else f"{column.parameters / 1e6:.2f}")
    row("GFLOPs", lambda column: _NONE if column.gflops is None else f"{column.gflops:.3g}")
    row("pixels", lambda column: _NONE if column.size is None else str(column.size))
    if any(column.never_boxed for column in columns):
        row("mAP of classes never boxed", lambda column: _percent(list(column.never_boxed.values())))
    row("**mAP**", lambda column: f"**{_percent(list(column.ap50.values()))}**" if column.ap50 else _NONE)
    row("the paper's, VOC 2007", lambda column: "-" if column.paper is None else f"{column.paper}")
    return "\n".join(lines)


def _line(title: str, cells: Sequence[str]) -> str:
    return "| " + " | ".join([title, *cells]) + " |"


def _percent(values: Sequence[float]) -> str:
    """Mean and spread of shares, in percent.

    Examples
    --------
    >>> _percent([0.25]), _percent([0.25, 0.75]), _percent([])
    ('25.0', '50.0 ± 35.4', '')
    """
    if not values:
        return _NONE
    mean = f"{100 * statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * statistics.stdev(values):.1f}"


def ladder_csv(columns: Sequence[Column]) -> str:
    """The ladder as CSV: a line for each rung and seed, and one for a rung that was not trained.

    Examples
    --------
    >>> print(ladder_csv([Column(name="YOLO", ticks={}, paper=63.4, ap50={0: 0.5, 1: 0.25}, size=448)]))
    rung,seed,ap50,never_boxed_ap50,parameters,gflops,pixels,paper,skipped
    YOLO,0,0.5,,,,448,63.4,
    YOLO,1,0.25,,,,448,63.4,
    <BLANKLINE>
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rung", "seed", "ap50", "never_boxed_ap50", "parameters", "gflops", "pixels", "paper", "skipped"])
    for column in columns:
        facts = (column.parameters, column.gflops, column.size, column.paper, column.skipped)
        scores: list[tuple[object, ...]]
        scores = [(seed, ap50, column.never_boxed.get(seed)) for seed, ap50 in sorted(column.ap50.items())]
        writer.writerows([column.name, *each, *facts] for each in scores or [("", "", "")])
    return text.getvalue()


def draw_ladder(columns: Sequence[Column], path: Path) -> None:
    """Draw the mAP of each rung: a point for each seed, a line through the means; below it the paper's.

    Parameters
    ----------
    columns : sequence of Column
        Those without a score have a name and no point.
    path : Path
        A PNG file; written atomically.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(6.0, 0.9 * len(columns)), 6.6), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    ours, theirs = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    scored = [(place, column) for place, column in enumerate(columns) if column.ap50]
    if scored:
        places = [place for place, _ in scored]
        means = [100 * statistics.fmean(column.ap50.values()) for _, column in scored]
        ours.plot(places, means, color="tab:blue", linewidth=1.4, zorder=1, label="mean")
        points = [(place, 100 * score) for place, column in scored for score in column.ap50.values()]
        ours.scatter(*zip(*points, strict=True), color="tab:blue", s=22, alpha=0.6, zorder=2, label="a seed")
        for place, mean in zip(places, means, strict=True):
            ours.annotate(f"{mean:.1f}", (place, mean), (0, 9), textcoords="offset points", ha="center", fontsize=8)
        ours.set_ylim(0, 1.15 * max(value for _, value in points) or 1)
        ours.legend(fontsize="small", loc="upper left")
    published = [(place, column.paper) for place, column in enumerate(columns) if column.paper is not None]
    if published:
        theirs.plot(*zip(*published, strict=True), color="0.35", marker="o", markersize=4, linewidth=1.2)
        for place, value in published:
            theirs.annotate(f"{value}", (place, value), (0, 6), textcoords="offset points", ha="center", fontsize=8)
        theirs.margins(y=0.2)
    ours.set_ylabel("mAP (AP50), percent")
    theirs.set_ylabel("the paper's, VOC 2007")
    names = [f"{column.name} (skipped)" if column.skipped else column.name for column in columns]
    theirs.set_xticks(range(len(columns)), names, rotation=35, ha="right", rotation_mode="anchor", fontsize=9)
    theirs.set_xlim(-0.5, len(columns) - 0.5)
    for axes in (ours, theirs):
        axes.grid(alpha=0.25)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    write_atomically(path, buffer.getvalue())
