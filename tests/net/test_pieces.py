"""Work that is put off: small requests wait for a short piece of it, and it is never starved."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Coroutine
from contextlib import ExitStack

from hypothesis import given
from hypothesis import strategies as st

from spyhole.net.direction import BLOCKED, BULK, SHORT_TURN
from spyhole.net.loop import HotLoop, running_loop
from spyhole.net.pieces import Pieces
from spyhole.net.relay import Relay
from support.ends import End, pair, stream_on
from support.play import play

NOISE = random.Random(5).randbytes(4 << 20)
BATCHES = st.lists(st.tuples(st.integers(0, 512), st.integers(0, 512), st.integers(0, 5)), max_size=60)


def done(pieces: Pieces, events: int, heavy: int) -> int:
    """One batch of the loop's: how many pieces are done after it."""
    taken = pieces.next_ones(len(pieces.waiting), events, events - heavy)
    for piece in taken:
        piece()
    return len(taken)


# laws


@given(BATCHES)
def test_all_that_is_put_off_is_done_once_and_in_order(batches: list[tuple[int, int, int]]) -> None:
    pieces = Pieces()
    put_off: list[int] = []
    did: list[int] = []
    for events, heavy, more in batches:
        for _ in range(more):
            number = len(put_off)
            put_off.append(number)
            pieces.put_off(lambda number=number: did.append(number))
        done(pieces, events, min(events, heavy))
    while pieces.waiting:
        assert done(pieces, 0, 0), "it goes on until nothing is left"
    assert did == put_off


@given(st.integers(1, 512), st.integers(1, 100))
def test_however_much_else_there_is_something_of_it_is_done_in_proportion(events: int, many: int) -> None:
    pieces = Pieces()
    for _ in range(many):
        pieces.put_off(int)
    assert done(pieces, events, 0) == min(many, 1 + events // 8)


def test_what_is_put_off_during_a_batch_waits_for_the_next_poll() -> None:
    pieces = Pieces()
    pieces.put_off(int)
    assert pieces.next_ones(0, 1, 1) == []
    assert pieces.next_ones(1, 0, 0) == [int]


def test_alone_pieces_are_long_and_many_and_beside_small_events_short_and_few() -> None:
    pieces = Pieces()
    for _ in range(1000):
        pieces.put_off(int)
    assert done(pieces, 4, 4) == 2
    assert not pieces.hurry, "all events were theirs who have much to do"
    assert done(pieces, 5, 4) == 1
    assert pieces.hurry
    for _ in range(63):
        assert done(pieces, 4, 4) == 1, "the small one may have another event soon"
    assert done(pieces, 4, 4) == 2, "and when it had none for a while, it is over"


# stories


class Carried:
    """A connection under way, and both of its ends."""

    def __init__(self, loop: HotLoop, closing: ExitStack) -> None:
        one, ours = pair(socket.AF_INET)
        other, theirs = pair(socket.AF_INET)
        for end in (one, other):
            closing.callback(end.close)
        self.client, self.upstream = End(one), End(other)
        upstream = stream_on(loop, theirs, "u")
        upstream.want_writable()  # as for its dial
        self.relay = Relay(stream_on(loop, ours, "c"), upstream, None, None)
        self.serving = asyncio.ensure_future(self.relay)

    def go_on(self, data: bytes) -> None:
        """The client sends it, if all before is sent; the upstream reads what there is."""
        if not self.client.to_send:
            self.client.send(data)
        self.client.push()
        self.upstream.pull()

    async def end(self) -> None:
        self.client.reset()
        await self.serving


async def quiet(pieces: Pieces) -> None:
    """Nobody with little to do has had an event for a while."""
    for _ in range(100):
        await a_poll(pieces)
    assert not pieces.hurry


async def a_poll(pieces: Pieces) -> None:
    pieces.put_off(int)
    await asyncio.sleep(0)


def play_one(story: Callable[[Carried, Pieces], Coroutine[None, None, None]]) -> None:
    """Play it with one connection, which was quiet for a while."""

    async def world() -> None:
        loop = running_loop()
        with ExitStack() as closing:
            carried = Carried(loop, closing)
            await quiet(loop.hot.pieces)
            await story(carried, loop.hot.pieces)
            await carried.end()

    play(world())


def test_an_answer_is_small_also_from_a_socket_whose_dial_was_waited_for() -> None:
    async def story(carried: Carried, pieces: Pieces) -> None:
        carried.upstream.send(b"an answer")
        carried.upstream.push()
        await a_poll(pieces)
        assert pieces.hurry

    play_one(story)


def test_what_comes_by_the_ten_thousand_bytes_is_not_small() -> None:
    async def story(carried: Carried, pieces: Pieces) -> None:
        carried.client.send(NOISE[:40_000])
        carried.client.push()
        await a_poll(pieces)
        assert carried.relay.up.moved == 40_000
        assert not pieces.hurry

    play_one(story)


def test_neither_more_for_a_sink_that_is_full_nor_room_in_it_is_small() -> None:
    async def story(carried: Carried, pieces: Pieces) -> None:
        up = carried.relay.up
        # so small that it is full again before all that is kept was taken
        carried.relay.upstream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        while not up.state & BLOCKED:
            carried.client.send(NOISE[:30_000])
            carried.client.push()
            await asyncio.sleep(0)
        await quiet(pieces)
        carried.client.send(b"more")
        carried.client.push()
        await a_poll(pieces)
        assert not pieces.hurry
        carried.client.send(NOISE)
        enough = up.moved + 100_000
        while up.moved < enough:
            carried.client.push()
            carried.upstream.pull()
            await a_poll(pieces)
            assert not pieces.hurry

    play_one(story)


def test_bulk_has_long_turns_alone_and_beside_requests_a_short_one_between_two_polls() -> None:
    async def story() -> None:
        loop = running_loop()
        pieces = loop.hot.pieces
        with ExitStack() as closing:
            bulks = [Carried(loop, closing) for _ in range(6)]
            small = Carried(loop, closing)

            async def a_turn() -> int:
                """One turn of the loop: how many bytes of bulk were moved in it."""
                for bulk in bulks:
                    bulk.go_on(NOISE)
                before = sum(bulk.relay.up.moved for bulk in bulks)
                await asyncio.sleep(0)
                return sum(bulk.relay.up.moved for bulk in bulks) - before

            def all_flow() -> bool:
                return all(bulk.relay.up.state & BULK for bulk in bulks)

            for requests in (False, True, False):
                seen = 0
                while seen < 20:
                    if requests:
                        small.go_on(b"a request")
                    ready = all_flow() and pieces.hurry is requests and len(pieces.waiting) > 1
                    moved = await a_turn()
                    if not ready:
                        continue
                    if requests:
                        # up to 14 events, and so up to two pieces
                        assert moved <= 2 * SHORT_TURN, "what is small waits for all of them"
                        seen += 1
                    elif moved > 2 * SHORT_TURN:
                        seen += 1
            for carried in (*bulks, small):
                await carried.end()

    play(story())
