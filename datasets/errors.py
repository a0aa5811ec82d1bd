"""What can be wrong with data. It imports nothing, so that a program can know it without reading any."""

from __future__ import annotations


class DatasetError(ValueError):
    """Data are not what was asked for; the message says what was looked for and what was found."""
