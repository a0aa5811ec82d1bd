"""One tree of concepts from WordNet, and probabilities over it.

`WordTree`, `load_tree` and `save_tree` need numpy alone. `build_wordtree` (nltk, networkx) and `TreeDistribution`
(torch) are imported when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from wordtree.errors import AmbiguousName, TreeError, TreeFormatError, TreeMismatch, UnknownName
from wordtree.formats import load_tree, save_tree
from wordtree.tree import TreeSubset, WordTree

if TYPE_CHECKING:
    from wordtree.build import build_wordtree
    from wordtree.distribution import TreeDistribution

__all__ = [
    "AmbiguousName",
    "TreeDistribution",
    "TreeError",
    "TreeFormatError",
    "TreeMismatch",
    "TreeSubset",
    "UnknownName",
    "WordTree",
    "build_wordtree",
    "load_tree",
    "save_tree",
]


_LAZY = {"build_wordtree": "wordtree.build", "TreeDistribution": "wordtree.distribution"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LAZY[name]), name)
    return value
