"""Configurations from keywords: from Python the names are those that a command line has, without the hyphens."""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

from yolo9000.experiment.config_file import from_plain
from yolo9000.experiment.layouts import LAYOUTS
from yolo9000.runtime.mistakes import Mistake, in_flags
from yolo9000.runtime.mistyped import unknown_word

Config = TypeVar("Config")

_NO_WORDS: Mapping[str, str] = {}


class WrongKeyword(Mistake, TypeError):
    """A keyword that is not known; the message says which one is meant."""


def ways_of(kind: type) -> dict[str, str]:
    """Keyword -> way of its field from the top, of a configuration class.

    Parameters
    ----------
    kind : type
        A configuration class.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> from yolo9000.experiment.config import RunConfig
    >>> ways = ways_of(RunConfig)
    >>> ways["steps"], ways["batch"], ways["joint"], "sets" in ways
    ('plan.steps', 'train.batch_size', 'plan.joint.enabled', False)
    """
    return {keyword: way for keyword, way in _ways(kind, "") if keyword != "sets"}  # each layout is a keyword


def _ways(kind: Any, above: str) -> Iterator[tuple[str, str]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    for each in dataclasses.fields(kind):
        hint = hints[each.name]
        plain = typing.get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
        if dataclasses.is_dataclass(plain):
            yield from _ways(plain, f"{above}{each.name}.")
        else:
            named = (getattr(mark, "name", None) for mark in getattr(hint, "__metadata__", ()))
            keyword = next((name for name in named if name), each.name)
            yield keyword.replace("-", "_"), f"{above}{each.name}"


def check_keywords(
    given: Collection[str], known: Collection[str], where: str, *, meant: Mapping[str, str] = _NO_WORDS
) -> None:
    """Raise if a keyword is not known.

    Parameters
    ----------
    given, known : collection of str
    where : str
        The method, for the message.
    meant : mapping of str to str
        What other programs call it -> the keyword.

    Raises
    ------
    WrongKeyword
        The message says which one is meant.

    Examples
    --------
    >>> check_keywords({"conf": 0.5}, ["threshold", "size"], "predict", meant={"conf": "threshold"})
    Traceback (most recent call last):
    yolo9000.experiment.keywords.WrongKeyword: predict: conf: did you mean threshold?
    """
    for keyword in given:
        if keyword in known:
            continue
        if keyword in meant:
            raise WrongKeyword(f"{where}: {keyword}: did you mean {meant[keyword]}?")
        raise WrongKeyword(f"{where}: {unknown_word(keyword, known, 'keywords', ask='its docstring lists them')}")


def with_keywords(config: Config, given: Mapping[str, Any], where: str, *, also: Collection[str] = ()) -> Config:
    """The same configuration with the fields of some keywords changed.

    Parameters
    ----------
    config : dataclass
    given : mapping of str to any
        Keyword -> value, as `ways_of` names them. Paths may stand for texts, and lists for tuples.
    where : str
        The method, for messages.
    also : collection of str
        Its other keywords, one of which may be meant where one is not known.

    Returns
    -------
    dataclass

    Raises
    ------
    WrongKeyword
        A keyword is not known.
    Mistake
        A value does not fit, or is out of its range; the message names keywords.

    Examples
    --------
    >>> from yolo9000.experiment.config import RunConfig
    >>> with_keywords(RunConfig(), {"steps": 5, "lr": 0.1}, "train").optimiser.learning_rate
    0.1
    >>> with_keywords(RunConfig(), {"batch": 0}, "train")
    Traceback (most recent call last):
    yolo9000.runtime.mistakes.Mistake: train: batch 0: at least 1 is needed
    """
    ways = ways_of(type(config))
    names = {way.rpartition(".")[2]: keyword for keyword, way in ways.items()}
    check_keywords(
        given, [*ways, *also], where, meant={name: keyword for name, keyword in names.items() if name != keyword}
    )
    if not given:
        return config
    plain = dataclasses.asdict(config)  # type: ignore[call-overload]
    for keyword, value in given.items():
        *above, name = ways[keyword].split(".")
        inside = plain
        for step in above:
            inside = inside[step]
        inside[name] = os.fspath(value) if isinstance(value, os.PathLike) else value
    try:
        return from_plain(type(config), plain, where, quoted=True)
    except Mistake as error:  # who gave keywords knows nothing of fields and ways
        words = {keyword: keyword for keyword in (*ways, *also)}
        raise Mistake(in_flags(str(error), words | names)) from error


def sets_of_keywords(given: Mapping[str, Any]) -> tuple[tuple[tuple[str, str], ...], dict[str, Any]]:
    """The data sets among some keywords, as `DataConfig.sets` has them, and the other keywords.

    Parameters
    ----------
    given : mapping of str to any
        The name of a layout -> a path, or several where it takes several.

    Returns
    -------
    sets : tuple of (str, str)
        Layout and path of each data set.
    others : dict of str to any

    Raises
    ------
    Mistake
        A layout is given what is no path.

    Examples
    --------
    >>> sets_of_keywords({"coco": ["a", "b"], "imagenet": "c", "steps": 5})
    ((('coco', 'a'), ('coco', 'b'), ('imagenet', 'c')), {'steps': 5})
    """
    sets: list[tuple[str, str]] = []
    for layout in LAYOUTS:
        paths = given.get(layout)
        for path in paths if isinstance(paths, list | tuple) else [] if paths is None else [paths]:
            if not isinstance(path, str | os.PathLike):
                raise Mistake(f"`{layout}` {path!r}: the path of a data set is needed, or a list of them")
            sets.append((layout, os.fspath(path)))
    return tuple(sets), {keyword: value for keyword, value in given.items() if keyword not in LAYOUTS}
