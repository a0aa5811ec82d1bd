"""Every command that docs/tree.md and docs/commands.md show is run, and what it prints compared with what they say."""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from yolo9000.__main__ import main

DOCS = Path(__file__).resolve().parents[1] / "docs"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def run_command(words: list[str]) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):
        main(words)
    return said.getvalue()


def write_data() -> None:
    """A folder in VOC's layout and two runs: what the pages say stands for the reader's own."""
    for folder in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (Path("farm") / folder).mkdir(parents=True)
    Image.new("RGB", (60, 40)).save("farm/JPEGImages/1.png")
    names = ["kangaroo", "kangaroo", "kangaroo", "dog", "crane"]
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>30</ymax></bndbox>"
    things = "".join(f"<object><name>{name}</name>{box}</object>" for name in names)
    Path("farm/Annotations/1.xml").write_text(f"<annotation>{things}</annotation>")
    Path("farm/ImageSets/Main/train.txt").write_text("1\n")
    for name, steps, score in (("a", 10, 0.25), ("b", 20, 0.5)):
        run = Path("runs") / name
        run.mkdir(parents=True)
        (run / "config.json").write_text(json.dumps({"config": {"plan": {"steps": steps}}}))
        (run / "evaluation.json").write_text(json.dumps({"step": steps, "boxed": {"ap50": score}}))
        (run / "results.csv").write_text(f"step,loss\n{steps},2.5\n")


@pytest.mark.parametrize("page", ["tree.md", "commands.md"])
def test_a_page_says_what_its_commands_say(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_data()
    checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    ran = 0
    for kind, name, body in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        if kind == "text":
            Path(name).write_text(body)
        if kind == "pycon":
            test = doctest.DocTestParser().get_doctest(body, {}, page, page, 0)
            report = io.StringIO()
            found = doctest.DocTestRunner(optionflags=flags).run(test, out=report.write)
            assert found.failed == 0, report.getvalue()
        if kind != "console":
            continue
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            line, _, expected = part.partition("\n")
            program, *words = shlex.split(line)
            assert program == "yolo9000"
            said = run_command(words)
            assert checker.check_output(expected, said, flags), f"$ {line}\n{said}\nand not\n{expected}"
            ran += 1
    assert ran >= 6
