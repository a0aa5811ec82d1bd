"""List every error message of the library in docs/troubleshooting.md, by the folder that raises it.

python tools/list_errors.py             # after a message has changed
python tools/list_errors.py --check     # for the tests: is the page as the code is?

An indented line below a message is a person's, and is kept as long as the message is there.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE, BEGIN = ROOT / "docs" / "troubleshooting.md", "<!-- from here on written by tools/list_errors.py -->\n"
PARTS = (part for part in sorted((ROOT / "yolo9000").iterdir()) if part.is_dir() and not part.is_symlink())
FOLDERS = (ROOT / "wordtree", ROOT / "datasets", *PARTS, ROOT / "yolo9000")
MODULES = [(folder, ast.parse(file.read_text("utf-8"))) for folder in FOLDERS for file in sorted(folder.glob("*.py"))]


def error_names() -> set[str]:
    """The names of the classes of a user's mistakes, of what the page refuses, and what derives from them."""
    classes = [node for _, tree in MODULES for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found = {"Mistake", "DatasetError", "TreeError", "Refusal", "FileExistsError"}
    while more := {c.name for c in classes if found & {ast.unparse(base) for base in c.bases}} - found:
        found |= more
    return found


def text_of(node: ast.expr) -> str:
    """What is fixed of a message, with "..." for what it is about."""
    match node:
        case ast.Constant(value=str(value)):
            return value
        case ast.JoinedStr(values=values):
            return "".join(map(text_of, values))
        case ast.BinOp(left=left, right=right):
            return text_of(left) + text_of(right)
    return "..."


def messages() -> dict[str, set[str]]:
    """Folder -> its messages, without the file and line that they may begin with."""
    errors, found = error_names(), dict[str, set[str]]()
    for folder, tree in MODULES:
        for node in ast.walk(tree):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and node.args and (name in errors or name == "complaints.add"):
                said = " ".join(text_of(node.args[0 if name in errors else -1]).split())
                said = re.sub(r"^(\.\.\.[:;,]*\s*)+", "", re.sub(r"\.{5,}", "...", said))
                if re.search(r"[a-z]{3}", said):
                    found.setdefault(folder.relative_to(ROOT).as_posix(), set()).add(said)
    return found


def main() -> int:
    """Write the page, or compare; return 1 if it is not as the code is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing: is the page as the code is?")
    given = parser.parse_args()
    before = PAGE.read_text(encoding="utf-8")
    by_hand, _, listed = before.partition(BEGIN)
    notes = dict(re.findall(r"^- (.*)\n((?:  .*\n)+)", listed, re.MULTILINE))
    after = by_hand + BEGIN
    for folder, said in messages().items():
        in_order = sorted(said, key=lambda text: (text.strip("`'.").casefold(), text))
        after += f"\n## {folder}/\n\n" + "".join(f"- {text}\n{notes.get(text, '')}" for text in in_order)
    if not given.check:
        PAGE.write_text(after, encoding="utf-8")
    elif after != before:
        print(f"{PAGE.name} lacks messages, or has old ones: run python tools/list_errors.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
