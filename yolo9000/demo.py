"""``yolo9000 demo``: the whole job on drawn scenes, with the commands that anyone would type.

Builds a tree, trains one classifier on images with a label, then goes on from it twice, side by side: on boxes alone,
and jointly on boxes and image labels. The table says what image labels taught about the classes that never had a box.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yolo9000.runtime.mistakes import Mistake, run
from yolo9000.runtime.mistyped import OneLineParser

ABOUT = """The whole job on drawn scenes, with the commands that anyone would type: builds a tree, trains one classifier
on images with a label, then goes on from it twice, side by side, on boxes alone and jointly. Six to seven minutes on
two cores.

examples:
  yolo9000 demo
  yolo9000 demo --seeds 3 --out runs/demo3
  yolo9000 demo --quick"""
START = ["--classification-steps", "2400", "--classification-size", "64", "--detection-steps", "0", "--steps", "0"]
FURTHER = ["--classification-steps", "0", "--detection-steps", "0", "--steps", "1200"]
# The joint variant sees the same 32 images with boxes in a step as the other, and 32 with a label besides.
VARIANTS = {"detection_only": ["--batch", "32"], "joint": ["--joint", "--batch", "64"]}
TEST_IMAGES = 1000
PICTURES = 12
MARK = "demo.txt"  # a folder with this file is ours to empty


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status of the first command that failed, or 0."""
    parser = OneLineParser(prog="yolo9000 demo", description=ABOUT)
    parser.add_argument("--seeds", type=int, default=1, help="repeat with other seeds; the table gives mean and spread")
    parser.add_argument("--out", default="runs/demo", help="folder, emptied first (default: runs/demo)")
    parser.add_argument("--quick", action="store_true", help="a few steps of everything: does it run? (half a minute)")
    return run(lambda: _run(parser.read(argv)), flags=parser.fields)


def _run(options: argparse.Namespace) -> int:
    from yolo9000.runtime.device import use_huge_pages  # here, for --help needs no torch

    use_huge_pages()
    if options.seeds < 1:
        raise Mistake(f"`seeds` {options.seeds}: at least 1 is needed")
    out = Path(options.out)
    if out.exists() and any(out.iterdir()) and not (out / MARK).exists():
        raise Mistake(f"`out` {out}: the folder holds something that is no demo; name another")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARK).write_text("made by python -m yolo9000.demo, which empties this folder\n", encoding="utf-8")
    reports = []
    try:
        for seed in range(options.seeds):
            folder = out if options.seeds == 1 else out / f"seed{seed}"
            reports.append(run_seed(folder, seed, quick=options.quick))
    except subprocess.CalledProcessError as error:
        print(f"demo: this command failed with status {error.returncode}: {shlex.join(error.cmd)}", file=sys.stderr)
        return error.returncode or 1
    first = out if options.seeds == 1 else out / "seed0"
    draw_pictures(first, out)
    report = mean_report(reports)
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(format_table(report))
    print(f"\n{out}/report.json: these figures.  {out}/detections.png: what the joint net sees.")
    print(f"Next: python -m yolo9000.predict {first}/joint YOUR_IMAGE.png")
    print(f"Look: python -m yolo9000.serve {first}/joint   (a page in the browser; try {out}/scenes/00.png on it)")
    return 0


def command(module: str, *arguments: str) -> list[str]:
    """A command line of ours, printed as anyone could type it."""
    print("$ " + shlex.join(["python", "-m", f"yolo9000.{module}", *arguments]), flush=True)
    return [sys.executable, "-m", f"yolo9000.{module}", *arguments]


def run_seed(folder: Path, seed: int, *, quick: bool) -> dict[str, Any]:
    """Train the classifier and both variants, evaluate both; return the figures of one seed."""
    from wordtree import load_tree
    from yolo9000.datasets.pictograms import read_classes

    started = time.monotonic()
    images = "20" if quick else str(TEST_IMAGES)
    start = str(folder / "start")
    subprocess.run(
        command(
            "train", *shorten(START, quick), "--seed", str(seed), "--workers", "1", "--threads", "1", "--out", start
        ),
        check=True,
    )
    tree = load_tree(f"{start}/tree.json")
    classes = read_classes()
    boxed = sum(c.boxed for c in classes)
    print(f"{len(classes)} classes, {boxed} of them with boxes, in a tree of {len(tree)} nodes", flush=True)
    common = ["--tree", f"{start}/tree.json", "--init", start, "--seed", str(seed), "--threads", "1"]
    commands = [
        command("train", *more, *shorten(FURTHER, quick), *common, "--out", str(folder / name))
        for name, more in VARIANTS.items()
    ]
    run_side_by_side(commands)
    run_side_by_side([command("evaluate", str(folder / name), "--images", images) for name in VARIANTS])
    report: dict[str, Any] = {}
    for name in VARIANTS:
        figures = json.loads((folder / name / "evaluation.json").read_text(encoding="utf-8"))
        report[name] = {key: figures[key]["ap50"] for key in ("boxed", "never_boxed")}
        report[name] |= {f"{key}_at_parents": figures["at_parents"][key]["ap50"] for key in ("boxed", "never_boxed")}
        report["constant_box"] = figures["constant_box"]["never_boxed"]["ap50"]
    return report | {"seconds": round(time.monotonic() - started, 1)}


