"""The table in a Markdown file whose text around it is written by hand."""

from __future__ import annotations

from pathlib import Path

from yolo9000.runtime.mistakes import Mistake

BEGIN, END = "<!-- table: tools/benchmark.py -->", "<!-- end of table -->"


def replace_table(file: Path, text: str) -> None:
    """Put the text between the two marks of a file; a file that is not there is made, marks and all.

    Raises
    ------
    Mistake
        If the file has no such marks.
    """
    around = file.read_text(encoding="utf-8") if file.exists() else f"{BEGIN}\n{END}\n"
    before, begin, rest = around.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise Mistake(f"{file}: the table goes between the lines {BEGIN} and {END}, which it does not have")
    file.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
