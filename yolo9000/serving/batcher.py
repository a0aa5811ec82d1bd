"""Things that wait for an answer, several of which are answered at once."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, NamedTuple, TypeVar

from yolo9000.serving.admission import Admission, Place

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Waiting(NamedTuple, Generic[Item, Answer]):
    item: Item
    future: Future[Answer]
    place: Place


class Batcher(Generic[Item, Answer]):
    """One thread that answers what waits, in the order in which it came.

    Parameters
    ----------
    answer : callable
        Some items -> an answer for each, or the exception that is its answer.
    admission : Admission
        Gives the places, and is told what is done.
    together : int
        Most items that are answered at once.

    Examples
    --------
    >>> admission = Admission(waiting=4, together=2, slowdown=1.5)
    >>> doubles = Batcher(lambda numbers: [2 * number for number in numbers], admission, together=2)
    >>> doubles.submit(21, admission.enter()).result()
    42
    >>> doubles.close()
    """

    def __init__(
        self, answer: Callable[[Sequence[Item]], Sequence[Answer | Exception]], admission: Admission, *, together: int
    ) -> None:
        self._answer = answer
        self._admission = admission
        self._together = together
        self._queue: queue.SimpleQueue[_Waiting[Item, Answer] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def submit(self, item: Item, place: Place) -> Future[Answer]:
        """Put an item in the queue. Whoever does so holds a place. A future that is cancelled costs no work."""
        future: Future[Answer] = Future()
        place.stage = "queued"
        self._queue.put(_Waiting(item, future, place))
        return future

    def close(self) -> None:
        """Answer what waits, and end."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            first = self._queue.get()
            if first is None:
                return
            batch, ends = [first], False
            with contextlib.suppress(queue.Empty):
                while len(batch) < self._together and not ends:
                    more = self._queue.get_nowait()
                    if more is None:
                        ends = True
                    else:
                        batch.append(more)
            batch = [each for each in batch if each.future.set_running_or_notify_cancel()]
            if batch:
                self._admission.begin([each.place for each in batch])
                answers = self._answers([each.item for each in batch])
                self._admission.end(sum(not isinstance(answer, Exception) for answer in answers))
                for each, answer in zip(batch, answers, strict=True):
                    if isinstance(answer, Exception):
                        each.future.set_exception(answer)
                    else:
                        each.future.set_result(answer)
            if ends:
                return

    def _answers(self, items: list[Item]) -> list[Answer | Exception]:
        try:
            return list(self._answer(items))
        except Exception as error:
            if len(items) == 1:
                return [error]
            return [answer for item in items for answer in self._answers([item])]  # one of them may be to blame
