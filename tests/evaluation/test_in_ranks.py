"""An evaluation that processes share has the figures of one, to the last digit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_three_processes_find_what_one_finds(ranks: Callable[..., dict[int, list[Any]]]) -> None:
    found = ranks(Path(__file__).with_name("in_ranks.py"), "evaluated", [1, 3])
    (alone,) = found[1]
    assert '"loss": {"loss": ' in alone
    assert '"of labels": {"loss": ' in alone
    assert '"of nothing": {}' in alone
    assert '"top1": 0.' in alone
    assert found[3] == [alone] * 3  # five batches: in the second round one has nothing left


@pytest.mark.slow
def test_a_process_without_a_readable_image_costs_the_others_none(ranks: Callable[..., dict[int, list[Any]]]) -> None:
    found = ranks(Path(__file__).with_name("in_ranks.py"), "counted", [1, 2])
    assert found == {1: [5], 2: [5, 5]}
