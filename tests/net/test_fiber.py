"""Fibers and waiting, in both worlds: in a fiber, stepped by whoever wakes it, and in an asyncio Task."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from spyhole.net.fiber import Fiber, Waiter
from support.play import play, until

Body = Callable[[], Coroutine[Any, Any, None]]


class Ends(list[Exception | None]):
    """What `on_done` was called with."""

    def __call__(self, fiber: Fiber, defect: Exception | None) -> None:
        assert fiber.done
        self.append(defect)


def started(coroutine: Coroutine[Any, Any, None], ends: Ends | None = None) -> Fiber:
    fiber = Fiber(coroutine, Ends() if ends is None else ends)
    fiber.start()
    return fiber


async def in_a_fiber(body: Body) -> Callable[[], bool]:
    """Start it; whether it is done."""
    fiber = started(body())
    return lambda: fiber.done


async def in_a_task(body: Body) -> Callable[[], bool]:
    task = asyncio.get_running_loop().create_task(body())
    await asyncio.sleep(0)
    return lambda: task.done() and (task.result() is None)


both_worlds = pytest.mark.parametrize("begin", [in_a_fiber, in_a_task])
Begin = Callable[[Body], Awaitable[Callable[[], bool]]]


# in both worlds


@both_worlds
def test_whoever_waits_goes_on_when_woken(begin: Begin) -> None:
    async def story() -> None:
        waiter = Waiter()
        said: list[str] = []

        async def body() -> None:
            said.append("waits")
            await waiter.wait()
            said.append("goes on")
            await waiter.wait()
            said.append("ends")

        done = await begin(body)
        assert said == ["waits"]
        waiter.wake()
        await until(lambda: said == ["waits", "goes on"])
        for _ in range(3):
            await asyncio.sleep(0)
        assert not done()
        waiter.wake()
        await until(done)
        assert said == ["waits", "goes on", "ends"]

    play(story())


@both_worlds
def test_a_wake_that_nobody_waits_for_is_forgotten(begin: Begin) -> None:
    async def story() -> None:
        waiter = Waiter()
        waiter.wake()
        done = await begin(lambda: wait_once(waiter))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not done()
        waiter.wake()
        await until(done)
        waiter.wake()

    play(story())


async def wait_once(waiter: Waiter) -> None:
    await waiter.wait()


# tasks


def test_one_wake_resumes_every_task_that_waits() -> None:
    async def story() -> None:
        waiter = Waiter()
        tasks = [asyncio.ensure_future(wait_once(waiter)) for _ in range(5)]
        await asyncio.sleep(0)
        waiter.wake()
        await asyncio.gather(*tasks)

    play(story())


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_a_task_that_is_cancelled_takes_no_wake_from_the_others(turns: int) -> None:
    async def story() -> None:
        waiter = Waiter()
        tasks = [asyncio.ensure_future(wait_once(waiter)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        waiter.wake()
        await asyncio.gather(tasks[0], tasks[2])
        assert tasks[1].cancelled()

    play(story())


def test_a_task_cancelled_after_the_wake_and_before_its_turn() -> None:
    async def story() -> None:
        waiter = Waiter()
        task = asyncio.ensure_future(wait_once(waiter))
        await asyncio.sleep(0)
        waiter.wake()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        other = asyncio.ensure_future(wait_once(waiter))
        await asyncio.sleep(0)
        waiter.wake()
        await other

    play(story())


def test_those_who_gave_up_leave_nothing_behind() -> None:
    """A program that receives with a time limit again and again waits at one place very often."""

    async def story() -> None:
        waiter = Waiter()
        for _ in range(2 * sys.getrecursionlimit()):
            task = asyncio.ensure_future(wait_once(waiter))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        last = asyncio.ensure_future(wait_once(waiter))
        await asyncio.sleep(0)
        waiter.wake()
        await last

    play(story())


def test_a_fiber_can_wait_where_a_task_gave_up() -> None:
    async def story() -> None:
        waiter = Waiter()
        task = asyncio.ensure_future(wait_once(waiter))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ends = Ends()
        started(wait_once(waiter), ends)
        assert not ends
        waiter.wake()
        assert ends == [None]

    play(story())


# fibers


def test_a_fiber_runs_in_the_very_call_that_wakes_it() -> None:
    waiter = Waiter()
    ends = Ends()
    fiber = started(wait_once(waiter), ends)
    assert not fiber.done
    waiter.wake()
    assert fiber.done
    assert ends == [None]


def test_a_coroutine_that_never_waits_is_done_at_once() -> None:
    async def body() -> None:
        pass

    ends = Ends()
    assert started(body(), ends).done
    assert ends == [None]


def test_an_error_is_told_to_whoever_started_it_and_not_to_whoever_woke_it() -> None:
    waiter = Waiter()

    async def body() -> None:
        await waiter.wait()
        raise ValueError("a defect")

    ends = Ends()
    started(body(), ends)
    waiter.wake()
    (defect,) = ends
    assert isinstance(defect, ValueError)


class Cut(Exception):
    """Ends a fiber from outside."""


def test_abort_raises_where_it_waits() -> None:
    waiter = Waiter()
    said: list[str] = []

    async def body() -> None:
        try:
            await waiter.wait()
        except Cut:
            said.append("cut")
            await waiter.wait()  # it may need a moment to say goodbye
            said.append("goodbye")

    ends = Ends()
    fiber = started(body(), ends)
    fiber.abort(Cut())
    assert said == ["cut"]
    assert not fiber.done
    waiter.wake()
    assert said == ["cut", "goodbye"]
    assert ends == [None]


def test_a_fiber_that_does_not_handle_its_abort_ends_with_it() -> None:
    waiter = Waiter()
    ends = Ends()
    fiber = started(wait_once(waiter), ends)
    cut = Cut()
    fiber.abort(cut)
    assert ends == [cut]
    waiter.wake()  # nobody waits any more
    assert ends == [cut]


def test_abort_changes_nothing_for_one_that_is_done() -> None:
    async def body() -> None:
        pass

    ends = Ends()
    fiber = started(body(), ends)
    fiber.abort(Cut())
    assert ends == [None]


def test_a_fiber_that_is_running_is_not_aborted() -> None:
    fibers: list[Fiber] = []
    said: list[str] = []

    async def body() -> None:
        fibers[0].abort(Cut())
        said.append("still here")

    ends = Ends()
    fibers.append(Fiber(body(), ends))
    fibers[0].start()
    assert said == ["still here"]
    assert ends == [None]


def test_a_fiber_wakes_another_and_goes_on_itself() -> None:
    one, other = Waiter(), Waiter()
    said: list[str] = []

    async def first() -> None:
        await one.wait()
        said.append("first")
        other.wake()
        said.append("first again")
        await one.wait()
        said.append("first at last")

    async def second() -> None:
        await other.wait()
        said.append("second")
        await other.wait()
        said.append("second at last")

    ends = Ends()
    started(first(), ends)
    started(second(), ends)
    one.wake()
    assert said == ["first", "second", "first again"]
    one.wake()
    other.wake()
    assert said[3:] == ["first at last", "second at last"]
    assert ends == [None, None]


def test_a_fiber_may_start_one_within_itself() -> None:
    inner, outer = Waiter(), Waiter()
    inner_ends, outer_ends = Ends(), Ends()

    async def body() -> None:
        started(wait_once(inner), inner_ends)
        await outer.wait()

    started(body(), outer_ends)
    outer.wake()
    assert (inner_ends, outer_ends) == ([], [None])
    inner.wake()
    assert inner_ends == [None]


def test_a_task_waits_as_a_task_although_a_fiber_has_run_in_it() -> None:
    async def story() -> None:
        inner, own = Waiter(), Waiter()
        ends = Ends()
        asyncio.get_running_loop().call_later(0.001, own.wake)
        started(wait_once(inner), ends)
        await own.wait()
        assert ends == []
        inner.wake()
        assert ends == [None]

    play(story())


def test_two_fibers_at_one_place_is_a_defect() -> None:
    waiter = Waiter()
    first, second = Ends(), Ends()
    started(wait_once(waiter), first)
    started(wait_once(waiter), second)
    (defect,) = second
    assert isinstance(defect, AssertionError)
    waiter.wake()
    assert first == [None]


def test_a_fiber_that_waits_for_something_of_asyncio_is_told() -> None:
    async def story() -> None:
        async def foreign() -> None:
            await asyncio.get_running_loop().create_future()

        defects: list[Exception | None] = []
        Fiber(foreign(), lambda fiber, defect: defects.append(defect)).start()
        (defect,) = defects
        assert isinstance(defect, RuntimeError)
        assert "needs a Task" in str(defect)

    play(story())
