"""``yolo9000 COMMAND``: one front door for all commands; also ``python -m yolo9000``.

Only the module of the command that is asked for is imported, so the list of all is there at once.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from yolo9000 import __version__

COMMANDS = {
    "demo": "the whole job on drawn scenes, without any data, in minutes",
    "train": "train a detector on boxes, or jointly on boxes and image labels",
    "classify": "train a classifier of images with a label, which a detector may begin with",
    "replay": "compute a training step again whose loss was not finite",
    "evaluate": "average precision of a run, and whether its probabilities are right",
    "predict": "find and name things in images",
    "export": "write a trained net for other programs",
    "convert": "darknet's weights to a checkpoint, or back",
    "compare": "what several runs were told and what they reached, side by side",
    "ladder": "every step from YOLO to YOLO9000, trained and scored on the same data",
    "check": "look through data before training on them",
    "anchors": "cluster priors from the boxes of data sets",
    "tree": "search, show, draw, compare and build trees of concepts",
    "serve": "a page to look at the tree and at what a run finds",
    "doctor": "what is installed here, what is not, and how to get it",
}
"""Command -> what it does. ``yolo9000 NAME`` is the function `main` of the module ``yolo9000.NAME``; a command whose
module is not there is not shown."""


def there() -> list[str]:
    """The commands whose module is there.

    Examples
    --------
    >>> there()[:3]
    ['demo', 'train', 'classify']
    """
    # looked for beside this file: a finder of an editable install may know another checkout's modules as well
    here = [str(Path(__file__).parent)]
    return [name for name in COMMANDS if PathFinder.find_spec(f"yolo9000.{name}", here) is not None]


def overview() -> str:
    """The text of ``yolo9000 --help``."""
    names = there()
    width = max(map(len, names))
    return "\n".join(
        (
            "usage: yolo9000 COMMAND [options]",
            "",
            "YOLO9000: a detector trained on boxes and image labels over one tree of concepts.",
            "",
            *(f"  {name:{width}}  {COMMANDS[name]}" for name in names),
            "",
            "examples:",
            "  yolo9000 train --joint",
            "  yolo9000 predict runs/joint photo.jpg --threshold 0.3",
            "  yolo9000 tree show dog --depth 2",
            "",
            "yolo9000 COMMAND --help explains a command; `python -m yolo9000 COMMAND` is the same.",
        )
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    words : sequence of str, optional
        The command and its own words; without any, those that the program was called with.

    Returns
    -------
    int
        The exit status of the command; 2 if there is no such command.

    Examples
    --------
    >>> main(["--version"])
    yolo9000 0.1.0
    0
    """
    words = sys.argv[1:] if words is None else list(words)
    if words[:1] == ["help"]:  # `yolo9000 help train`
        words = [*words[1:2], "--help"]
    name, *rest = words or ["--help"]
    if name in ("-h", "--help"):
        print(overview())
        return 0
    if name in ("-V", "--version"):
        print(f"yolo9000 {__version__}")
        return 0
    if name not in there():
        from yolo9000.runtime.mistyped import unknown_word

        print(f"error: {unknown_word(name, there(), 'commands')}", file=sys.stderr)
        return 2
    status: int = importlib.import_module(f"yolo9000.{name}").main(rest)
    return status


if __name__ == "__main__":
    sys.argv[0] = "yolo9000"  # what a run's config.json says that it was begun with
    sys.exit(main())
