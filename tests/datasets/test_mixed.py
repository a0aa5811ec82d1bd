from __future__ import annotations

import hashlib
import logging
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from yolo9000.datasets.darknet_augment import DarknetAugment
from yolo9000.datasets.excerpt import Excerpt
from yolo9000.datasets.joined import JoinedSource
from yolo9000.datasets.loader import PositionSampler, make_evaluation_loader, make_loader
from yolo9000.datasets.mixed import Interleave, MixedDataset
from yolo9000.datasets.sample import Batch, Kind, Record, Replacement, Sample, Source, Unreadable
from yolo9000.datasets.unreadable import TooManyUnreadable, UnreadableCounter, tolerated


@dataclass
class Made:
    """A source of small random images; image i is called i."""

    kind: Kind
    n: int
    name: str = ""
    labelled_nodes: NDArray[np.int64] | None = None
    broken: frozenset[int] = frozenset()
    boxes_anyway: bool = False
    reads: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = self.name or self.kind

    def __len__(self) -> int:
        return self.n

    def read(self, index: int) -> Record:
        self.reads.append(index)
        if index in self.broken:
            raise Unreadable(str(index), "made so")
        image = np.random.default_rng(index).integers(0, 256, (20, 30, 3), np.uint8)
        boxes, labels = np.array([[2, 3, 20, 15]], np.float32), np.array([index])
        if self.kind == "detection":
            return Record(image, str(index), boxes, labels)
        if self.boxes_anyway:
            return Record(image, str(index), boxes, labels, image_label=index, ignore_boxes_xyxy=boxes)
        return Record(image, str(index), image_label=index)


def _dataset(detection: int = 7, classification: int = 50, **options: Any) -> MixedDataset:
    given: dict[str, Any] = {"batch_size": 10, "sizes": [32], "ratio": (4, 1), **options}
    return MixedDataset(Made("detection", detection), Made("classification", classification), **given)


def _is_detection(sample: Sample) -> bool:
    return not sample.target.is_classification


@settings(max_examples=50, deadline=None)
@given(
    ratio=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    begin=st.integers(0, 10**9),
    length=st.integers(1, 200),
    by=st.sampled_from(["in_batch", "batch_by_batch"]),
)
def test_the_proportion_is_exact_in_any_stretch(
    ratio: tuple[int, int], begin: int, length: int, by: Interleave
) -> None:
    dataset = _dataset(ratio=ratio, interleave=by, batch_size=6)
    unit = 6 if by == "batch_by_batch" else 1
    kinds = [dataset.kind_at((begin + i) * unit)[0] for i in range(length)]
    share = ratio[1] / sum(ratio)
    assert abs(kinds.count(0) - length * share) < 1


def test_in_batch_every_batch_has_the_mix() -> None:
    batches = list(make_loader(_dataset(), stop=200))
    assert len(batches) == 20
    for batch in batches:
        assert [target.is_classification for target in batch.targets].count(False) == 2


def test_batch_by_batch_every_batch_has_one_kind() -> None:
    batches = list(make_loader(_dataset(interleave="batch_by_batch"), stop=200))
    kinds = [{target.is_classification for target in batch.targets} for batch in batches]
    assert all(len(kind) == 1 for kind in kinds)
    assert kinds.count({False}) == 4


@pytest.mark.parametrize("by", ["in_batch", "batch_by_batch"])
def test_every_image_comes_once_a_pass_and_the_smaller_set_more_often(by: Interleave) -> None:
    dataset = _dataset(7, 50, interleave=by)
    seen: dict[int, list[int]] = {0: [], 1: []}
    for position in range(2000):
        slot, index = dataset.index_at(position)
        seen[slot].append(index)
    for slot, n in ((0, 7), (1, 50)):
        passes = [seen[slot][i : i + n] for i in range(0, len(seen[slot]) - n + 1, n)]
        assert all(sorted(order) == list(range(n)) for order in passes)
        assert passes[0] != passes[1]
    assert len(seen[0]) == 400
    assert {index for slot, index in map(dataset.index_at, range(len(dataset))) if slot == 1} == set(range(50))
    assert {index for slot, index in map(dataset.index_at, range(len(dataset))) if slot == 0} == set(range(7))


def test_an_epoch_is_the_larger_set_once() -> None:
    assert len(_dataset(7, 80)) == 100  # 80 classification images at four fifths
    assert len(_dataset(30, 80)) == 150  # 30 detection images at one fifth
    assert len(MixedDataset(Made("detection", 25), None, batch_size=10, sizes=[32])) == 30
    assert len(_dataset(7, 80, interleave="batch_by_batch")) == 100


