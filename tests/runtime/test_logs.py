"""results.csv and the line of progress."""

from __future__ import annotations

import io
from pathlib import Path

from yolo9000.runtime.logs import Progress, ResultsFile


def test_a_resumed_file_is_continued_and_not_duplicated(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    results = ResultsFile(path)
    for step in (1, 2, 3):
        results.append({"step": step, "phase": "a", "loss": 1 / step})
    results = ResultsFile(path, keep_to_step=2)
    results.append({"step": 3, "phase": "a", "loss": 0.5, "ap50": 0.25})
    assert path.read_text() == "step,phase,loss,ap50\n1,a,1,\n2,a,0.5,\n3,a,0.5,0.25\n"
    assert results.column("ap50") == ([3], [0.25])


def test_half_a_line_of_a_killed_run_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("step,phase,loss\n1,a,0.5\n2,a")
    ResultsFile(path)
    assert path.read_text() == "step,phase,loss\n1,a,0.5\n"


def test_lines_when_there_is_no_terminal() -> None:
    file = io.StringIO()
    progress = Progress(4, 1, every_seconds=0, file=file)
    progress.show("joint", {"loss": 2.0, "lr": 0.001, "absent": float("nan")})
    progress.advance()
    progress.message("a word between")
    progress.close()
    line, word = file.getvalue().splitlines()  # the last step is not written twice
    assert line.startswith("step 2/4 joint loss 2 lr 0.001 ")
    assert word == "a word between"


def test_quiet_between_lines_and_when_not_shown() -> None:
    file = io.StringIO()
    progress = Progress(4, every_seconds=1000, file=file)
    progress.advance()
    assert file.getvalue() == ""
    silent = Progress(4, every_seconds=0, file=file, shown=False)
    silent.advance()
    silent.message("nobody hears this")
    silent.close()
    assert file.getvalue() == ""
