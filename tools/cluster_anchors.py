"""``yolo9000 anchors`` for a checkout that is not installed: ``python tools/cluster_anchors.py --help``."""

from __future__ import annotations

import sys
from pathlib import Path

# A bare checkout is enough: tools/ is where Python looks first, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from yolo9000.anchors import main

if __name__ == "__main__":
    sys.exit(main())
