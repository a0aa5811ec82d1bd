"""Several runs side by side: where their configurations differ, what they reached, and their curves in one picture."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.output_folder import latest_file

FIGURES: tuple[tuple[str, str, bool | None], ...] = (
    ("AP50, with boxes", "boxed.ap50", True),
    ("AP50:95, with boxes", "boxed.ap", True),
    ("AP50, never boxed", "never_boxed.ap50", True),
    ("AP50:95, never boxed", "never_boxed.ap", True),
    ("AP50 at parents, with boxes", "at_parents.boxed.ap50", True),
    ("AP50 at parents, never boxed", "at_parents.never_boxed.ap50", True),
    ("constant box, never boxed", "constant_box.never_boxed.ap50", None),
    ("COCO's AP", "coco.ap", True),
    ("VOC's mAP", "voc.all.voc10", True),
    ("CorLoc, with boxes", "corloc.boxed.share", True),
    ("CorLoc, never boxed", "corloc.never_boxed.share", True),
    ("ECE, with boxes", "calibration.boxed.ece", False),
    ("ECE, never boxed", "calibration.never_boxed.ece", False),
    ("top-1, images with a label", "top1", True),
    ("top-1 of the classifier", "classifier.top1", True),
    ("held-out loss, boxes", "held_out_loss.detection.loss", False),
    ("held-out loss, image labels", "held_out_loss.classification.loss", False),
)
"""Title, its place in an evaluation, and whether more is better; None if that would mean nothing."""
LOGGED = ("ap50_boxed", "ap50_never_boxed", "top1", "loss")
"""Columns of results.csv of which the last number is shown. Losses of runs have different terms, so none is best."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What the folder of a run says.

    Parameters
    ----------
    name : str
        What it is called in the tables.
    config : mapping of str to any
        Way of each field -> its value.
    versions : mapping of str to str
        Those of this project and of what it used.
    evaluation : mapping, optional
        The content of ``evaluation.json``, or of the last one after it; empty without one.
    rows : tuple of mappings
        The rows of ``results.csv``.
    """

    name: str
    config: Mapping[str, Any]
    versions: Mapping[str, str] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Mapping[str, str], ...] = ()

    def column(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of the rows that have a number in this column."""
        found = [(int(row["step"]), _parsed(row.get(name))) for row in self.rows]
        return [step for step, value in found if value is not None], [value for _, value in found if value is not None]


def read_run(path: str | Path, name: str | None = None) -> RunFacts:
    """Read what the folder of a run says; the run may be in progress, and of another version of this program.

    Raises
    ------
    Mistake
        It is no folder of a run, or a file in it is damaged.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise Mistake(f"{folder}: there is no such folder; a run's is named, such as runs/joint")
    if not (folder / "config.json").is_file():
        inside = sorted(file.parent.name for file in folder.glob("*/config.json"))
        hint = f"; there are runs in it: {', '.join(inside[:6])}" if inside else ""
        raise Mistake(f"{folder}: holds no config.json, so it is no run{hint}")
    content = _read_json(folder / "config.json")
    evaluation = latest_file(folder / "evaluation.json")
    commit = {"commit": str(content["git_commit"])[:10]} if content.get("git_commit") else {}
    return RunFacts(
        name=name or folder.name or str(folder.resolve().name),
        config=dict(_leaves(content.get("config", {}))),
        versions={**content.get("versions", {}), **commit},
        evaluation=_read_json(evaluation) if evaluation.is_file() else {},
        rows=tuple(_read_rows(folder / "results.csv")),
    )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Mistake(f"{file}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise Mistake(f"{file}: not what a run writes")
    return content


def _read_rows(file: Path) -> Iterator[Mapping[str, str]]:
    if not file.is_file():
        return
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                # a run that is writing may have got as far as half a line
                if (row.get("step") or "").isdecimal() and None not in row.values():
                    yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Mistake(f"{file}: cannot be read ({error})") from error


def _parsed(text: str | None) -> float | None:
    """The number that a field holds; None if there is none, as where a disk was full or the power failed."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _leaves(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def read_runs(paths: Sequence[str]) -> list[RunFacts]:
    """Read several runs. ``NAME=PATH`` names one; others are called by the parts of their paths that differ.

    Raises
    ------
    Mistake
        As `read_run`; or fewer than two are named, or two have one name.
    """
    if len(paths) < 2:
        raise Mistake("name two runs at least, such as runs/boxes runs/joint")
    named: dict[str, Path] = {}
    pairs = [each.rpartition("=")[::2] if not Path(each).exists() else ("", each) for each in paths]
    depth = 1
    plain = [Path(path).resolve().parts for name, path in pairs if not name]
    while len({parts[-depth:] for parts in plain}) < len(set(plain)):
        depth += 1
    for name, path in pairs:
        called = name or Path(*Path(path).resolve().parts[-depth:]).as_posix()
        if called in named:
            raise Mistake(f"{path}: another run is called {called} already; name it with NAME={path}")
        named[called] = Path(path)
    return [read_run(path, name) for name, path in named.items()]


