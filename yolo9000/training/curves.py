"""``results.csv`` as a picture: loss and scores over steps."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from yolo9000.runtime.checkpoint import write_atomically
from yolo9000.runtime.logs import ResultsFile
from yolo9000.training.phases import HELD_OUT

FACTS = ("step", "phase", "images_seen", "learning_rate", "images_per_second", "gradient_norm", "left_out", "loss")
"""Columns of ``results.csv`` that are neither a loss term nor a score."""


def draw_curves(results: ResultsFile, path: Path) -> None:
    """Draw the loss terms, on a logarithmic axis, and the scores, over steps; the phases are shaded.

    Parameters
    ----------
    results : ResultsFile
    path : Path
        A PNG file; written atomically.
    """
    # imported here: half a second that only a run with results should pay
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = results.rows

    def column(name: str) -> tuple[list[int], list[float]]:
        found = [row for row in rows if row.get(name) and math.isfinite(float(row[name]))]
        return [int(row["step"]) for row in found], [float(row[name]) for row in found]

    losses = [name for name in results.columns if name.startswith(("loss/", HELD_OUT))]
    scores = [name for name in results.columns if name not in FACTS and name not in losses]
    panels = [names for names in (["loss", *losses], scores) if any(column(name)[0] for name in names)]
    if not panels:
        return
    figure = Figure(figsize=(9, 3.6 * len(panels)), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for number, names in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, number + 1)
        for name in names:
            steps, values = column(name)
            if steps:
                style = {"color": "black", "linewidth": 1.8} if name == "loss" else {"linewidth": 1.1}
                marker = "" if name == "loss" or (name.startswith("loss/") and len(steps) > 1) else "."
                axes.plot(steps, values, marker=marker, label=name.removeprefix("loss/"), **style)
        for phase, (first, last) in _phase_spans(rows).items():
            axes.axvline(first, color="0.8", linewidth=0.8, zorder=0)
            axes.text((first + last) / 2, 1.01, phase, transform=axes.get_xaxis_transform(), ha="center", color="0.4")
        positive = all(value > 0 for name in names for value in column(name)[1])
        if names[0] == "loss" and positive:
            axes.set_yscale("log")
        axes.set_ylabel("mean loss of an image" if names[0] == "loss" else "score")
        axes.grid(alpha=0.25)
        axes.legend(fontsize="small", ncols=2)
    axes.set_xlabel("step")
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    write_atomically(path, buffer.getvalue())


def _phase_spans(rows: Sequence[Mapping[str, str]]) -> dict[str, tuple[int, int]]:
    """First and last logged step of each phase."""
    spans: dict[str, tuple[int, int]] = {}
    for row in rows:
        step, phase = int(row["step"]), row.get("phase") or ""
        spans[phase] = (min(step, spans.get(phase, (step, step))[0]), step)
    return spans
