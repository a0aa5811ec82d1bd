"""Ranks share batches: each position once, whatever the number of ranks and wherever it changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolo9000.datasets.errors import DatasetError
from yolo9000.datasets.loader import PositionSampler, shares


@given(
    number=st.integers(1, 40),
    batches=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 4)), min_size=1, max_size=5),
    exact=st.booleans(),
)
def test_every_position_comes_once_though_the_number_of_ranks_changes(
    number: int, batches: list[tuple[int, int]], exact: bool
) -> None:
    """Each stretch of the run has its own number of ranks: what a resume with others does."""
    batch_size = max(number, *(world for world, _ in batches))
    seen, start = [], 0
    for world, count in batches:
        stop = start + count * batch_size
        for rank in range(world):
            sampler = PositionSampler(
                batch_size, rank=rank, world_size=world, start=start, stop=stop, shards=batch_size if exact else None
            )
            own = list(sampler)
            assert len(own) == count
            assert all(own)  # a rank without an image would have no gradient
            seen += [position for batch in own for position in batch]
        start = stop
    assert sorted(seen) == list(range(start))


def test_the_shares_differ_by_one_at_most() -> None:
    assert [len(part) for part in shares(11, 4)] == [2, 3, 3, 3]
    sizes = [[len(next(iter(PositionSampler(8, rank=rank, world_size=3)))) for rank in range(3)]]
    assert sizes == [[2, 3, 3]]


def test_shards_are_the_same_for_any_number_of_ranks() -> None:
    """Of 10 images in 4 shards (2, 3, 2, 3) three ranks take one, one and two."""
    parts = [next(iter(PositionSampler(10, rank=rank, world_size=3, shards=4))) for rank in range(3)]
    assert parts == [[0, 1], [2, 3, 4], [5, 6, 7, 8, 9]]


def test_a_rank_without_an_image_is_refused() -> None:
    with pytest.raises(DatasetError, match="`batch_size` 2: 3 ranks cannot share it"):
        PositionSampler(2, rank=0, world_size=3)
    with pytest.raises(DatasetError, match="`batch_size` 8: 5 ranks cannot share it"):
        PositionSampler(8, rank=0, world_size=5, shards=4)
