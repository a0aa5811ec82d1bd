"""A command writes to a new folder each time, and leaves none behind that holds nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolo9000.runtime.output_folder import OutputFolder, choose_folder, free_file


def test_the_next_free_folder_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert choose_folder(None, "runs/predict") == Path("runs/predict")
    Path("runs/predict").mkdir(parents=True)
    assert choose_folder(None, "runs/predict") == Path("runs/predict")  # empty
    Path("runs/predict/a.jpg").touch()
    assert choose_folder(None, "runs/predict") == Path("runs/predict2")
    Path("runs/predict2").touch()  # a file
    assert choose_folder(None, "runs/predict") == Path("runs/predict3")
    assert choose_folder(None, "runs/predict", overwrite=True) == Path("runs/predict")
    assert not Path("runs/predict3").exists()


def test_a_folder_that_holds_something_is_refused_unless_told(tmp_path: Path) -> None:
    for name in "dcba":
        (tmp_path / name).touch()
    message = r"the folder holds something already \(a, b, c, \.\.\); name another folder, or ask with `overwrite`"
    with pytest.raises(FileExistsError, match=message):
        choose_folder(tmp_path, "runs/predict")
    assert choose_folder(tmp_path, "runs/predict", overwrite=True) == tmp_path
    with pytest.raises(FileExistsError, match=r"a: cannot write there \(File exists\)"):
        choose_folder(tmp_path / "a", "runs/predict", overwrite=True)


def test_the_next_free_file(tmp_path: Path) -> None:
    assert free_file(tmp_path / "evaluation.json") == tmp_path / "evaluation.json"
    (tmp_path / "evaluation.json").touch()
    (tmp_path / "evaluation2.json").touch()
    assert free_file(tmp_path / "evaluation.json") == tmp_path / "evaluation3.json"


def test_folders_are_made_with_the_first_file_and_gone_without_one(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "runs" / "predict")
    assert not (tmp_path / "runs").exists()
    file = folder.file("labels/a.txt")
    assert file.parent.is_dir()
    folder.close()
    assert list(tmp_path.iterdir()) == []
    folder.file("labels/a.txt").touch()
    folder.file("crops/dog/a.jpg")
    folder.close()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.txt", "labels", "predict", "runs"]


def test_folders_that_were_there_stay(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    folder = OutputFolder(tmp_path / "runs")
    folder.file("a.txt")
    folder.close()
    assert (tmp_path / "runs").is_dir()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file/out: cannot write there .*`out`"):
        OutputFolder(tmp_path / "file" / "out").file("a.txt")
