"""Measure this project against its peers, as a table of ratios: ``python tools/benchmark.py [ROW ...]``.

    python tools/benchmark.py --list
    python tools/benchmark.py head predict --json runs/benchmark.json
    python tools/benchmark.py --both --out benchmarks/performance.md      # replaces both tables in that file

Both sides of a row run in turn in one process; medians are compared. "ours" is what `predict` and `train` choose
here. --both does it again with the kernels of a processor that has AVX2 and nothing more. Peers:
``pip install -e ".[benchmark]"`` and ``apt-get install darknet``. Ctrl-C prints what was measured until then.
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# A bare checkout is enough: tools/ is where Python looks first, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from benchmarks.harness import Scale, as_json, machine, run_rows, select, table
from benchmarks.report import CLASSES, IMITATION, replace_table
from benchmarks.rows import all_rows
from yolo9000.runtime.device import use_huge_pages
from yolo9000.runtime.mistakes import run
from yolo9000.runtime.settings import limits


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
    parser.add_argument("--both", action="store_true", help="as this processor is, then held down to AVX2")
    parser.add_argument("--json", type=Path, help="write every sample here (of both: the last)")
    parser.add_argument("--out", type=Path, help="write the table into this file, between its two marks")
    return run(functools.partial(_run, parser.parse_args(arguments), arguments))


def _run(options: argparse.Namespace, given: Sequence[str] | None) -> int:
    if options.both:  # torch reads its limits when it is loaded, so each class is a process
        words = [word for word in (sys.argv[1:] if given is None else given) if word != "--both"]
        ways = [os.environ, os.environ | IMITATION]
        return max(subprocess.run([sys.executable, __file__, *words], env=way, check=False).returncode for way in ways)
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
        replace_table(options.out, text, CLASSES[bool(limits())])
    return 0


if __name__ == "__main__":
    sys.exit(main())
