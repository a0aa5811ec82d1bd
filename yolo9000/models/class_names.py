"""Finding the class that a name means, whether the classes form a tree or not."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from functools import lru_cache

from wordtree.errors import AmbiguousName, NameResolutionError, UnknownName
from wordtree.names import NameIndex
from yolo9000.models.classes import Classes
from yolo9000.models.flat_classes import FlatClasses


def find_class(classes: Classes, name: str | int) -> int:
    """The class that a name means: a display name, a wnid, a synset, a name that a data set has for it, or a number.

    Parameters
    ----------
    classes : Classes
    name : str or int
        It is compared without case, and underscores count as spaces.

    Returns
    -------
    int
        The node of the tree, or the number of the flat class.

    Raises
    ------
    wordtree.UnknownName, wordtree.AmbiguousName
        The message lists what is spelled alike, or what the name could mean.

    Examples
    --------
    >>> find_class(FlatClasses(2, names=("traffic light", "dog")), "Traffic_Light")
    0
    """
    if not isinstance(name, str) and not hasattr(name, "__index__"):
        raise UnknownName(f"{name!r} is no name; a text or the number of a class is needed")
    if classes.tree is not None:
        return classes.tree.node(name)
    assert isinstance(classes, FlatClasses)
    if isinstance(name, str) and classes.names is None and name.isdecimal():
        name = int(name)  # as a command line has it
    if isinstance(name, str):
        if classes.names is None:
            raise UnknownName(f"{name!r}: the {classes.number} classes have no names; give a number, or name them")
        index = _index_of(classes.names, classes.wnids, _maps(classes))
        found = index.find(name)
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(f"{number} ({classes.names[number]})" for number in found)
            raise AmbiguousName(f"{name!r} is the name of several classes; use the number of one: {listed}", found)
        close = index.close_matches(name)
        hint = f"close to it: {', '.join(close)}" if close else f"there are {', '.join(classes.names[:10])}"
        raise UnknownName(
            f"{name!r} is none of the {classes.number} classes; {hint}{', ..' * (not close and classes.number > 10)}",
            close,
        )
    number = operator.index(name)
    if not 0 <= number < classes.number:
        raise UnknownName(f"{number} is no class: they are 0 to {classes.number - 1}")
    return number


def find_classes(classes: Classes, names: str | int | Iterable[str | int]) -> tuple[int, ...]:
    """`find_class` of several names, each class once, in the order of the names; one error tells all that is wrong.

    Examples
    --------
    >>> find_classes(FlatClasses(3, names=("cat", "dog", "car")), ["car", "cat", "CAR"])
    (2, 0)
    """
    listed = list(names) if isinstance(names, Iterable) and not isinstance(names, str) else [names]
    found, errors = [], []
    for name in listed:
        try:
            found.append(find_class(classes, name))
        except NameResolutionError as error:
            errors.append(error)
    if len(errors) > 1:
        raise NameResolutionError("\n".join((f"{len(errors)} names lead to no class:", *map(str, errors))))
    if errors:
        raise errors[0]
    return tuple(dict.fromkeys(found))


def _maps(classes: FlatClasses) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
    return tuple((source, tuple(labels.items())) for source, labels in classes.label_maps.items())


@lru_cache(maxsize=8)
def _index_of(
    names: tuple[str, ...],
    wnids: tuple[str, ...] | None,
    maps: tuple[tuple[str, tuple[tuple[str, int], ...]], ...],
) -> NameIndex:
    return NameIndex(
        wnids or tuple(map(str, range(len(names)))),
        names,
        (None,) * len(names),
        ((),) * len(names),
        {source: dict(labels) for source, labels in maps},
    )
