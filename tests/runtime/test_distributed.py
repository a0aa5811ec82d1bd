"""Processes that meet again in the store of an earlier attempt."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch.distributed as dist

from yolo9000.runtime.distributed import Processes, _of_this_attempt, dealt, was_restarted
from yolo9000.runtime.mistakes import Mistake


def test_a_job_that_is_begun_again_reads_nothing_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    store = dist.HashStore()  # type: ignore[attr-defined]
    for attempt in range(3):  # torchrun gives all of them one store
        with ThreadPoolExecutor(3) as threads:
            ranks = list(threads.map(lambda rank: _of_this_attempt(store, rank, 3, 30), range(3)))
        assert not any(each.check(["address"]) for each in ranks)
        ranks[attempt].set("address", f"{attempt}")
        assert [each.get("address") for each in ranks] == [f"{attempt}".encode()] * 3


def test_a_process_that_does_not_come_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    store = dist.HashStore()  # type: ignore[attr-defined]
    with pytest.raises(Mistake, match=r"rank 1 of 2 processes has not come after 0 s \(`rank_timeout`\)"):
        _of_this_attempt(store, 0, 2, 0.1)


def test_without_torchrun_the_store_is_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert _of_this_attempt("store", 0, 2, 1) == "store"


@pytest.mark.parametrize("name", ["TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"])
def test_who_keeps_a_job_alive_says_so(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "0")
    assert not was_restarted()
    monkeypatch.setenv(name, "1")
    assert was_restarted()


def test_one_process_does_all_work_itself() -> None:
    assert list(dealt(str, iter([1, 2]), Processes())) == ["1", "2"]
