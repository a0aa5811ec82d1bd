"""What annotations in tars say: labels, by name or by number, and JSON objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

CLASSES = "classes.txt"
"""Where labels that are numbers have their names, one a line."""


class WrongRecord(Exception):
    """What is wrong with an annotation."""


class Labels:
    """Labels as they are met, each kept once: names, and numbers of lines of ``classes.txt``.

    Attributes
    ----------
    names : list of str
        The distinct names.

    Examples
    --------
    >>> labels = Labels()
    >>> [labels.add(each) for each in ("dog", 1, "dog")]
    [0, 1, 0]
    >>> labels.resolve(["cat", "dog"]), labels.names, labels.wrong
    ([0, 0], ['dog'], {})
    """

    def __init__(self) -> None:
        self._numbers: dict[str | int, int] = {}
        self.names: list[str] = []
        self.wrong: dict[int, str] = {}
        """What is wrong with some, by their numbers."""

    def add(self, value: str | int) -> int:
        """Return the number of a label, which is new if it was not met before."""
        return self._numbers.setdefault(value, len(self._numbers))

    def resolve(self, classes: Sequence[str] | None) -> list[int]:
        """Return the index in `names` of each label, by its number; -1 for the wrong ones.

        Parameters
        ----------
        classes : sequence of str, optional
            The lines of ``classes.txt``.
        """
        index_of: dict[str, int] = {}
        found = []
        for value, number in self._numbers.items():
            if isinstance(value, str):
                found.append(index_of.setdefault(value, len(index_of)))
            elif classes is not None and 0 <= value < len(classes):
                found.append(index_of.setdefault(classes[value], len(index_of)))
            else:
                lines = f"has {len(classes):,} lines, and the first is 0" if classes is not None else "is not there"
                self.wrong[number] = f"label {_short(value)} is the number of a line of {CLASSES}, which {lines}"
                found.append(-1)
        self.names = list(index_of)
        return found


def is_label(value: Any) -> bool:
    """Whether a value of a JSON is a name, or a number that a line may have.

    Examples
    --------
    >>> is_label("dog"), is_label(" "), is_label(7), is_label(True), is_label(2**70)
    (True, False, True, False, False)
    """
    return bool(value.strip()) if isinstance(value, str) else type(value) is int and abs(value) < 1 << 31


def read_json(data: bytes) -> dict[str, Any]:
    """Read the object of an annotation.

    Raises
    ------
    WrongRecord
        If it is no JSON object, or one with NaN or infinity in it.

    Examples
    --------
    >>> read_json(b'{"label": 3}')
    {'label': 3}
    """
    try:
        found = json.loads(data, parse_constant=_no_number)
    except RecursionError:
        raise WrongRecord("no JSON: lists or objects are inside each other too deeply") from None
    except ValueError as error:  # also what is no UTF-8, or a number of thousands of digits
        raise WrongRecord(f"no JSON that can be read: {error}") from error
    if not isinstance(found, dict):
        raise WrongRecord(f"an object with keys is needed, not {_short(found)}")
    return found


def _no_number(word: str) -> float:
    raise WrongRecord(f"{word} is no number that a file may have")


def _short(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "one of more than 63 bits"
    return repr(value)[:60]
