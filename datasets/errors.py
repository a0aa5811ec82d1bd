"""What can be wrong with data. It imports nothing, so that a program can know it without reading any."""

from __future__ import annotations


class DatasetError(ValueError):
    """Data are not what was asked for; the message says what was looked for and what was found."""


class UnknownClasses(DatasetError):
    """Classes of a data set that the label map lacks.

    Parameters
    ----------
    message
    source
        Whose classes they are.
    missing
        Their names.
    """

    def __init__(self, message: str, *, source: str, missing: tuple[str, ...]) -> None:
        super().__init__(message)
        self.source, self.missing = source, missing
