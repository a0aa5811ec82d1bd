"""What a whole list needs is made once for it, and not for each entry: calls are counted, for seconds would vary."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest
import torch

from wordtree import WordTree
from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.voc import VocSource
from yolo9000.datasets.yolo import YoloSource
from yolo9000.evaluation.classifier import summed_over_tree
from yolo9000.experiment.labels import NodesByName
from yolo9000.experiment.left_out import leave_out
from yolo9000.models import FlatClasses, TreeClasses
from yolo9000.models.flat_classes import flat_classes
from yolo9000.runtime.mistakes import Mistake

NAMES = tuple(f"class {number}" for number in range(40))
WNIDS = tuple(f"n{number}" for number in range(40))
TREE = WordTree(("top", *WNIDS), ("thing", *NAMES), (-1, *(0,) * 40))


def built_ins(work: Callable[[], Any]) -> Counter[str]:
    """How often each built-in function or method is called."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            calls[called.__name__] += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def test_calls_are_counted() -> None:
    assert built_ins(lambda: [NAMES.count(name) for name in NAMES])["count"] == 40


def test_names_that_stand_there_twice_are_counted_together(tmp_path: Path) -> None:
    def refused(error: type[Exception], message: str, work: Callable[[], Any]) -> None:
        def run() -> None:
            with pytest.raises(error, match=message):
                work()

        assert built_ins(run)["count"] == 0

    refused(Mistake, "class 3 stands there more than once", lambda: FlatClasses(41, names=(*NAMES, "class 3")))
    for folder in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ImageSets/Main/train.txt").write_text("\n".join((*WNIDS, "n3", "n3")))
    refused(DatasetError, "more than once: n3$", lambda: VocSource(tmp_path, {}, split="train"))
    data = tmp_path / "data.yaml"
    data.write_text(f"train: images\nnames: {[*NAMES, 'class 3']}\n")
    refused(DatasetError, "names has class 3 more than once", lambda: YoloSource(data, {}, split="train"))


def test_flat_classes_tell_names_apart_that_are_counted_together() -> None:
    tree = WordTree((*WNIDS, "m"), (*NAMES, "class 3"), (-1,) * 41)
    found: list[FlatClasses] = []
    assert built_ins(lambda: found.append(flat_classes(tree, "sigmoid")))["count"] == 0
    assert found[0].names is not None
    assert (found[0].names[2:4], found[0].names[-1]) == (("class 2", "class 3 (n3)"), "class 3 (m)")


def test_the_ids_of_classes_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    getter = TreeClasses.ids.fget  # type: ignore[attr-defined]

    def counted(self: TreeClasses) -> Any:
        made.append(1)
        return getter(self)

    monkeypatch.setattr(TreeClasses, "ids", property(counted))
    left = leave_out(TreeClasses(TREE), WNIDS[:20])
    assert (len(left.tree), len(made)) == (21, 1)
    made.clear()
    flat = TreeClasses(TREE.flatten(WNIDS).tree)
    probabilities, _, _ = summed_over_tree(flat, TREE)(torch.zeros(1, 40))
    assert probabilities[0, 0].item() == pytest.approx(1.0)
    assert len(made) == 1


class Kept(tuple[int, ...]):
    """A tuple that says how often it is gone through."""

    gone_through = 0

    def __iter__(self) -> Iterator[int]:
        type(self).gone_through += 1
        return super().__iter__()


def test_kept_classes_are_gone_through_a_few_times() -> None:
    """And of two of them on one path only the higher one is a choice: 0 is above all others."""
    kept = Kept(range(1, 31))
    output: Any = SimpleNamespace(class_logits=lambda some, columns: columns.float().expand(len(some), -1))
    found = TreeClasses(TREE)._best_kept(output, torch.arange(2), kept)
    assert found.nodes.tolist() == [30, 30]
    assert Kept.gone_through < 10
    assert TreeClasses(TREE)._best_kept(output, torch.arange(2), Kept(range(31))).nodes.tolist() == [0, 0]


def test_a_name_that_is_no_key_is_not_compared_with_all_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = WordTree._names.func  # type: ignore[attr-defined]

    def names(tree: WordTree) -> Any:
        index = real(tree)
        close = index.close_matches
        index.close_matches = lambda name: asked.append(name) or close(name)
        return index

    monkeypatch.setattr(WordTree, "_names", property(names))
    known = NodesByName(TreeClasses(TREE))
    assert [known.get(name) for name in ("class 99", "no such", "class_7")] == [None, None, 8]
    assert "klass 7" not in known
    assert asked == []
    assert "'klass 7' is no name in this tree of 41 nodes; close to it: class 7" in known.why_not("klass 7")
    assert asked == ["klass 7"]
    assert NodesByName(FlatClasses(2, names=("a", "b"))).why_not("c") == "'c' is no class"
    assert known.why_not("class 7") == ""
