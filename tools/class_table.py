"""The papers' table of several evaluations: one row a method, one column a class, as Markdown and CSV.

python tools/class_table.py runs/joint "SSD300=runs/ssd/evaluation.json" --out table.md      # and table.csv
python tools/class_table.py runs/a runs/b --metric voc07
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

# A bare checkout is enough: tools/ is where Python looks first, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from yolo9000.evaluation.class_table import Metric, class_table, read_evaluations
from yolo9000.runtime.checkpoint import write_atomically
from yolo9000.runtime.mistakes import flags_of, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; return the exit status: 0, or 2 for a mistake in options or files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "evaluations", nargs="+", metavar="[NAME=]PATH", help="an evaluation's JSON file, or a run that has one"
    )
    parser.add_argument(
        "--metric",
        choices=get_args(Metric),
        default="ap50",
        help="COCO's AP at IoU .5 (the default) or over .5 to .95; VOC's of 2007, or of 2010 and later",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="a .md file; the .csv is written beside it")
    options = parser.parse_args(arguments)
    return run(functools.partial(_run, options), flags=flags_of(vars(options)))


def _run(options: argparse.Namespace) -> int:
    table = class_table(read_evaluations(options.evaluations), options.metric)
    print(table.markdown(), end="")
    if options.out is not None:
        write_atomically(options.out.with_suffix(".md"), table.markdown().encode())
        write_atomically(options.out.with_suffix(".csv"), table.csv().encode())
        print(f"written to {options.out.with_suffix('.md')} and .csv", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
