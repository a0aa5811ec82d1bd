"""A data set's text files, and their wrong lines, gathered so that a user sees several at once."""

from __future__ import annotations

from pathlib import Path

from yolo9000.datasets.errors import DatasetError

_SHOWN, _LONGEST = 5, 300


def read_text(file: Path) -> str:
    """Return a text in UTF-8, without the mark that some editors begin it with. Raises `DatasetError`."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file}: is no text that can be read ({error.reason}); save it as UTF-8") from error


class Complaints:
    """What is wrong with the lines of a data set's files.

    Parameters
    ----------
    what : str
        What the lines should be, for the end of the message.
    keep : int
        How many of them are kept.
    of : str
        What is counted.

    Attributes
    ----------
    found : list of (str, int or None, str)
        The first wrong lines: file, line and what is said of it.

    Examples
    --------
    >>> complaints = Complaints("a row is PATH,X0,Y0,X1,Y1,LABEL")
    >>> complaints.add("boxes.csv", 3, "'ten' is no number")
    >>> complaints.require_none()
    Traceback (most recent call last):
    yolo9000.datasets.errors.DatasetError: boxes.csv:3: 'ten' is no number; a row is PATH,X0,Y0,X1,Y1,LABEL
    """

    def __init__(self, what: str, keep: int = _SHOWN, of: str = "lines") -> None:
        self._what, self._keep, self._of = what, keep, of
        self.found: list[tuple[str, int | None, str]] = []
        self._count = 0

    def add(self, file: str | Path, line: int | None, said: str) -> None:
        """Note that a line, counted from 1, is wrong, or a file that has none."""
        self._count += 1
        if len(self.found) < self._keep:
            self.found.append((str(file), line, said if len(said) <= _LONGEST else f"{said[:_LONGEST]} .."))

    def require_none(self) -> None:
        """Raise a `DatasetError` that shows the first few wrong lines and says how many there are."""
        if not self._count:
            return
        shown = [
            f"{file}: {said}" if line is None else f"{file}:{line}: {said}" for file, line, said in self.found[:_SHOWN]
        ]
        if self._count == 1:
            raise DatasetError(f"{shown[0]}; {self._what}")
        more = f"\n  and {self._count - len(shown)} more" if self._count > len(shown) else ""
        raise DatasetError(
            f"{self._count} {self._of} are wrong; {self._what}:" + "".join(f"\n  {each}" for each in shown) + more
        )
