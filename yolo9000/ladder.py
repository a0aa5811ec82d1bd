"""``yolo9000 ladder``: every step from YOLO to YOLO9000, trained and scored on the same data, as one table.

The options are those of the ladder, and the fields of the configuration that its rungs begin with.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from yolo9000.comparison.ladder import ladder_base, ladder_for
from yolo9000.experiment.config import RunConfig
from yolo9000.options import DataSets, flags_of, parse, parse_some, sets_of, typed
from yolo9000.runtime.interrupt import EXIT_INTERRUPTED
from yolo9000.runtime.mistakes import Mistake, run

PROGRAM = "yolo9000 ladder"
ABOUT = """Train and score the columns of the paper's table "the path from YOLO to YOLOv2", and what comes after it, on
your own data: table.md, ladder.csv and ladder.png in the folder of the ladder. What has been trained is not trained
again, and what was interrupted goes on, so the same command continues a ladder. docs/ladder.md explains the rungs.

examples:
  yolo9000 ladder --coco COCO_DIR --imagenet IMAGENET_DIR --out runs/ladder --seeds 3 --jobs 2
  yolo9000 ladder --voc VOCdevkit/VOC2007 --imagenet IMAGENET_DIR --preset paper
  yolo9000 ladder --tiles TILES_DIR --rungs passthrough multi-scale
  yolo9000 ladder --out runs/ladder --table-only

The defaults below are those of the preset; the options of single rungs are set by the rungs themselves."""


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """Which ladder, and where.

    Parameters
    ----------
    preset : str
        The schedule that all rungs share: minutes for a rung on one processor core, or as it was published.
    out : str
        The ladder's folder.
    rungs : tuple of str, optional
        Only these rungs, by their names; what they change is on top of the rungs before them anyway.
    seeds : int
        How many seeds, beginning with `seed`.
    jobs : int
        Runs at a time. The threads of the processor are shared among them.
    images : int
        Held-out images that a rung is evaluated on, at most. Rungs with figures of another number are evaluated again.
    table_only : bool
        Draw table and picture of what is there again, and train nothing.

    Raises
    ------
    Mistake
        A number is too small.
    """

    preset: Literal["small", "paper"] = "small"
    out: Annotated[str, arg(metavar="DIR")] = "runs/ladder"
    rungs: Annotated[tuple[str, ...], arg(metavar="NAME")] = ()
    seeds: Annotated[int, arg(metavar="N")] = 1
    jobs: Annotated[int, arg(metavar="N")] = 1
    images: Annotated[int, arg(metavar="N")] = 1000
    table_only: bool = False

    def __post_init__(self) -> None:
        for name in ("seeds", "jobs", "images"):
            if getattr(self, name) < 1:
                raise Mistake(f"`{name}` {getattr(self, name)}: at least 1 is needed")


@dataclass(frozen=True, kw_only=True)
class Command:
    """All options of a ladder."""

    ladder: Annotated[Ladder, arg(name="")] = Ladder()
    sets: Annotated[DataSets, arg(name="")] = DataSets()
    run: Annotated[RunConfig, arg(name="")] = RunConfig()


@dataclass(frozen=True, kw_only=True)
class _Deciding:
    """The options on which the defaults of the others depend."""

    ladder: Annotated[Ladder, arg(name="")] = Ladder()
    sets: Annotated[DataSets, arg(name="")] = DataSets()


def configure(words: Sequence[str]) -> tuple[Ladder, RunConfig]:
    """Read a command line: which ladder, and the configuration that its rungs begin with.

    Examples
    --------
    >>> ladder, base = configure(["--tiles", "TILES", "--seeds", "3", "--steps", "40"])
    >>> ladder.seeds, base.plan.steps, base.net.detector.width
    (3, 40, 0.25)
    """
    deciding = parse_some(_Deciding, words, program=PROGRAM)
    before = ladder_base(sets_of(deciding.sets), deciding.ladder.preset)
    command = parse(Command, words, program=PROGRAM, about=ABOUT, default=Command(run=before))
    return command.ladder, command.run


def main(words: Sequence[str] | None = None) -> int:
    """Run a ladder; return the exit status: 0, 1 if a run failed, 2 for a mistake, 130 if it was interrupted."""
    return run(lambda: _climb(*configure(typed(words))), flags=flags_of(Command))


def _climb(ladder: Ladder, base: RunConfig) -> int:
    from yolo9000.comparison.ladder_runs import plan_ladder, tasks_of, write_ladder, write_table
    from yolo9000.runtime.side_by_side import run_tasks

    out = Path(ladder.out)
    if ladder.table_only:
        print(write_table(out), end="")
        return 0
    for layout, path in base.data.sets:  # before forty runs find it out one by one
        _check_there(layout, path)
    rungs = ladder_for(base)
    plan = plan_ladder(base, rungs, out, range(base.seed, base.seed + ladder.seeds))
    tasks = tasks_of(plan, ladder.rungs, images=ladder.images)
    write_ladder(plan, base, rungs, out)
    for rung in rungs:
        if rung.skipped:
            print(f"{rung.name}: skipped, {rung.skipped}", file=sys.stderr)
    threads = base.machine.threads or max(1, (os.cpu_count() or 1) // ladder.jobs)
    outcome = run_tasks(tasks, jobs=ladder.jobs, environment={"OMP_NUM_THREADS": str(threads)}, about="runs")
    print(write_table(out), end="")
    logs = {task.name: task.log for task in tasks}
    waiting = [name for name, why in outcome.failed.items() if why.startswith("needs ")]
    for name, why in outcome.failed.items():
        if name in waiting:
            continue
        said = logs[name].read_text(encoding="utf-8", errors="replace").splitlines() if logs[name].exists() else []
        print(f"failed: {name} ({why}); {logs[name]}" + (f": {said[-1]}" if said else ""), file=sys.stderr)
    if waiting:
        print(f"not begun, for they need what failed: {', '.join(waiting)}", file=sys.stderr)
    if outcome.interrupted:
        print("stopped; the same command goes on", file=sys.stderr)
        return EXIT_INTERRUPTED
    print(f"{out}: table.md, ladder.csv, ladder.png", file=sys.stderr)
    return 1 if outcome.failed else 0


def _check_there(layout: str, path: str) -> None:
    from yolo9000.datasets.remote import RemoteFiles
    from yolo9000.experiment.layouts import LAYOUTS

    if not LAYOUTS[layout].is_remote:
        if not Path(path).exists():
            raise Mistake(f"`{layout}` {path}: there is no such folder or file")
        return
    files = RemoteFiles(path)
    try:
        files.stamp(0)
    except OSError as error:
        raise Mistake(f"`{layout}` {path}: {files.urls[0]} cannot be opened: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
