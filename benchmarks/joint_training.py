"""Tables and curves of `scripts/joint_benchmark.sh`: ``python -m benchmarks.joint_training RUNS_DIR``.

RUNS_DIR holds ``DATA/seedN/VARIANT/evaluation.json``. Everything printed is a mean over the seeds of that variant that
have ended, with the standard deviation beside it; the tables are Markdown.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo9000.runtime.logs import ResultsFile
from yolo9000.runtime.mistakes import run

Report = Mapping[str, Any]
RIVALS = ("paper", "paper_mosaic", "paper_boxes_first", "paper_boxes_first_mosaic")
"""The fair reading of the paper with every mix: a ratio is quoted to the best of them."""
REFERENCES = (*RIVALS, "paper_literal", "constant", "cluttered_paper", "cluttered_constant", "all_boxes", "flat")
"""Variants that `ratios` compares the others of the same data with."""
COLUMNS: dict[str, Callable[[Report], float | None]] = {
    "boxed": lambda report: report["boxed"]["ap50"],
    "never boxed": lambda report: report["never_boxed"]["ap50"],
    "boxed, at parents": lambda report: report["at_parents"]["boxed"]["ap50"],
    "never boxed, at parents": lambda report: report["at_parents"]["never_boxed"]["ap50"],
    "CorLoc boxed": lambda report: report["corloc"]["boxed"]["share"],
    "CorLoc never": lambda report: report["corloc"]["never_boxed"]["share"],
    "ECE boxed": lambda report: report["calibration"]["boxed"]["ece"],
    "ECE never": lambda report: report["calibration"]["never_boxed"]["ece"],
    "top-1": lambda report: report["top1"],
}
BACK_OFF = ("exact", "less_exact", "wrong", "missed", "depth")


def read_reports(runs: Path) -> dict[str, dict[str, dict[int, Report]]]:
    """``{data: {variant: {seed: report}}}`` of every run that has ended.

    Raises
    ------
    FileNotFoundError
        There is none.
    """
    found: dict[str, dict[str, dict[int, Report]]] = {}
    for path in sorted(runs.glob("*/seed*/*/evaluation.json"), key=lambda path: path.stat().st_mtime):
        data, seed, variant = path.parts[-4:-1]
        report = json.loads(path.read_text(encoding="utf-8"))
        found.setdefault(data, {}).setdefault(variant, {})[int(seed.removeprefix("seed"))] = report
    if not found:
        raise FileNotFoundError(f"{runs}: looked for DATA/seedN/VARIANT/evaluation.json and found none")
    return found


def cell(values: Sequence[float | None], digits: int = 4) -> str:
    """Mean and standard deviation for people.

    Examples
    --------
    >>> cell([0.25, 0.75]), cell([0.5]), cell([None])
    ('0.5000 ± 0.3536', '0.5000', '')
    """
    known = [value for value in values if value is not None and not math.isnan(value)]
    if not known:
        return ""
    spread = f" ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.{digits}f}{spread}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table.

    Examples
    --------
    >>> print(markdown(["recipe", "AP"], [["paper", "0.1"]]))
    | recipe | AP |
    |---|---|
    | paper | 0.1 |
    """
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def score_table(variants: Mapping[str, Mapping[int, Report]]) -> str:
    """AP50, CorLoc, calibration and top-1 of each variant."""
    rows = []
    for variant, seeds in variants.items():
        cells = []
        for read in COLUMNS.values():
            values = []
            for report in seeds.values():
                try:
                    values.append(read(report))
                except KeyError:  # a flat tree has no parents
                    values.append(None)
            cells.append(cell(values))
        rows.append([variant, str(len(seeds)), *cells])
    return markdown(["variant", "seeds", *COLUMNS], rows)


def back_off_table(variants: Mapping[str, Mapping[int, Report]]) -> str:
    """How things are named as far as the net is sure."""
    rows = []
    for variant, seeds in variants.items():
        for kind in ("boxed", "never_boxed"):
            reports = [report["back_off"][kind] for report in seeds.values() if "back_off" in report]
            if reports:
                cells = [cell([report[name] for report in reports], 3) for name in BACK_OFF]
                rows.append([variant, kind.replace("_", " "), *cells])
    return markdown(["variant", "classes", *BACK_OFF], rows)


def ratio_table(variants: Mapping[str, Mapping[int, Report]], references: Sequence[str] = REFERENCES) -> str:
    """Never-boxed AP50 of each variant over that of the references: a ratio of means over seeds."""
    means = {
        variant: statistics.fmean(report["never_boxed"]["ap50"] for report in seeds.values())
        for variant, seeds in variants.items()
        if all(report["never_boxed"]["ap50"] is not None for report in seeds.values())
    }
    present = [name for name in references if name in means]
    rows = [
        [variant, *(f"{mean / means[name]:.2f}" if means[name] else "-" for name in present)]
        for variant, mean in means.items()
    ]
    return markdown(["never-boxed AP50 over that of", *present], rows)


def draw_learning(runs: Path, data: str, variants: Sequence[str], path: Path) -> bool:
    """Draw never-boxed and boxed AP50 over the steps of the last phase, a line a variant (mean over seeds)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    drawn = False
    for number, score in enumerate(("ap50_never_boxed", "ap50_boxed")):
        axes = figure.add_subplot(1, 2, number + 1)
        for colour, variant in enumerate(variants):
            curves = [
                ResultsFile(file).column(score) for file in sorted(runs.glob(f"{data}/seed*/{variant}/results.csv"))
            ]
            curves = [curve for curve in curves if len(curve[0]) > 1]
            if curves:
                shortest = min(len(steps) for steps, _ in curves)
                means = [statistics.fmean(values[i] for _, values in curves) for i in range(shortest)]
                axes.plot(curves[0][0][:shortest], means, marker=".", label=variant, color=f"C{colour % 10}")
                drawn = True
        axes.set_title(score.replace("ap50_", "AP50, ").replace("_", " "))
        axes.set_xlabel("step")
        axes.grid(alpha=0.25)
        if axes.has_data():
            axes.legend(fontsize="small")
    if drawn:
        canvas.print_png(str(path))
    return drawn


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.joint_training", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("runs", type=Path, metavar="RUNS_DIR")
    return run(functools.partial(_print_tables, parser.parse_args(argv).runs))


def _print_tables(runs: Path) -> int:
    for data, variants in read_reports(runs).items():
        print(f"## {data}\n\n{score_table(variants)}\n\n{ratio_table(variants)}\n\n{back_off_table(variants)}\n")
        picture = runs / f"{data}.png"
        if draw_learning(runs, data, list(variants), picture):
            print(f"{picture}: AP50 over the steps\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
