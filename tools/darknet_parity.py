"""How far our numbers are from darknet's golden ones, as a table: ``python tools/darknet_parity.py [FOLDER]``."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

# A bare checkout is enough: tools/ is where Python looks first, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.darknet_parity import compare_golden
from yolo9000.runtime.mistakes import Mistake, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return the exit status: 0, or 2 if there is nothing to compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    golden = Path(__file__).resolve().parents[1] / "tests" / "golden"
    parser.add_argument("folder", nargs="?", type=Path, default=golden, help="golden files (default: tests/golden)")
    return run(functools.partial(_run, parser.parse_args(arguments).folder))


def _run(folder: Path) -> int:
    torch.set_num_threads(1)  # sums of one order, so that the table is the same again
    rows = compare_golden(folder)
    if not rows:
        raise Mistake(f"{folder}: no golden files")
    print("| array | worst difference | relative to 1 + value | largest value |\n| --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row.array} | {row.absolute:.1e} | {row.relative:.1e} | {row.largest:.3g} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
