"""The errors of trees, tree files and names."""

from __future__ import annotations


class TreeError(ValueError):
    """The columns of a tree do not make a tree.

    Attributes
    ----------
    key : str
        The wrong column, such as ``"parents"``; empty if no single column is wrong.
    node : int or None
        The first wrong node.
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
        Names in the tree that are spelled alike.
    """

    def __init__(self, message: str, suggestions: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.suggestions = suggestions


class AmbiguousName(NameResolutionError):
    """Several nodes have this name.

    Attributes
    ----------
    candidates : tuple of int
        The nodes of this name.
    """

    def __init__(self, message: str, candidates: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.candidates = candidates
