"""One way of a relay, by itself: what it may do before the other connections have their turn."""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest

from spyhole.net.direction import BLOCKED, LONG_TURN, SHORT_TURN, Direction, events_of_socket
from spyhole.net.loop import READABLE, WRITABLE, running_loop
from spyhole.net.relay import Relay
from spyhole.outcome import Reason
from support.ends import End, pair, stream_on
from support.play import play, until

PORTION = 65_536
MOST = 100 * LONG_TURN


class Endless(Direction):
    """From a source that always has more, to a sink that always takes it."""

    def move(self) -> int:
        self.moved += PORTION
        assert self.moved < MOST, "nobody else has a turn"
        return PORTION


def test_a_direction_moves_its_portion_and_then_the_others_have_their_turn() -> None:
    async def story() -> None:
        with ExitStack() as closing:
            streams = []
            for name in ("client", "upstream"):
                ours, theirs = pair(socket.AF_UNIX)
                closing.enter_context(theirs)
                streams.append(stream_on(running_loop(), ours, name))
                closing.callback(streams[-1].close)
            relay = SimpleNamespace(over=False, breaking=False)
            direction = Endless(cast("Any", relay), *streams)
            direction.run()
            assert direction.moved == LONG_TURN
            for _ in range(5):
                before, turn = direction.moved, running_loop().hot.turn
                await until(lambda turn=turn: running_loop().hot.turn != turn)
                assert 0 < direction.moved - before <= LONG_TURN
            pieces = running_loop().hot.pieces
            (go_on,) = pieces.waiting
            pieces.waiting.clear()
            before, pieces.hurry = direction.moved, True
            go_on()
            assert direction.moved - before == SHORT_TURN
            relay.over = True

    play(story())


def test_only_room_for_what_was_kept_is_of_somebody_with_much_to_do() -> None:
    async def story() -> None:
        loop = running_loop()
        with ExitStack() as closing:
            streams = []
            for name in ("client", "upstream"):
                ours, theirs = pair(socket.AF_UNIX)
                closing.enter_context(theirs)
                streams.append(stream_on(loop, ours, name))
                closing.callback(streams[-1].close)
            theirs.send(b"an answer")
            client, upstream = streams
            relay = cast("Any", SimpleNamespace(over=False, breaking=False))
            up, down = Direction(relay, client, upstream), Direction(relay, upstream, client)
            on_upstream = events_of_socket(inward=down, outward=up)
            up.state = BLOCKED
            assert on_upstream(WRITABLE)
            assert not up.state
            assert not on_upstream(WRITABLE)
            assert not on_upstream(READABLE | WRITABLE)
            assert down.moved == len(b"an answer")

    play(story())


@pytest.mark.parametrize(
    ("family", "breaks"), [(socket.AF_INET, False), (socket.AF_UNIX, False), (socket.AF_INET, True)]
)
def test_a_source_is_heard_once_while_its_sink_is_full_and_again_when_it_has_room(
    family: int, breaks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    on_event = Direction.on_event

    def hear(direction: Direction, events: int) -> bool:
        heard.append(events)
        return on_event(direction, events)

    async def a_few_polls() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def story() -> None:
        loop = running_loop()
        one, ours = pair(family)
        other, theirs = pair(family)
        client, upstream = End(one), End(other)
        relay = Relay(stream_on(loop, ours, "c"), stream_on(loop, theirs, "u"), None, None)
        serving = asyncio.ensure_future(relay)
        while not relay.up.state & BLOCKED:
            client.send(random.Random(1).randbytes(10_000))
            client.push()
            await asyncio.sleep(0)
        await a_few_polls()
        heard.clear()
        for number in range(10):
            client.send(b"more of it: %d" % number)
            client.push()
            await a_few_polls()
        assert len(heard) == 1
        if breaks:
            client.reset()
            await serving
            assert relay.ending is not None
            assert relay.ending.reason is Reason.CLIENT_RESET
            other.close()
            return
        for more in (b"", b"and again"):
            client.send(more)
            while upstream.received != client.sent:
                client.push()
                upstream.pull()
                await asyncio.sleep(0)
        upstream.send_eof()
        upstream.push()
        client.send_eof()
        client.push()
        await serving
        one.close()
        other.close()

    monkeypatch.setattr(Direction, "on_event", hear)
    play(story())
