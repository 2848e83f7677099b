"""One way of a relay, by itself: what it may do before the other connections have their turn."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

from spyhole.net.direction import LONG_TURN, SHORT_TURN, Direction
from spyhole.net.loop import running_loop
from support.ends import pair, stream_on
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
