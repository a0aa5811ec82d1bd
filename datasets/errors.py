"""The error for wrong data. This module imports nothing, so that catching the error loads no reader."""

from __future__ import annotations


class DatasetError(ValueError):
    """The data are not as expected; the message says what was expected and what was found."""


class UnknownClasses(DatasetError):
    """A data set has classes that the label map lacks.

    Parameters
    ----------
    message : str
        The whole message.
    source : str
        The data set.
    missing : tuple of str
        The names of the classes.
    """

    def __init__(self, message: str, *, source: str, missing: tuple[str, ...]) -> None:
        super().__init__(message)
        self.source, self.missing = source, missing