@dataclass(frozen=True)
class Setting:
    workers: int = 0
    prefetch: int = 2
    start_method: Literal["fork", "spawn", "forkserver"] | None = None
    ranks: int = 1
    globals_seed: int = 0


# With Python 3.12 a fork warns of the threads that torch has started; there the default method is left to Python.
FORK: Literal["fork", "forkserver"] = "fork" if sys.version_info < (3, 12) else "forkserver"


def _stream(settings: Setting, **options: Any) -> dict[int, str]:
    """The hash of the sample at each position, as the ranks' loaders give them."""
    random.seed(settings.globals_seed)
    np.random.seed(settings.globals_seed)  # noqa: NPY002 - what must not matter
    torch.manual_seed(settings.globals_seed)
    found: dict[int, str] = {}
    for rank in range(settings.ranks):
        dataset = _dataset(5, 9, sizes=[32, 48, 64], size_every=1, mosaic=0.5, seed=3, batch_size=8, **options)
        positions = PositionSampler(8, rank=rank, world_size=settings.ranks, start=16, stop=48)
        loader = make_loader(
            dataset,
            rank=rank,
            world_size=settings.ranks,
            start=16,
            stop=48,
            workers=settings.workers,
            prefetch=settings.prefetch,
            start_method=settings.start_method,
        )
        for where, batch in zip(positions, loader, strict=True):
            for i, position in enumerate(where):
                assert position not in found
                found[position] = _hash(batch, i)
    assert sorted(found) == list(range(16, 48))
    return found


def _hash(batch: Batch, i: int) -> str:
    digest = hashlib.sha256(batch.images[i].numpy().tobytes())
    for value in vars(batch.targets[i]).values():
        digest.update(repr(value.tolist() if isinstance(value, torch.Tensor) else value).encode())
    digest.update(repr((batch.keys[i], batch.placements[i])).encode())
    return digest.hexdigest()


