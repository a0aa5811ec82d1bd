"""How the house is kept: rooms of a size that can be read, docstrings of one dialect, the field's words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("wordtree", "datasets", "yolo9000", "benchmarks", "tools")
FILES = [
    file
    for folder in FOLDERS
    for file in sorted((ROOT / folder).rglob("*.py"))
    if not file.is_relative_to(ROOT / "yolo9000" / "datasets")  # the link to datasets/
]
MOST_LINES = 400
LARGEST_SHARE = 0.2


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def lines(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def test_no_folder_of_the_package_is_a_drawer() -> None:
    sizes: dict[str, int] = {}
    for file in FILES:
        if file.is_relative_to(ROOT / "yolo9000"):
            sizes[name(file.parent)] = sizes.get(name(file.parent), 0) + lines(file)
    whole = sum(sizes.values())
    assert {folder: size for folder, size in sizes.items() if size > LARGEST_SHARE * whole} == {}


@pytest.mark.parametrize("file", [file for file in FILES if lines(file) > MOST_LINES], ids=name)
def test_a_long_file_says_why_it_is_one(file: Path) -> None:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    assert "one file because" in " ".join(docstring.split()), f"{name(file)}: {lines(file)} lines"


def documented(file: Path) -> Iterator[tuple[str, str]]:
    """Name of each class or function with a docstring, and the docstring."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (docstring := ast.get_docstring(node)):
            yield node.name, docstring


SECTION = re.compile(r"^(?:Parameters|Attributes)\n-+\n(.*?)(?=^\w[\w ]*\n-{3,}|\Z)", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("file", FILES, ids=name)
def test_documented_parameters_have_a_type(file: Path) -> None:
    untyped = [
        f"{owner}: {line}"
        for owner, docstring in documented(file)
        for section in SECTION.findall(docstring)
        for line in section.splitlines()
        if line and not line[0].isspace() and " : " not in line
    ]
    assert untyped == []


OTHER_WORDS = {
    r"weak(ly)?[ -]label": "image label",
    r"labelled images?\b": "image with a label",
    r"classification images?\b": "image with a label",
    r"\boptimizer of\b": "optimiser",
    r"DARKNET\.md|\bshared/": "a file that users do not have",
}


@pytest.mark.parametrize("file", FILES, ids=name)
def test_the_fields_words_are_used(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    found = {said: meant for said, meant in OTHER_WORDS.items() if re.search(said, text, re.IGNORECASE)}
    assert found == {}


@pytest.mark.parametrize("file", FILES, ids=name)
def test_no_docstring_begins_with_of(file: Path) -> None:
    """Neither does a line of one: "Of the convolutions." makes a stranger read twice what a name stands for."""
    texts = [
        node.value.value
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    found = [line.strip() for text in texts for line in text.splitlines() if re.match(r"\s*Of\b", line)]
    assert found == []
