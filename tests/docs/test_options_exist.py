"""Every option in a command of the documents is one that the command has."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path

import pytest

from yolo9000.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
MISTYPED = {("commands.md", "--imagnet")}  # shown with what is answered
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "benchmarks").glob("*.md"))]
BLOCK = re.compile(r"^```(?:sh|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"(?:yolo9000 |python -m yolo9000[. ])([a-z]+)(.*)")


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """(command, its words) of each line of the shell's blocks; of `tree` the verb belongs to the command."""
    found = []
    for block in re.findall(
        r"^```(?:sh|console)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    ):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith(("$ ", "yolo9000 ", "python -m yolo9000")) and (match := COMMAND.search(line)):
                words = shlex.split(match[2], comments=True)
                words = words[: next((at for at, word in enumerate(words) if word in ("|", "||", "&&", ">")), None)]
                name = f"tree {words[0]}" if match[1] == "tree" and words else match[1]
                found.append((name, [word for word in words if re.match(r"--[a-z]|-[a-z]$", word)]))
    return found


@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
def test_options_are_there(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    helps: dict[str, str] = {}
    for name, options in commands(page):
        if name not in helps:
            with contextlib.suppress(SystemExit):  # some parsers end the program themselves
                main([*name.split(), "--help"])
            helps[name] = capsys.readouterr().out
        for option in options:
            flag = option.partition("=")[0]
            if (page.name, flag) in MISTYPED:
                continue
            assert re.search(rf"{re.escape(flag)}(?![a-z-])", helps[name]), f"{page.name}: {name} has no {flag}"


def test_a_wrong_option_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nyolo9000 train --joint --stepps 5  # no such option\nyolo9000 tree show dog --depth 2 | head\n```\n"
    )
    assert commands(page) == [("train", ["--joint", "--stepps"]), ("tree show", ["--depth"])]
