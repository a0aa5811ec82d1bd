"""What waits is answered in its order, several at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from yolo9000.serving.admission import Admission
from yolo9000.serving.batcher import Batcher


def test_what_waits_goes_together_as_far_as_it_may() -> None:
    seen: list[list[int]] = []
    began, may_go_on = threading.Event(), threading.Event()

    def answer(numbers: Sequence[int]) -> list[int]:
        began.set()
        may_go_on.wait(10)
        seen.append(list(numbers))
        return [10 * number for number in numbers]

    admission = Admission(waiting=9, together=3, slowdown=1.5)
    batcher = Batcher(answer, admission, together=3)
    first = batcher.submit(0, admission.enter())
    assert began.wait(10)
    others = [batcher.submit(number, admission.enter()) for number in range(1, 6)]
    others[1].cancel()  # whoever asked is gone: it costs no work
    may_go_on.set()
    assert first.result(10) == 0
    assert [others[each].result(10) for each in (0, 2, 3, 4)] == [10, 30, 40, 50]
    batcher.close()
    assert seen == [[0], [1, 3], [4, 5]]


def test_one_that_cannot_be_answered_does_not_spoil_the_others() -> None:
    gate = threading.Event()

    def answer(numbers: Sequence[int]) -> list[int | Exception]:
        gate.wait(10)
        if 13 in numbers:
            raise RuntimeError("13")
        return [ValueError("7") if number == 7 else number for number in numbers]

    admission = Admission(waiting=9, together=9, slowdown=1.5)
    batcher = Batcher(answer, admission, together=9)
    futures = [batcher.submit(number, admission.enter()) for number in (1, 13, 7, 2)]
    gate.set()
    assert (futures[0].result(10), futures[3].result(10)) == (1, 2)
    with pytest.raises(RuntimeError, match="13"):
        futures[1].result(10)
    with pytest.raises(ValueError, match="7"):
        futures[2].result(10)
    assert batcher.submit(5, admission.enter()).result(10) == 5  # and the thread lives
    batcher.close()
