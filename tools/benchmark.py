"""Measure this project against its peers, as a table of ratios: ``python tools/benchmark.py [ROW ...]``.

    python tools/benchmark.py --list
    python tools/benchmark.py head predict --json runs/benchmark.json
    python tools/benchmark.py --out benchmarks/performance.md      # replaces the table in that file

Both sides of a row run in turn in one process; medians are compared. Peers: ``pip install -e ".[benchmark]"`` and
``apt-get install darknet``. Ctrl-C prints what was measured until then.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

# A bare checkout is enough: tools/ is where Python looks first, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.harness import Scale, as_json, machine, run_rows, select, table
from benchmarks.report import replace_table
from benchmarks.rows import all_rows
from yolo9000.runtime.device import use_huge_pages
from yolo9000.runtime.mistakes import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table; return the exit status: 0, or 2 for a mistake on the command line."""
    use_huge_pages()  # as train, evaluate and predict; torch's other users in this process have them as well
    summary, _, usage = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", help="names, or their beginnings up to a hyphen (default: all rows)")
    parser.add_argument("--list", action="store_true", help="only name the rows")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: do the rows run? The ratios mean nothing")
    parser.add_argument("--rounds", type=int, default=5, help="times that each side is measured (default 5)")
    parser.add_argument("--threads", type=int, help="of every side that can be told (default: torch's)")
    parser.add_argument("--json", type=Path, help="write every sample here")
    parser.add_argument("--out", type=Path, help="write the table into this file, between its two marks")
    return run(functools.partial(_run, parser.parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    rows = select(all_rows(), options.rows)
    if options.list:
        print("\n".join(f"{row.name}: {row.what}" for row in rows))
        return 0
    if options.threads:
        torch.set_num_threads(options.threads)
        os.environ["OMP_NUM_THREADS"] = str(options.threads)  # of the processes that memory is measured in
    before = machine()
    results = run_rows(rows, Scale(quick=options.quick, rounds=options.rounds))
    facts = ", ".join(f"{key} {value}" for key, value in before.items()) + f"; load at the end {machine()['load']}"
    text = f"{facts}\n\n{table(results)}"
    print(text)
    if options.json is not None:
        options.json.write_text(as_json(results, before) + "\n", encoding="utf-8")
    if options.out is not None:
        replace_table(options.out, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
