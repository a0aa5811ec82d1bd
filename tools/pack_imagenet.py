"""Pack ImageNet's folders or tars into one HDF5 file for training: ``python tools/pack_imagenet.py DIR OUT.h5``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

# A bare checkout is enough: tools/ is where Python looks first, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from yolo9000.datasets.imagenet import ImageNetSource
from yolo9000.datasets.packed_imagenet import write_pack


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder with train/ and val/, or the folder of the classes")
    parser.add_argument("out", type=Path, help="the HDF5 file to write")
    parser.add_argument("--split", default="train", help="folder in ROOT, '' for ROOT itself (default: train)")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    options = parser.parse_args(arguments)

    def bar(what: str, unit: str) -> Callable[[Iterable[Any]], Iterable[Any]]:
        return lambda items: tqdm(items, desc=what, unit=unit, disable=None)  # quiet where no one watches

    try:
        if options.out.exists() and not options.force:
            raise FileExistsError(f"{options.out} exists; pass --force to overwrite it")
        source = ImageNetSource(options.root, split=options.split or None, progress=bar("index", "tar"))
        write_pack(source, options.out, overwrite=options.force, progress=bar("pack", "image"))
    except (OSError, ValueError) as error:
        print(f"pack_imagenet: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pack_imagenet: interrupted, nothing is left behind", file=sys.stderr)
        return 130
    size = options.out.stat().st_size
    print(f"{options.out}: {len(source):,} images of {len(source.class_names):,} classes, {size / 1e9:.2f} GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
