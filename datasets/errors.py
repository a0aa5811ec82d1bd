"""The error for wrong data. This module imports nothing, so that catching the error loads no reader."""

from __future__ import annotations


class DatasetError(ValueError):
    """The data are not as expected; the message says what was expected and what was found."""
