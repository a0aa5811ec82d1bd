"""What a person sees of a run: ``results.csv`` and a line of progress."""

from __future__ import annotations

import csv
import io
import math
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from yolo9000.runtime.checkpoint import write_atomically

Value = str | int | float


def format_duration(seconds: float) -> str:
    """Write a duration the way a person reads it.

    Examples
    --------
    >>> format_duration(59.6), format_duration(125), format_duration(3 * 3600 + 61)
    ('1:00', '2:05', '3:01:01')
    """
    whole = max(0, round(seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class ResultsFile:
    """``results.csv``: one row a logged step or evaluation, in order of steps; columns are added as they appear.

    Parameters
    ----------
    path : Path
        The file; read if it exists.
    keep_to_step : int, optional
        When a run is resumed from a checkpoint of that step, rows of later steps are dropped: they are about to be
        written again.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     results = ResultsFile(Path(folder) / "results.csv")
    ...     results.append({"step": 1, "loss": 2.5})
    ...     results.append({"step": 2, "loss": 2.25, "ap50": 0.5})
    ...     print((Path(folder) / "results.csv").read_text())
    step,loss,ap50
    1,2.5,
    2,2.25,0.5
    <BLANKLINE>
    """

    def __init__(self, path: Path, *, keep_to_step: int | None = None) -> None:
        self.path = path
        self.columns: list[str] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self.columns = list(csv.DictReader(file).fieldnames or [])
            rows = self.rows
            if keep_to_step is not None:
                rows = [row for row in rows if int(row["step"]) <= keep_to_step]
            self._rewrite(rows)

    @property
    def rows(self) -> list[dict[str, str]]:
        """All rows, read from the file: a long run does not hold them."""
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            # a run killed while it wrote may leave half a line: a row without a step is dropped
            return [
                row for row in csv.DictReader(file) if (row.get("step") or "").isdecimal() and None not in row.values()
            ]

    def append(self, row: Mapping[str, Value]) -> None:
        """Add one row, which has a ``step``; it is on the disk's way when this returns.

        Raises
        ------
        OSError
            It cannot be written; the error names the file.
        """
        text = {key: f"{value:.6g}" if isinstance(value, float) else str(value) for key, value in row.items()}
        new = [key for key in text if key not in self.columns]
        if new or not self.path.exists():
            rows = self.rows
            self.columns += new
            self._rewrite([*rows, text])
            return
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns, restval="", lineterminator="\n").writerow(text)
        except OSError as error:
            raise OSError(error.errno, f"cannot write there: {error.strerror}", str(self.path)) from error

    def column(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of the rows that have this column."""
        rows = [row for row in self.rows if row.get(name)]
        return [int(row["step"]) for row in rows], [float(row[name]) for row in rows]

    def _rewrite(self, rows: Iterable[Mapping[str, str]]) -> None:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self.columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path, buffer.getvalue().encode())


class Progress:
    """A progress bar on a terminal; elsewhere one line every so many seconds.

    Parameters
    ----------
    total, initial : int
        Steps of the whole run, and those already done.
    every_seconds : float
        How often a line is written when the output is no terminal.
    file : text stream, optional
        Standard error by default.
    shown : bool
        False on all but the first of several processes.
    """

    def __init__(
        self,
        total: int,
        initial: int = 0,
        *,
        every_seconds: float = 30.0,
        file: TextIO | None = None,
        shown: bool = True,
    ) -> None:
        self._file = sys.stderr if file is None else file
        self._total, self._initial, self._done = total, initial, initial
        self._every = every_seconds
        self._shown = shown
        self._started = self._written = time.monotonic()
        self._written_step = initial
        self._bar: tqdm[Any] | None = None
        self._text = ""
        if shown and self._file.isatty():
            self._bar = tqdm(total=total, initial=initial, file=self._file, dynamic_ncols=True, unit="step")

    def advance(self, steps: int = 1) -> None:
        """Count steps, and write the line if it is time."""
        self._done += steps
        if self._bar is not None:
            self._bar.update(steps)
        elif self._shown and time.monotonic() - self._written >= self._every:
            self._write_line()

    def show(self, phase: str, values: Mapping[str, float]) -> None:
        """Set the text beside the bar: the phase, losses, learning rate, images a second."""
        numbers = " ".join(f"{name} {value:.3g}" for name, value in values.items() if not math.isnan(value))
        self._text = f"{phase} {numbers}"
        if self._bar is not None:
            self._bar.set_description_str(phase)
            self._bar.set_postfix_str(numbers)

    def message(self, text: str) -> None:
        """Write a line without tearing the bar."""
        if self._bar is not None:
            self._bar.write(text, file=self._file)
        elif self._shown:
            print(text, file=self._file, flush=True)

    def close(self) -> None:
        """End the bar, or write the last line."""
        if self._bar is not None:
            self._bar.close()
        elif self._shown and self._done > self._written_step:
            self._write_line()

    def _write_line(self) -> None:
        self._written, self._written_step = time.monotonic(), self._done
        elapsed = self._written - self._started
        left = elapsed / max(1, self._done - self._initial) * (self._total - self._done)
        print(
            f"step {self._done}/{self._total} {self._text} {format_duration(elapsed)}<{format_duration(left)}",
            file=self._file,
            flush=True,
        )
