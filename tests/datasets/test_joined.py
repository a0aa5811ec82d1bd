"""Several sets of boxes as one source: which image is whose, what it labels, and whose fault an unreadable one is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from yolo9000.datasets.joined import JoinedSource, single_sources
from yolo9000.datasets.loader import make_evaluation_loader, make_loader
from yolo9000.datasets.mixed import MixedDataset
from yolo9000.datasets.sample import Kind, Record, Unreadable
from yolo9000.datasets.unreadable import TooManyUnreadable


@dataclass(frozen=True)
class Plain:
    """Grey images with one box of label 0; image i of set x is called x/i."""

    name: str
    n: int
    labelled_nodes: NDArray[np.int64] | None = None
    kind: Kind = "detection"
    is_rubbish: bool = False
    own: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self.n

    def read(self, index: int) -> Record:
        key = f"{self.name}/{index}"
        if self.is_rubbish:
            raise Unreadable(key, "made so")
        image, box = np.full((20, 30, 3), 127, np.uint8), np.array([[2, 3, 20, 15]], np.float32)
        if self.kind == "classification":
            return Record(image, key, image_label=0)
        return Record(image, key, box, np.zeros(1, np.int64), labelled_nodes=self.own)


ANIMALS, TOOLS = np.array([0, 2]), np.array([0, 5, 6])


def test_images_follow_one_another_with_the_labels_of_their_sets() -> None:
    joined = JoinedSource([Plain("a", 2, ANIMALS), Plain("b", 1), Plain("c", 3, TOOLS)])
    assert (len(joined), joined.name, joined.kind, joined.labelled_nodes) == (6, "a + b + c", "detection", None)
    records = [joined.read(i) for i in range(6)]
    assert [record.key for record in records] == ["a/0", "a/1", "b/0", "c/0", "c/1", "c/2"]
    nodes = [None if r.labelled_nodes is None else r.labelled_nodes.tolist() for r in records]
    assert nodes == [[0, 2], [0, 2], None, [0, 5, 6], [0, 5, 6], [0, 5, 6]]
    for outside in (-1, 6):
        with pytest.raises(IndexError, match=rf"a \+ b \+ c: image {outside} of 6"):
            joined.read(outside)


def test_what_a_record_says_itself_goes_before_what_its_source_says() -> None:
    joined = JoinedSource([Plain("a", 1, ANIMALS, own=np.array([7]))])
    nodes = joined.read(0).labelled_nodes
    assert nodes is not None
    assert nodes.tolist() == [7]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_joining_joined_sources_is_joining_all(sizes: list[int]) -> None:
    plain = [Plain(f"set {i}", n, np.array([i])) for i, n in enumerate(sizes)]
    flat, nested = JoinedSource(plain), JoinedSource([JoinedSource(plain[:1]), *plain[1:]])
    assert single_sources([None, nested]) == plain
    assert [nested.read(i).key for i in range(len(nested))] == [flat.read(i).key for i in range(sum(sizes))]
    for i in range(len(flat)):
        record = nested.read(i)
        assert record.labelled_nodes is not None
        assert f"set {record.labelled_nodes[0]}/" in record.key


def test_a_pass_shows_each_image_once_and_each_target_says_what_its_set_labels() -> None:
    joined = JoinedSource([Plain("a", 15, ANIMALS), Plain("b", 3), Plain("c", 6, TOOLS)])
    dataset = MixedDataset(joined, None, batch_size=8, sizes=[32])
    seen: Counter[str] = Counter()
    for batch in make_loader(dataset, stop=len(dataset)):
        seen.update(batch.keys)
        by_set = {
            name: {
                id(t.labelled_nodes): t.labelled_nodes
                for k, t in zip(batch.keys, batch.targets, strict=True)
                if k[0] == name
            }
            for name in "abc"
        }
        for name, nodes in (("a", [0, 2]), ("b", None), ("c", [0, 5, 6])):
            tensors = list(by_set[name].values())
            assert len(tensors) <= 1  # one tensor for all images of a set, not one each
            assert all((None if t is None else t.tolist()) == nodes for t in tensors)
    assert seen == Counter(joined.read(i).key for i in range(24))


def test_held_out_images_say_it_too() -> None:
    loader = make_evaluation_loader(JoinedSource([Plain("a", 1, ANIMALS), Plain("b", 1)]), 32, batch_size=2)
    (batch,) = loader
    assert [t.labelled_nodes is None for t in batch.targets] == [False, True]
    assert batch.targets[0].labelled_nodes.tolist() == [0, 2]


def test_a_small_set_of_rubbish_does_not_hide_behind_a_large_one() -> None:
    joined = JoinedSource([Plain("large", 5000), Plain("small", 12, is_rubbish=True)])
    dataset = MixedDataset(joined, None, batch_size=4, sizes=[32])
    position = next(i for i in range(len(dataset)) if dataset.index_at(i)[1] >= 5000)
    with pytest.raises(TooManyUnreadable, match="small: 11 images in a row cannot be read, of 12"):
        dataset[position]


def test_sources_that_cannot_be_joined() -> None:
    with pytest.raises(ValueError, match="no source to join"):
        JoinedSource([])
    with pytest.raises(ValueError, match="several sources are called a; give them different names"):
        JoinedSource([Plain("a", 1), Plain("b", 1), Plain("a", 2)])
    with pytest.raises(ValueError, match="sources of one kind are needed, not a: detection, b: classification"):
        JoinedSource([Plain("a", 1), Plain("b", 1, kind="classification")])
    photos = replace(Plain("b", 1), kind="classification")
    with pytest.raises(ValueError, match="several sources are called b"):
        MixedDataset(JoinedSource([Plain("a", 1), Plain("b", 1)]), photos, batch_size=2, sizes=[32])
