"""Turns: one piece of heavy work each time round the loop, first come, first served."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import pytest

from spyhole.net.handshake import serve_tls
from spyhole.net.loop import running_loop
from spyhole.net.peek import peek
from spyhole.net.stream import Stream
from spyhole.net.tls import TlsEngine
from spyhole.net.turns import Turns
from spyhole.wire.client_hello import ClientHello
from support.certificates import Authority
from support.clients import client_hello
from support.ends import pair, stream_on
from support.play import play, until


def streams(closing: ExitStack, count: int) -> list[Stream]:
    loop = running_loop()
    made = []
    for number in range(count):
        ours, theirs = pair(socket.AF_UNIX)
        closing.enter_context(theirs)
        made.append(stream_on(loop, ours, str(number)))
        closing.callback(made[-1].close)
    return made


async def turn_of(turns: Turns, stream: Stream) -> int:
    await turns.take(stream)
    return running_loop().hot.turn


def test_one_a_turn_in_the_order_in_which_they_came() -> None:
    async def story() -> None:
        turns = Turns(running_loop().hot)
        with ExitStack() as closing:
            taken = await asyncio.gather(*[turn_of(turns, one) for one in streams(closing, 5)])
            assert taken == list(range(taken[0], taken[0] + 5))

    play(story())


def test_alone_nobody_waits() -> None:
    async def story() -> None:
        loop = running_loop()
        turns = Turns(loop.hot)
        with ExitStack() as closing:
            for one in streams(closing, 3):
                await asyncio.sleep(0)  # the next turn
                before = loop.hot.turn
                assert await turn_of(turns, one) == before

    play(story())


def test_handshakes_take_turns(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    class Engine(TlsEngine):
        def handshake(self, received: bytes | bytearray | memoryview = b"") -> bool:
            begun.append(running_loop().hot.turn)
            return super().handshake(received)

    monkeypatch.setattr("spyhole.net.handshake.TlsEngine", Engine)
    context = authority.issue("a.test").server_context()

    async def story() -> None:
        with ExitStack() as closing:
            serving = []
            for one in streams(closing, 5):
                one.ahead = client_hello("a.test")
                hello = await peek(one)
                assert isinstance(hello, ClientHello)
                serving.append(asyncio.ensure_future(serve_tls(one, context, hello)))
            await until(lambda: len(begun) == 5)
            assert begun == list(range(begun[0], begun[0] + 5))
            for task in serving:
                task.cancel()
            await asyncio.wait(serving)

    play(story())


@pytest.mark.parametrize("why", ["its deadline passes", "it is closed", "it is cancelled"])
def test_one_that_gives_up_keeps_nobody_waiting(why: str) -> None:
    async def story() -> None:
        turns = Turns(running_loop().hot)
        with ExitStack() as closing:
            waiting = streams(closing, 8)
            tasks = [asyncio.ensure_future(turn_of(turns, one)) for one in waiting]
            asyncio.get_running_loop().call_soon(
                {
                    "its deadline passes": waiting[6].expire,
                    "it is closed": waiting[6].close,
                    "it is cancelled": tasks[6].cancel,
                }[why]
            )
            with pytest.raises((TimeoutError, OSError, asyncio.CancelledError)):
                await tasks[6]
            assert await tasks[7] == await tasks[5] + 1

    play(story())
