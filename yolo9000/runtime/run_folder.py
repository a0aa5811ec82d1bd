"""A run's folder: ``config.json tree.json results.csv curves.png validation.jpg last.pt best.pt step-*.pt``."""

from __future__ import annotations

import contextlib
import json
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from yolo9000.runtime.checkpoint import write_atomically
from yolo9000.runtime.lock import Locked, hold
from yolo9000.runtime.mistakes import Mistake


class RunFolderError(Mistake):
    """A folder that cannot hold, or does not hold, a run."""


@dataclass(frozen=True)
class RunFolder:
    """Where one run keeps its files.

    Parameters
    ----------
    path : Path
        The folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """What the run was told and with which versions it ran."""
        return self.path / "config.json"

    @property
    def tree(self) -> Path:
        """The WordTree, for people and tools; checkpoints carry their own copy."""
        return self.path / "tree.json"

    @property
    def results(self) -> Path:
        """One row a logged step."""
        return self.path / "results.csv"

    @property
    def curves(self) -> Path:
        """Losses and average precision as a picture."""
        return self.path / "curves.png"

    @property
    def sheet(self) -> Path:
        """Held-out pictures with what was found in them, evaluation after evaluation."""
        return self.path / "validation.jpg"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        """The checkpoint of the best evaluation."""
        return self.path / "best.pt"

    def at_step(self, step: int) -> Path:
        """An earlier checkpoint that is kept."""
        return self.path / f"step-{step:08d}.pt"

    @property
    def earlier(self) -> list[Path]:
        """The earlier checkpoints that are kept, the newest first."""
        return sorted(self.path.glob("step-" + 8 * "[0-9]" + "*.pt"), reverse=True)

    def bad_step(self, step: int, rank: int = 0) -> Path:
        """What a step with a loss that is not finite was computed from, for ``yolo9000 replay``."""
        return self.path / f"bad-step-{step:08d}{f'-rank{rank}' * (rank > 0)}.pt"

    @property
    def lock(self) -> Path:
        """Who trains here at the moment."""
        return self.path / ".lock"

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write ``config.json``."""
        write_atomically(self.config, (json.dumps(config, indent=1, default=str) + "\n").encode())

    def read_config(self) -> dict[str, Any]:
        """Read ``config.json``.

        Raises
        ------
        RunFolderError
            It is absent or no JSON.
        """
        try:
            content = json.loads(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{self.config}: cannot be read ({error}); is this the folder of a run?") from error
        if not isinstance(content, dict):
            raise RunFolderError(f"{self.config}: not the configuration of a run")
        return content


def create_run_folder(path: str | Path, *, resume: bool = False) -> RunFolder:
    """Make a new run's folder, or find an old one's.

    What a start that failed before its first checkpoint has left there is removed: its table of losses would be
    continued otherwise.

    Parameters
    ----------
    path : str or Path
        The folder; parents are made.
    resume : bool
        The folder holds a run that is to go on.

    Raises
    ------
    RunFolderError
        As `check_run_folder`; or there is no checkpoint to resume from.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     create_run_folder(f"{folder}/runs/first").path.name
    'first'
    """
    run = RunFolder(Path(path))
    if resume:
        _check_there_is_a_checkpoint(run)
        _check_writable(run.path, resume=True)
        return run
    check_run_folder(run.path)
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        for name in _leftovers(run.path):
            (run.path / name).unlink()
    except OSError as error:
        raise _not_writable(run.path, error) from error
    return run


def remove_failed_start(run: RunFolder) -> None:
    """Remove the files of a run that failed before anything was written down of its training, and its empty folder.

    They stay where nothing can be removed, and the next start removes them.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = create_run_folder(f"{folder}/runs/first")
    ...     run.write_config({})
    ...     remove_failed_start(run)
    ...     run.path.exists()
    False
    """
    if run.last.exists() or run.best.exists() or run.earlier or not run.path.is_dir():
        return
    if run.results.exists() and len(run.results.read_text(encoding="utf-8").splitlines()) > 1:
        return
    for name in _leftovers(run.path):
        with contextlib.suppress(OSError):  # why the run failed is what its user has to hear
            (run.path / name).unlink()
    if not _names(run.path):
        with contextlib.suppress(OSError):  # it is held by who called this, and then removes it
            run.path.rmdir()


def check_run_folder(path: str | Path) -> None:
    """Check that a new run can be kept in a folder, before anything slow is started; nothing is made or removed.

    A folder without a checkpoint that holds the files of a failed start, and nothing else, is as good as an empty one.

    Raises
    ------
    RunFolderError
        Another run is in the folder, or begins there at this moment; the files of a failed start lie among others; it
        cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_run_folder(f"{folder}/runs/first")
    ...     Path(folder, "runs").exists()
    False
    """
    run = RunFolder(Path(path))
    if run.last.exists() or run.earlier:
        raise RunFolderError(
            f"{run.path} holds a run already; continue it with `resume` {run.path}, or name another `out`"
        )
    if run.best.exists():
        raise RunFolderError(
            f"{run.path} holds the {run.best.name} of a run that ended before its first {run.last.name}; "
            "name another `out`"
        )
    if leftovers := _leftovers(run.path):
        with hold_run_folder(run):
            pass
        others = [name for name in _names(run.path) if name not in leftovers]
        if others:
            raise RunFolderError(
                f"{run.path} holds {', '.join(leftovers)}, which a run would overwrite, among other files "
                f"({', '.join(others[:5])}); name another `out`"
            )
    _check_writable(run.path)


@contextlib.contextmanager
def hold_run_folder(run: RunFolder, *, make: bool = False) -> Iterator[None]:
    """Hold a run's folder for as long as this process trains in it, see `yolo9000.runtime.lock.hold`.

    Before the first checkpoint its files are those of a failed start, but for this.

    Parameters
    ----------
    run : RunFolder
    make : bool
        Make the folder, and remove it again if nothing is in it at the end.

    Raises
    ------
    RunFolderError
        Another process trains in it; or it cannot be made.
    """
    missing = [place for place in (run.path, *run.path.absolute().parents) if not place.exists()] if make else []
    try:
        if missing:
            run.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(run.path, error) from error
    try:
        with hold(run.lock):
            yield
    except Locked as owner:
        raise RunFolderError(
            f"{run.path}: another process is training there ({owner}); wait for it or name another `out`"
        ) from None
    finally:
        for place in missing:
            with contextlib.suppress(OSError):  # it holds something
                place.rmdir()


def remove_unfinished(run: RunFolder) -> None:
    """Remove the files that a killed run was writing. Nobody else may be training there: see `hold_run_folder`."""
    for name in _names(run.path):
        if _UNFINISHED.fullmatch(name):
            (run.path / name).unlink(missing_ok=True)


def _check_there_is_a_checkpoint(run: RunFolder) -> None:
    if run.last.exists() or run.earlier:
        return
    found = _names(run.path)
    said = "no such folder" if not run.path.is_dir() else ", ".join(found) if found else "an empty folder"
    message = f"{run.path}: nothing to resume: looked for {run.last.name}, found {said}"
    if run.best.exists():
        message += f"; start a new run from the weights with `init` {run.best}"
    elif _leftovers(run.path):
        message += ". The run ended before its first checkpoint: run the same command again to start it over"
    raise RunFolderError(message)


_FIRST_FILES = ("config.json", "tree.json", "results.csv", "curves.png", "validation.jpg")
"""What a run writes before its first checkpoint."""

_BAD_STEP = re.compile(r"bad-step-\d{8}(-rank\d+)?\.pt")
_UNFINISHED = re.compile(
    rf"\.({'|'.join(map(re.escape, (*_FIRST_FILES, 'last.pt', 'best.pt')))}|(bad-)?step-.*\.pt)\.[^.]+\.tmp"
)
"""A file that a killed run was writing (`write_atomically`, `save_tree`)."""


def _leftovers(folder: Path) -> list[str]:
    return [
        name
        for name in _names(folder)
        if name in _FIRST_FILES or _UNFINISHED.fullmatch(name) or _BAD_STEP.fullmatch(name) or _is_log(name)
    ]


def _is_log(name: str) -> bool:
    return name.startswith("events.out.tfevents.")  # TensorBoard's


def _names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir() if item.name != ".lock") if folder.is_dir() else []


def _check_writable(folder: Path, *, resume: bool = False) -> None:
    """Raise where a file could not be written in a folder; one that is still to be made is judged by the one above."""
    above = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        if resume:
            raise RunFolderError(
                f"{folder}: cannot write there ({error.strerror or error}); what was saved there is whole. "
                f"Repair the folder, then go on with `resume` {folder}"
            ) from error
        raise _not_writable(folder, error) from error


def _not_writable(folder: Path, error: OSError) -> RunFolderError:
    return RunFolderError(
        f"{folder}: cannot write there ({error.strerror or error}); nothing was trained. "
        "Name a folder you may write to with `out`"
    )


def environment() -> dict[str, Any]:
    """Versions and machine, for ``config.json``: a figure without them cannot be got again."""
    versions = {}
    for name in ("yolo9000", "torch", "torchvision", "numpy", "pycocotools", "pillow"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    versions["torch"] = torch.__version__  # with the build, such as +cu128
    return {
        "versions": versions,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "git_commit": git_commit(Path(__file__).parent),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def git_commit(folder: Path) -> str | None:
    """The commit of the checkout that `folder` is in, with ``+changes`` if it is not clean; None outside git."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()
