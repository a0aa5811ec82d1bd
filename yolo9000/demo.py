"""``yolo9000 demo``: the whole job on drawn scenes, with the commands that anyone would type.

Builds a tree, trains one classifier on images with a label, then goes on from it twice, side by side: on boxes alone,
and jointly on boxes and image labels. The table says what image labels taught about the classes that never had a box.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from yolo9000.runtime.mistakes import Mistake, run
from yolo9000.runtime.mistyped import OneLineParser

ABOUT = """The whole job on drawn scenes, with the commands that anyone would type: builds a tree, trains one classifier
on images with a label, then goes on from it twice, side by side, on boxes alone and jointly. It keeps two cores busy
for some minutes, and says for how many more.

examples:
  yolo9000 demo
  yolo9000 demo --seeds 3 --out runs/demo3
  yolo9000 demo --quick"""
START = ["--classification-steps", "1800", "--classification-size", "64", "--detection-steps", "0", "--steps", "0"]
FURTHER = ["--classification-steps", "0", "--detection-steps", "0", "--steps", "900"]
# The joint variant sees the same 32 images with boxes in a step as the other, and 32 with a label besides.
VARIANTS = {"detection_only": ["--batch", "32"], "joint": ["--joint", "--batch", "64"]}
# Both trainings read the same scenes, and no scene is drawn twice; 663 MB while the demo runs.
SCENES = ["--scenes", "12000", "--val-images", "150"]
KEPT = "drawn"
TEST_IMAGES = 1000
PICTURES = 12
MARK = "demo.txt"  # a folder with this file is ours to empty
PHASES = {
    "a classifier of images with a label": 0.36,
    "boxes alone, and boxes and image labels together": 0.57,
    "both nets on scenes never seen": 0.07,
}
"""What is done one after the other, and about which part of the time it takes: for telling how much is left."""
SHOW_EVERY_SECONDS = 1.0
LINE_EVERY_SECONDS = 30.0
"""Where nobody watches, so that the log of a CI stays short."""


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
    progress = Progress(sys.stderr)
    try:
        for seed in range(options.seeds):
            if options.seeds > 1:
                print(f"seed {seed}, {options.seeds - seed - 1} more after it", flush=True)
                progress = Progress(sys.stderr)
            folder = out if options.seeds == 1 else out / f"seed{seed}"
            reports.append(run_seed(folder, seed, progress, quick=options.quick))
            progress.end()
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


def time_left(phase: int, part: float, seconds: float, shares: Sequence[float] = tuple(PHASES.values())) -> float:
    """Seconds that are left, if the phases take their shares of the time.

    Parameters
    ----------
    phase : int
        How many are over.
    part : float
        The part of the present one that is done, 0 to 1.
    seconds : float
        How long it has been going on.
    shares : sequence of float
        The part of the time that each phase takes.

    Examples
    --------
    A fifth of the work took a minute, so four more are left.

    >>> time_left(0, 0.8, 60.0, (0.25, 0.5, 0.25)), time_left(2, 1.0, 60.0, (0.25, 0.5, 0.25))
    (240.0, 0.0)
    """
    done = (sum(shares[:phase]) + part * shares[phase]) / sum(shares)
    return seconds * (1 - done) / done if done else math.inf


class Progress:
    """One line for the whole demo: phase, part of it, time left.

    Parameters
    ----------
    stream : TextIO
        A terminal gets one line again and again; anything else a line now and then.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._started, self._phase = stream, time.monotonic(), 0
        self._shown = -math.inf

    def begin(self, phase: int) -> None:
        """Go on to a phase."""
        if phase:
            self.end()
        self._phase, self._shown = phase, -math.inf

    def show(self, part: float) -> None:
        """Say how far the phase is, unless it was said just now."""
        now, watched = time.monotonic(), self._stream.isatty()
        if now - self._shown < (SHOW_EVERY_SECONDS if watched else LINE_EVERY_SECONDS):
            return
        self._shown, seconds = now, now - self._started
        left = time_left(self._phase, part, seconds)
        known = f"about {_clock(left)} left" if left < math.inf else "time left not known yet"
        text = f"demo: {self._phase + 1} of {len(PHASES)}, {list(PHASES)[self._phase]}: {100 * part:.0f} %, {known}"
        print(f"\r{text:<110}" if watched else text, end="" if watched else "\n", file=self._stream, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._stream.isatty():
            print(file=self._stream)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def part_done(folder: Path, steps: int) -> float:
    """The part of a training's steps that its rows of losses tell of, 0 to 1.

    Examples
    --------
    >>> part_done(Path("nowhere"), 900)
    0.0
    """
    try:
        *_, last = (folder / "results.csv").read_text(encoding="utf-8").splitlines()
        return min(1.0, int(last.partition(",")[0]) / steps)
    except (OSError, ValueError):
        return 0.0  # not there yet, or no row


def run_seed(folder: Path, seed: int, progress: Progress, *, quick: bool) -> dict[str, Any]:
    """Train the classifier and both variants, evaluate both; return the figures of one seed."""
    from wordtree import load_tree
    from yolo9000.datasets.pictograms import read_classes

    started = time.monotonic()
    images = "20" if quick else str(TEST_IMAGES)
    start, kept = folder / "start", folder / KEPT
    kept.mkdir(parents=True)
    cores = max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    further = shorten(FURTHER, quick)
    scenes = [*SCENES, "--keep-scenes", str(kept), "--seed", str(seed)]
    first = shorten(START, quick)
    progress.begin(0)
    work = ["--workers", "1" if cores > 1 else "0", "--threads", str(cores)]
    run_side_by_side(
        [command("train", *first, *scenes, *work, "--out", str(start))],
        lambda: progress.show(part_done(start, steps_of(first))),
        logs=folder,
    )
    tree = load_tree(start / "tree.json")
    classes = read_classes()
    boxed = sum(c.boxed for c in classes)
    print(f"{len(classes)} classes, {boxed} of them with boxes, in a tree of {len(tree)} nodes", flush=True)
    progress.begin(1)
    # No more threads than cores: with one more, to take what the other leaves, the whole demo took 1.7 times as long.
    common = ["--tree", str(start / "tree.json"), "--init", str(start), "--threads", str(max(1, cores // 2))]
    commands = [
        command("train", *more, *further, *common, *scenes, "--out", str(folder / name))
        for name, more in VARIANTS.items()
    ]
    longest = folder / "joint"
    run_side_by_side(commands, lambda: progress.show(part_done(longest, steps_of(further))), logs=folder)
    progress.begin(2)
    run_side_by_side(
        [command("evaluate", str(folder / name), "--images", images) for name in VARIANTS],
        lambda: progress.show(0.0),
        logs=folder,
        threads=max(1, cores // 2),
    )
    shutil.rmtree(kept)
    report: dict[str, Any] = {}
    for name in VARIANTS:
        figures = json.loads((folder / name / "evaluation.json").read_text(encoding="utf-8"))
        report[name] = {key: figures[key]["ap50"] for key in ("boxed", "never_boxed")}
        report[name] |= {f"{key}_at_parents": figures["at_parents"][key]["ap50"] for key in ("boxed", "never_boxed")}
        report["constant_box"] = figures["constant_box"]["never_boxed"]["ap50"]
    return report | {"seconds": round(time.monotonic() - started, 1)}


def steps_of(arguments: Sequence[str]) -> int:
    """All steps that the arguments of a training ask for.

    Examples
    --------
    >>> steps_of(["--classification-steps", "0", "--batch", "32", "--steps", "900"])
    900
    """
    return sum(int(value) for name, value in itertools.pairwise(arguments) if name.endswith("steps"))


def shorten(arguments: list[str], quick: bool) -> list[str]:
    """The same arguments with two steps wherever there are hundreds, if it shall be quick.

    Examples
    --------
    >>> shorten(["--steps", "900", "--batch", "32", "--detection-steps", "0"], quick=True)
    ['--steps', '2', '--batch', '32', '--detection-steps', '0']
    """
    named = zip(["", *arguments], arguments, strict=False)
    return ["2" if quick and name.endswith("steps") and value != "0" else value for name, value in named]


def run_side_by_side(
    commands: list[list[str]], show: Callable[[], None], *, logs: Path, threads: int | None = None
) -> None:
    """Run commands at the same time; what they say goes into files, which are shown if one fails.

    Parameters
    ----------
    commands : list of list of str
    show : callable
        Is called again and again while they run.
    logs : Path
        The folder for what they say: 1.log, 2.log, .. of the last commands.
    threads : int, optional
        Threads of each, where the command has no option for them.
    """
    # Threads that wait for each other let the neighbour's work, where there are more of them than cores.
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    running: list[tuple[subprocess.Popen[bytes], Path]] = []
    try:
        for number, words in enumerate(commands, 1):
            said = logs / f"{number}.log"
            with said.open("wb") as file:
                process = subprocess.Popen(words, stdout=file, stderr=file, env={**os.environ, **environment})
            running.append((process, said))
        while any(process.poll() is None for process, _ in running):
            show()
            time.sleep(0.2)
    finally:
        for process, _ in running:
            if process.poll() is None:
                process.terminate()
            process.wait()
    for process, said in running:
        if process.returncode:
            print(said.read_text(encoding="utf-8", errors="replace"), file=sys.stderr)
            raise subprocess.CalledProcessError(process.returncode, process.args)
        said.unlink()


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
