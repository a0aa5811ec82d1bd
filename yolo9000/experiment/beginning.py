"""What a training is asked for: where a run begins, and whether a resumed one stays what it was.

It imports no torch, so that a command's help is there at once.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from yolo9000.experiment.config import NetConfig, RunConfig
from yolo9000.experiment.config_file import differences, override, read_config, read_handwritten, written_config
from yolo9000.experiment.presets import PRESETS, SHORT_NAMES, joint_recipe, preset_for
from yolo9000.runtime.interrupt import EXIT_INTERRUPTED
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.mistyped import unknown_choice

MAY_CHANGE = frozenset(
    {
        "data.val_images",
        "train.log_every",
        "train.evaluate_every",
        "train.evaluate_at",
        "train.save_every",
        "train.keep",
        "train.bad_steps",
        "train.shard_classes",
        "machine.device",
        "machine.threads",
        "machine.workers",
        "machine.rank_timeout",
        "machine.deterministic",
    }
)
"""Fields that every resumed run may change, besides the steps of its last phase: none of them changes what has been
trained so far."""


@dataclass(frozen=True)
class Asked:
    """What a command line asks for: a run in a folder, begun or gone on with."""

    config: RunConfig
    folder: Path
    resume: bool
    only_print: bool = False
    override: bool = False


def config_before(
    *,
    preset: str | None,
    config: str | None,
    resume: str | None,
    out: str | None,
    begin: Callable[[tuple[tuple[str, str], ...], str | None, str | None], RunConfig],
) -> RunConfig | None:
    """The configuration of the run that another one begins with, or that is resumed, or one written by hand.

    Parameters
    ----------
    preset, config, resume, out : str, optional
        As they were typed.
    begin : callable
        Data sets, name of a preset and of a recipe -> what a file that is written by hand is put on top of.

    Returns
    -------
    RunConfig, optional
        None if a preset is what the run begins with.

    Raises
    ------
    Mistake
        Two of them say what the run begins with, or the configuration cannot be read.
    """
    given = {"preset": preset, "config": config, "resume": resume}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise Mistake(f"{' and '.join(f'`{name}`' for name in named)}: one of them says what a run begins with")
    if resume is not None:
        if out is not None:
            raise Mistake("`out` and `resume`: a run goes on in its own folder")
        from yolo9000.runtime.run_folder import create_run_folder  # which imports torch

        return read_config(create_run_folder(resume, resume=True).path)
    if config is None:
        return None
    written = read_handwritten(Path(config))
    if written is None:
        return read_config(Path(config))
    return written.on_top_of(begin(written.sets, written.preset, written.recipe))


def begin_with(
    named: tuple[tuple[str, str], ...],
    *,
    preset: str | None = None,
    recipe: str | None = None,
    config: str | None = None,
    resume: str | None = None,
    out: str | None = None,
    started: bool = False,
    insist: bool = False,
) -> RunConfig:
    """The configuration of a run before its own fields are put in.

    Parameters
    ----------
    named : tuple of (str, str)
        The data sets, as `DataConfig.sets` has them.
    preset, recipe, config, resume, out : str, optional
        As they were typed: values of all that is not, a recipe in place of theirs, the run that gives the
        configuration, or the one that is resumed, and the folder.
    started : bool
        The net starts from weights that are there, or has another form than ours.
    insist : bool
        A run that is resumed may get other data and another recipe.

    Returns
    -------
    RunConfig

    Raises
    ------
    Mistake
        What was typed does not go together, or a configuration cannot be read.

    Examples
    --------
    >>> begin_with((("coco", "COCO_DIR"),), recipe="paper").plan.joint.ratio
    (4, 1)
    """

    def begin(sets: tuple[tuple[str, str], ...], preset: str | None, recipe: str | None) -> RunConfig:
        if preset is not None and preset not in PRESETS and preset not in SHORT_NAMES:
            raise Mistake(f"`preset` {unknown_choice(preset, [*PRESETS, *SHORT_NAMES])}")
        return preset_for(named or sets, name=preset, recipe=recipe, started=started)

    before = config_before(preset=preset, config=config, resume=resume, out=out, begin=begin)
    if before is None:
        return begin((), preset, recipe)
    joint = before.plan.joint
    if recipe is not None:
        told = joint_recipe(recipe)
        joint = dataclasses.replace(joint, image_labels=told.image_labels, ratio=told.ratio, mosaic=told.mosaic)
    if resume is None or insist:
        return override(before, {"data.sets": named or before.data.sets, "plan.joint": joint})
    wrong = [f"`{layout}` {path}" for layout, path in named] if named and named != before.data.sets else []
    if joint.image_labels != before.plan.joint.image_labels:
        wrong.append(f"`recipe` {recipe}")
    if wrong:
        raise Mistake(f"{resume}: a run is resumed with its own data and recipe; leave out {', '.join(wrong)}, "
                      "or insist with `override`")  # fmt: skip
    return before


def usual_folder(config: RunConfig) -> str:
    """Where a run goes if no folder is named.

    Examples
    --------
    >>> usual_folder(RunConfig())
    'runs/joint'
    """
    return "runs/joint" if config.plan.joint.enabled else "runs/boxes"


def check_resumed(
    resume: str, before: RunConfig, config: RunConfig, may_change: Collection[str], *, insist: bool = False
) -> None:
    """Raise if a resumed run was asked to become another.

    Parameters
    ----------
    resume : str
        The run.
    before, config : RunConfig
        Its own configuration, and the one that is asked for.
    may_change : collection of str
        Ways of the fields that may differ, besides `MAY_CHANGE`.
    insist : bool
        The run becomes another.

    Raises
    ------
    Mistake
        Other fields differ; the message lists them.
    """
    refused = [
        f"`{way.split('.')[-1]}` {now} (the run has {was})"
        for way, (was, now) in differences(before, config).items()
        if way not in MAY_CHANGE and way not in may_change
    ]
    if refused and not insist:
        raise Mistake(
            f"{resume}: a run is resumed as it was begun; leave out {', '.join(refused)}, or insist with `override`"
        )


def check_beside_cfg(cfg: str | None, before: NetConfig, asked: NetConfig) -> None:
    """Raise if the form of our own net, or its priors, were asked for of a net that has those of a `cfg`.

    `NetConfig` cannot know, for every preset has them.

    Parameters
    ----------
    cfg : str, optional
        The cfg that the net is made of, if there is one.
    before, asked : NetConfig
        What was there before a person asked for something, and after it.

    Raises
    ------
    Mistake
        They differ in the detector or its priors; the message lists the fields.
    """
    changes = differences(RunConfig(net=before), RunConfig(net=asked)) if cfg is not None else {}
    ours = [way.split(".")[-1] for way in changes if way == "net.priors" or way.startswith("net.detector.")]
    if ours:
        raise Mistake(
            f"{', '.join(f'`{name}`' for name in ours)}: of a net of ours; a `cfg` says itself what its layers and "
            "priors are"
        )


def train_asked(asked: Asked) -> int:
    """Train, or print the configuration; return the exit status: 0, or 130 if the run was interrupted."""
    if asked.only_print:
        print(written_config(asked.config), end="")
        return 0
    from yolo9000.experiment.run import train_run  # here, for --help needs no torch

    result = train_run(asked.config, asked.folder, resume=asked.resume, override=asked.override)
    if result.interrupted:
        print(f"stopped at step {result.step}; continue with --resume {asked.folder}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0
