"""The resolver: what it remembers, for how long, and what it does when the name server is away."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from spyhole.net import resolver
from spyhole.net.fiber import Fiber
from spyhole.net.loop import running_loop
from spyhole.net.resolver import FRESH, STALE, Resolved
from support.backends import BOUND
from support.play import play, until


class Names:
    """Stands for getaddrinfo: answers with `addresses`, or fails with `error`, once it may `proceed`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.addresses = ["192.0.2.1"]
        self.error: OSError | None = None
        self.proceed = threading.Event()
        self.proceed.set()
        self.now = 1000.0

    def look_up(
        self, host: str, port: int, **_: object
    ) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        self.asked.append((host, port))
        assert self.proceed.wait(BOUND)
        if self.error is not None:
            raise self.error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]

    @staticmethod
    def expected(*addresses: str, port: int = 443) -> tuple[Resolved, ...]:
        return tuple(Resolved(socket.AF_INET, (address, port)) for address in addresses)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.look_up)
    monkeypatch.setattr(resolver, "monotonic", lambda: names.now)
    yield names
    names.proceed.set()


async def resolve(host: str = "a.test", timeout: float = BOUND) -> tuple[Resolved, ...]:
    return await running_loop().resolver.resolve(host, 443, timeout)


def test_an_answer_is_kept_while_it_is_fresh(names: Names) -> None:
    names.addresses = ["192.0.2.1", "192.0.2.2"]

    async def story() -> None:
        for _ in range(3):
            assert await resolve() == Names.expected("192.0.2.1", "192.0.2.2"), "in the system's order"
            names.now += FRESH / 3 - 0.1
        assert names.asked == [("a.test", 443)]

    play(story())


def test_an_answer_is_renewed_when_it_is_not_fresh_any_more(names: Names) -> None:
    async def story() -> None:
        await resolve()
        names.addresses = ["192.0.2.9"]
        names.now += FRESH
        assert await resolve() == Names.expected("192.0.2.9")
        names.now += FRESH - 1
        assert await resolve() == Names.expected("192.0.2.9")
        assert len(names.asked) == 2

    play(story())


def test_an_old_answer_serves_when_the_renewal_fails(names: Names) -> None:
    async def story() -> None:
        await resolve()
        names.error = socket.gaierror(socket.EAI_AGAIN, "name server away")
        names.now += FRESH
        assert await resolve() == Names.expected("192.0.2.1")
        names.now += STALE - FRESH
        with pytest.raises(socket.gaierror):
            await resolve()
        names.error = None
        assert await resolve() == Names.expected("192.0.2.1")

    play(story())


def test_an_old_answer_serves_when_the_renewal_takes_too_long(names: Names) -> None:
    async def story() -> None:
        loop = running_loop()
        await resolve()
        names.now += FRESH
        names.proceed.clear()
        names.addresses = ["192.0.2.9"]
        waits: list[float] = []
        with pytest.MonkeyPatch.context() as patch:
            call_later = loop.call_later

            def remember(delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
                waits.append(delay)
                return call_later(delay, callback)

            patch.setattr(loop, "call_later", remember)
            assert await resolve(timeout=0.1) == Names.expected("192.0.2.1")
        assert waits == [0.05], "there is time left to connect"
        renewed = asyncio.ensure_future(resolve())
        await asyncio.sleep(0)
        names.proceed.set()
        assert await renewed == Names.expected("192.0.2.9"), "the look-up went on"
        assert len(names.asked) == 2

    play(story())


def test_a_name_that_does_not_resolve(names: Names) -> None:
    names.error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def story() -> None:
        for _ in range(2):
            with pytest.raises(socket.gaierror, match="Name or service not known"):
                await resolve()
        assert len(names.asked) == 2, "a failure is not remembered"

    play(story())


def test_no_answer_in_time_is_an_error_and_the_look_up_goes_on(names: Names) -> None:
    async def story() -> None:
        names.proceed.clear()
        with pytest.raises(TimeoutError, match=r"no answer for 'a\.test' within 0\.01 s"):
            await resolve(timeout=0.01)
        names.proceed.set()
        assert await resolve() == Names.expected("192.0.2.1")
        assert len(names.asked) == 1

    play(story())


def test_look_ups_of_one_name_at_one_time_are_one(names: Names) -> None:
    async def story() -> None:
        names.proceed.clear()
        tasks = [asyncio.ensure_future(resolve()) for _ in range(10)]
        other = asyncio.ensure_future(resolve("b.test"))
        await until(lambda: len(names.asked) == 2)
        tasks[0].cancel()
        names.proceed.set()
        answers = await asyncio.gather(*tasks[1:], other)
        assert answers == [Names.expected("192.0.2.1")] * 10
        assert sorted(names.asked) == [("a.test", 443), ("b.test", 443)]
        assert tasks[0].cancelled()

    play(story())


def test_a_failure_that_many_waited_for_is_told_to_each(names: Names) -> None:
    async def story() -> None:
        names.proceed.clear()
        names.error = socket.gaierror(socket.EAI_FAIL, "no")
        tasks = [asyncio.ensure_future(resolve()) for _ in range(3)]
        await until(lambda: names.asked)
        names.proceed.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(answer) for answer in answers] == [socket.gaierror] * 3
        assert len(names.asked) == 1

    play(story())


def test_a_fiber_resolves_as_a_task_does(names: Names) -> None:
    async def story() -> None:
        found: list[tuple[Resolved, ...]] = []
        ended: list[Exception | None] = []

        async def body() -> None:
            found.append(await resolve())
            await resolve("b.test", timeout=0.01)

        fiber = Fiber(body(), lambda _, defect: ended.append(defect))
        fiber.start()
        await until(lambda: found)
        assert found == [Names.expected("192.0.2.1")]
        await until(lambda: fiber.done)

    play(story())


def test_a_fiber_that_is_aborted_meanwhile_hears_no_answer(names: Names) -> None:
    async def story() -> None:
        ended: list[Exception | None] = []

        async def body() -> None:
            await resolve()

        names.proceed.clear()
        fiber = Fiber(body(), lambda _, defect: ended.append(defect))
        fiber.start()
        cut = RuntimeError("cut")
        fiber.abort(cut)
        assert ended == [cut]
        names.proceed.set()
        await resolve()

    play(story())


def test_the_table_is_bounded(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "_MOST_NAMES", 4)

    async def story() -> None:
        for number in range(6):
            await resolve(f"{number}.test")
        names.asked.clear()
        for number in range(5, 1, -1):
            await resolve(f"{number}.test")
        assert names.asked == []
        await resolve("0.test")
        assert names.asked == [("0.test", 443)], "the oldest was forgotten"

    play(story())


def test_a_renewal_forgets_nobody(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "_MOST_NAMES", 2)

    async def story() -> None:
        await resolve("a.test")
        await resolve("b.test")
        names.now += FRESH
        await resolve("b.test")
        names.error = socket.gaierror(socket.EAI_AGAIN, "name server away")
        assert await resolve("a.test") == Names.expected("192.0.2.1"), "it has an old answer still"

    play(story())


def test_the_machines_own_names() -> None:
    async def story() -> None:
        found = await running_loop().resolver.resolve("localhost", 443, BOUND)
        assert {address.sockaddr[0] for address in found} <= {"127.0.0.1", "::1"}
        assert found
        assert len(set(found)) == len(found)

    play(story())
