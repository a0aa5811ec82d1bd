"""``yolo9000 doctor``: what is installed here, what is not, and how to get it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from yolo9000.runtime.mistakes import run
from yolo9000.runtime.mistyped import OneLineParser

ABOUT = """Versions, the processor and its features, devices, threads, other programs that run nets, extras that are
absent and the line that brings them, WordNet, and the commit of a checkout. Paste it into a report of something wrong.

examples:
  yolo9000 doctor
  yolo9000 doctor --json"""


def main(words: Sequence[str] | None = None) -> int:
    """Print what is here; return the exit status: 0, or 2 for a mistyped option."""
    parser = OneLineParser(prog="yolo9000 doctor", description=ABOUT)
    parser.add_argument("--json", action="store_true", help="for programs")
    return run(lambda: _look(parser.read(words)), flags=parser.fields)


def _look(given: argparse.Namespace) -> int:
    from yolo9000.runtime.inventory import format_inventory, take_inventory

    found = take_inventory()
    print(json.dumps(found, indent=1) if given.json else format_inventory(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
