"""A trained detector as files of others: which files there are, and what stands in their way."""

from __future__ import annotations

from pathlib import Path

import pytest

from wordtree import load_tree
from yolo9000.inference.darknet_files import load_darknet
from yolo9000.inference.export import save_as_darknet
from yolo9000.inference.model import load_detector
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


@pytest.mark.parametrize("there", ["net.weights", "net.cfg", "net.tree"])
def test_nothing_is_written_beside_a_file_that_is_there(run: RunFolder, tmp_path: Path, there: str) -> None:
    (tmp_path / there).touch()
    with pytest.raises(FileExistsError, match=f"{there}: is there already"):
        save_as_darknet(load_detector(run.path), tmp_path / "net.weights")
    assert [file.name for file in tmp_path.iterdir()] == [there]
