"""Wrong lines of a data set's text files, gathered so that a user sees several at once."""

from __future__ import annotations

from pathlib import Path

from yolo9000.datasets.errors import DatasetError

_SHOWN, _LONGEST = 5, 300


class Complaints:
    """What is wrong with the lines of a data set's files.

    Parameters
    ----------
    what : str
        What the lines should be, for the end of the message.

    Examples
    --------
    >>> complaints = Complaints("a row is PATH,X0,Y0,X1,Y1,LABEL")
    >>> complaints.add("boxes.csv", 3, "'ten' is no number")
    >>> complaints.require_none()
    Traceback (most recent call last):
    yolo9000.datasets.errors.DatasetError: boxes.csv:3: 'ten' is no number; a row is PATH,X0,Y0,X1,Y1,LABEL
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._found: list[str] = []
        self._count = 0

    def add(self, file: str | Path, line: int, said: str) -> None:
        """Note that a line, counted from 1, is wrong."""
        self._count += 1
        if len(self._found) < _SHOWN:
            said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]} .."
            self._found.append(f"{file}:{line}: {said}")

    def require_none(self) -> None:
        """Raise a `DatasetError` that shows the first few wrong lines and says how many there are."""
        if self._count == 1:
            raise DatasetError(f"{self._found[0]}; {self._what}")
        if self._count:
            more = f"\n  and {self._count - len(self._found)} more" if self._count > len(self._found) else ""
            raise DatasetError(
                f"{self._count} lines are wrong; {self._what}:" + "".join(f"\n  {each}" for each in self._found) + more
            )
