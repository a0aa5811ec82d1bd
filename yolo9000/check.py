"""``yolo9000 check``: every image and record of data sets, and what a training does about each flaw."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from yolo9000.experiment.config import DataConfig
from yolo9000.options import DataSets, flags_of, parse, sets_of, some_options, typed, values_of
from yolo9000.runtime.mistakes import Mistake, run

PROGRAM = "yolo9000 check"
DEFAULT_FOLDER = "runs/check"
ABOUT = """Read everything in data sets once, and say what is wrong with them and what a training does about it: it
refuses the data, skips an image or a box, clips a box, or keeps what is there. Nothing in the data is changed.

The data are named as for yolo9000 train. A table is printed; the folder gets check.json, with file, record and line of
each flaw, and index.html, a page of pictures. Images are read by small processes, so that one that kills its decoder
is only one more flaw.

examples:
  yolo9000 check --coco COCO_DIR --imagenet IMAGENET_DIR --tree wordtree.json
  yolo9000 check --yolo DATA_YAML
  yolo9000 check --coco TRAIN_JSON --val VAL_JSON
  yolo9000 check --voc VOCdevkit/VOC2007 --splits trainval:test --out voc

The exit status is 0 if nothing is wrong, 1 if something is."""

_Data = some_options(DataConfig, {"tree": None, "splits": None, "val": None})


@dataclass(frozen=True, kw_only=True)
class Looking:
    """How the data are looked through.

    Parameters
    ----------
    size : int
        Side of the network's input in pixels: boxes that are smaller than a cell in it are counted.
    stride : int
        Pixels of a cell.
    workers : int or None
        Processes that read images; as many as there are processors by default.
    out : str, optional
        The folder that is written (default: runs/check).
    overwrite : bool
        Write into a folder that holds something.
    """

    size: Annotated[int, arg(metavar="PIXELS")] = 416
    stride: Annotated[int, arg(metavar="PIXELS")] = 32
    workers: Annotated[int | None, arg(metavar="N")] = None
    out: Annotated[str | None, arg(metavar="DIR")] = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in ("size", "stride", "workers"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise Mistake(f"`{name}` {value}: at least 1 is needed")


@dataclass(frozen=True, kw_only=True)
class Command:
    """All options of checking."""

    sets: Annotated[DataSets, arg(name="")] = DataSets()
    data: Annotated[_Data, arg(name="")] = _Data()  # type: ignore[valid-type]
    looking: Annotated[Looking, arg(name="")] = Looking()


def main(words: Sequence[str] | None = None) -> int:
    """Look through data; return the exit status: 0, 1 if something is wrong, 2 for a mistake, 130 on Ctrl-C."""
    return run(lambda: _check(parse(Command, typed(words), program=PROGRAM, about=ABOUT)), flags=flags_of(Command))


def _check(command: Command) -> int:
    # these here, for --help needs no torch
    from tqdm import tqdm

    from yolo9000.checking.boxes import check_boxes
    from yolo9000.checking.counts import count_classes
    from yolo9000.checking.images import compare_images, read_facts
    from yolo9000.checking.parts import read_parts
    from yolo9000.checking.report import REPORT, Report, as_json, as_table, files_of, write_page
    from yolo9000.runtime.checkpoint import write_atomically
    from yolo9000.runtime.output_folder import OutputFolder, choose_folder

    looking = command.looking
    config = DataConfig(sets=sets_of(command.sets), **values_of(command.data))
    if not config.sets:
        raise Mistake("no data are named; name them as for a training, such as `coco`")
    out = choose_folder(looking.out, DEFAULT_FOLDER, overwrite=looking.overwrite)

    def shown(found: Iterable[Any], number: int) -> Iterable[Any]:
        return tqdm(found, total=number, desc="images", unit="image", disable=None)

    parts = read_parts(config)
    facts = read_facts(parts, looking.workers or os.cpu_count() or 1, shown)
    kept = [check_boxes(part, each, looking.size, looking.stride) for part, each in zip(parts, facts, strict=True)]
    compare_images(parts, facts, config.splits[0])
    counts = count_classes(parts, kept, config)
    report = Report(parts=parts, counts=counts, size=looking.size, stride=looking.stride)
    folder = OutputFolder(Path(out), files_of(parts))
    write_atomically(folder.file(REPORT), (json.dumps(as_json(report), indent=1) + "\n").encode())
    write_page(report, folder)
    folder.close()
    print(as_table(report), end="")
    print(f"written to {out}: {REPORT}, index.html", file=sys.stderr)
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
