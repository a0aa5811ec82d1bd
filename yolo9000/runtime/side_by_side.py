"""Commands that run side by side, each in a process of its own, some of them only after others.

What has ended well is marked by a file and is not run again, so the same call goes on where an earlier one was stopped.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from yolo9000.runtime.interrupt import StopRequest

LOOK_EVERY_SECONDS = 0.1
PATIENCE_SECONDS = 120.0
"""How long a process that was asked to stop may take to save."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A command.

    Parameters
    ----------
    name : str
        What messages call it.
    command : callable
        -> the words of the command. It is called when the task begins, so it can see what an earlier try has left.
    done : Path
        A file that says that the task has ended well. It is made then, if the command does not make it.
    log : Path
        Where the command's output goes, after that of earlier tries.
    needs : tuple of str
        Names of the tasks that have to end well before.
    again : bool
        Run it although the file is there.
    """

    name: str
    command: Callable[[], Sequence[str]]
    done: Path
    log: Path
    needs: tuple[str, ...] = ()
    again: bool = False

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.done.exists() and not self.again


@dataclass
class Outcome:
    """How a call of `run_tasks` ended.

    Attributes
    ----------
    failed : dict of str to str
        Name of each task that failed or could not begin -> why.
    interrupted : bool
        Whether it was asked to stop before all were done.
    """

    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def run_tasks(
    tasks: Sequence[Task], *, jobs: int = 1, environment: Mapping[str, str] | None = None, about: str = "tasks"
) -> Outcome:
    """Run tasks, `jobs` at a time, in their order as far as their needs allow.

    A task that fails stops none but those that need it. The first Ctrl-C (or SIGTERM) asks each running process to
    stop as its own Ctrl-C would; the second does so again.

    Parameters
    ----------
    tasks : sequence of Task
    jobs : int
        Processes at a time.
    environment : mapping of str to str, optional
        Variables that the processes have besides ours.
    about : str
        What the progress bar counts.

    Returns
    -------
    Outcome

    Examples
    --------
    >>> import sys, tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> def task(name, code, *needs):
    ...     words = [sys.executable, "-c", code]
    ...     return Task(name=name, command=lambda: words, done=folder / name, log=folder / "log", needs=needs)
    >>> run_tasks([task("a", "exit(3)"), task("b", "print(1)", "a"), task("c", "print(2)")]).failed
    {'a': 'exit status 3', 'b': 'needs a'}
    >>> sorted(path.name for path in folder.iterdir())
    ['c', 'log']
    """
    names = {task.name for task in tasks}
    if unknown := [name for task in tasks for name in task.needs if name not in names]:
        raise ValueError(f"a task needs {unknown[0]}, which is none of the tasks")
    outcome = Outcome()
    waiting = [task for task in tasks if not task.is_done]
    ended = {task.name for task in tasks if task.is_done}
    running: dict[str, tuple[Task, subprocess.Popen[bytes]]] = {}
    variables = {**os.environ, **(environment or {})}
    with StopRequest() as stop, tqdm(total=len(tasks), initial=len(ended), desc=about, disable=None) as bar:
        try:
            while (running or waiting) and not stop.requested:
                for task in list(waiting):
                    if missing := [name for name in task.needs if name in outcome.failed]:
                        waiting.remove(task)
                        outcome.failed[task.name] = f"needs {missing[0]}"
                        bar.update()
                    elif len(running) < jobs and ended.issuperset(task.needs):
                        waiting.remove(task)
                        running[task.name] = (task, _begin(task, variables))
                        bar.set_postfix_str(", ".join(running))
                for name, (task, process) in list(running.items()):
                    if process.poll() is not None:
                        del running[name]
                        if _ended_well(task, process, outcome):
                            ended.add(name)
                        bar.update()
                time.sleep(LOOK_EVERY_SECONDS)
        except KeyboardInterrupt:
            pass
        finally:
            outcome.interrupted = bool(running or waiting)
            _stop([process for _, process in running.values()])
    for task, process in running.values():
        if process.returncode == 0:  # it had just ended; whatever else it says comes of being stopped
            task.done.touch()
    return outcome


def _begin(task: Task, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    words = list(task.command())
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with task.log.open("ab") as log:
        log.write(f"$ {shlex.join(words)}\n".encode())
        log.flush()
        # in a session of its own, or a terminal's Ctrl-C would reach it besides the one that is passed on
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=variables, start_new_session=True
        )


def _ended_well(task: Task, process: subprocess.Popen[bytes], outcome: Outcome) -> bool:
    if process.returncode:
        outcome.failed[task.name] = f"exit status {process.returncode}"
        return False
    task.done.touch()
    return True


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask processes to stop and wait for them; they are asked again on Ctrl-C, and ended if they do not answer."""
    until = time.monotonic() + PATIENCE_SECONDS
    asks = True
    while left := [process for process in processes if process.poll() is None]:
        try:
            for process in left if asks else ():
                process.send_signal(signal.SIGINT)
            asks = False
            if time.monotonic() > until:
                for process in left:
                    process.kill()
            time.sleep(LOOK_EVERY_SECONDS)
        except KeyboardInterrupt:
            asks = True
