"""Who is let in: a photo that can expect its answer soon. All others are told at once when to come again.

One net answers all. If everybody were let in, everybody would wait for those before; a photo that is sent away costs
almost nothing, and comes again when there is room.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from yolo9000.serving.refusals import Busy

OVERBOOKED = 4.0
"""How many are told to come again for each photo that will be answered by then. Some never come, some send what is no
photo, and half of the others come while a photo is in its first half."""
LATEST = 60
"""The most seconds after which somebody is told to come again."""
_PART = 0.2
"""How much the last batch counts in what a photo is expected to take."""


@dataclass(eq=False)
class Place:
    """The right to an answer, from before a photo is received until it is answered.

    Attributes
    ----------
    entered : float
        When it was given.
    stage : {"receiving", "queued", "working"}
        What happens to the photo.
    """

    entered: float
    stage: Literal["receiving", "queued", "working"] = "receiving"


class Admission:
    """Lets a photo in if it can expect its answer soon enough.

    What a photo takes is measured (`measure`) and followed from batch to batch; before that, places are the only limit.

    Parameters
    ----------
    waiting : int
        The most places, whatever is expected.
    together : int
        Most photos that are answered at once.
    slowdown : float
        A photo is let in if its answer can be expected after at most this many times what it would take alone.
    clock : callable
        The time in seconds.

    Examples
    --------
    A net takes one second for one photo. The second photo comes when the first one is half done, the third too early:

    >>> seconds = 0.0
    >>> admission = Admission(waiting=16, together=1, slowdown=1.5, clock=lambda: seconds)
    >>> admission.measure({1: 1.0})
    >>> first = admission.enter()
    >>> admission.begin([first])
    >>> seconds = 0.6
    >>> second = admission.enter()
    >>> seconds = 0.7
    >>> admission.enter()
    Traceback (most recent call last):
    yolo9000.serving.refusals.Busy: others are being answered; try again in 1 second
    """

    def __init__(
        self, *, waiting: int, together: int, slowdown: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._waiting, self._together, self._slowdown = waiting, together, slowdown
        self._clock = clock
        self._lock = threading.Lock()
        self._places: set[Place] = set()
        self._batch: tuple[int, float] | None = None  # how many, since when
        self._fixed, self._each = 0.0, 0.0
        self._pace: float | None = None  # None: not measured
        self._booked = 0.0

    def measure(self, seconds: dict[int, float]) -> None:
        """Take what batches took: number of photos -> seconds, for one photo and possibly for another number."""
        most = max(seconds)
        with self._lock:
            self._each = seconds[1] if most == 1 else max((seconds[most] - seconds[1]) / (most - 1), 0.0)
            self._fixed = max(seconds[1] - self._each, 0.0)
            self._pace = 1.0

    def enter(self) -> Place:
        """Give a place.

        Raises
        ------
        Busy
            The answer would come too late. It says when to come again.
        """
        with self._lock:
            now = self._clock()
            if len(self._places) >= self._waiting or self._expected(now) > self._slowdown * self._cost(1):
                seconds = self._appointment(now)
                raise Busy(
                    f"others are being answered; try again in {seconds} second{'s' * (seconds > 1)}", after=seconds
                )
            place = Place(now)
            self._places.add(place)
            return place

    def leave(self, place: Place) -> None:
        """Give a place back. It may be given back twice."""
        with self._lock:
            self._places.discard(place)

    def begin(self, places: list[Place]) -> None:
        """Some photos are answered from now on."""
        with self._lock:
            for place in places:
                place.stage = "working"
            self._batch = len(places), self._clock()

    def end(self, answered: int) -> None:
        """They were answered, so many of them by the net: a damaged photo says nothing of what the others take."""
        with self._lock:
            assert self._batch is not None
            took = self._clock() - self._batch[1]
            self._batch = None
            if answered and self._pace is not None:
                planned = self._fixed + self._each * answered
                self._pace += _PART * (took / planned - self._pace)

    def _cost(self, number: int) -> float:
        """What a batch is expected to take."""
        return 0.0 if self._pace is None else self._pace * (self._fixed + self._each * number)

    def _expected(self, now: float) -> float:
        """When one more photo can expect its answer."""
        if self._pace is None:
            return 0.0
        left = 0.0
        if self._batch is not None:
            number, begun = self._batch
            left = max(self._cost(number) - (now - begun), 0.0)
        # Whoever sends slowly keeps others out for no longer than one photo takes. So nobody shuts the door by sending
        # nothing, which a photo a second would do as well.
        ahead = sum(
            place.stage == "queued" or (place.stage == "receiving" and now - place.entered <= self._cost(1))
            for place in self._places
        )
        batches, rest = divmod(ahead + 1, self._together)
        return left + batches * self._cost(self._together) + (self._cost(rest) if rest else 0.0)

    def _appointment(self, now: float) -> int:
        """In how many seconds somebody who is sent away shall come: a time that not many others were told."""
        each = self._cost(self._together) / self._together / OVERBOOKED
        self._booked = min(max(self._booked, now) + each, now + LATEST)
        return max(1, math.ceil(self._booked - now))