Rows = list[tuple[str, list[str]]]


def configuration_rows(runs: Sequence[RunFacts]) -> Rows:
    """Fields, and versions, in which runs differ, and what each has; "-" for a field that a run does not know.

    Examples
    --------
    >>> a = RunFacts(name="a", config={"plan.steps": 5, "seed": 0})
    >>> b = RunFacts(name="b", config={"plan.steps": 9, "seed": 0, "net.flat": True})
    >>> configuration_rows([a, b])
    [('plan.steps', ['5', '9']), ('net.flat', ['-', 'yes'])]
    """
    rows: Rows = []
    for kind in ("config", "versions"):
        known = dict.fromkeys(way for run in runs for way in getattr(run, kind))
        for way in known:
            values = [_shown(getattr(run, kind)[way]) if way in getattr(run, kind) else "-" for run in runs]
            if len(set(values)) > 1:
                rows.append((way, values))
    return rows


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return " ".join(_shown(each).replace(" ", ":") for each in value) or "none"
    return str(value)


def result_rows(runs: Sequence[RunFacts]) -> tuple[Rows, list[int | None]]:
    """Figures of runs, and for each row which run is the best; None where nobody is.

    Where a run has an evaluation they are the evaluation's. The last rows are of results.csv, for all runs alike.

    Examples
    --------
    >>> a = RunFacts(name="a", config={}, evaluation={"boxed": {"ap50": 0.5}, "images": 9, "step": 4})
    >>> b = RunFacts(name="b", config={}, evaluation={"boxed": {"ap50": 0.25}, "images": 9, "step": 4})
    >>> rows, best = result_rows([a, b])
    >>> rows[1:], best
    ([('images evaluated', ['9', '9']), ('AP50, with boxes', ['0.500', '0.250'])], [None, None, 0])
    """
    rows: Rows = []
    best: list[int | None] = []

    def add(title: str, values: list[float], higher: bool | None, digits: int = 3) -> None:
        if all(math.isnan(value) for value in values):
            return
        rows.append((title, ["-" if math.isnan(value) else f"{value:.{digits}f}" for value in values]))
        there = [value for value in values if not math.isnan(value)]
        is_clear = higher is not None and len(there) > 1 and len({f"{value:.{digits}f}" for value in there}) > 1
        top = (min if higher is False else max)(there)
        best.append(values.index(top) if is_clear else None)

    steps = [run.evaluation.get("step", int(run.rows[-1]["step"]) if run.rows else None) for run in runs]
    add("step", [_number(step) for step in steps], None, 0)
    add("images evaluated", [_number(run.evaluation.get("images")) for run in runs], None, 0)
    for title, way, higher in FIGURES:
        add(title, [_number(_at(run.evaluation, way)) for run in runs], higher)
    for name in LOGGED:
        last = [values[-1] if (values := run.column(name)[1]) else math.nan for run in runs]
        add(f"{name}, last in results.csv", last, None if name == "loss" else True)
    return rows, best


