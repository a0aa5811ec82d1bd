"""Evaluations of classifiers beside each other, as curves and a table: ``NAME=JSON .. --out PNG``.

Several files of one name are seeds, and the means of their figures are shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# A bare checkout is enough: tools/ is where Python looks first, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from yolo9000.evaluation.classifier_report import SHOWN_THRESHOLDS, draw_specificity
from yolo9000.runtime.mistakes import Mistake, flags_of, run

PARTS = {"classifier": "known", "left_out": "left out"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; return the exit status: 0, 2 for a mistake, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("evaluations", nargs="+", metavar="NAME=JSON", help="an evaluation.json of a classifier")
    parser.add_argument("--out", type=Path, required=True, help="the PNG file to write")
    options = parser.parse_args(arguments)
    return run(lambda: _compare(options.evaluations, options.out), flags=flags_of(vars(options)))


def _compare(evaluations: Sequence[str], out: Path) -> int:
    reports = {
        file: json.loads(file.read_text(encoding="utf-8")) for files in _by_name(evaluations).values() for file in files
    }
    curves: dict[str, list[dict[str, float]]] = {}
    for part, called in PARTS.items():
        if part == "left_out" and not any(part in report for report in reports.values()):
            continue  # no class was left out of training
        for name, files in _by_name(evaluations).items():
            scores = [reports[file].get(part, {}) for file in files]
            for file, score in zip(files, scores, strict=True):
                if "back_off" not in score:
                    raise Mistake(f"{file}: no curve of classes {called}; evaluate over a tree, as `--tree` names it")
            curves[f"{name}, {called}"] = _mean([each["back_off"] for each in scores])
    draw_specificity(curves, out)
    print(f"| backing off at | {' | '.join(str(each) for each in SHOWN_THRESHOLDS)} |")
    print("|---" * (1 + len(SHOWN_THRESHOLDS)) + "|")
    for key in ("right", "too_specific", "depth", "information"):
        for name, curve in curves.items():
            shown = {row["threshold"]: row[key] for row in curve}
            print(f"| {key.replace('_', ' ')}: {name} | {' | '.join(f'{shown[t]:.3f}' for t in SHOWN_THRESHOLDS)} |")
    return 0


def _by_name(evaluations: Sequence[str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for each in evaluations:
        name, _, file = each.partition("=")
        if not file:
            raise Mistake(f"{each}: NAME=JSON is needed")
        found.setdefault(name, []).append(Path(file))
    return found


def _mean(seeds: list[list[dict[str, Any]]]) -> list[dict[str, float]]:
    return [{key: statistics.fmean(row[key] for row in rows) for key in rows[0]} for rows in zip(*seeds, strict=True)]


if __name__ == "__main__":
    sys.exit(main())
