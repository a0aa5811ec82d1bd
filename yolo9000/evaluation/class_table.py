"""The papers' table: one row a method, one column a class, average precision in percent, the mean first."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.output_folder import latest_file

Metric = Literal["ap50", "ap", "voc07", "voc10"]
"""AP at IoU .5 and over .5 to .95 by COCO's rules; VOC's of 2007, and of 2010 and later."""


@dataclass(frozen=True)
class ClassTable:
    """Average precision of several methods.

    Parameters
    ----------
    classes : tuple of str
        The columns.
    rows : mapping of str to mapping of str to float
        Method -> class -> average precision, 0 to 1. A class that a method was not asked for is absent.

    Examples
    --------
    >>> table = ClassTable(("cat", "dog"), {"YOLO": {"cat": 0.814, "dog": 0.772}, "SSD300": {"cat": 0.9}})
    >>> print(table.markdown())
    | method | mean | cat | dog |
    | :- | -: | -: | -: |
    | YOLO | **79.3** | 81.4 | **77.2** |
    | SSD300 | 90.0 (of 1) | **90.0** | - |
    <BLANKLINE>
    >>> print(table.csv())
    method,mean,cat,dog
    YOLO,79.30,81.40,77.20
    SSD300,90.00,90.00,
    <BLANKLINE>
    """

    classes: tuple[str, ...]
    rows: Mapping[str, Mapping[str, float]]

    def mean(self, method: str) -> float:
        """Mean over the classes that the method has; NaN if it has none."""
        values = list(self.rows[method].values())
        return sum(values) / len(values) if values else math.nan

    def markdown(self) -> str:
        """As Markdown, the best of each column in bold.

        The mean of a method that lacks some of the classes says of how many it is, and is not compared.
        """
        whole = {method: self.mean(method) for method, own in self.rows.items() if len(own) == len(self.classes)}
        best = {name: max(own[name] for own in self.rows.values() if name in own) for name in self.classes}
        lines = [["method", "mean", *self.classes], [":-", *["-:"] * (1 + len(self.classes))]]
        for method, own in self.rows.items():
            if method in whole:
                mean = _shown(whole[method], whole[method] == max(whole.values()))
            else:
                mean = f"{_shown(self.mean(method), False)} (of {len(own)})"
            cells = [_shown(own[name], own[name] == best[name]) if name in own else "-" for name in self.classes]
            lines.append([method, mean, *cells])
        return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)

    def csv(self) -> str:
        """As comma-separated values, nothing where a method lacks a class."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["method", "mean", *self.classes])
        for method, own in self.rows.items():
            values = [self.mean(method), *(own.get(name, math.nan) for name in self.classes)]
            writer.writerow([method, *("" if math.isnan(value) else f"{100 * value:.2f}" for value in values)])
        return text.getvalue()


def _shown(value: float, is_best: bool) -> str:
    if math.isnan(value):
        return "-"
    return f"**{100 * value:.1f}**" if is_best else f"{100 * value:.1f}"


def class_table(reports: Mapping[str, Mapping[str, Any]], metric: Metric = "ap50") -> ClassTable:
    """The table of several evaluations of the same images.

    Parameters
    ----------
    reports : mapping of str to mapping
        Method -> its evaluation, as `yolo9000.experiment.evaluate.evaluate_run` gives or writes it.
    metric : {"ap50", "ap", "voc07", "voc10"}

    Returns
    -------
    ClassTable
        Classes are matched by the names that the data have for them, and sorted by these.

    Raises
    ------
    Mistake
        An evaluation has no such figure.
    """
    rows: dict[str, dict[str, float]] = {}
    for method, report in reports.items():
        entries = report.get("classes", [])
        alike = Counter(map(_plain_name, entries))
        values = {_name(entry, alike): entry[metric] for entry in entries if entry.get(metric) is not None}
        rows[method] = {name: value for name, value in values.items() if not math.isnan(value)}
        if not rows[method]:
            advice = "; VOC's figures are those of images in VOC's layout" if metric.startswith("voc") else ""
            raise Mistake(f"`metric` {metric}: the evaluation of {method} has none{advice}")
    return ClassTable(tuple(sorted({name for own in rows.values() for name in own})), rows)


def _name(entry: Mapping[str, Any], alike: Mapping[str, int]) -> str:
    """The name that the data have for a class, or that the net has; with its id if another has the same."""
    name = _plain_name(entry)
    return name if alike[name] == 1 else f"{name} ({entry.get('id', entry['node'])})"


def _plain_name(entry: Mapping[str, Any]) -> str:
    return str(entry.get("label") or entry.get("name") or entry["node"])


def read_evaluations(named: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read evaluations, each with the name of its method.

    Parameters
    ----------
    named : sequence of str
        A JSON file of an evaluation, or the folder that has an ``evaluation.json``, of which the last one counts.
        ``NAME=PATH`` names the method; without it that is the name of the file, or of the folder.

    Raises
    ------
    Mistake
        There is no such evaluation, or two methods have one name.

    """
    reports: dict[str, dict[str, Any]] = {}
    for each in named:
        name, _, path = each.rpartition("=") if not Path(each).exists() else ("", "", each)
        is_folder = Path(path).is_dir()
        file = latest_file(Path(path) / "evaluation.json") if is_folder else Path(path)
        if not file.is_file():
            raise Mistake(f"{file}: no such evaluation; `python -m yolo9000.evaluate` writes one")
        method = name or (file.resolve().parent.name if is_folder or file.stem == "evaluation" else file.stem)
        if method in reports:
            raise Mistake(f"{each}: there is a method {method} already; name it with NAME={path}")
        try:
            reports[method] = dict(json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise Mistake(f"{file}: no evaluation: {error}") from error
    return reports
