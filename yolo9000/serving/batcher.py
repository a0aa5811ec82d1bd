"""Things that wait for an answer: as many as may wait, and several answered at once."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from yolo9000.serving.refusals import Busy

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """One thread that answers what waits, in the order in which it came.

    Parameters
    ----------
    answer : callable
        Some items -> an answer for each, or the exception that is its answer.
    waiting : int
        Items that may wait or be worked on at a time.
    together : int
        Most items that are answered at once.

    Examples
    --------
    >>> doubles = Batcher(lambda numbers: [2 * number for number in numbers], waiting=4, together=2)
    >>> with doubles.place():
    ...     doubles.submit(21).result()
    42
    >>> doubles.close()
    """

    def __init__(
        self, answer: Callable[[Sequence[Item]], Sequence[Answer | Exception]], *, waiting: int, together: int
    ) -> None:
        self._answer = answer
        self._together = together
        self._places = threading.BoundedSemaphore(waiting)
        self._queue: queue.SimpleQueue[tuple[Item, Future[Answer]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place among those that wait, from before a photo is received to its answer.

        Raises
        ------
        Busy
            All places are taken.
        """
        if not self._places.acquire(blocking=False):
            raise Busy("as many photos as may wait are waiting; try again in a second")
        try:
            yield
        finally:
            self._places.release()

    def submit(self, item: Item) -> Future[Answer]:
        """Put an item in the queue. Whoever does so holds a place. A future that is cancelled costs no work."""
        future: Future[Answer] = Future()
        self._queue.put((item, future))
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
            self._answer_all([each for each in batch if each[1].set_running_or_notify_cancel()])
            if ends:
                return

    def _answer_all(self, batch: list[tuple[Item, Future[Answer]]]) -> None:
        if not batch:
            return
        try:
            answers = self._answer([item for item, _ in batch])
        except Exception as error:
            if len(batch) > 1:  # one of them may be to blame, and the others get their answers
                for each in batch:
                    self._answer_all([each])
            else:
                batch[0][1].set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
