"""The accept loop: at the limit it stops and costs nothing, out of descriptors it rests, it never dies."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any, cast

import pytest

from spyhole.net.acceptor import Acceptor, ConnectionLimit
from spyhole.net.loop import running_loop
from spyhole.net.stream import Stream
from support.play import play, until


class Accepted:
    """An acceptor and what it has accepted, in turns of the loop too."""

    def __init__(self, sock: Any, limit: ConnectionLimit) -> None:
        self.loop = running_loop()
        self.streams: list[Stream] = []
        self.turns: list[int] = []
        self.troubles: list[OSError] = []
        self.limit = limit
        self.acceptor = Acceptor(self.loop, sock, self._take, limit, self.troubles.append)

    def _take(self, stream: Stream) -> None:
        self.streams.append(stream)
        self.turns.append(self.loop.hot.turn)

    def end_one(self) -> None:
        self.streams.pop(0).close()
        self.limit.leave()

    def close(self) -> None:
        for stream in self.streams:
            stream.close()
        self.acceptor.close()


class Full(list[int]):
    """What `on_full` was told."""

    def __call__(self, most: int) -> None:
        self.append(most)


def never_full(_: int) -> None:
    raise AssertionError("the limit was reached")


@contextmanager
def listening(family: int = socket.AF_INET, at: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.socket(family) as sock:
        sock.setblocking(False)
        sock.bind(at if family == socket.AF_UNIX else (at, 0))
        sock.listen(100)
        yield sock


@contextmanager
def accepting(
    sock: Any, most: int = 1000, full: Any = never_full
) -> Iterator[tuple[Accepted, ConnectionLimit]]:
    limit = ConnectionLimit(most, full)
    accepted = Accepted(sock, limit)
    try:
        yield accepted, limit
    finally:
        accepted.close()


def connect(stack: ExitStack, sock: socket.socket, count: int) -> list[socket.socket]:
    """So many clients, all in the queue of `sock` when this returns."""
    clients = []
    for _ in range(count):
        client = stack.enter_context(socket.socket(sock.family))
        client.connect(sock.getsockname())
        clients.append(client)
    return clients


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# who comes in


@pytest.mark.parametrize(
    ("family", "at", "host"),
    [(socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET6, "::1", "::1")],
)
def test_a_client_by_tcp_is_named(family: int, at: str, host: str) -> None:
    async def story() -> None:
        with listening(family, at) as sock, accepting(sock) as (accepted, _), ExitStack() as stack:
            (client,) = connect(stack, sock, 1)
            await until(lambda: accepted.streams)
            (stream,) = accepted.streams
            port = client.getsockname()[1]
            assert stream.peer == (f"[::1]:{port}" if family == socket.AF_INET6 else f"127.0.0.1:{port}")
            assert stream.host == host
            assert not os.get_inheritable(stream.fd)
            client.send(b"hi")
            assert await stream.receive() == b"hi"

    play(story())


def test_a_client_by_unix_socket(tmp_path: Any) -> None:
    async def story() -> None:
        at = str(tmp_path / "s")
        with (
            listening(socket.AF_UNIX, at) as sock,
            accepting(sock) as (accepted, _),
            ExitStack() as stack,
        ):
            connect(stack, sock, 1)
            await until(lambda: accepted.streams)
            assert (accepted.streams[0].peer, accepted.streams[0].host) == ("unix:", None)

    play(story())


# how many at once


def test_a_queue_is_emptied_in_ever_larger_batches() -> None:
    async def story() -> None:
        with listening() as sock, accepting(sock) as (accepted, _), ExitStack() as stack:
            connect(stack, sock, 90)
            await until(lambda: len(accepted.streams) == 90)
            first = accepted.turns[0]
            batches = [accepted.turns.count(turn) for turn in range(first, accepted.turns[-1] + 1)]
            assert batches[0] == 1, "a wake is for one, mostly"
            assert all(later <= 2 * earlier for earlier, later in pairwise(batches))
            assert len(batches) < 10
            assert max(batches) <= 64, "the others have their turn"
            await turns(5)
            accepted.turns.clear()
            connect(stack, sock, 1)
            await until(lambda: accepted.turns)
            connect(stack, sock, 3)
            await until(lambda: len(accepted.turns) == 4)

    play(story())


# the limit


def test_at_the_limit_others_wait_and_there_is_no_wake() -> None:
    async def story() -> None:
        full = Full()
        with listening() as sock, accepting(sock, 3, full) as (accepted, limit), ExitStack() as stack:
            connect(stack, sock, 5)
            await until(lambda: len(accepted.streams) == 3)
            assert full == [3]
            before = running_loop().hot.turn
            await asyncio.sleep(0.02)  # a loop that has nothing to do
            assert running_loop().hot.turn - before <= 3
            assert len(accepted.streams) == 3
            accepted.end_one()
            await until(lambda: len(accepted.streams) == 3)
            await turns(5)
            assert (len(accepted.streams), limit.open, full) == (3, 3, [3, 3])
            accepted.end_one()
            accepted.end_one()
            await until(lambda: len(accepted.streams) == 2)
            await turns(5)
            assert (limit.open, full) == (2, [3, 3])

    play(story())


def test_acceptors_share_a_limit() -> None:
    async def story() -> None:
        full = Full()
        with (
            listening() as one_sock,
            listening() as other_sock,
            accepting(one_sock, 2, full) as (one, limit),
            ExitStack() as stack,
        ):
            other = Accepted(other_sock, limit)
            stack.callback(other.close)
            connect(stack, one_sock, 2)
            connect(stack, other_sock, 2)
            await until(lambda: limit.open == 2)
            await turns(5)
            assert len(one.streams) + len(other.streams) == 2
            for _ in range(2):
                (one if one.streams else other).end_one()
            await until(lambda: limit.open == 2)
            await turns(5)
            assert limit.open == 2
            assert len(full) == 2

    play(story())


def test_an_acceptor_made_at_the_limit_waits_too() -> None:
    async def story() -> None:
        limit = ConnectionLimit(1, lambda _: None)
        limit.enter()
        with listening() as sock, ExitStack() as stack:
            accepted = Accepted(sock, limit)
            stack.callback(accepted.close)
            connect(stack, sock, 1)
            before = running_loop().hot.turn
            await asyncio.sleep(0.02)
            assert running_loop().hot.turn - before <= 3
            assert not accepted.streams
            limit.leave()
            await until(lambda: accepted.streams)

    play(story())


# errors


class Failing:
    """A listening socket whose next accepts fail with these errors."""

    def __init__(self, sock: socket.socket, *errors: int) -> None:
        self._sock = sock
        self.errors = list(errors)
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def _accept(self) -> tuple[int, Any]:
        self.asked += 1
        if self.errors:
            code = self.errors.pop(0)
            raise OSError(code, os.strerror(code))
        return cast("tuple[int, Any]", self._sock._accept())  # type: ignore[attr-defined]


@contextmanager
def rests() -> Iterator[list[float]]:
    """What the running loop is asked to call later, and how much later; it does so at once."""
    loop = running_loop()
    delays: list[float] = []
    with pytest.MonkeyPatch.context() as patch:

        def call_later(delay: float, callback: Any, *arguments: Any) -> Any:
            delays.append(delay)
            return loop.call_soon(callback, *arguments)

        patch.setattr(loop, "call_later", call_later)
        yield delays


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_out_of_descriptors_or_memory_it_rests_longer_and_longer(code: int) -> None:
    async def story() -> None:
        with listening() as real, ExitStack() as stack:
            sock = Failing(real, *[code] * 6)
            with rests() as delays, accepting(sock) as (accepted, _):
                connect(stack, real, 1)
                await until(lambda: accepted.streams)
                assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
                assert [error.errno for error in accepted.troubles] == [code] * 6
                delays.clear()
                sock.errors = [code]
                connect(stack, real, 1)
                await until(lambda: len(accepted.streams) == 2)
                assert delays == pytest.approx([0.1]), "a success begins anew"

    play(story())


def test_while_it_rests_there_is_no_wake() -> None:
    async def story() -> None:
        loop = running_loop()
        with listening() as real, ExitStack() as stack:
            sock = Failing(real, errno.EMFILE)
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            rested: list[Any] = []
            patch.setattr(loop, "call_later", lambda _, callback: rested.append(callback))
            with accepting(sock) as (accepted, _):
                connect(stack, real, 1)
                await until(lambda: accepted.troubles)
                patch.undo()
                turn = loop.hot.turn
                await asyncio.sleep(0.02)
                assert sock.asked == 1
                assert loop.hot.turn - turn <= 3
                rested[0]()
                await until(lambda: accepted.streams)

    play(story())


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.ENETUNREACH])
def test_a_connection_that_is_gone_already_is_no_trouble(code: int) -> None:
    async def story() -> None:
        with (
            listening() as real,
            rests() as delays,
            accepting(Failing(real, code, code)) as (accepted, limit),
            ExitStack() as stack,
        ):
            connect(stack, real, 2)
            await until(lambda: len(accepted.streams) == 2)
            assert delays == []
            assert accepted.troubles == []
            assert limit.open == 2

    play(story())


def test_a_rest_that_ends_at_the_limit_begins_no_accepting() -> None:
    async def story() -> None:
        with listening() as real, listening() as other_sock, ExitStack() as stack:
            sock = Failing(real, errno.EMFILE)
            limit = ConnectionLimit(1, lambda _: None)
            accepted = Accepted(sock, limit)
            stack.callback(accepted.close)
            connect(stack, real, 1)
            await until(lambda: accepted.troubles)
            other = Accepted(other_sock, limit)
            stack.callback(other.close)
            connect(stack, other_sock, 1)
            await until(lambda: other.streams)
            accepted.acceptor.proceed()
            await turns(5)
            assert not accepted.streams
            other.end_one()
            await until(lambda: accepted.streams)

    play(story())


# the end


def test_finish_accepts_what_is_in_the_queue_and_closes() -> None:
    async def story() -> None:
        with listening() as sock, accepting(sock) as (accepted, _), ExitStack() as stack:
            connect(stack, sock, 20)
            name = sock.getsockname()
            accepted.acceptor.finish()
            assert len(accepted.streams) == 20
            assert accepted.acceptor.closed
            with socket.socket() as late:
                assert late.connect_ex(name) == errno.ECONNREFUSED
            accepted.acceptor.finish()
            accepted.acceptor.proceed()
            accepted.acceptor.pause()

    play(story())


def test_finish_keeps_to_the_limit() -> None:
    async def story() -> None:
        with listening() as sock, accepting(sock, 5, Full()) as (accepted, _), ExitStack() as stack:
            connect(stack, sock, 20)
            accepted.acceptor.finish()
            assert len(accepted.streams) == 5
            assert accepted.acceptor.closed
            accepted.end_one()

    play(story())


def test_finish_ends_although_accepting_fails() -> None:
    async def story() -> None:
        with (
            listening() as real,
            accepting(Failing(real, errno.EMFILE)) as (accepted, _),
            ExitStack() as stack,
        ):
            connect(stack, real, 2)
            accepted.acceptor.finish()
            assert accepted.acceptor.closed
            assert len(accepted.troubles) == 1
            accepted.acceptor.proceed()  # when it has rested

    play(story())


def test_a_closed_acceptor_is_woken_no_more_by_a_socket_that_another_process_holds() -> None:
    """epoll goes by the open socket, not by the number: closing our descriptor alone would not end it."""

    async def story() -> None:
        with listening() as sock, ExitStack() as stack:
            held = stack.enter_context(sock.dup())  # as the supervisor holds it, and the other workers
            with accepting(sock) as (accepted, _):
                accepted.acceptor.close()
                connect(stack, held, 3)
                before = running_loop().hot.turn
                await asyncio.sleep(0.02)
                assert running_loop().hot.turn - before <= 3

    play(story())
