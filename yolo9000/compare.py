"""``yolo9000 compare RUN RUN ...``: what runs were told and what they reached, and their curves in a picture."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from yolo9000.runtime.mistakes import run
from yolo9000.runtime.mistyped import OneLineParser

ABOUT = """What several runs were told, where they differ, and what they reached: the figures of each run's
last evaluation if there is one, and the last of its results.csv. A run may still be training.

examples:
  yolo9000 compare runs/boxes runs/joint
  yolo9000 compare runs/seed* --out comparison            # comparison.md and comparison.png: the curves side by side
  yolo9000 compare before=runs/a after=runs/b             # other names in the tables"""


def main(words: Sequence[str] | None = None) -> int:
    """Compare runs; return the exit status: 0, 2 for a mistake, 130 on Ctrl-C."""
    parser = OneLineParser(prog="yolo9000 compare", description=ABOUT)
    parser.add_argument("runs", nargs="+", metavar="[NAME=]RUN", help="the folder of a run")
    parser.add_argument(
        "--out", type=Path, metavar="STEM", help="also write STEM.md, the tables, and STEM.png, the curves"
    )
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    return run(lambda: _compare(parser.read(words)), flags=parser.fields)


def _compare(given: argparse.Namespace) -> int:
    from yolo9000.comparison.runs import draw_runs, format_runs, read_runs

    runs = read_runs(given.runs)
    print(format_runs(runs, markdown=given.markdown))
    if given.out is not None:
        stem = given.out.with_suffix("") if given.out.suffix in (".md", ".png") else given.out
        stem.parent.mkdir(parents=True, exist_ok=True)
        table, picture = Path(f"{stem}.md"), Path(f"{stem}.png")
        drawn = draw_runs(runs, picture)
        shown = f"\n![curves]({picture.name})\n" if drawn else ""
        table.write_text(f"{format_runs(runs, markdown=True)}\n{shown}", encoding="utf-8")
        print(f"written to {table}" + (f" and {picture}" if drawn else ""), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
