"""Make wordtree/data/wordnet-3.0-nouns.zip from an installed WordNet 3.0.

    python tools/make_wordnet_data.py /usr/share/wordnet     # Debian's wordnet-base

Glosses become spaces: they are three quarters of the file and nothing here reads them, and every synset stays at its
byte offset. The archive is the same, byte for byte, whoever makes it.
"""

from __future__ import annotations

import argparse
import functools
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from wordtree.wordnet import NOUN_ARCHIVE, NOUN_FILES, OPTIONAL_FILES, open_wordnet
from yolo9000.runtime.mistakes import run


def without_glosses(data: bytes) -> bytes:
    """Return data.noun with every gloss (what follows "|") overwritten by spaces."""
    lines = data.split(b"\n")
    for number, line in enumerate(lines):
        relations, bar, gloss = line.partition(b"|")
        if bar and not line.startswith(b"  "):  # two spaces: a line of the licence
            lines[number] = relations + bar + b" " * len(gloss)
    return b"\n".join(lines)


def main() -> int:
    """Read the noun files of a folder and write the archive; return the exit status: 0, 2 for a mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds data.noun, index.noun and noun.exc of WordNet 3.0")
    parser.add_argument("--out", type=Path, default=NOUN_ARCHIVE, help="default: %(default)s")
    return run(functools.partial(_make, parser.parse_args()))


def _make(options: argparse.Namespace) -> int:
    open_wordnet(options.folder)  # refuses another version
    with zipfile.ZipFile(options.out, "w") as archive:
        for name in (*NOUN_FILES, *OPTIONAL_FILES):
            content = (options.folder / name).read_bytes()
            member = zipfile.ZipInfo(name, date_time=(2006, 12, 6, 0, 0, 0))
            member.compress_type = zipfile.ZIP_LZMA
            archive.writestr(member, without_glosses(content) if name == "data.noun" else content)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
