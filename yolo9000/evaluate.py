"""``yolo9000 evaluate RUN``: average precision of boxed and never-boxed classes, top-1, held-out loss.

And what is behind it: are boxes where things are, is a coarser name right, do probabilities say what is so?
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from yolo9000.experiment.evaluate_config import EvaluateConfig
from yolo9000.options import DataSets, flags_of, parse, sets_of, typed
from yolo9000.runtime.mistakes import Mistake, run

PROGRAM = "yolo9000 evaluate"
ABOUT = """Evaluate a run on images it has not seen: average precision (COCO's) of the classes that had boxes in
training and of those that had none, at the label and at its parent in the tree; how often boxes are in the right place
whatever they are called, how things are named as far as the net is sure, and whether its probabilities are right as
often as they say; top-1 on images with a label; mean loss of each source. With no data named the held-out part of the
run's own data is used. Boxes are compared where the data set has them: for the stored pixels, or for the upright ones
if the size that it states is theirs; images with a label are turned upright as their EXIF orientation says.

what it prints:
  AP50, AP50:95     average precision at an overlap (IoU) of .5, and the mean over .5 to .95; 1 is perfect
  at parents        the same, with every label replaced by its parent: is a coarser name right?
  constant box      what a box of one size in the middle of each image reaches if it is told the label: no detector
  CorLoc            in how many images with a label the surest box for it overlaps a thing of that label
  of ten            how many true boxes one of the ten surest boxes overlaps, whatever it is called
  ECE               expected calibration error: by how much the stated probabilities miss how often they are right
  unclaimed         of the concepts that would be right, the share that the net never gave; ECE does not see these
  exact .. missed   how boxes are named when a label backs off until the net is sure: the label, one above it, one below
                    it, a wrong one, or no box. depth: how far down the way to the label, 1 is all of it
  best, worst       classes by AP50

examples:
  yolo9000 evaluate runs/joint
  yolo9000 evaluate yolo9000.weights --cfg yolo9000.cfg --coco COCO_DIR --map coco9k.map
  yolo9000 evaluate torchvision:ssd300_vgg16 --coco COCO_DIR"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """All options of an evaluation.

    Parameters
    ----------
    out : str, optional
        Where the figures go: a new file (default: evaluation.json in the run, and beside it reliability.png and, a row
        for each concept, nodes.md and nodes.csv; for NAME.json these are NAME.reliability.png and NAME.nodes.md;
        evaluation2.json and so on where there is one). Of torchvision:NAME they go to NAME.json in the working
        directory.
    overwrite : bool
        Replace the figures that are there.
    """

    out: Annotated[str | None, arg(metavar="FILE")] = None
    overwrite: bool = False
    sets: Annotated[DataSets, arg(name="")] = DataSets()
    config: Annotated[EvaluateConfig, arg(name="")] = EvaluateConfig()


@dataclass(frozen=True, kw_only=True)
class Command(Options):
    """An evaluation.

    Parameters
    ----------
    run : str
        The folder of a run, a checkpoint, weights of darknet's, or torchvision:NAME.
    """

    run: Positional[Annotated[str, arg(metavar="RUN")]]


def main(words: Sequence[str] | None = None) -> int:
    """Run an evaluation; return the exit status: 0, 2 for a mistake in options or data, 130 on Ctrl-C."""
    return run(
        lambda: _evaluate(parse(Command, typed(words), program=PROGRAM, about=ABOUT, options=Options)),
        flags={**flags_of(Command), "resume": "train --resume", "init": "train --init"},
        interrupted="interrupted; nothing was written",
    )


def _evaluate(command: Command) -> int:
    # here, for --help needs no torch
    from yolo9000.evaluation.report import format_report
    from yolo9000.experiment.evaluate import evaluate_run, write_evaluation
    from yolo9000.inference.torchvision_detector import PREFIX
    from yolo9000.runtime.device import pick_device
    from yolo9000.runtime.distributed import local_device_name
    from yolo9000.runtime.output_folder import free_file, new_file
    from yolo9000.runtime.watch import together

    if command.out:
        if Path(command.out).is_file() and not command.overwrite:
            raise Mistake(f"{command.out} is there already: name another `out`, or ask with `overwrite` to replace it")
        new_file(command.out, overwrite=True)
    config = dataclasses.replace(command.config, sets=sets_of(command.sets))
    with together(pick_device(config.open.device or local_device_name())) as processes:
        report = evaluate_run(command.run, config, processes=processes)
    if not processes.is_first:
        return 0
    print(format_report(report), flush=True)  # first: the figures shall not be lost where no file can be written
    out = Path(command.out) if command.out else Path(report["checkpoint"]).parent / "evaluation.json"
    if not command.out and command.run.startswith(PREFIX):
        out = Path(f"{command.run.removeprefix(PREFIX)}.json")
    if not command.overwrite:
        out = free_file(out)
    is_the_run_s = not command.out and out.stem == "evaluation"
    report["images_at_most"] = command.config.images  # which says whether other figures are of as many
    write_evaluation(report, out, picture="reliability.png" if is_the_run_s else f"{out.stem}.reliability.png")
    print(f"written to {out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
