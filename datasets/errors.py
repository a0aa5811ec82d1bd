"""The errors for wrong data. This module imports nothing, so that catching them loads no reader."""

from __future__ import annotations


class DatasetError(ValueError):
    """The data are not as expected; the message says what was expected and what was found."""


class NoSuchSplit(DatasetError):
    """A data set says nothing of a part: no key, list, folder or row has its name. It may do without one."""


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


class Unreadable(OSError):
    """One image of a source cannot be decoded.

    Raised by `yolo9000.datasets.sample.Source.read`. The mixed data set replaces such an image by the next of its
    source.

    Parameters
    ----------
    key : str
        The image's file name or id.
    reason : str
        What is wrong with it.
    """

    def __init__(self, key: str, reason: str = "") -> None:
        super().__init__(f"{key}: {reason}" if reason else key)
        self.key = key
        self.reason = reason

    def __reduce__(self) -> tuple[type[Unreadable], tuple[str, str]]:
        return type(self), (self.key, self.reason)
