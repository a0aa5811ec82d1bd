"""Who is let in, by a clock that stands still until it is moved."""

from __future__ import annotations

import random

import pytest

from yolo9000.runtime.mistakes import Mistake
from yolo9000.serving.admission import LATEST, Admission, Place
from yolo9000.serving.config import Limits
from yolo9000.serving.refusals import Busy


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock, took: dict[int, float] | None = None, **limits: float) -> Admission:
    given = {"waiting": 16, "together": 4, "slowdown": 1.5} | limits
    admission = Admission(**given, clock=clock)  # type: ignore[arg-type]
    if took:
        admission.measure(took)
    return admission


def may_enter(admission: Admission) -> Place | None:
    try:
        return admission.enter()
    except Busy:
        return None


def test_before_anything_is_measured_the_places_are_the_limit() -> None:
    admission = made(Clock(), waiting=2)
    first, _ = admission.enter(), admission.enter()
    assert may_enter(admission) is None
    admission.leave(first)
    admission.leave(first)  # giving it back twice gives no second place
    assert may_enter(admission) is not None
    assert may_enter(admission) is None


def test_the_places_are_the_limit_however_long_one_may_wait() -> None:
    admission = made(Clock(), {1: 1.0}, waiting=3, slowdown=100)
    assert [may_enter(admission) is not None for _ in range(5)] == [True, True, True, False, False]


@pytest.mark.parametrize(("waited", "enters"), [(0.0, False), (0.4, False), (0.6, True), (1.0, True), (5.0, True)])
def test_the_next_photo_is_taken_when_the_first_is_half_done(waited: float, enters: bool) -> None:
    clock = Clock()
    admission = made(clock, {1: 1.0, 4: 4.0})  # a processor: four take four times as long as one
    admission.begin([admission.enter()])
    clock.now += waited
    assert (may_enter(admission) is not None) is enters
    assert may_enter(admission) is None  # and never a third


def test_where_several_are_as_quick_as_one_they_are_let_in_together() -> None:
    clock = Clock()
    admission = made(clock, {1: 1.0, 4: 1.2})
    admission.begin([admission.enter()])
    clock.now += 0.8
    assert [may_enter(admission) is not None for _ in range(6)] == [True] * 4 + [False] * 2


def test_a_larger_slowdown_lets_more_wait() -> None:
    admission = made(Clock(), {1: 1.0}, together=1, slowdown=5)
    assert sum(may_enter(admission) is not None for _ in range(16)) == 5


def test_who_sends_slowly_keeps_others_out_no_longer_than_a_photo_takes() -> None:
    clock = Clock()
    admission = made(clock, {1: 1.0, 4: 4.0})
    slow = admission.enter()
    assert may_enter(admission) is None
    clock.now += 1.1
    other = may_enter(admission)
    assert other is not None
    admission.leave(other)
    slow.stage = "queued"  # it has come, and counts again
    assert may_enter(admission) is None


def test_what_a_photo_takes_is_followed() -> None:
    clock = Clock()
    admission = made(clock, {1: 1.0, 4: 4.0})
    for _ in range(30):  # the machine has become ten times slower
        place = admission.enter()
        admission.begin([place])
        clock.now += 10
        admission.end(1)
        admission.leave(place)
    admission.begin([admission.enter()])
    clock.now += 4
    assert may_enter(admission) is None
    clock.now += 1.5
    assert may_enter(admission) is not None


def test_damaged_photos_do_not_make_the_others_look_quick() -> None:
    clock = Clock()
    admission = made(clock, {1: 1.0, 4: 4.0})
    for _ in range(50):
        place = admission.enter()
        admission.begin([place])
        clock.now += 0.001
        admission.end(0)
        admission.leave(place)
    admission.begin([admission.enter()])
    clock.now += 0.4
    assert may_enter(admission) is None
    clock.now += 0.2
    assert may_enter(admission) is not None


def test_those_who_are_sent_away_are_told_different_times() -> None:
    """Four times as many a second as the net answers, and nobody is told to come later than in a minute."""
    clock = Clock()
    admission = made(clock, {1: 1.0, 4: 4.0})
    admission.begin([admission.enter()])
    told = []
    for _ in range(300):
        with pytest.raises(Busy) as busy:
            admission.enter()
        told.append(busy.value.after)
    assert told == [min(each // 4 + 1, LATEST) for each in range(300)]
    clock.now += 300
    admission.enter()
    with pytest.raises(Busy) as busy:
        admission.enter()
    assert busy.value.after == 1


@pytest.mark.parametrize("seed", range(3))
def test_nobody_who_is_let_in_waits_long_and_the_net_is_seldom_idle(seed: int) -> None:
    """A day of it, simulated: 200 clients come at once, and come back as they are told."""
    clock, chance = Clock(), random.Random(seed)
    admission = made(clock, {1: 1.0, 4: 4.0})
    comes = [100.0] * 200
    queue: list[tuple[float, Place]] = []
    times: list[float] = []
    free_at, worked = 100.0, 0.0
    current: tuple[float, Place] | None = None
    while comes or queue or current:
        clock.now = min([*comes, *([free_at] if current or queue else [])])
        if current and clock.now >= free_at:
            admission.end(1)
            admission.leave(current[1])
            times.append(clock.now - current[0])
            current = None
        for each in [when for when in comes if when <= clock.now]:
            comes.remove(each)
            try:
                place = admission.enter()
                place.stage = "queued"
                queue.append((clock.now, place))
            except Busy as busy:
                comes.append(clock.now + busy.after + chance.random())
        if current is None and queue:
            current = queue.pop(0)
            admission.begin([current[1]])
            took = chance.uniform(0.9, 1.1)
            worked += took
            free_at = clock.now + took
    assert len(times) == 200
    assert sorted(times)[197] < 1.75
    assert worked / (clock.now - 100) > 0.75


def test_a_slowdown_that_lets_nobody_in_is_refused() -> None:
    with pytest.raises(Mistake, match="slowdown"):
        Limits(slowdown=0.9)
