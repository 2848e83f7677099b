"""A stream: its bytes, its ends and its deadlines, over real sockets."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spyhole.net.fiber import Fiber
from spyhole.net.loop import BROKEN, READABLE, WRITABLE, running_loop
from spyhole.net.stream import Stream
from support.ends import End, pair, stream_on
from support.play import play, until

NOISE = random.Random(2).randbytes(1 << 20)
FAMILIES = pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET], ids=["unix", "tcp"])


@contextmanager
def a_stream(family: int = socket.AF_INET) -> Iterator[tuple[Stream, socket.socket]]:
    """A stream of the running loop, and the socket at its other end, which does not block."""
    ours, theirs = pair(family)
    theirs.setblocking(False)
    stream = stream_on(running_loop(), ours, "peer")
    try:
        with theirs:
            yield stream, theirs
    finally:
        stream.close()


async def all_of(stream: Stream) -> bytes:
    received = bytearray()
    while data := await stream.receive():
        received += data
    return bytes(received)


# bytes


@FAMILIES
@settings(max_examples=30)
@given(
    out=st.lists(st.integers(1, 300_000), max_size=8),
    back=st.lists(st.integers(1, 300_000), max_size=8),
    ahead=st.binary(max_size=3),
)
def test_one_task_receives_while_another_sends(
    family: int, out: list[int], back: list[int], ahead: bytes
) -> None:
    async def story() -> None:
        with a_stream(family) as (stream, theirs):
            stream.ahead = ahead
            peer = End(theirs)

            async def send() -> None:
                for size in out:
                    await stream.send_all(NOISE[:size])
                stream.send_eof()

            receiving = asyncio.ensure_future(all_of(stream))
            sending = asyncio.ensure_future(send())
            for size in back:
                peer.send(NOISE[:size])
            peer.send_eof()
            while not (receiving.done() and sending.done() and peer.got_end):
                peer.push()
                peer.pull()
                await asyncio.sleep(0)
            assert receiving.result() == ahead + b"".join(NOISE[:size] for size in back)
            assert peer.received == b"".join(NOISE[:size] for size in out)

    play(story())


def test_what_was_read_ahead_comes_first_and_alone() -> None:
    async def story() -> None:
        with a_stream() as (stream, theirs):
            stream.ahead = b"ahead"
            theirs.send(b" of the rest")
            assert await stream.receive() == b"ahead"
            assert stream.ahead == b""
            assert await stream.receive() == b" of the rest"

    play(story())


def test_what_one_stream_received_outlives_the_next_ones_receive() -> None:
    """All streams read into one buffer; what `receive` returns is a copy."""

    async def story() -> None:
        with a_stream() as (one, one_peer), a_stream() as (other, other_peer):
            one_peer.send(b"one")
            other_peer.send(b"other")
            first = await one.receive()
            await other.receive()
            assert first == b"one"

    play(story())


def test_read_now_says_that_nothing_is_there() -> None:
    async def story() -> None:
        with a_stream() as (stream, _), pytest.raises(BlockingIOError):
            stream.read_now()  # although the socket itself is a blocking one

    play(story())


def test_cancelling_a_receive_loses_no_bytes() -> None:
    async def story() -> None:
        with a_stream(socket.AF_UNIX) as (stream, theirs):
            received = bytearray()
            cancelled = 0
            for count in range(200):
                task = asyncio.ensure_future(stream.receive())
                await asyncio.sleep(0)
                theirs.send(bytes([count]))
                for _ in range(count % 4):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    received += await task
                except asyncio.CancelledError:
                    cancelled += 1
            theirs.shutdown(socket.SHUT_WR)
            received += await all_of(stream)
            assert received == bytes(range(200))
            assert cancelled

    play(story())


def test_a_receive_that_is_given_up_very_often() -> None:
    async def story() -> None:
        with a_stream() as (stream, theirs):
            for _ in range(2000):
                task = asyncio.ensure_future(stream.receive())
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.sleep(0)
            theirs.send(b"at last")
            assert await stream.receive() == b"at last"

    play(story())


def test_send_all_waits_for_a_peer_that_does_not_read() -> None:
    async def story() -> None:
        with a_stream() as (stream, theirs):
            peer = End(theirs)
            size = 16 << 20
            task = asyncio.ensure_future(stream.send_all(bytes(size)))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not task.done()
            while not task.done():
                peer.pull()
                await asyncio.sleep(0)
            while len(peer.received) < size:
                peer.pull()

    play(story())


def test_a_receive_that_finds_nothing_takes_no_event_from_the_one_that_sends() -> None:
    async def story() -> None:
        with a_stream() as (stream, theirs):
            peer = End(theirs)
            receiving = asyncio.ensure_future(all_of(stream))  # the first to be told of every event
            await asyncio.sleep(0)
            sending = asyncio.ensure_future(stream.send_all(bytes(16 << 20)))
            while not sending.done():
                peer.pull()
                peer.send(b"x")
                peer.push()
                await asyncio.sleep(0)
            theirs.shutdown(socket.SHUT_WR)
            assert await receiving == peer.sent

    play(story())


def test_a_fiber_sends_and_receives_as_a_task_does() -> None:
    async def story() -> None:
        with a_stream() as (stream, theirs):
            peer = End(theirs)
            ended: list[Exception | None] = []

            async def echo() -> None:
                while data := await stream.receive():
                    await stream.send_all(data)
                stream.send_eof()

            Fiber(echo(), lambda _, defect: ended.append(defect)).start()
            peer.send(NOISE)
            peer.send_eof()
            while not peer.got_end:
                peer.push()
                peer.pull()
                await asyncio.sleep(0)
            assert peer.received == NOISE
            assert ended == [None]

    play(story())


# ends


@FAMILIES
def test_after_our_end_the_peer_may_go_on(family: int) -> None:
    async def story() -> None:
        with a_stream(family) as (stream, theirs):
            stream.send_eof()
            peer = End(theirs)
            await until(lambda: peer.pull() and peer.got_end)
            theirs.send(b"still talking")
            assert await stream.receive() == b"still talking"
            theirs.shutdown(socket.SHUT_WR)
            assert await stream.receive() == b""
            assert await stream.receive() == b"", "and so it stays"

    play(story())


@FAMILIES
def test_close_is_a_clean_end_and_may_be_repeated(family: int) -> None:
    async def story() -> None:
        with a_stream(family) as (stream, theirs):
            stream.close()
            assert stream.closed
            stream.close()
            assert stream.sock.fileno() == -1
            peer = End(theirs)
            await until(peer.pull)
            assert (peer.got_end, peer.got_reset) == (True, False)

    play(story())


def test_reset_is_a_reset() -> None:
    async def story() -> None:
        with a_stream() as (stream, theirs):
            stream.reset()
            assert stream.closed
            stream.reset()
            stream.close()
            peer = End(theirs)
            await until(peer.pull)
            assert peer.got_reset

    play(story())


def test_a_reset_after_the_close_changes_nothing() -> None:
    """Within a batch of events the socket is open still, and is closed after it."""

    async def story() -> None:
        with a_stream() as (stream, theirs):

            async def body() -> None:
                await stream.receive()
                stream.close()
                stream.reset()

            Fiber(body(), lambda _, defect: None).start()
            theirs.send(b"go")
            peer = End(theirs)
            await until(peer.pull)
            assert (peer.got_end, peer.got_reset) == (True, False)

    play(story())


def test_a_peers_reset_is_an_error_for_whoever_receives() -> None:
    async def story() -> None:
        with a_stream() as (stream, theirs):
            task = asyncio.ensure_future(stream.receive())
            await asyncio.sleep(0)
            End(theirs).reset()
            with pytest.raises(ConnectionResetError):
                await task

    play(story())


@FAMILIES
def test_a_peer_that_goes_is_an_error_for_whoever_waits_to_send(family: int) -> None:
    async def story() -> None:
        with a_stream(family) as (stream, theirs):
            task = asyncio.ensure_future(stream.send_all(bytes(16 << 20)))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not task.done()
            theirs.close()
            with pytest.raises(ConnectionError):
                await task

    play(story())


def test_what_came_before_the_end_is_received_first() -> None:
    async def story() -> None:
        with a_stream() as (stream, theirs):
            theirs.send(NOISE[:100_000])
            theirs.close()
            assert await all_of(stream) == NOISE[:100_000]

    play(story())


# deadlines


def test_a_wait_within_a_time_that_is_up() -> None:
    async def story() -> None:
        with a_stream() as (stream, _):
            with pytest.raises(TimeoutError), stream.within(0.01):
                await stream.receive()
            assert not stream.closed, "that is for its owner to do"

    play(story())


def test_a_wait_to_send_within_a_time_that_is_up() -> None:
    async def story() -> None:
        with a_stream() as (stream, _), pytest.raises(TimeoutError), stream.within(0.01):
            await stream.send_all(bytes(16 << 20))

    play(story())


def test_the_time_is_for_all_that_is_done_within_it() -> None:
    async def story() -> None:
        with a_stream() as (stream, theirs):

            async def trickle() -> None:
                while True:
                    theirs.send(b".")
                    await asyncio.sleep(0.001)

            trickling = asyncio.ensure_future(trickle())
            with pytest.raises(TimeoutError), stream.within(0.05):
                await all_of(stream)
            trickling.cancel()

    play(story())


@pytest.mark.parametrize("passed", [False, True], ids=["not reached", "passed"])
def test_a_deadline_holds_no_longer_than_its_context(passed: bool) -> None:
    async def story() -> None:
        with a_stream() as (stream, theirs):
            if passed:
                with pytest.raises(TimeoutError), stream.within(0.01):
                    await stream.receive()
            else:
                theirs.send(b"in time")
                with stream.within(0.01):
                    assert await stream.receive() == b"in time"
            later = running_loop().call_later(0.05, theirs.send, b"late")
            assert await stream.receive() == b"late"
            assert later.when() <= running_loop().time()

    play(story())


def test_a_deadline_in_a_fiber() -> None:
    async def story() -> None:
        with a_stream() as (stream, _):
            ended: list[Exception | None] = []

            async def body() -> None:
                with stream.within(0.01):
                    await stream.receive()

            Fiber(body(), lambda _, defect: ended.append(defect)).start()
            await until(lambda: ended)
            assert isinstance(ended[0], TimeoutError)

    play(story())


# events


def test_a_stream_that_is_watched_collects_what_happens() -> None:
    async def story() -> None:
        with a_stream() as (stream, theirs):
            stream.watch()
            stream.watch()
            await stream.event(WRITABLE)
            assert not stream.events & READABLE
            theirs.send(b"x")
            await stream.event(READABLE)
            assert not stream.events & BROKEN

    play(story())


def test_events_that_were_handed_over_can_be_taken_back() -> None:
    async def story() -> None:
        with a_stream() as (stream, theirs):
            stream.watch()
            theirs.send(b"before")
            await stream.event(READABLE)
            seen: list[int] = []
            assert stream.hand_over(seen.append) & READABLE, "an edge that is not reported again"
            theirs.send(b"meanwhile")
            await until(lambda: seen)
            stream.take_back()
            seen.clear()
            assert await stream.receive() == b"beforemeanwhile"
            theirs.send(b"after")
            assert await stream.receive() == b"after"
            assert seen == []

    play(story())


def test_events_of_a_stream_that_nobody_watched_are_handed_over() -> None:
    async def story() -> None:
        with a_stream() as (stream, theirs):
            seen: list[int] = []
            assert stream.hand_over(seen.append) == 0
            theirs.send(b"x")
            await until(lambda: any(events & READABLE for events in seen))

    play(story())


def test_its_repr_says_who_it_is() -> None:
    async def story() -> None:
        with a_stream() as (stream, _):
            assert repr(stream) == f"<Stream {stream.fd} peer>"

    play(story())


def test_a_task_that_waits_is_told_when_the_stream_is_closed() -> None:
    async def story() -> None:
        ours, theirs = pair(socket.AF_INET)
        stream = stream_on(running_loop(), ours, "peer")
        waiting = asyncio.ensure_future(stream.receive())
        await asyncio.sleep(0)
        stream.close()
        with pytest.raises(OSError, match="closed meanwhile"):
            await waiting
        theirs.close()

    play(story())
