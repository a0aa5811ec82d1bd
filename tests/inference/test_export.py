"""A trained detector as files of others: which files there are, and what stands in their way."""

from __future__ import annotations

from pathlib import Path

import pytest

from wordtree import load_tree
from yolo9000.convert import main as convert
from yolo9000.inference.darknet_files import load_darknet
from yolo9000.inference.export import save_as_darknet
from yolo9000.inference.model import load_detector
from yolo9000.inference.restrict import restrict
from yolo9000.runtime.checkpoint import save_checkpoint
from yolo9000.runtime.run_folder import RunFolder


def test_darknets_files_are_opened_again(run: RunFolder, tmp_path: Path) -> None:
    trained = load_detector(run.path)
    notes = save_as_darknet(trained, tmp_path / "net.weights")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.cfg", "net.names", "net.tree", "net.weights"]
    # the tree of the fixture has rest="only_child": poodle and car have no sibling
    assert [note.partition(" have")[0] for note in notes] == ["2 sibling groups"]
    again = load_darknet(tmp_path / "net.weights", tmp_path / "net.cfg")
    assert load_tree(tmp_path / "net.tree").names == ("animal", "vehicle", "dog", "cat", "car", "poodle")
    assert (again.size, again.classes.number) == (64, 6)


@pytest.mark.parametrize("there", ["net.weights", "net.cfg", "net.tree", "net.names"])
def test_nothing_is_written_beside_a_file_that_is_there(run: RunFolder, tmp_path: Path, there: str) -> None:
    (tmp_path / there).touch()
    with pytest.raises(FileExistsError, match=f"{there}: is there already"):
        save_as_darknet(load_detector(run.path), tmp_path / "net.weights")
    assert [file.name for file in tmp_path.iterdir()] == [there]


def test_a_restriction_is_not_dropped_without_a_word(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = restrict(load_detector(run.path), "dog")
    (tmp_path / "pets").mkdir()
    save_checkpoint(tmp_path / "pets" / "small.pt", {**small.content, "position": {"step": 5}})
    assert convert([str(tmp_path / "pets" / "small.pt"), str(tmp_path / "net.weights")]) == 2
    assert "small.pt: a restricted net, whose choice of classes darknet's files cannot hold" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["pets"]
