"""The run's folder: refuse before anything is trained."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from yolo9000.runtime.run_folder import (
    RunFolder,
    RunFolderError,
    check_run_folder,
    create_run_folder,
    environment,
    git_commit,
)

ROOT = Path(__file__).resolve().parents[2]


def test_a_folder_with_a_run_is_refused(tmp_path: Path) -> None:
    run = create_run_folder(tmp_path / "runs" / "a")
    run.write_config({"options": {}})
    run.last.touch()
    for look in (create_run_folder, check_run_folder):
        with pytest.raises(RunFolderError, match=r"holds a run already; continue it with `resume`"):
            look(run.path)
    run.last.rename(run.best)  # the best evaluation is saved before the first newest checkpoint
    with pytest.raises(RunFolderError, match=r"holds the best\.pt of a run that ended before its first last\.pt"):
        create_run_folder(run.path)
    with pytest.raises(RunFolderError, match=r"start a new run from the weights with `init` .*best\.pt"):
        create_run_folder(run.path, resume=True)


LEFT = ["config.json", "curves.png", "results.csv", "tree.json"]
KILLED = [".config.json.x1_z.tmp", ".last.pt.ab_cd9.tmp", ".tree.json.4711.tmp"]


@pytest.mark.parametrize("left", [*([name] for name in LEFT), LEFT, ["config.json", *KILLED]])
def test_a_start_that_failed_is_started_over(tmp_path: Path, left: list[str]) -> None:
    for name in left:
        (tmp_path / name).write_text("old")
    check_run_folder(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(left)  # looking changes nothing
    with pytest.raises(RunFolderError, match="before its first checkpoint: run the same command again"):
        create_run_folder(tmp_path, resume=True)
    create_run_folder(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be held there")
def test_a_run_that_is_still_going_on_is_not_started_over(tmp_path: Path) -> None:
    run = create_run_folder(tmp_path)
    run.write_config({})
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from yolo9000.runtime.run_folder import RunFolder, hold_run_folder\n"
        "with hold_run_folder(RunFolder(Path(sys.argv[1]))):\n"
        "    if os.fork() == 0:\n"  # a worker, which outlives a killed run
        "        time.sleep(60)\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline()
            for start in (check_run_folder, create_run_folder):
                with pytest.raises(
                    RunFolderError, match=rf"another process is training there \(process {other.pid} on"
                ):
                    start(tmp_path)
            assert sorted(os.listdir(tmp_path)) == [".lock", "config.json"]
            other.kill()
            other.wait()
            create_run_folder(tmp_path)
        finally:
            os.killpg(other.pid, signal.SIGKILL)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", [*LEFT, KILLED[1]])
def test_a_failed_start_among_other_files_is_refused(tmp_path: Path, name: str) -> None:
    """They may be another program's."""
    for file in (name, "notes.txt"):
        (tmp_path / file).write_text("mine")
    with pytest.raises(RunFolderError, match=rf"holds {re.escape(name)}, which .* among other files \(notes\.txt\)"):
        create_run_folder(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([name, "notes.txt"])


def test_looking_makes_no_folder(tmp_path: Path) -> None:
    check_run_folder(tmp_path / "runs" / "a")
    assert os.listdir(tmp_path) == []


def test_other_files_in_the_folder_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    create_run_folder(tmp_path)


def test_resume_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"looked for last\.pt, found no such folder"):
        create_run_folder(tmp_path / "absent", resume=True)
    with pytest.raises(RunFolderError, match=r"looked for last\.pt, found an empty folder"):
        create_run_folder(tmp_path, resume=True)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RunFolderError, match=r"found config\.json"):
        create_run_folder(tmp_path, resume=True)


def test_no_write_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunFolderError, match="cannot write there.*nothing was trained"):
            create_run_folder(path)
    if os.geteuid() == 0:  # root may write everywhere
        monkeypatch.setattr("tempfile.TemporaryFile", _denied)
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="cannot write there.*Name a folder you may write to with `out`"):
        create_run_folder(tmp_path)
    with pytest.raises(RunFolderError, match="cannot write there.*Name a folder you may write to with `out`"):
        check_run_folder(tmp_path / "runs" / "new")
    tmp_path.chmod(0o700)


def _denied(**_: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_config_is_read_back(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_config({"options": {"lr": 0.5}, "path": tmp_path})
    assert run.read_config()["options"] == {"lr": 0.5}
    run.config.write_text("[1")
    with pytest.raises(RunFolderError, match=r"config\.json: cannot be read"):
        run.read_config()


def test_environment_is_plain_and_names_versions(tmp_path: Path) -> None:
    facts = environment()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["versions"]["torch"].startswith("2")
    assert git_commit(tmp_path) is None
