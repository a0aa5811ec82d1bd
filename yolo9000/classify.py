"""``yolo9000 classify`` (or ``python -m yolo9000.classify``): options -> a `RunConfig` without a detector -> a run.

The options are fields of the configuration. A preset, a run's ``config.json`` or the run that is resumed gives those
that are not typed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import arg

from yolo9000.experiment.beginning import Asked, check_resumed, config_before, train_asked
from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.config_file import override
from yolo9000.experiment.presets import classifier_preset_for
from yolo9000.options import LabelSets, flags_of, parse, parse_some, part_of, sets_of, some_options, typed, values_of
from yolo9000.runtime.mistakes import Mistake, run

PROGRAM = "yolo9000 classify"
ABOUT = """Train a classifier of images with a label, over a tree of concepts or with one softmax: the start of a
detector, which train --init RUN makes of it. With no data named it trains on pictograms that are drawn on the fly.

examples:
  yolo9000 classify
  yolo9000 classify --imagenet IMAGENET_DIR --tree imagenet1k
  yolo9000 classify --imagenet IMAGENET_DIR --preset small --flat
  yolo9000 classify --resume runs/classifier

The defaults below are those of the preset: name the data or a preset before --help to see others."""

OPTIONS: dict[str, str | None] = {
    "plan.classification_steps": "steps",
    "plan.classification_size": "size",
    "plan.classification_learning_rate": "lr",
    "plan.fine_tuning_steps": None,
    "plan.fine_tuning_size": None,
    "plan.fine_tuning_learning_rate": None,
    **dict.fromkeys(f"data.{name}" for name in ("tree", "splits", "val_images", "scenes", "cluttered", "left_out")),
    "data.darknet_crops": None,
    **dict.fromkeys(f"net.{name}" for name in ("flat", "init")),
    **dict.fromkeys(f"net.detector.{name}" for name in ("backbone", "width", "stride", "batch_norm")),
    **dict.fromkeys(f"net.detector.{name}" for name in ("frozen_stages", "pretrained", "batch_norm_momentum")),
    **dict.fromkeys(f"optimiser.{name}" for name in ("optimizer", "momentum", "weight_decay", "schedule", "power")),
    **dict.fromkeys(f"optimiser.{name}" for name in ("milestones", "scales", "final", "burn_in", "burn_in_power")),
    "optimiser.gradient_clip": None,
    **dict.fromkeys(f"train.{name}" for name in ("batch_size", "accumulate", "precision", "ema_decay", "log_every")),
    **dict.fromkeys(f"train.{name}" for name in ("evaluate_every", "evaluate_at", "save_every", "settings")),
    **dict.fromkeys(f"train.{name}" for name in ("compile", "keep", "bad_steps")),
    **dict.fromkeys(f"machine.{name}" for name in ("device", "threads", "workers", "deterministic")),
    "seed": None,
}
"""Way of each field of `RunConfig` that a classifier has a use for -> its flag, if that is not the field's own."""

FLAGS_OF_OTHERS = {"steps": "--steps", "size": "--size", "imagenet": "--imagenet", "imagenet_pack": "--imagenet-pack"}
FLAGS_OF_OTHERS |= {"tiles": "--tiles", "label_tars": "--label-tars"}
"""Flags for the fields that messages of both trainings name."""