def _at(report: Mapping[str, Any], way: str) -> Any:
    value: Any = report
    for part in way.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def format_runs(runs: Sequence[RunFacts], *, markdown: bool = False) -> str:
    """The differences of configurations and the results as two tables, for a terminal or in Markdown.

    Examples
    --------
    >>> a = RunFacts(name="a", config={"seed": 0}, evaluation={"top1": 0.5})
    >>> b = RunFacts(name="b", config={"seed": 1}, evaluation={"top1": 0.75})
    >>> print(format_runs([a, b]))
    told        a  b
    seed        0  1
    <BLANKLINE>
    reached                         a      b
    top-1, images with a label  0.500  0.750 *
    <BLANKLINE>
    * the best of its row
    >>> print(format_runs([a, b], markdown=True).splitlines()[-1])
    | top-1, images with a label | 0.500 | **0.750** |
    """
    names = [run.name for run in runs]
    told = configuration_rows(runs)
    reached, best = result_rows(runs)
    if markdown:
        marked = [
            (title, [f"**{value}**" if place == top else value for place, value in enumerate(values)])
            for (title, values), top in zip(reached, best, strict=True)
        ]
        parts = [_markdown("told", names, told), _markdown("reached", names, marked)]
    else:
        starred = [
            (title, [f"{value} *" if place == top else f"{value}  " for place, value in enumerate(values)])
            for (title, values), top in zip(reached, best, strict=True)
        ]
        parts = [_plain("told", names, told), _plain("reached", [f"{name}  " for name in names], starred)]
        if any(top is not None for top in best):
            parts.append("* the best of its row")
    if not told:
        parts[0] = "the runs were told the same" if not markdown else "The runs were told the same."
    if not reached:
        parts[1] = "no run has results yet" if not markdown else "No run has results yet."
    return "\n\n".join(parts)


def _markdown(title: str, names: Sequence[str], rows: Rows) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line([title, *names]), line(["---"] + ["---:"] * len(names)), *(line([t, *v]) for t, v in rows)])


def _plain(title: str, names: Sequence[str], rows: Rows) -> str:
    table = [[title, *names], *([name, *values] for name, values in rows)]
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def draw_runs(runs: Sequence[RunFacts], path: Path) -> bool:
    """Draw loss and scores of all runs over their steps, a panel each; return whether there was anything to draw.

    Parameters
    ----------
    runs : sequence of RunFacts
    path : Path
        A PNG file; written atomically.
    """
    from yolo9000.runtime.checkpoint import write_atomically  # which imports torch

    columns = dict.fromkeys(name for run in runs for row in run.rows[:1] for name in row)
    wanted = [name for name in ("loss", *columns) if name in columns and _is_compared(name)]
    panels = [name for name in dict.fromkeys(wanted) if any(run.column(name)[0] for run in runs)]
    if not panels:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = 2 if len(panels) > 1 else 1
    down = math.ceil(len(panels) / across)
    figure = Figure(figsize=(6 * across, 3 * down + 0.4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    lines: dict[str, Any] = {}
    for place, name in enumerate(panels):
        axes = figure.add_subplot(down, across, place + 1)
        seen: list[float] = []
        for number, run in enumerate(runs):
            steps, values = run.column(name)
            if steps:
                (line,) = axes.plot(steps, values, marker=".", markersize=4, linewidth=1.3, color=f"C{number % 10}")
                lines.setdefault(run.name, line)
                seen += values
        if name != "loss" and not name.startswith("held_out"):
            axes.set_ylim(bottom=0.0, top=max(seen) * 1.05 or 1.0)  # a score
        elif min(seen) > 0 and max(seen) > 5 * min(seen):
            axes.set_yscale("log")
        axes.set_title(name, fontsize="medium")
        axes.set_xlabel("step")
        axes.grid(alpha=0.25)
    figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=min(4, len(lines)))
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    write_atomically(path, buffer.getvalue())
    return True


def _is_compared(column: str) -> bool:
    facts = ("step", "phase", "images_seen", "learning_rate", "images_per_second", "gradient_norm", "left_out")
    return column not in facts and not column.startswith("loss/")
