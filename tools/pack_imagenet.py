"""Pack ImageNet's folders or tars into one HDF5 file for training: ``python tools/pack_imagenet.py DIR OUT.h5``."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

# A bare checkout is enough: tools/ is where Python looks first, not the repository.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from yolo9000.datasets.imagenet import ImageNetSource
from yolo9000.datasets.packed_imagenet import write_pack
from yolo9000.runtime.mistakes import Mistake, flags_of, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; return the exit status: 0, 2 for a mistake, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder with train/ and val/, or the folder of the classes")
    parser.add_argument("out", type=Path, help="the HDF5 file to write")
    parser.add_argument("--split", default="train", help="folder in ROOT, '' for ROOT itself (default: train)")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    options = parser.parse_args(arguments)
    command = functools.partial(_pack, options)
    return run(command, flags=flags_of(vars(options)), interrupted="interrupted, nothing is left behind")


def _pack(options: argparse.Namespace) -> int:
    def bar(what: str, unit: str) -> Callable[[Iterable[Any]], Iterable[Any]]:
        return lambda items: tqdm(items, desc=what, unit=unit, disable=None)  # quiet where no one watches

    if options.out.exists() and not options.force:
        raise Mistake(f"{options.out} exists; pass `force` to overwrite it")
    source = ImageNetSource(options.root, split=options.split or None, progress=bar("index", "tar"))
    write_pack(source, options.out, overwrite=options.force, progress=bar("pack", "image"))
    size = options.out.stat().st_size
    print(f"{options.out}: {len(source):,} images of {len(source.class_names):,} classes, {size / 1e9:.2f} GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
