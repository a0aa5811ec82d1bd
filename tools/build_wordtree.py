"""``yolo9000 tree build`` for a checkout that is not installed: ``python tools/build_wordtree.py --help``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

# A bare checkout is enough: tools/ is where Python looks first, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from yolo9000 import tree


def main(arguments: Sequence[str] | None = None) -> int:
    """Build a tree; return the exit status: 0, 2 for a mistake, 130 on Ctrl-C."""
    return tree.main(["build", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
