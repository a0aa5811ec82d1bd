"""The runs of a ladder: which there are, in which folders, and what came of them.

::

    OUT/ladder.json  table.md  ladder.csv  ladder.png
    OUT/starts/RUNG/seed0/       a classifier, named after the first rung that starts from it
    OUT/RUNG/seed0/              a detector, and evaluation.json
    OUT/RUNG/seed0.json .log .trained   its configuration, what it said, and that it has ended
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from yolo9000.comparison.ladder import Rung, configurations, start_of, ticks
from yolo9000.evaluation.ladder_table import Column, draw_ladder, format_ladder, ladder_csv
from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.config_file import differences, from_plain, override, read_config
from yolo9000.runtime.checkpoint import write_atomically
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.side_by_side import Task

PYTHON = (sys.executable,)
"""What runs the commands."""
MAY_DIFFER = ("machine.", "net.init", "train.log_every", "train.save_every")
"""Beginnings of the fields that change neither what a run sees nor what it learns."""


@dataclass(frozen=True, kw_only=True)
class LadderRun:
    """One rung with one seed.

    Parameters
    ----------
    rung : Rung
    seed : int
    config : RunConfig
        What is trained.
    folder : Path
        The detector's run. It is another rung's where nothing but the size of the evaluation differs.
    evaluation : Path
        The file of its figures.
    start : Path, optional
        The run of the classifier that it starts from.
    """

    rung: Rung
    seed: int
    config: RunConfig
    folder: Path
    evaluation: Path
    start: Path | None

    @property
    def size(self) -> int:
        """Side of the images that it is evaluated on."""
        return self.config.plan.evaluation_size or self.config.plan.size


@dataclass(frozen=True, kw_only=True)
class LadderPlan:
    """What there is to do for a ladder.

    Parameters
    ----------
    runs : tuple of LadderRun
        Every rung that is trained, with every seed.
    configs : dict of Path to RunConfig
        Folder of each run, classifiers first -> its configuration.
    """

    runs: tuple[LadderRun, ...]
    configs: Mapping[Path, RunConfig]


def plan_ladder(base: RunConfig, rungs: Sequence[Rung], out: Path, seeds: Sequence[int]) -> LadderPlan:
    """Which runs a ladder needs. Equal classifiers are one run, and so are equal detectors.

    Parameters
    ----------
    base : RunConfig
    rungs : sequence of Rung
        Those that are skipped have no run.
    out : Path
        The ladder's folder.
    seeds : sequence of int

    Returns
    -------
    LadderPlan
    """
    runs: list[LadderRun] = []
    starts: dict[Path, RunConfig] = {}
    detectors: dict[Path, RunConfig] = {}
    for seed in seeds:
        for rung, config in zip(rungs, configurations(base, rungs), strict=True):
            if rung.skipped:
                continue
            config = replace(config, seed=seed)
            place = f"{rung.slug}/seed{seed}"
            begin = start_of(base, config)
            start = None if begin is None else _folder_of(begin, starts, out / "starts" / place)
            if start is not None:
                changes = {"plan.classification_steps": 0, "plan.fine_tuning_steps": 0, "net.init": str(start)}
                config = override(config, changes)
            folder = _folder_of(override(config, {"plan.evaluation_size": None}), detectors, out / place)
            evaluation = out / place / "evaluation.json"
            runs.append(
                LadderRun(rung=rung, seed=seed, config=config, folder=folder, evaluation=evaluation, start=start)
            )
    return LadderPlan(runs=tuple(runs), configs={**starts, **detectors})


def _folder_of(config: RunConfig, known: dict[Path, RunConfig], place: Path) -> Path:
    """The folder of an equal run, or `place` for a new one."""
    for folder, other in known.items():
        if other == config:
            return folder
    known[place] = config
    return place


def tasks_of(plan: LadderPlan, chosen: Sequence[str] = (), *, images: int = 1000) -> list[Task]:
    """The commands of a ladder: classifiers, the detectors that start from them, and the evaluations of these.

    Parameters
    ----------
    plan : LadderPlan
    chosen : sequence of str
        Names of the rungs that are wanted, or their folders' names; all if there are none.
    images : int
        Images of an evaluation, at most. What was evaluated on another number is evaluated again.

    Returns
    -------
    list of Task
        Seed by seed, so that a whole table of the first seed is there early.

    Raises
    ------
    Mistake
        There is no such rung.
    """
    known = {name: run.rung for run in plan.runs for name in (run.rung.name, run.rung.slug)}
    if unknown := [name for name in chosen if name not in known]:
        names = ", ".join(dict.fromkeys(rung.slug for rung in known.values()))
        raise Mistake(f"`rungs` {unknown[0]}: there is no such rung to train; there are {names}")
    wanted = {known[name].name for name in chosen or known}
    tasks: dict[Path, Task] = {}
    for run in plan.runs:
        if run.rung.name not in wanted:
            continue
        if run.start is not None and run.start not in tasks:
            tasks[run.start] = _training(run.start, plan.configs[run.start])
        if run.folder not in tasks:
            needs = () if run.start is None else (tasks[run.start].name,)
            tasks[run.folder] = _training(run.folder, plan.configs[run.folder], needs)
        words = [str(run.folder), "--size", str(run.size), "--images", str(images), "--out", str(run.evaluation)]
        if run.config.machine.device is not None:
            words += ["--device", run.config.machine.device]
        again = run.evaluation.exists() and _is_of_another_number(run.evaluation, images)
        if again:
            words += ["--overwrite"]
        tasks[run.evaluation] = Task(
            name=f"evaluation of {_name(run.evaluation.parent)}",
            command=partial(_evaluate, words, run.evaluation.parent),
            done=run.evaluation,
            log=_beside(run.evaluation.parent, ".log"),
            needs=(tasks[run.folder].name,),
            again=again,
        )
    return list(tasks.values())


def _training(folder: Path, config: RunConfig, needs: tuple[str, ...] = ()) -> Task:
    return Task(
        name=_name(folder),
        command=partial(_train, folder),
        done=_beside(folder, ".trained"),
        log=_beside(folder, ".log"),
        needs=needs,
    )


def _train(folder: Path) -> list[str]:
    begun = (folder / "last.pt").exists()
    begin = ["--config", str(_beside(folder, ".json")), "--out", str(folder)]
    return [*PYTHON, "-m", "yolo9000.train", *(["--resume", str(folder)] if begun else begin)]


def _evaluate(words: Sequence[str], folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)  # it is no run's where another rung's net is evaluated
    return [*PYTHON, "-m", "yolo9000.evaluate", *words]


def _read_evaluation(file: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Mistake(f"{file}: cannot be read ({error}); remove it, and the rung is evaluated again") from error
    return report


def _is_of_another_number(evaluation: Path, images: int) -> bool:
    report = _read_evaluation(evaluation)
    if (asked := report.get("images_at_most")) is not None:
        return bool(asked != images)
    return bool(report.get("images", 0) > images)  # of before it was written down; of fewer there may be no more


def _name(folder: Path) -> str:
    """RUNG/seed0, or starts/RUNG/seed0 of a classifier."""
    return "/".join(folder.parts[-3 if folder.parts[-3:-2] == ("starts",) else -2 :])


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(folder.name + suffix)


def write_ladder(plan: LadderPlan, base: RunConfig, rungs: Sequence[Rung], out: Path) -> None:
    """Write the configurations and ``ladder.json``, from which the table can be drawn again.

    Raises
    ------
    Mistake
        The folder holds a ladder of other settings.
    """
    for folder, config in plan.configs.items():
        file = _beside(folder, ".json")
        if file.exists():
            changed = {
                way: values
                for way, values in differences(read_config(file), config).items()
                if not way.startswith(MAY_DIFFER)
            }
            if changed:
                way, (before, now) = next(iter(changed.items()))
                raise Mistake(
                    f"{file}: this ladder was begun with another `{way.split('.')[-1]}` ({before}, not {now}); "
                    "give the same options, or another `out`"
                )
    for folder, config in plan.configs.items():
        file = _beside(folder, ".json")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, (json.dumps({"config": asdict(config)}, indent=1) + "\n").encode())
    columns: list[dict[str, Any]] = [
        {
            "name": rung.name,
            "ticks": on,
            "paper": rung.paper,
            "skipped": rung.skipped,
            "runs": {
                str(run.seed): {
                    "folder": run.folder.relative_to(out).as_posix(),
                    "evaluation": run.evaluation.relative_to(out).as_posix(),
                    "size": run.size,
                }
                for run in plan.runs
                if run.rung is rung
            },
        }
        for rung, on in zip(rungs, ticks(base, rungs), strict=True)
    ]
    content = {"base": asdict(base), "columns": columns}
    # more seeds may have been trained before than are asked for now
    for before in _read_ladder(out)["columns"] if (out / "ladder.json").exists() else []:
        for column in columns:
            if column["name"] == before["name"]:
                column["runs"] = {**before["runs"], **column["runs"]}
    write_atomically(out / "ladder.json", (json.dumps(content, indent=1) + "\n").encode())


def _read_ladder(out: Path) -> dict[str, Any]:
    file = out / "ladder.json"
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Mistake(f"{file}: cannot be read ({error}); is {out} the folder of a ladder?") from error
    return content


def read_columns(out: Path) -> list[Column]:
    """What a ladder has come to so far.

    Parameters
    ----------
    out : Path
        Its folder.

    Returns
    -------
    list of Column
        All rungs, those without figures as well.

    Raises
    ------
    Mistake
        There is no ladder in the folder.
    """
    columns = []
    for each in _read_ladder(out)["columns"]:
        ap50: dict[int, float] = {}
        never_boxed: dict[int, float] = {}
        parameters = gflops = size = None
        for seed, run in each["runs"].items():
            file = out / run["evaluation"]
            if not file.exists():
                continue
            report = _read_evaluation(file)
            size = run["size"]
            if report["boxed"]["classes"]:
                ap50[int(seed)] = report["boxed"]["ap50"]
            if report["never_boxed"]["classes"]:
                never_boxed[int(seed)] = report["never_boxed"]["ap50"]
            if parameters is None:
                parameters, gflops = _cost(out / run["folder"], size)
        facts = {name: each[name] for name in ("name", "ticks", "paper", "skipped")}
        columns.append(
            Column(**facts, ap50=ap50, never_boxed=never_boxed, parameters=parameters, gflops=gflops, size=size)
        )
    return columns


def _cost(folder: Path, size: int) -> tuple[int | None, float | None]:
    if not (folder / "last.pt").exists():  # the figures were kept, and not the weights
        return None, None
    from yolo9000.inference.model import load_detector
    from yolo9000.models.cost import gflops

    model = load_detector(folder).model
    return sum(parameter.numel() for parameter in model.parameters()), gflops(model, size)


def write_table(out: Path) -> str:
    """Write ``table.md``, ``ladder.csv`` and ``ladder.png`` of what has been trained so far.

    Parameters
    ----------
    out : Path
        The ladder's folder.

    Returns
    -------
    str
        The table.
    """
    columns = read_columns(out)
    shown = [column for column in columns if column.ap50]
    base = from_plain(RunConfig, _read_ladder(out)["base"], str(out / "ladder.json"))
    table = format_ladder(shown)
    notes = [_settings(base), *(f"Not trained: {each.name} ({each.skipped})." for each in columns if each.skipped)]
    if others := [column.name for column in columns if not (column.ap50 or column.skipped)]:
        notes.append(f"Without figures so far: {', '.join(others)}.")
    if len(numbers := _images_of(out)) > 1:
        of = "; ".join(f"{number:,}: {', '.join(names)}" for number, names in sorted(numbers.items()))
        notes.append(f"Evaluated on different numbers of images, which are not to be compared: {of}.")
    text = "\n\n".join([table, "  \n".join(notes)]) + "\n"
    write_atomically(out / "table.md", text.encode())
    write_atomically(out / "ladder.csv", ladder_csv(columns).encode())
    if shown:
        draw_ladder([column for column in columns if column.ap50 or column.skipped], out / "ladder.png")
    return text


def _images_of(out: Path) -> dict[int, list[str]]:
    """The numbers of images that rungs were evaluated on -> the names of the rungs."""
    found: dict[int, list[str]] = {}
    for column in _read_ladder(out)["columns"]:
        files = [out / run["evaluation"] for run in column["runs"].values()]
        reports = [_read_evaluation(file) for file in files if file.exists()]
        for number in {int(report["images"]) for report in reports if "images" in report}:
            found.setdefault(number, []).append(column["name"])
    return found


def _settings(base: RunConfig) -> str:
    """What was the same for all rungs, in a sentence."""
    plan, data = base.plan, base.data
    sets = ", ".join(f"{layout} {Path(path).name}" for layout, path in data.sets) or "scenes of pictograms"
    start = f"{plan.classification_steps:,} steps as a classifier at {plan.classification_size} pixels, "
    return (
        f"mAP is the mean AP50 in percent of the classes with boxes, on images held out. Data: {sets}. Width "
        f"{base.net.detector.width:g}, {start if plan.classification_steps else ''}{plan.steps:,} steps as a detector "
        f"at {plan.size} pixels, {base.train.batch_size} images with boxes in a step."
    )
