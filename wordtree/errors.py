"""What can be wrong with a tree, a tree file or a name."""

from __future__ import annotations


class TreeError(ValueError):
    """The columns of a tree do not make a tree.

    Attributes
    ----------
    key : str
        The column at fault, such as ``"parents"``; empty if it is none in particular.
    node : int or None
        The first node at fault.
    """

    def __init__(self, message: str, *, key: str = "", node: int | None = None) -> None:
        super().__init__(message)
        self.key = key
        self.node = node


class TreeFormatError(TreeError):
    """A tree file cannot be read; the message begins with ``file:line`` or with the file and its key."""


class TreeMismatch(TreeError):
    """Numbers that come with a tree (logits, weights, nodes) do not fit it."""


class NameResolutionError(TreeError, LookupError):
    """A name does not lead to exactly one node."""


class UnknownName(NameResolutionError):
    """No node has this name.

    Attributes
    ----------
    suggestions : tuple of str
        Names of the tree that are spelled alike.
    """

    def __init__(self, message: str, suggestions: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.suggestions = suggestions


class AmbiguousName(NameResolutionError):
    """Several nodes have this name.

    Attributes
    ----------
    candidates : tuple of int
        The nodes.
    """

    def __init__(self, message: str, candidates: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.candidates = candidates
