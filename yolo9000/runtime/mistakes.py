"""What a user got wrong, and how a command says so.

A message of the library says which field, file, line or key is wrong and what to do. It writes fields in backquotes,
as in "`batch_size` 0: at least 1 is needed", which reads well from Python; a command replaces them by its flags.

Every command imports this module before it knows what it will need, so torch is not among what it imports.
"""

from __future__ import annotations

import logging
import os
import re
import select
import sys
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from wordtree.errors import TreeError
from yolo9000.datasets.errors import DatasetError
from yolo9000.runtime.interrupt import EXIT_INTERRUPTED

EXIT_MISTAKE = 2  # what argparse exits with, too
_FIELD = re.compile(r"`(\w+)`")
_WAY_OUT = re.compile(r", or [^`,;.:()]*`(\w+)`(?=[.,;)\n]|$)")
"""An alternative that ends in a field, as in ", or leave them out with `skip_missing`"."""
_NO_FLAGS: Mapping[str, str] = MappingProxyType({})


class Mistake(ValueError):
    """Something that a user got wrong and can put right.

    The message says which field, file, line or key it is, and what to do. Trees and data have errors of their own,
    `wordtree.TreeError` and `DatasetError`. A mistake of a programmer's, such as a wrong shape, is a plain ValueError.
    """


def flags_of(options: Iterable[str], **renamed: str) -> dict[str, str]:
    """Return the table from fields to flags of a command line.

    Parameters
    ----------
    options : iterable of str
        Names of the options, as argparse stores them.
    **renamed : str
        Field = flag, for fields whose flag has another name.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> flags_of(["log_every", "lr"], learning_rate="--lr")
    {'log_every': '--log-every', 'lr': '--lr', 'learning_rate': '--lr'}
    """
    return {name: "--" + name.replace("_", "-") for name in options} | renamed


def in_flags(message: str, flags: Mapping[str, str]) -> str:
    """Return a message with flags in place of the fields in backquotes.

    Parameters
    ----------
    message : str
    flags : mapping of str to str
        Field -> flag. Other words in backquotes stay as they are, but an alternative that only Python has is left out:
        "add them, or leave them out with `skip_missing`" helps nobody at a command without that flag.

    Returns
    -------
    str

    Examples
    --------
    >>> in_flags("`batch_size` 0: at least 1 is needed", {"batch_size": "--batch"})
    '--batch 0: at least 1 is needed'
    >>> in_flags("dodo: add it, or leave it out with `skip_missing`.", {"batch_size": "--batch"})
    'dodo: add it.'
    """
    if flags:
        message = _WAY_OUT.sub(lambda way: way[0] if way[1] in flags else "", message)
    return _FIELD.sub(lambda field: flags.get(field[1], field[0]), message)


def printable(text: str) -> str:
    """A text in one line that any terminal can print: the name of a file may hold anything but a zero.

    Examples
    --------
    >>> printable("été.jpg"), printable("a\\nb\\udce9.jpg")
    ('été.jpg', 'a\\\\nb\\\\udce9.jpg')
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def run(command: Callable[[], int], *, flags: Mapping[str, str] = _NO_FLAGS, interrupted: str = "interrupted") -> int:
    """Run a command; a mistake of its user's becomes one line on stderr, and an error of ours stays a traceback.

    Parameters
    ----------
    command : callable
        Does the work and returns an exit status.
    flags : mapping of str to str
        Field -> flag, for error messages and warnings.
    interrupted : str
        What is printed after Ctrl-C: it says what is left behind.

    Returns
    -------
    int
        The command's own exit status, 2 for a mistake, 130 for Ctrl-C.

    Examples
    --------
    >>> run(lambda: 0)
    0
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_WithFlags(flags))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    try:
        status = command()
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        return 0
    except (Mistake, TreeError, DatasetError, OSError) as error:
        print(f"error: {in_flags(str(error), flags)}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt as stop:
        print(str(stop) or interrupted, file=sys.stderr)
        return EXIT_INTERRUPTED


def _reader_is_gone() -> bool:
    """Whether nobody reads standard output any more, as when `head` has seen enough; nothing more is written then."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # no file
        return False
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(output, 0)
        if not any(event & select.POLLERR for _, event in poll.poll(0)):
            return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


class _WithFlags(logging.Formatter):
    """The message of a log record alone, with flags in place of fields."""

    def __init__(self, flags: Mapping[str, str]) -> None:
        super().__init__("%(message)s")
        self._flags = flags

    def format(self, record: logging.LogRecord) -> str:
        return in_flags(super().format(record), self._flags)
