"""Tables and curves of `scripts/photographs.sh`: ``python -m benchmarks.photographs RUNS_DIR``.

RUNS_DIR holds ``CHOICE/seedN/VARIANT/evaluation.json``, and in ``all`` the ceiling. Everything printed is a mean over
the seeds of that variant that have ended, with the standard deviation beside it; the tables are Markdown.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from benchmarks.joint_training import Report, cell, draw_learning, markdown, read_reports
from benchmarks.photographs_data import CHOICES, STRONG
from yolo9000.runtime.mistakes import run

CEILING = "all_boxes"
RIVALS = ("paper_boxes_first", "paper_boxes_first_mosaic")


def class_scores(report: Report) -> dict[str, float]:
    """AP50 of each class by the name that the photographs have for it.

    Examples
    --------
    >>> class_scores({"classes": [{"name": "domestic dog", "label": "dog", "ap50": 0.25}]})
    {'dog': 0.25}
    """
    return {row.get("label", row.get("name")): row["ap50"] for row in report["classes"]}


def mean_over(scores: Mapping[str, float], names: Collection[str]) -> float:
    """Mean AP50 of some classes.

    Examples
    --------
    >>> mean_over({"dog": 0.5, "cat": 0.25, "car": 0}, ["dog", "cat"])
    0.375
    """
    return statistics.fmean(scores[name] for name in names)


def with_ceiling(
    reports: Mapping[str, Mapping[str, Mapping[int, Report]]], choice: str
) -> dict[str, Mapping[int, Report]]:
    """The variants of a choice, and the run with all boxes, which all choices share."""
    return {**reports.get(choice, {}), **reports.get("all", {})}


def score_table(variants: Mapping[str, Mapping[int, Report]], never: Sequence[str]) -> str:
    """AP50 and CorLoc of boxed and of never-boxed classes.

    There is no top-1: both a breed and *dog* are labels here, and P(dog) is never below P(breed). CorLoc of the ceiling
    is not divided by a choice that it does not know.
    """
    boxed = [name for name in STRONG if name not in never]
    rows = []
    for variant, seeds in variants.items():
        reports = seeds.values()
        means = [[mean_over(class_scores(report), names) for report in reports] for names in (boxed, never, STRONG)]
        shares = [
            [report["corloc"][kind]["share"] if report["never_boxed"]["classes"] else None for report in reports]
            for kind in ("boxed", "never_boxed")
        ]
        rows.append([variant, ", ".join(map(str, sorted(seeds))), *map(cell, means), *(cell(s, 3) for s in shares)])
    return markdown(["variant", "seeds", "boxed", "never boxed", "all 13", "CorLoc boxed", "CorLoc never"], rows)


def class_table(variants: Mapping[str, Mapping[int, Report]], never: Sequence[str]) -> str:
    """AP50 of each class, those without boxes first and in bold."""
    names = [*never, *(name for name in STRONG if name not in never)]
    rows = []
    for variant, seeds in variants.items():
        scores = [class_scores(report) for report in seeds.values()]
        rows.append([variant, *(cell([each[name] for each in scores], 3) for name in names)])
    return markdown(["variant", *(f"**{name}**" if name in never else name for name in names)], rows)


def ratios(variants: Mapping[str, Mapping[int, Report]], never: Sequence[str], ours: str = "best") -> dict[str, float]:
    """Never-boxed AP50 of ours over that of the best rival, of boxes alone and of the ceiling: ratios of means."""
    means = {
        variant: statistics.fmean(mean_over(class_scores(report), never) for report in seeds.values())
        for variant, seeds in variants.items()
    }
    rivals = [means[name] for name in RIVALS if name in means]
    others = {
        "the fair rival": max(rivals, default=0.0),
        "boxes alone": means.get("detection_only", 0.0),
        "the ceiling": means.get(CEILING, 0.0),
    }
    return {name: means[ours] / other for name, other in others.items() if other and ours in means}


def with_boxes_elsewhere(
    reports: Mapping[str, Mapping[str, Mapping[int, Report]]], choice: str, ours: str = "best"
) -> float | None:
    """AP50 that ours has for the never-boxed classes of a choice where others are chosen, so that they have boxes.

    Examples
    --------
    >>> scores = [{"name": name, "ap50": 0.25} for name in ("dog", "sheep", "car")]
    >>> with_boxes_elsewhere({"A": {}, "B": {"best": {0: {"classes": scores}}}}, "A")
    0.25
    """
    found = [
        mean_over(class_scores(report), CHOICES[choice])
        for other in CHOICES
        if other != choice and not set(CHOICES[other]) & set(CHOICES[choice])
        for report in reports.get(other, {}).get(ours, {}).values()
    ]
    return statistics.fmean(found) if found else None


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.photographs", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("runs", type=Path, metavar="RUNS_DIR")
    parser.add_argument("--ours", default="best", metavar="VARIANT", help="what is divided by the others (best)")
    args = parser.parse_args(argv)
    return run(functools.partial(_print_tables, args.runs, args.ours))


def _print_tables(runs: Path, ours: str) -> int:
    reports = read_reports(runs)
    for choice, never in CHOICES.items():
        for name in (choice, f"{choice}-tuning"):
            if name not in reports:
                continue
            variants = with_ceiling(reports, name) if name == choice else reports[name]
            print(f"## {name}: never boxed are {', '.join(never)}\n\n{score_table(variants, never)}\n")
            print(f"{class_table(variants, never)}\n")
            for other, ratio in ratios(variants, never, ours).items():
                print(f"- never-boxed AP50, {ours} over {other}: {ratio:.2f}")
            if name == choice and (elsewhere := with_boxes_elsewhere(reports, choice, ours)) is not None:
                print(f"- the same classes with boxes, `{ours}` of the other choices: {elsewhere:.4f}")
            if draw_learning(runs, name, list(reports[name]), runs / f"{name}.png"):
                print(f"- {runs / name}.png: AP50 over the steps\n")
    report = next(iter(next(iter(next(iter(reports.values())).values())).values()))
    print(f"a constant box that is told the label: {report['constant_box']}, {report['images']} photographs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
