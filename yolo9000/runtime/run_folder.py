"""A run's folder: ``config.json tree.json results.csv curves.png last.pt best.pt``."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from yolo9000.runtime.checkpoint import write_atomically
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
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / "last.pt"

    @property
    def best(self) -> Path:
        """The checkpoint of the best evaluation."""
        return self.path / "best.pt"

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
    """Make a new run's folder, or check an old one's, before anything slow is started.

    Parameters
    ----------
    path : str or Path
        The folder; parents are made.
    resume : bool
        The folder holds a run that is to go on.

    Raises
    ------
    RunFolderError
        Another run is in it (and `resume` is False); no run is in it (and `resume` is True); it cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     create_run_folder(f"{folder}/runs/first").path.name
    'first'
    """
    run = RunFolder(Path(path))
    if resume:
        if not run.last.exists():
            found = sorted(item.name for item in run.path.iterdir()) if run.path.is_dir() else None
            raise RunFolderError(
                f"{run.path}: nothing to resume: looked for {run.last.name}, found "
                + ("no such folder" if found is None else ", ".join(found) if found else "an empty folder")
            )
    elif run.last.exists() or run.config.exists() or run.results.exists():
        raise RunFolderError(
            f"{run.path} holds a run already; continue it with `resume` {run.path}, or name another `out`"
        )
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=run.path):
            pass
    except OSError as error:
        raise RunFolderError(
            f"{run.path}: cannot write there ({error.strerror or error}); nothing was trained. "
            "Name a folder you may write to with `out`"
        ) from error
    return run


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
