"""Commands side by side: what runs after what, what is not run again, and how all of it is stopped."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from yolo9000.runtime.side_by_side import Task, run_tasks

SLEEPER = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
Path(sys.argv[1]).touch()
time.sleep(60)
"""


def task(folder: Path, name: str, code: str, *needs: str, words: tuple[str, ...] = ()) -> Task:
    return Task(
        name=name,
        command=lambda: [sys.executable, "-c", code, *words],
        done=folder / f"{name}.done",
        log=folder / f"{name}.log",
        needs=needs,
    )


def test_a_task_begins_after_those_that_it_needs(tmp_path: Path) -> None:
    note = f"import sys; open({str(tmp_path / 'order')!r}, 'a').write(sys.argv[1])"
    tasks = [
        task(tmp_path, "last", note, "first", "second", words=("c",)),
        task(tmp_path, "first", "import time; time.sleep(0.3)\n" + note, words=("a",)),
        task(tmp_path, "second", note, "first", words=("b",)),
    ]
    assert run_tasks(tasks, jobs=3).failed == {}
    assert (tmp_path / "order").read_text() == "abc"


def test_no_more_than_so_many_at_a_time(tmp_path: Path) -> None:
    code = f"""
import os, time
from pathlib import Path
here = Path({str(tmp_path)!r}, f"now{{os.getpid()}}")
here.touch()
print(len(list(here.parent.glob("now*"))))
time.sleep(0.2)
here.unlink()
"""
    assert run_tasks([task(tmp_path, str(i), code) for i in range(5)], jobs=2).failed == {}
    at_once = [int(line) for file in tmp_path.glob("*.log") for line in file.read_text().splitlines()[-1:]]
    assert len(at_once) == 5
    assert max(at_once) <= 2


def test_a_failure_stops_only_what_needs_it_and_is_tried_again(tmp_path: Path) -> None:
    fails = "from pathlib import Path; import sys; sys.exit(0 if Path(sys.argv[1]).exists() else 7)"
    switch = str(tmp_path / "mended")
    tasks = [
        task(tmp_path, "bad", fails, words=(switch,)),
        task(tmp_path, "after", "print('after')", "bad"),
        task(tmp_path, "other", "print('other')"),
    ]
    outcome = run_tasks(tasks)
    assert outcome.failed == {"bad": "exit status 7", "after": "needs bad"}
    assert not outcome.interrupted
    before = (tmp_path / "other.log").read_text()
    Path(switch).touch()
    assert run_tasks(tasks).failed == {}
    assert (tmp_path / "other.log").read_text() == before  # what has ended well is not run again
    assert (tmp_path / "bad.log").read_text().count("$ ") == 2


def test_ctrl_c_asks_the_processes_to_stop_and_begins_no_others(tmp_path: Path) -> None:
    began = tmp_path / "began"
    tasks = [task(tmp_path, "sleeps", SLEEPER, words=(str(began),)), task(tmp_path, "waits", "print(1)")]

    def press() -> None:
        while not began.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    started = time.monotonic()
    outcome = run_tasks(tasks)
    assert time.monotonic() - started < 30
    assert outcome.interrupted
    assert outcome.failed == {}
    assert not (tmp_path / "sleeps.done").exists()
    assert not (tmp_path / "waits.log").exists()


def test_a_process_that_is_ended_from_outside_as_well_has_not_failed(tmp_path: Path) -> None:
    """As when all processes of a ladder are told to end, the ladder among them."""
    began = tmp_path / "began"
    stubborn = "import os, signal, sys, time\nfrom pathlib import Path\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\n"
    stubborn += "Path(sys.argv[1]).touch()\ntime.sleep(60)"

    def end() -> None:
        while not began.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end).start()
    outcome = run_tasks([task(tmp_path, "ended", stubborn, words=(str(began),))])
    assert outcome.interrupted
    assert outcome.failed == {}


def test_a_need_that_is_no_task_is_a_mistake_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs nothing, which is none of the tasks"):
        run_tasks([task(tmp_path, "a", "", "nothing")])


def test_processes_have_the_variables_that_they_are_given(tmp_path: Path) -> None:
    show = "import os; print(os.environ['OMP_NUM_THREADS'])"
    run_tasks([task(tmp_path, "threads", show)], environment={"OMP_NUM_THREADS": "3"})
    assert (tmp_path / "threads.log").read_text().splitlines()[-1] == "3"