def shorten(arguments: list[str], quick: bool) -> list[str]:
    """The same arguments with two steps wherever there are hundreds, if it shall be quick.

    Examples
    --------
    >>> shorten(["--steps", "900", "--batch", "32", "--detection-steps", "0"], quick=True)
    ['--steps', '2', '--batch', '32', '--detection-steps', '0']
    """
    named = zip(["", *arguments], arguments, strict=False)
    return ["2" if quick and name.endswith("steps") and value != "0" else value for name, value in named]


def run_side_by_side(commands: list[list[str]]) -> None:
    """Run commands at the same time; the first one's progress is shown, of all only errors."""
    running = [
        subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=None if i == 0 else subprocess.PIPE, text=True)
        for i, c in enumerate(commands)
    ]
    ended = [(process, process.communicate()[1]) for process in running]
    for process, message in ended:
        if process.returncode:
            print(message or "", file=sys.stderr)
            raise subprocess.CalledProcessError(process.returncode, process.args)


def draw_pictures(run: Path, out: Path) -> None:
    """Write test scenes as files, predict on them, and put the pictures on one sheet: out/detections.png."""
    from PIL import Image

    from yolo9000.datasets.scenes import SceneConfig, SceneSource

    scenes = SceneSource(SceneConfig(split="test", size=384), length=PICTURES)
    folder = out / "scenes"
    folder.mkdir()
    for i in range(PICTURES):
        Image.fromarray(scenes.read(i).image).save(folder / f"{i:02}.png")
    thresholds = ["--threshold", "0.25", "--tree-threshold", "0.3", "--picture-format", "png"]
    subprocess.run(
        command("predict", str(run / "joint"), str(folder), *thresholds, "--out", str(out / "predictions")),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    pictures = [Image.open(path) for path in sorted((out / "predictions").glob("*.png"))]
    width, height = pictures[0].size
    sheet = Image.new("RGB", (4 * width, -(-len(pictures) // 4) * height))
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % 4 * width, i // 4 * height))
    sheet.save(out / "detections.png")


def mean_report(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, with the standard deviation beside them under ``"spread"`` if there are several.

    Examples
    --------
    >>> one = {"joint": {"boxed": 0.5}, "seconds": 10.0}
    >>> two = {"joint": {"boxed": 0.75}, "seconds": 20.0}
    >>> mean_report([one, two])["joint"]
    {'boxed': 0.625}
    """
    if len(reports) == 1:
        return reports[0]

    def over_seeds(values: list[Any], statistic: Any) -> Any:
        if isinstance(values[0], dict):
            return {key: over_seeds([value[key] for value in values], statistic) for key in values[0]}
        return statistic(values)

    mean: dict[str, Any] = over_seeds(reports, statistics.fmean)
    return mean | {"seeds": len(reports), "spread": over_seeds(reports, statistics.stdev)}


def format_table(report: dict[str, Any]) -> str:
    """The figures for people.

    Examples
    --------
    >>> row = {"boxed": 0.5, "never_boxed": 0.01, "boxed_at_parents": 0.6, "never_boxed_at_parents": 0.02}
    >>> print(format_table({"detection_only": row, "joint": row, "constant_box": 0.006, "seconds": 9.0}))
    AP50 on scenes never seen         boxes alone          joint
    classes with boxes                      0.500          0.500
    classes that never had a box            0.010          0.010
    the same, at their parents              0.020          0.020
    a constant box, told the label          0.006
    9 s
    """
    spread = report.get("spread")

    def cell(*keys: str) -> str:
        value, deviation = report, spread
        for key in keys:
            value = value[key]
            deviation = deviation[key] if deviation else None
        return f"{value:.3f}" + (f" ± {deviation:.3f}" if deviation is not None else "")

    lines = [f"{'AP50 on scenes never seen':<32}{'boxes alone':>13}{'joint':>15}"]
    for title, key in (
        ("classes with boxes", "boxed"),
        ("classes that never had a box", "never_boxed"),
        ("the same, at their parents", "never_boxed_at_parents"),
    ):
        lines.append(f"{title:<32}{cell('detection_only', key):>13}{cell('joint', key):>15}")
    lines.append(f"{'a constant box, told the label':<32}{cell('constant_box'):>13}")
    lines.append(f"{report['seconds']:.0f} s" + (f" a seed, {report['seeds']} seeds" if spread else ""))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
