"""The tables in a Markdown file whose text around them is written by hand: one for each class of processors."""

from __future__ import annotations

from pathlib import Path

from yolo9000.runtime.mistakes import Mistake

CLASSES = ("native", "avx2")
"""What the processor is, and what it is held down to."""
IMITATION = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
"""The kernels of a processor with AVX2 and nothing more, on one that has more."""


def marks(name: str) -> tuple[str, str]:
    """The lines around a table.

    Examples
    --------
    >>> marks("avx2")
    ('<!-- table: tools/benchmark.py avx2 -->', '<!-- end of table avx2 -->')
    """
    return f"<!-- table: tools/benchmark.py {name} -->", f"<!-- end of table {name} -->"


def replace_table(file: Path, text: str, name: str = CLASSES[0]) -> None:
    """Put the text between the two marks of a file; a file that is not there is made, marks and all.

    Raises
    ------
    Mistake
        If the file has no such marks.
    """
    first, last = marks(name)
    around = file.read_text(encoding="utf-8") if file.exists() else ""
    if not around:
        around = "".join(f"{begin}\n{end}\n" for begin, end in map(marks, CLASSES))
    before, begin, rest = around.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise Mistake(f"{file}: the table goes between the lines {first} and {last}, which it does not have")
    file.write_text(f"{before}{first}\n{text}\n{last}{after}", encoding="utf-8")