@pytest.mark.parametrize(
    "settings",
    [
        Setting(globals_seed=99),
        Setting(ranks=2),
        Setting(ranks=4, globals_seed=5),
        Setting(workers=2, start_method=FORK),
        Setting(workers=2, prefetch=5, start_method=FORK, ranks=2, globals_seed=7),
        pytest.param(Setting(workers=1, start_method="spawn"), marks=pytest.mark.slow),
        pytest.param(Setting(workers=2, prefetch=1, start_method="spawn", ranks=2), marks=pytest.mark.slow),
        pytest.param(Setting(workers=2, start_method="forkserver"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_sample_depends_on_seed_epoch_and_position_alone(settings: Setting) -> None:
    assert _stream(settings) == _stream(Setting())


def test_the_stream_does_depend_on_seed_and_epoch() -> None:
    a = _dataset(5, 9, seed=1)
    b = _dataset(5, 9, seed=2)
    assert any(not torch.equal(a[i].image, b[i].image) for i in range(5))
    epoch = len(a)
    assert any(not torch.equal(a[i].image, a[i + epoch].image) for i in range(5))
    assert all(torch.equal(a[i].image, a[i].image) for i in range(5))
    # the same image at another place is augmented in another way
    one = MixedDataset(Made("detection", 1), None, batch_size=1, sizes=[32])
    assert not torch.equal(one[0].image, one[1].image)


def test_darknets_augmentation_in_place_of_ours() -> None:
    darknets = DarknetAugment()
    dataset = _dataset(detection_augment=darknets, classification_augment=darknets)
    for position in range(20):
        sample, again = dataset[position], dataset[position]
        assert torch.equal(sample.image, again.image)
        # an image is as large as fits, and wholly inside
        place = sample.placement
        assert max(place.width * place.scale_x, place.height * place.scale_y) == pytest.approx(32)
        assert 0 <= place.offset_x <= 32 - place.width * place.scale_x + 1e-6
    with pytest.raises(ValueError, match="`mosaic` must be 0"):
        _dataset(classification_augment=darknets, mosaic=0.5)


def test_positions_far_into_a_run_cost_nothing() -> None:
    dataset = _dataset()
    assert dataset[10**12].image.shape == (3, 32, 32)
    with pytest.raises(IndexError):
        dataset[-1]


def test_resuming_is_starting_at_a_position() -> None:
    whole = list(make_loader(_dataset(), stop=60))
    rest = list(make_loader(_dataset(), start=30, stop=60))
    assert len(rest) == 3
    for a, b in zip(whole[3:], rest, strict=True):
        assert torch.equal(a.images, b.images)
        assert a.keys == b.keys


def test_sizes_change_with_the_batch() -> None:
    dataset = _dataset(sizes=[32, 48, 64], size_every=3)
    sizes = [{batch.images.shape[-1]} for batch in make_loader(dataset, stop=600)]
    assert all(sizes[i : i + 3] == [sizes[i]] * 3 for i in range(0, 60, 3))
    assert set.union(*sizes) == {32, 48, 64}


def test_classification_sources_never_leak_boxes() -> None:
    leaky = Made("classification", 9, boxes_anyway=True)
    clean = Made("classification", 9)
    a, b = (
        MixedDataset(Made("detection", 3), source, batch_size=4, sizes=[32], mosaic=0.5, ratio=(1, 1))
        for source in (leaky, clean)
    )
    for i in range(40):
        assert torch.equal(a[i].image, b[i].image)
        for x, y in zip(vars(a[i].target).values(), vars(b[i].target).values(), strict=True):
            assert torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y
        if not _is_detection(a[i]):
            assert a[i].target.boxes_cxcywh.shape == (0, 4)
            assert a[i].target.ignore_boxes_cxcywh is None


def test_mosaics_of_boxes_come_as_often_as_asked_and_say_what_all_label() -> None:
    source = Made("detection", 30, labelled_nodes=np.array([1, 2]))
    dataset = MixedDataset(source, None, batch_size=10, sizes=[64], box_mosaic=0.25)
    keys = [dataset[position].key for position in range(400)]
    assert 70 < sum("+" in key for key in keys) < 130
    assert all(dataset[position].target.labelled_nodes.tolist() == [1, 2] for position in range(9))  # type: ignore
    parts = [Made("detection", 9, f"part {i}", labelled_nodes=np.array([i, 5, 7])) for i in range(2)]
    joined = MixedDataset(JoinedSource(parts), None, batch_size=2, sizes=[64], box_mosaic=1.0)
    common = {tuple(joined[position].target.labelled_nodes.tolist()) for position in range(120)}  # type: ignore
    assert common == {(0, 5, 7), (1, 5, 7), (5, 7)}  # four of one part, of the other, and of both


def test_mosaics_come_as_often_as_asked() -> None:
    dataset = MixedDataset(None, Made("classification", 30), batch_size=10, sizes=[32], mosaic=0.25, mosaic_side=2)
    targets = [dataset[i].target for i in range(400)]
    mosaics = [target for target in targets if target.areas_cxcywh is not None]
    assert 70 < len(mosaics) < 130
    assert all(target.image_label is None and len(target.area_labels) == 4 for target in mosaics)  # type: ignore[arg-type]
    # the position's own image is the first cell, so that a pass still shows every image
    own = Counter(
        target.image_label if target.image_label is not None else int(target.area_labels[0])  # type: ignore[index]
        for target in targets[:30]
    )
    assert sorted(own) == list(range(30))


def test_labelled_nodes_reach_the_target() -> None:
    detection = Made("detection", 3, labelled_nodes=np.array([1, 4]))
    dataset = MixedDataset(detection, Made("classification", 3), batch_size=2, sizes=[32], ratio=(1, 1))
    for i in range(4):
        nodes = dataset[i].target.labelled_nodes
        assert (nodes.tolist() if nodes is not None else None) == ([1, 4] if _is_detection(dataset[i]) else None)


def _alone(source: Source, **options: Any) -> MixedDataset:
    return MixedDataset(source, None, **{"batch_size": 10, "sizes": [32], **options})


def test_an_unreadable_image_is_replaced_by_the_next_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    source = Made("detection", 40, broken=frozenset({5, 6, 39}))
    dataset = _alone(source)
    with caplog.at_level(logging.WARNING):
        batches = list(make_loader(dataset, stop=120))
    for start in range(0, 120, 40):  # the mix and the batch size hold: 7 and 0 come for those three
        keys = Counter(key for batch in batches[start // 10 : start // 10 + 4] for key in batch.keys)
        assert keys == Counter([*(str(i) for i in range(40) if i not in (5, 6, 39)), "7", "7", "0"])
    assert [len(batch) for batch in batches] == [10] * 12
    assert sorted(message.split()[1] for message in caplog.messages) == ["39", "5", "6"]
    assert dataset.unreadable.keys == {"detection": {"5", "6", "39"}}


@pytest.mark.parametrize("workers", [0, 2])
def test_too_many_unreadable_images_stop_the_run(workers: int, caplog: pytest.LogCaptureFixture) -> None:
    # 11 of 1,000 is more than ten and more than one in a hundred
    dataset = _alone(Made("detection", 1000, broken=frozenset(range(100, 1000, 85))))
    loader = make_loader(dataset, stop=2000, workers=workers, start_method=FORK)
    taken: list[Batch] = []
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(TooManyUnreadable, match="detection: 11 of 1000 images cannot"),
    ):
        taken.extend(loader)
    assert len(taken) < 100
    assert len(caplog.messages) == 11


def test_few_unreadable_images_do_not() -> None:
    assert [tolerated(n) for n in (5, 1000, 1001, 2000, 10**6)] == [10, 10, 10, 20, 10**4]
    dataset = _alone(Made("detection", 2000, broken=frozenset(range(20))))
    for position in range(2000):
        if dataset.index_at(position)[1] < 20:
            assert dataset[position].key == "20"
    assert len(dataset.unreadable.keys["detection"]) == 20


def test_a_source_of_rubbish_stops_at_once() -> None:
    with pytest.raises(
        TooManyUnreadable, match="detection: 11 images in a row cannot be read, of 500. The first is .*made so"
    ):
        _alone(Made("detection", 500, broken=frozenset(range(500))))[0]
    with pytest.raises(TooManyUnreadable, match="3 images in a row cannot be read, of 3"):
        _alone(Made("detection", 3, broken=frozenset(range(3))))[0]


@pytest.mark.slow  # torch takes five seconds to end a worker that has raised
def test_a_source_of_rubbish_stops_workers_too() -> None:
    dataset = _alone(Made("detection", 500, broken=frozenset(range(500))))
    with pytest.raises(TooManyUnreadable, match=r"^detection: 11 images in a row"):  # without a worker's traceback
        list(make_loader(dataset, stop=100, workers=1, start_method=FORK))


def test_each_source_is_counted_by_itself() -> None:
    counter = UnreadableCounter({"a": 10, "b": 10})
    for name in ("a", "b"):
        counter.add(Replacement(name, f"{i}.jpg", "") for i in range(10))
    with pytest.raises(TooManyUnreadable, match=r"^b: 11 of 10"):
        counter.add([Replacement("b", "again.jpg", "")])


def test_both_sources_for_joint_training() -> None:
    detection, classification = Made("detection", 5), Made("classification", 5)
    options: dict[str, Any] = {"batch_size": 2, "sizes": [32]}
    with pytest.raises(ValueError, match="joint training on two sources, and the classification source is missing"):
        MixedDataset(detection, None, ratio=(4, 1), **options)
    with pytest.raises(ValueError, match="joint training on two sources, and the detection source is missing"):
        MixedDataset(None, classification, ratio=(4, 1), **options)
    with pytest.raises(ValueError, match="neither"):
        MixedDataset(None, None, **options)
    with pytest.raises(ValueError, match="detection is a detection source, given as the classification source"):
        MixedDataset(detection, detection, **options)
    with pytest.raises(ValueError, match="classification has no images"):
        MixedDataset(detection, Made("classification", 0), **options)
    with pytest.raises(ValueError, match="several sources are called x"):
        MixedDataset(Made("detection", 5, "x"), Made("classification", 5, "x"), **options)
    assert MixedDataset(detection, classification, **options).detection_share.denominator == 5


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"ratio": (4, 0)}, "ratio"),
        ({"batch_size": 0}, "batch_size"),
        ({"sizes": []}, "sizes"),
        ({"sizes": [0]}, "sizes"),
        ({"seed": -1}, "seed"),
        ({"mosaic": 1.5}, "mosaic"),
        ({"box_mosaic": -0.1}, "box_mosaic"),
        ({"box_mosaic": 0.5, "detection_augment": DarknetAugment()}, "box_mosaic"),
        ({"mosaic_side": 1}, "mosaic_side"),
        ({"interleave": "both"}, "interleave"),
        ({"size_every": 0}, "size_every"),
    ],
)
def test_options_out_of_range(wrong: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        _dataset(**wrong)


def test_fewer_images_than_a_batch_repeat_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = _dataset(1, 5)
    assert caplog.messages == [
        "detection has 1 images, fewer than the 2 of a batch: images repeat inside a batch",
        "classification has 5 images, fewer than the 8 of a batch: images repeat inside a batch",
    ]
    (batch,) = make_loader(dataset, stop=10)
    assert len(batch) == 10


def test_a_source_that_breaks_the_contract_is_named() -> None:
    class Wrong(Made):
        def read(self, index: int) -> Record:
            return Record(np.zeros((4, 4, 3), np.uint8), "x.jpg")

    with pytest.raises(ValueError, match=r"classification: a classification source gave no image_label for x\.jpg"):
        MixedDataset(None, Wrong("classification", 5), batch_size=2, sizes=[32])[0]


def test_position_sampler_refuses() -> None:
    with pytest.raises(ValueError, match="`batch_size` 8: 9 ranks cannot share it"):
        PositionSampler(8, world_size=9)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        PositionSampler(8, rank=2, world_size=2)
    with pytest.raises(ValueError, match="start=12 is not the first position of a batch of 8"):
        PositionSampler(8, start=12)
    assert len(PositionSampler(8, start=8, stop=40)) == 4
    with pytest.raises(TypeError, match="never stops"):
        len(PositionSampler(8))


def test_evaluation_takes_every_image_once_in_order() -> None:
    batches = list(make_evaluation_loader(Made("detection", 7), 32, batch_size=3))
    assert [key for batch in batches for key in batch.keys] == [str(i) for i in range(7)]
    assert [len(batch) for batch in batches] == [3, 3, 1]
    with pytest.raises(Unreadable, match="^2: made so"):
        list(make_evaluation_loader(Made("detection", 7, broken=frozenset({2})), 32, batch_size=3))


def taken(excerpt: Excerpt, **options: Any) -> list[list[str]]:
    """The keys of each batch of an evaluation."""
    return [batch.keys for batch in make_evaluation_loader(excerpt, 32, start_method=FORK, **options)]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_evaluation_counts_an_image_once_that_stands_for_others(
    workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    whole = Excerpt(Made("detection", 9, broken=frozenset({1, 2, 5, 8})), 9)
    with caplog.at_level(logging.WARNING):
        assert taken(whole, batch_size=2, workers=workers) == [["0"], ["3"], ["4"], ["6", "7"]]
    assert sorted(message.split()[1] for message in caplog.messages) == ["1", "2", "5", "8"]
    assert whole.unreadable.keys == {"detection": {"1", "2", "5", "8"}}
    ranks = [taken(whole, batch_size=2, rank=rank, world_size=2) for rank in (0, 1)]
    assert ranks == [[["0"], ["4"]], [["3"], ["6", "7"]]]  # as one process takes them
    # 0, 3 and 6 of ten: 4 and 7 have no place of their own
    apart = Excerpt(Made("detection", 10, broken=frozenset({3, 6})), 3)
    assert taken(apart, batch_size=3) == [["0", "4", "7"]]
    # 0, 2, 5 and 7 of ten: both of the last two are replaced by 8
    assert taken(Excerpt(Made("detection", 10, broken=frozenset({5, 6, 7})), 4), batch_size=1) == [["0"], ["2"], ["8"]]
    parts = [Made("detection", 3, "a", broken=frozenset({2})), Made("detection", 2, "b", broken=frozenset({0}))]
    assert taken(Excerpt(JoinedSource(parts), 5), batch_size=5) == [["0", "1", "1"]]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.sets(st.integers(0, 29), max_size=10))
def test_an_excerpt_loses_no_image_that_can_be_read(number: int, length: int, broken: set[int]) -> None:
    source = Made("detection", number, broken=frozenset(broken))
    excerpt = Excerpt(source, length)
    if len(broken & set(range(number))) == number:
        return
    found = [excerpt.read_or_next(index) for index in range(len(excerpt))]
    once = [record.key for record, _, comes_again in found if not comes_again]
    assert sorted(once) == sorted({record.key for record, _, _ in found})


@pytest.mark.parametrize("workers", [0, 2])
def test_too_many_unreadable_images_end_an_evaluation_whatever_the_workers(workers: int) -> None:
    ten = Excerpt(Made("detection", 200, broken=frozenset(range(0, 200, 20))), 200)
    assert sum(len(keys) for keys in taken(ten, batch_size=4, workers=workers)) == 190
    eleven = Excerpt(Made("detection", 200, broken=frozenset(range(0, 198, 18))), 200)
    with pytest.raises(TooManyUnreadable, match=r"^detection: 11 of 200 images cannot be read"):
        taken(eleven, batch_size=4, workers=workers)
