"""The demo's parts: how it tells what is left, and what it does with a command that fails."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from yolo9000 import demo
from yolo9000.demo import Progress, part_done, run_side_by_side, time_left


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_line_says_phase_part_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 44.0, 44.5, 100.0, 300.0])
    monkeypatch.setattr(demo.time, "monotonic", lambda: next(clock))
    terminal = Terminal()
    progress = Progress(terminal)
    for part in (0.5, 0.6, 0.7):  # the second comes too soon
        progress.show(part)
    progress.begin(1)
    progress.show(0.25)
    lines = [line.strip() for line in terminal.getvalue().replace("\n", "\r").split("\r") if line.strip()]
    assert lines == [
        "demo: 1 of 3, a classifier of images with a label: 50 %, about 3:20 left",
        "demo: 1 of 3, a classifier of images with a label: 70 %, about 4:56 left",
        "demo: 2 of 3, boxes alone, and boxes and image labels together: 25 %, about 4:57 left",
    ]


def test_where_nobody_watches_it_says_little(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(demo.time, "monotonic", lambda: float(next(clock)))
    log = io.StringIO()
    progress = Progress(log)
    for _ in range(65):
        progress.show(0.0)
    assert (
        log.getvalue().splitlines()
        == ["demo: 1 of 3, a classifier of images with a label: 0 %, time left not known yet"] * 3
    )


def test_the_shares_are_of_one_whole() -> None:
    assert sum(demo.PHASES.values()) == pytest.approx(1)
    assert time_left(2, 1.0, 77.0) == pytest.approx(0, abs=1e-9)


def test_steps_are_read_from_the_rows(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("step,phase\n")
    assert part_done(tmp_path, 900) == 0.0
    (tmp_path / "results.csv").write_text("step,phase\n10,joint\n225,joint\n")
    assert part_done(tmp_path, 900) == 0.25


def test_what_a_failed_command_said_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fine = [sys.executable, "-c", "print('fine')"]
    fails = [sys.executable, "-c", "import os, sys; print(os.environ['OMP_NUM_THREADS']); sys.exit('too dark')"]
    shown: list[int] = []
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run_side_by_side([fine, fails], lambda: shown.append(1), logs=tmp_path, threads=3)
    assert caught.value.cmd == fails
    assert capfd.readouterr().err == "3\ntoo dark\n\n"
    assert shown
    assert [each.name for each in tmp_path.iterdir()] == ["2.log"]


def test_nobody_goes_on_alone(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_side_by_side([[sys.executable, "-c", "import time; time.sleep(600)"]], stop, logs=tmp_path)
