"""The figures of an evaluation as text for people, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo9000.evaluation.classifier_report import format_classifier


def format_report(report: dict[str, Any], *, worst: int = 5) -> str:
    """The figures as a table for people.

    Examples
    --------
    >>> print(format_report({"images": 2, "top1": 0.25, "boxed": {"ap50": 0.5, "ap": 0.25, "classes": 3},
    ...     "never_boxed": {"ap50": float("nan"), "ap": float("nan"), "classes": 0}}))
                                 classes    AP50   AP50:95
    with boxes                         3   0.500     0.250
    never boxed                        0       -         -
    top-1, images with a label             0.250
    """
    if "classifier" in report:
        return format_classifier(report)
    lines: list[str] = []

    def row(name: str, classes: Any, ap50: Any, ap: Any) -> None:
        cells = [f"{v:.3f}" if isinstance(v, float) and not math.isnan(v) else "-" for v in (ap50, ap)]
        lines.append(f"{name:<27}{classes:>9}{cells[0]:>8}{cells[1]:>10}")

    names = {"boxed": "with boxes", "never_boxed": "never boxed"}
    if "boxed" in report:
        lines.append(f"{'':<27}{'classes':>9}{'AP50':>8}{'AP50:95':>10}")
        if "map" in report:
            scores = report["map"]
            row(f"all of {Path(scores['name']).name}"[:27], scores["classes"], scores["ap50"], scores["ap"])
        for key, name in names.items():
            row(name, report[key]["classes"], report[key]["ap50"], report[key]["ap"])
        for key, scores in report.get("at_parents", {}).items():
            row(f"{names[key]}, at parents", scores["classes"], scores["ap50"], scores["ap"])
        for key, scores in report.get("constant_box", {}).items():
            row(f"constant box, {names[key]}"[:27], "", scores["ap50"], None)
        if "coco" in report:
            lines += _coco_lines(report["coco"])
        if "voc" in report:
            lines += _voc_lines(report["voc"], names)
        if "corloc" in report:
            lines += _diagnosis_lines(report, names)
        classes = [c for c in report.get("classes", []) if c["boxes"]]
        for what, some in (
            ("best", sorted(classes, key=lambda c: -c["ap50"])[:worst]),
            ("worst", sorted(classes, key=lambda c: c["ap50"])[:worst]),
        ):
            if some:
                lines.append(f"{what}: " + ", ".join(f"{c.get('name', c['node'])} {c['ap50']:.2f}" for c in some))
    if "top1" in report:
        lines.append(f"{'top-1, images with a label':<27}{'':>9}{report['top1']:>8.3f}")
    for name, terms in report.get("held_out_loss", {}).items():
        if terms:
            lines.append(f"{'loss of ' + name:<27}{'':>9}{terms['loss']:>8.3f}")
    return "\n".join(lines)


def _diagnosis_lines(report: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """Whether boxes are in the right place, rightly named, and as sure as they should be, in up to three small tables.

    Examples
    --------
    >>> sweep = [{"tree_threshold": t / 10, "precision": t / 10, "depth": 0.5} for t in range(1, 10)]
    >>> shares = {"exact": 0.25, "less_exact": 0.375, "finer": 0.0, "wrong": 0.125, "missed": 0.25, "depth": 0.75}
    >>> report = {
    ...     "corloc": {"boxed": {"share": 0.5, "labels": 7}},
    ...     "recall_at_10": {"boxed": {"share": 0.875, "boxes": 8}},
    ...     "back_off": {"tree_threshold": 0.5, "boxed": {**shares, "sweep": sweep}},
    ...     "calibration": {"boxed": {"ece": 0.125, "unclaimed": float("nan")}},
    ... }
    >>> print("\\n".join(_diagnosis_lines(report, {"boxed": "with boxes"})))
    placed                         boxes   CorLoc   of ten      ECE  unclaimed
    with boxes                         8    0.500    0.875    0.125          -
    named, backing off at 0.5      exact  coarser    finer    wrong   missed    depth
    with boxes                     0.250    0.375    0.000    0.125    0.250    0.750
    precision/depth at                 0.1        0.3        0.5        0.7        0.9
    with boxes                   0.10/0.50  0.30/0.50  0.50/0.50  0.70/0.50  0.90/0.50
    """

    def number(value: float, digits: int = 3) -> str:
        return "-" if math.isnan(value) else f"{value:.{digits}f}"

    def row(name: str, *cells: str, width: int = 9) -> str:
        return f"{name:<27}" + "".join(f"{cell:>{width}}" for cell in cells)

    lines = [row("placed", "boxes", "CorLoc", "of ten", "ECE") + f"{'unclaimed':>11}"]
    for key in report["corloc"]:
        recall, calibration = report["recall_at_10"][key], report["calibration"][key]
        shares = (report["corloc"][key]["share"], recall["share"], calibration["ece"])
        unclaimed = f"{number(calibration['unclaimed']):>11}"
        lines.append(row(names[key], str(recall["boxes"]), *map(number, shares)) + unclaimed)
    if "back_off" not in report:
        return lines
    back_off = {key: scores for key, scores in report["back_off"].items() if key in names}
    columns = {"exact": "exact", "less_exact": "coarser", "finer": "finer", "wrong": "wrong", "missed": "missed"}
    columns |= {"depth": "depth"}
    lines.append(row(f"named, backing off at {report['back_off']['tree_threshold']}", *columns.values()))
    lines += [row(names[key], *(number(scores[column]) for column in columns)) for key, scores in back_off.items()]
    for key, scores in back_off.items():
        sweep = scores["sweep"][::2]
        cells = [f"{number(each['precision'], 2)}/{number(each['depth'], 2)}" for each in sweep]
        if key == next(iter(back_off)):
            lines.append(row("precision/depth at", *(str(each["tree_threshold"]) for each in sweep), width=11))
        lines.append(row(names[key], *cells, width=11))
    return lines


def _coco_lines(numbers: Mapping[str, float]) -> list[str]:
    """COCO's twelve numbers in two lines.

    Examples
    --------
    >>> ap = {"ap": 0.4, "ap50": 0.6, "ap75": 0.45, "ap_small": 0.1, "ap_medium": 0.5, "ap_large": float("nan")}
    >>> ar = {"ar_1": 0.3, "ar_10": 0.5, "ar_100": 0.52, "ar_small": 0.2, "ar_medium": 0.6, "ar_large": float("nan")}
    >>> print("\\n".join(_coco_lines(ap | ar)))
    COCO's AP 0.400, at IoU .5 0.600, at .75 0.450; small 0.100, medium 0.500, large -
    COCO's AR 0.520, at 10 boxes 0.500, at 1 0.300; small 0.200, medium 0.600, large -
    """
    shown = {name: "-" if math.isnan(value) else f"{value:.3f}" for name, value in numbers.items()}
    return [
        "COCO's AP {ap}, at IoU .5 {ap50}, at .75 {ap75}; "
        "small {ap_small}, medium {ap_medium}, large {ap_large}".format(**shown),
        "COCO's AR {ar_100}, at 10 boxes {ar_10}, at 1 {ar_1}; "
        "small {ar_small}, medium {ar_medium}, large {ar_large}".format(**shown),
    ]


def _voc_lines(numbers: Mapping[str, Mapping[str, float]], names: Mapping[str, str]) -> list[str]:
    """VOC's means over all classes, and over those with and without boxes where there are both.

    Examples
    --------
    >>> scores = {"voc07": 0.5, "voc10": 0.525, "classes": 3}
    >>> print("\\n".join(_voc_lines({"all": scores, "boxed": scores, "never_boxed": {**scores, "classes": 0}},
    ...     {"boxed": "with boxes", "never_boxed": "never boxed"})))
    VOC's mAP 0.525 (2007: 0.500), all 3 classes
    """
    counts = {part: scores["classes"] for part, scores in numbers.items()}
    parts = [part for part in ("all", *names) if counts[part] and (part == "all" or counts[part] < counts["all"])]
    return [
        f"VOC's mAP {numbers[part]['voc10']:.3f} (2007: {numbers[part]['voc07']:.3f}), "
        f"{names.get(part, part)} {counts[part]} classes"
        for part in parts
    ]


def without_nan(value: Any) -> Any:
    """The same values with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
