"""Several processes make the gradient of one; in exact mode to the bit, also across a resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from yolo9000.runtime.mistakes import Mistake
from yolo9000.training.config import TrainConfig

FILE = Path(__file__).with_name("in_ranks.py")
Ranks = Callable[..., dict[int, list[Any]]]


def compare(found: dict[int, list[Any]], *, tolerance: float) -> None:
    """All ranks of any number of processes against one process."""
    (alone,) = found.pop(1)
    largest = max(float(each.abs().max()) for each in alone["gradient"].values())
    for size, of_ranks in found.items():
        assert sum(each["loss"] for each in of_ranks) == pytest.approx(alone["loss"], rel=tolerance)
        for each in of_ranks:
            for name, gradient in alone["gradient"].items():
                difference = float((each["gradient"][name] - gradient).abs().max())
                assert difference < tolerance * largest, f"{size} processes, {name}"
            for name, buffer in alone["buffers"].items():
                torch.testing.assert_close(each["buffers"][name], buffer, rtol=1e-4, atol=1e-5, msg=name)


def test_three_processes_make_the_gradient_of_one(ranks: Ranks) -> None:
    """Eight images for three; and their class rows are not sent, but what their gradient is made of."""
    found = ranks(FILE, "one_gradient", [1, 3], batch_size=8, shared_batch_norm="synchronised")
    assert found[3][0]["sent"]["class rows"] > 0
    compare(found, tolerance=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("batch_size", "share_rows", "accumulate"), [(8, True, 1), (11, False, 1), (11, True, 2)])
def test_any_number_makes_the_gradient_of_one(ranks: Ranks, batch_size: int, share_rows: bool, accumulate: int) -> None:
    found = ranks(
        FILE,
        "one_gradient",
        [1, 2, 3, 4],
        batch_size=batch_size * accumulate,
        accumulate=accumulate,
        share_rows=share_rows,
        shared_batch_norm="synchronised",
    )
    if accumulate == 1:
        compare(found, tolerance=1e-5)
        return
    for each in found.values():  # statistics of two parts in a row differ in the last digits' digits
        for rank in each:
            rank["buffers"] = {}
    compare(found, tolerance=1e-5)


def test_exact_gradients_have_the_same_bits(ranks: Ranks) -> None:
    found = ranks(FILE, "one_gradient", [1, 3, 4], batch_size=9, exact=4)
    (alone,) = found.pop(1)
    for of_ranks in found.values():
        for each in of_ranks:
            assert all(torch.equal(each["gradient"][name], own) for name, own in alone["gradient"].items())
            assert all(torch.equal(each["buffers"][name], own) for name, own in alone["buffers"].items())


def test_exact_gradients_have_the_same_bits_with_dropout(ranks: Ranks) -> None:
    """Each shard draws its own, whoever computes it; and in every part of an update anew."""
    found = ranks(FILE, "one_gradient", [1, 2], batch_size=8, accumulate=2, exact=2, dropout=True)
    (without,) = ranks(FILE, "one_gradient", [1], batch_size=8, accumulate=2, exact=2)[1]
    (alone,) = found[1]
    assert alone["loss"] != without["loss"]
    for each in found[2]:
        assert all(torch.equal(each["gradient"][name], own) for name, own in alone["gradient"].items())


def test_a_batch_that_processes_cannot_share() -> None:
    TrainConfig(batch_size=4).check_shared_by(4)
    with pytest.raises(Mistake, match="`batch_size` 4: 5 processes cannot share 4 images; take `batch_size` 5 or more"):
        TrainConfig(batch_size=4).check_shared_by(5)
    with pytest.raises(Mistake, match=r"4 in 2 parts \(`accumulate`\): 3 .* share 2 images; take `batch_size` 6 or"):
        TrainConfig(batch_size=4, accumulate=2).check_shared_by(3)
    with pytest.raises(Mistake, match="`exact` 4: 8 processes cannot share 4 shards"):
        TrainConfig(batch_size=16, exact=4).check_shared_by(8)
    with pytest.raises(Mistake, match="`exact` 4: there are 2 images"):
        TrainConfig(batch_size=2, exact=4)
    with pytest.raises(Mistake, match="`exact` normalises over the images of a shard"):
        TrainConfig(exact=4, shared_batch_norm="synchronised")


@pytest.mark.slow
@pytest.mark.parametrize("shared_batch_norm", ["averaged", "first", "synchronised"])
def test_three_processes_resume_to_the_bit(ranks: Ranks, tmp_path: Path, shared_batch_norm: str) -> None:
    """Of two the sum is the same in any order, so only three show whether torch's buckets are as they were."""
    hashes = [
        ranks(
            FILE,
            "run",
            [3],
            folder=str(tmp_path / str(len(stops))),
            steps=9,
            stops=stops,
            batch_size=7,
            shared_batch_norm=shared_batch_norm,
        )[3][0]
        for stops in ([], [1, 2, 5])
    ]
    assert hashes[0] == hashes[1]


@pytest.mark.slow
def test_exact_runs_have_one_hash(ranks: Ranks, tmp_path: Path) -> None:
    """One, two and four processes; and the number changes at each of two resumes."""
    config = {"batch_size": 8, "exact": 4}
    whole = ranks(FILE, "run", [1, 2, 4], folder=str(tmp_path / "{size}"), steps=6, **config)
    changed = ranks(FILE, "run", [4, 1, 3], folder=str(tmp_path / "changed"), steps={"4": 2, "1": 4, "3": 6}, **config)
    hashes = [whole[1][0], whole[2][0], whole[4][0], changed[3][0]]
    assert hashes == hashes[:1] * 4
    assert changed[1][0] != changed[3][0]
