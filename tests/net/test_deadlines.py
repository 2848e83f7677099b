"""Deadlines of one duration: whoever was added first is due first, each once, and never too early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spyhole.net import deadlines
from spyhole.net.deadlines import BySeconds, Deadlines, Rounds


class Clock:
    """A loop of which only the timers are there, and a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.defects: list[dict[str, Any]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> object:
        self.timers.append((when, callback))
        return object()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> object:
        return self.call_at(self.now + seconds, callback)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.defects.append(context)

    def move(self, seconds: float) -> None:
        """Let so much time pass, and then call what is due by then: a loop that was busy meanwhile."""
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, callback in sorted(due, key=lambda timer: timer[0]):
            callback()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return cast("asyncio.AbstractEventLoop", self)


@contextmanager
def a_clock() -> Iterator[Clock]:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deadlines, "monotonic", clock.time)
        yield clock


class Waits:
    """One that waits, and what it does when its deadline has passed."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.then = then
        self.expired = 0

    def expire(self) -> None:
        self.expired += 1
        self.then()


# What each of five does when its deadline passes: touch one of the five, itself included.
REACTION = st.one_of(
    st.none(), st.tuples(st.sampled_from(["add", "discard", "discard and add"]), st.integers(0, 4))
)
STEP = st.one_of(
    st.tuples(st.sampled_from(["add", "discard"]), st.integers(0, 4)),
    st.tuples(st.just("move"), st.sampled_from([0, 1, 3, 4, 9, 10, 11, 25])),
)


class Naive:
    """The same by looking at everybody: a list, no timers. Whoever is due when the clock moves is called
    in order of arrival, unless it has been taken away by then."""

    def __init__(self) -> None:
        self.now = 0
        self.waiting: list[tuple[int, int]] = []
        self.called: list[tuple[int, int]] = []

    def add(self, who: int) -> None:
        self.waiting.append((self.now + 10, who))

    def discard(self, who: int) -> None:
        self.waiting = [entry for entry in self.waiting if entry[1] != who]

    def has(self, who: int) -> bool:
        return any(entry[1] == who for entry in self.waiting)

    def move(self, seconds: int, react: Callable[[int], None]) -> None:
        self.now += seconds
        for entry in [entry for entry in self.waiting if entry[0] <= self.now]:
            if entry in self.waiting:
                self.waiting.remove(entry)
                self.called.append((self.now, entry[1]))
                react(entry[1])


@settings(max_examples=300)
@example([None, None, ("discard and add", 0), None, None], [("add", 2), ("add", 0), ("move", 10)])
@example([None] * 5, [("add", 0), ("move", 10), ("add", 0), ("move", 10)])
@given(
    reactions=st.lists(REACTION, min_size=5, max_size=5),
    steps=st.lists(STEP, max_size=40),
)
def test_it_does_what_a_list_would_do(
    reactions: list[tuple[str, int] | None], steps: list[tuple[str, int]]
) -> None:
    with a_clock() as clock:
        queue = Deadlines(clock.loop, 10)
        naive = Naive()
        called: list[tuple[int, int]] = []
        inside = dict.fromkeys(range(5), False)

        def touch(what: str, who: int) -> None:
            if "discard" in what:
                queue.discard(waits[who])
                inside[who] = False
            if "add" in what and not inside[who]:
                queue.add(waits[who])
                inside[who] = True

        def touch_naive(what: str, who: int) -> None:
            if "discard" in what:
                naive.discard(who)
            if "add" in what and not naive.has(who):
                naive.add(who)

        def expire(who: int) -> None:
            called.append((int(clock.now) - 1000, who))
            inside[who] = False
            reaction = reactions[who]
            if reaction is not None:
                touch(*reaction)

        def react(who: int) -> None:
            reaction = reactions[who]
            if reaction is not None:
                touch_naive(*reaction)

        waits = [Waits(lambda who=who: expire(who)) for who in range(5)]  # type: ignore[misc]
        for what, number in steps:
            if what == "move":
                clock.move(number)
                naive.move(number, react)
            else:
                touch(what, number)
                touch_naive(what, number)
            assert called == naive.called
            assert len(queue) == len(naive.waiting)
            assert len(clock.timers) <= 1, "one timer serves all"
        assert not clock.defects


def test_it_is_due_when_the_time_is_up_and_only_once() -> None:
    with a_clock() as clock:
        queue = Deadlines(clock.loop, 5)
        waits = Waits()
        queue.add(waits)
        clock.move(4.999)
        assert waits.expired == 0
        clock.move(0.001)
        assert waits.expired == 1
        clock.move(1000)
        assert waits.expired == 1


def test_a_timer_that_comes_early_is_set_again() -> None:
    """asyncio calls a timer up to the resolution of its clock before it is due."""
    with a_clock() as clock:
        queue = Deadlines(clock.loop, 5)
        waits = Waits()
        queue.add(waits)
        clock.now += 4.9999
        ((_, early),) = clock.timers
        clock.timers = []
        early()
        assert waits.expired == 0
        clock.move(0.0001)
        assert waits.expired == 1


def test_nobody_waits_and_no_timer_runs() -> None:
    with a_clock() as clock:
        queue = Deadlines(clock.loop, 5)
        for _ in range(1000):
            waits = Waits()
            queue.add(waits)
            queue.discard(waits)
        assert len(clock.timers) == 1
        clock.move(5)
        assert clock.timers == []
        assert len(queue) == 0


def test_discarding_one_that_is_not_there() -> None:
    with a_clock() as clock:
        queue = Deadlines(clock.loop, 5)
        queue.discard(Waits())
        assert len(queue) == 0


def test_an_error_of_one_is_reported_and_the_others_are_called() -> None:
    def failing() -> None:
        raise ValueError("a defect")

    with a_clock() as clock:
        queue = Deadlines(clock.loop, 5)
        first, last = Waits(failing), Waits()
        queue.add(first)
        queue.add(last)
        clock.move(5)
        assert (first.expired, last.expired) == (1, 1)
        (context,) = clock.defects
        assert str(context["exception"]) == "a defect"


def test_one_queue_for_each_duration_and_not_without_bound() -> None:
    with a_clock() as clock:
        queues = BySeconds(Deadlines, clock.loop)
        kept = queues[5.0]
        waits = Waits()
        kept.add(waits)
        for seconds in range(10, 5000):
            assert queues[seconds].seconds == seconds
        assert queues[5.0] is kept, "somebody waits there"
        assert len(queues) <= 100
        clock.move(5)
        assert waits.expired == 1


def test_a_queue_that_was_dropped_while_empty_still_serves_its_holder() -> None:
    with a_clock() as clock:
        queues = BySeconds(Deadlines, clock.loop)
        held = queues[5.0]
        for seconds in range(10, 500):
            assert queues[seconds].seconds == seconds
        assert queues[5.0] is not held
        waits = Waits()
        held.add(waits)
        clock.move(5)
        assert waits.expired == 1


# rounds


class Looked:
    """One that counts how often it was looked at, and what it does then."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.then = then
        self.looks = 0

    def look(self) -> None:
        self.looks += 1
        self.then()