ClassifierOptions: Any = some_options(RunConfig, OPTIONS)


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What the configuration begins with, and where the run goes.

    Parameters
    ----------
    preset : str, optional
        Values of all that is not typed; scenes for drawn data and tiles, and paper for photographs, if none is named.
    config : str, optional
        Begin with the configuration of another run, its folder or its config.json; or with a file of your own, YAML or
        JSON, that has some of what --print-config prints, on top of a preset that it may name (preset: small).
    print_config : bool
        Print the configuration that these options make, as YAML, and train nothing.
    resume : str, optional
        Continue a run at the exact position, with its own configuration.
    override : bool
        With --resume: go on although options, tree or data are others than the run was trained with.
    out : str, optional
        The run's folder (default: runs/classifier).
    """

    preset: Literal["scenes", "small", "paper"] | None = None
    config: Annotated[str | None, arg(metavar="FILE")] = None
    print_config: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    resume: Annotated[str | None, arg(metavar="RUN")] = None
    override: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    out: Annotated[str | None, arg(metavar="RUN")] = None


@dataclass(frozen=True, kw_only=True)
class Command:
    """All options of training a classifier."""

    beginning: Annotated[Beginning, arg(name="")] = Beginning()
    sets: Annotated[LabelSets, arg(name="")] = LabelSets()
    run: Annotated[ClassifierOptions, arg(name="")] = ClassifierOptions()


@dataclass(frozen=True, kw_only=True)
class _Deciding:
    """The options on which the defaults of the others depend."""

    beginning: Annotated[Beginning, arg(name="")] = Beginning()
    sets: Annotated[LabelSets, arg(name="")] = LabelSets()


def configure(words: Sequence[str]) -> Asked:
    """Read a command line of training a classifier.

    Parameters
    ----------
    words : sequence of str
        What was typed after the name of the program.

    Returns
    -------
    Asked

    Raises
    ------
    Mistake
        A value is refused, a configuration cannot be read or is that of a detector, or a resumed run was asked to
        become another.

    Examples
    --------
    >>> asked = configure(["--steps", "5", "--fine-tuning-steps", "2", "--fine-tuning-size", "160"])
    >>> asked.folder.as_posix(), asked.config.plan.classification_steps, asked.config.plan.steps, asked.config.plan.size
    ('runs/classifier', 5, 0, 160)
    """
    deciding = parse_some(_Deciding, words, program=PROGRAM)
    beginning, named = deciding.beginning, sets_of(deciding.sets)

    def begin(sets: tuple[tuple[str, str], ...], preset: str | None, recipe: str | None) -> RunConfig:
        if recipe is not None:
            raise Mistake(f"{beginning.config}: recipe {recipe}: a classifier has none")
        return classifier_preset_for(named or sets, preset)

    before = config_before(
        preset=beginning.preset, config=beginning.config, resume=beginning.resume, out=beginning.out, begin=begin
    )
    if before is None:
        before = begin((), beginning.preset, None)
    elif not before.is_classifier:
        raise Mistake(f"{beginning.resume or beginning.config}: it trains a detector; `yolo9000 train` goes on with it")
    defaults = Command(run=part_of(ClassifierOptions, before))
    command = parse(Command, words, program=PROGRAM, about=ABOUT, default=defaults)
    changes = {**values_of(command.run), "data.sets": named or before.data.sets}
    steps, fine = changes["plan.classification_steps"], changes["plan.fine_tuning_steps"]
    # the size at which the classifier is evaluated is that of its last phase
    changes["plan.size"] = changes["plan.fine_tuning_size" if fine else "plan.classification_size"]
    if not steps:
        raise Mistake("nothing to train: `steps` is 0; fine-tuning of a trained classifier is `init` with a `size`")
    config = override(before, changes)
    if beginning.resume is None:
        out = Path(beginning.out or "runs/classifier")
        return Asked(config, out, resume=False, only_print=beginning.print_config)
    last = "plan.fine_tuning_steps" if before.plan.fine_tuning_steps and fine else "plan.classification_steps"
    may_change = {last} if bool(fine) == bool(before.plan.fine_tuning_steps) else set[str]()
    check_resumed(beginning.resume, before, config, may_change, insist=beginning.override)
    return Asked(
        config,
        Path(beginning.resume),
        resume=True,
        only_print=beginning.print_config,
        override=beginning.override,
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run a training; return the exit status: 0, 2 for a mistake in options or data, 130 if it was interrupted."""
    return run(
        lambda: train_asked(configure(typed(words))),
        flags={**FLAGS_OF_OTHERS, **flags_of(Command)},
        interrupted="interrupted; what was saved before is whole",
    )


if __name__ == "__main__":
    sys.exit(main())
