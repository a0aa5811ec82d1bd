"""The figures of a classifier as text for people, and as a picture."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo9000.runtime.checkpoint import write_atomically

SHOWN_THRESHOLDS = (0.0, 0.25, 0.5, 0.75, 0.9)
"""The thresholds of backing off that a table and the marks of a picture show."""


def format_classifier(report: Mapping[str, Any]) -> str:
    """The figures of a classifier as a table for people.

    Parameters
    ----------
    report : mapping
        ``"classifier"`` has the figures of `score_answers`, and so may ``"left_out"`` for unknown kinds.

    Examples
    --------
    >>> at = {"threshold": 0.5, "right": 0.9, "too_specific": 0.0, "wrong": 0.1, "depth": 2.25, "information": 0.5}
    >>> levels = [{"depth": 0, "accuracy": 0.95}, {"depth": 1, "accuracy": 0.75}]
    >>> scores = {"images": 4, "top1": 0.75, "top5": 1.0, "at_depth": levels, "back_off": [at]}
    >>> print(format_classifier({"classifier": scores}))
    top-1 0.750, top-5 1.000, 4 images
    cut off at depth                0      1
    right                        0.95   0.75
    backing off at                0.5
    right                       0.900
    too specific                0.000
    wrong                       0.100
    depth                       2.250
    information                 0.500
    """

    def row(name: str, cells: Iterable[str]) -> str:
        return f"{name:<26}" + "".join(f"{cell:>7}" for cell in cells)

    scores = report["classifier"]
    lines = [f"top-1 {scores['top1']:.3f}, top-5 {scores['top5']:.3f}, {scores['images']:,} images"]
    for part in ("classifier", "left_out"):
        scores = report.get(part, {})
        if "back_off" not in scores:
            continue
        if part == "left_out":
            lines.append(f"classes that were left out of training, {scores['images']:,} images")
        shown = [each for each in scores["back_off"] if each["threshold"] in SHOWN_THRESHOLDS]
        if part == "classifier":
            levels = scores["at_depth"]
            lines.append(row("cut off at depth", (str(each["depth"]) for each in levels)).rstrip())
            lines.append(row("right", (f"{each['accuracy']:.2f}" for each in levels)))
        lines.append(row("backing off at", (str(each["threshold"]) for each in shown)))
        keys = ("right", "too_specific", "wrong", "depth", "information")
        lines += [row(key.replace("_", " "), (f"{each[key]:.3f}" for each in shown)) for key in keys]
    return "\n".join(lines)


def draw_specificity(curves: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """Draw the share of right answers against how much they tell and how deep they are.

    Parameters
    ----------
    curves : mapping
        Name -> curve of `specificity_curve`. Names that begin alike share a colour; those with "left out" are dashed.
    path : Path
        A PNG file; written atomically.
    """
    # imported here: half a second that only who draws should pay
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    colours = list(dict.fromkeys(name.partition(",")[0] for name in curves))
    for axes, key in zip(panels, ("information", "depth"), strict=True):
        for name, curve in curves.items():
            colour = f"C{colours.index(name.partition(',')[0])}"
            style = "dashed" if "left out" in name else "solid"
            x, y = [each[key] for each in curve], [each["right"] for each in curve]
            axes.plot(x, y, linestyle=style, color=colour, label=name, linewidth=1.4)
            for each in curve:
                if each["threshold"] in SHOWN_THRESHOLDS:
                    axes.plot(each[key], each["right"], "o", color=colour, markersize=3.5)
                    if curve is next(iter(curves.values())):
                        where = {"textcoords": "offset points", "xytext": (5, 3), "fontsize": 7, "color": "0.3"}
                        axes.annotate(f"{each['threshold']:g}", (each[key], each["right"]), **where)
        axes.grid(alpha=0.25)
        axes.set_ylim(0, 1.02)
    panels[0].set(xlabel="mean information of the answers (1: a leaf)", ylabel="share of right answers", xlim=(0, 1.02))
    panels[1].set(xlabel="mean depth of the answers (0: no name)")
    panels[1].set_xlim(left=0)
    panels[1].legend(fontsize="small", loc="upper right")
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    write_atomically(path, buffer.getvalue())