def test_a_round_looks_at_everybody_until_they_are_discarded() -> None:
    with a_clock() as clock:
        rounds = Rounds(clock.loop, 10)
        one, other = Looked(), Looked()
        rounds.add(one)
        clock.move(9)
        rounds.add(other)
        assert (one.looks, other.looks) == (0, 0)
        clock.move(1)
        assert (one.looks, other.looks) == (1, 1)
        rounds.discard(one)
        rounds.discard(one)
        clock.move(10)
        assert (one.looks, other.looks) == (1, 2)


def test_without_anybody_to_look_at_the_rounds_end_and_begin_again_with_the_next() -> None:
    with a_clock() as clock:
        rounds = Rounds(clock.loop, 10)
        one = Looked()
        rounds.add(one)
        rounds.discard(one)
        clock.move(10)
        assert clock.timers == []
        rounds.add(one)
        clock.move(10)
        assert one.looks == 1


def test_whoever_is_discarded_within_a_round_is_not_looked_at_any_more() -> None:
    with a_clock() as clock:
        rounds = Rounds(clock.loop, 10)
        both: list[Looked] = []

        def discard_both() -> None:
            for one in both:
                rounds.discard(one)

        both += [Looked(discard_both), Looked(discard_both)]
        for one in both:
            rounds.add(one)
        clock.move(10)
        assert sum(one.looks for one in both) == 1


def test_a_look_that_fails_is_told_and_keeps_nobody_from_being_looked_at() -> None:
    def fail() -> None:
        raise ValueError("a defect")

    with a_clock() as clock:
        rounds = Rounds(clock.loop, 10)
        both = [Looked(fail), Looked(fail)]
        for one in both:
            rounds.add(one)
        clock.move(10)
        assert [one.looks for one in both] == [1, 1]
        assert [str(defect["exception"]) for defect in clock.defects] == ["a defect", "a defect"]
