"""The page on data formats: tars that its code writes are read by its commands, which print what it says."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest

from yolo9000.__main__ import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data_formats.md"


def test_tars_are_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    section = PAGE.read_text(encoding="utf-8").partition("## Tars on servers")[2].partition("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    exec(compile(code, "data_formats.md", "exec"), {})
    assert sorted(file.name for file in Path("zoo").iterdir()) == ["train-0000.tar", "train-0001.tar", "val-0000.tar"]
    (block,) = re.findall(r"^```console\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    shown = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    assert len(shown) == 2
    for part in shown:
        line, _, expected = part.partition("\n")
        assert main(shlex.split(line)[1:]) == 0
        said = capsys.readouterr().out
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert doctest.OutputChecker().check_output(expected, said, flags), f"$ {line}\n{said}\nand not\n{expected}"
