"""Other libraries at work, without what they say about themselves."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quietly(*loggers: str) -> Iterator[None]:
    """Without warnings, printed lines and logs below an error: deprecations, progress, how they look for packages.

    Parameters
    ----------
    *loggers : str
        The names of the loggers that are to be silent; an empty one is the root.

    Examples
    --------
    >>> with quietly("onnxscript"):
    ...     print("optimising ..")
    """
    heard = [logging.getLogger(name) for name in loggers]
    levels = [each.level for each in heard]
    try:
        for each in heard:
            each.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(heard, levels, strict=True):
            each.setLevel(level)
