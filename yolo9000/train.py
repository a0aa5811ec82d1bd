"""``yolo9000 train`` (or ``python -m yolo9000.train``): options -> a `RunConfig` -> a run.

The options are the fields of the configuration. A preset, a run's ``config.json`` or the run that is resumed gives
those that are not typed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import arg

from yolo9000.experiment.beginning import Asked, begin_with, check_beside_cfg, check_resumed, train_asked, usual_folder
from yolo9000.experiment.config import NetConfig, RunConfig
from yolo9000.options import DataSets, flags_of, parse, parse_some, sets_of, typed
from yolo9000.runtime.mistakes import run

PROGRAM = "yolo9000 train"
ABOUT = """Train a detector, on boxes alone or jointly on boxes and image labels over one tree of concepts.
With no data named it trains on scenes of pictograms that are drawn on the fly.
Boxes belong to the pixels of an image as they are stored, or to the upright ones if the size that the data set states
is theirs; images with a label are turned upright as their EXIF orientation says.

examples:
  yolo9000 train --joint
  yolo9000 train --joint --coco COCO_DIR --imagenet IMAGENET_DIR --tree wordtree.json
  yolo9000 train --preset small --yolo DATA_YAML
  yolo9000 train --joint --preset small --coco COCO_DIR --imagenet IMAGENET_DIR
  yolo9000 train --config mine.yaml --steps 500
  yolo9000 train --resume runs/joint

what it logs, for an image on average: box (where assigned boxes are), prior_pull (early in the training, boxes without
a thing are pulled to their prior), objectness and background (is there a thing?), class (what is in a box),
image_class and image_objectness (what an image label teaches), lr (the rate), and the held-out scores that `yolo9000
evaluate --help` explains.

The defaults below are those of the preset: name the data or a preset before --help to see others."""


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """What the configuration begins with, and where the run goes.

    Parameters
    ----------
    preset : str, optional
        Values of all that is not typed; scenes for drawn data and photographs for real data, if none is named. small
        is short for small-photographs: thousands of photographs or fewer, in minutes to tens of minutes.
    recipe : str, optional
        How joint training mixes images with a label with those with boxes, and what a label teaches.
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
        The run's folder (default: runs/joint or runs/boxes).
    """

    preset: Literal["scenes", "small-photographs", "photographs", "paper", "small"] | None = None
    recipe: (
        Literal["mil", "paper", "paper-literal", "darknet", "overlap", "max-size", "objectness", "constant"] | None
    ) = None
    config: Annotated[str | None, arg(metavar="FILE")] = None
    print_config: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    resume: Annotated[str | None, arg(metavar="RUN")] = None
    override: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    out: Annotated[str | None, arg(metavar="RUN")] = None


@dataclass(frozen=True, kw_only=True)
class Command:
    """All options of training."""

    beginning: Annotated[Beginning, arg(name="")] = Beginning()
    sets: Annotated[DataSets, arg(name="")] = DataSets()
    run: Annotated[RunConfig, arg(name="")] = RunConfig()


@dataclass(frozen=True, kw_only=True)
class _Deciding:
    """The options on which the defaults of the others depend."""

    beginning: Annotated[Beginning, arg(name="")] = Beginning()
    sets: Annotated[DataSets, arg(name="")] = DataSets()
    net: Annotated[NetConfig, arg(name="")] = NetConfig()


def configure(words: Sequence[str]) -> Asked:
    """Read a command line of training.

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
        A value is refused, a configuration cannot be read, or a resumed run was asked to become another.

    Examples
    --------
    >>> asked = configure(["--joint", "--recipe", "paper", "--steps", "5"])
    >>> asked.folder.as_posix(), asked.config.plan.steps, asked.config.plan.joint.ratio
    ('runs/joint', 5, (4, 1))
    """
    deciding = parse_some(_Deciding, words, program=PROGRAM)
    beginning = deciding.beginning
    before = _before(deciding)
    command = parse(Command, words, program=PROGRAM, about=ABOUT, default=Command(run=before))
    config = command.run
    # against the plain defaults: of a preset that has them, those of `before` would be the same
    check_beside_cfg(config.net.cfg, NetConfig(), deciding.net)
    if beginning.resume is None:
        out = Path(beginning.out or usual_folder(config))
        return Asked(config, out, resume=False, only_print=beginning.print_config)
    check_resumed(beginning.resume, before, config, {"plan.steps"}, insist=beginning.override)
    return Asked(
        config,
        Path(beginning.resume),
        resume=True,
        only_print=beginning.print_config,
        override=beginning.override,
    )


def _before(deciding: _Deciding) -> RunConfig:
    """The configuration before the options of the command line are put in."""
    beginning = deciding.beginning
    return begin_with(
        sets_of(deciding.sets),
        preset=beginning.preset,
        recipe=beginning.recipe,
        config=beginning.config,
        resume=beginning.resume,
        out=beginning.out,
        started=deciding.net.cfg is not None or deciding.net.init is not None,
        insist=beginning.override,
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run a training; return the exit status: 0, 2 for a mistake in options or data, 130 if it was interrupted."""
    return run(
        lambda: train_asked(configure(typed(words))),
        flags=flags_of(Command),
        interrupted="interrupted; what was saved before is whole",  # before the first step, or the second Ctrl-C
    )


if __name__ == "__main__":
    sys.exit(main())
