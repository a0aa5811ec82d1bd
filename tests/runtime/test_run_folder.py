"""The run's folder: refuse before anything is trained."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from yolo9000.runtime.run_folder import RunFolder, RunFolderError, create_run_folder, environment, git_commit


def test_a_folder_with_a_run_is_refused(tmp_path: Path) -> None:
    run = create_run_folder(tmp_path / "runs" / "a")
    run.write_config({"options": {}})
    with pytest.raises(RunFolderError, match=r"holds a run already; continue it with `resume`"):
        create_run_folder(run.path)


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
    with pytest.raises(RunFolderError, match="cannot write there.*nothing was trained"):
        create_run_folder(tmp_path / "file" / "run")
    if os.geteuid() == 0:  # root may write everywhere
        monkeypatch.setattr("tempfile.TemporaryFile", _denied)
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="cannot write there.*Name a folder you may write to with `out`"):
        create_run_folder(tmp_path)
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
