"""A client that is refused can read why, although it has sent what nobody read; and it can't hold us up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from spyhole.net import farewell as module
from spyhole.net.farewell import farewell, refuse
from spyhole.net.loop import running_loop
from spyhole.net.stream import Stream
from spyhole.wire.alerts import Alert
from support.backends import BOUND
from support.ends import End, pair, stream_on
from support.play import play, until

ALERT = Alert.UNRECOGNIZED_NAME.record()


@contextmanager
def a_client(family: int = socket.AF_INET) -> Iterator[tuple[Stream, End]]:
    ours, theirs = pair(family)
    stream = stream_on(running_loop(), ours, "client")
    try:
        with theirs:
            yield stream, End(theirs)
    finally:
        stream.close()


async def all_that_it_reads(client: End) -> None:
    await until(lambda: client.pull() and (client.got_end or client.got_reset))


@pytest.mark.parametrize("watched", [False, True])
def test_an_alert_is_readable_although_unread_bytes_remain(
    watched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOMENT", BOUND)

    async def story() -> None:
        with a_client() as (stream, client):
            if watched:
                stream.watch()
            client.send(bytes(100_000))
            client.push()
            task = asyncio.ensure_future(refuse(stream))
            await all_that_it_reads(client)
            assert (bytes(client.received), client.got_reset) == (ALERT, False)
            assert not stream.closed, "it may still be sending"
            client.send(bytes(50_000))
            client.send_eof()
            while not task.done():
                client.push()
                await asyncio.sleep(0)
            assert stream.closed

    play(story())


def test_the_alert_is_the_callers() -> None:
    async def story() -> None:
        with a_client() as (stream, client):
            client.send_eof()
            client.push()
            await refuse(stream, 50)
            await all_that_it_reads(client)
            assert client.received == Alert.DECODE_ERROR.record()

    play(story())


def test_without_last_words_there_is_a_clean_end() -> None:
    async def story() -> None:
        with a_client() as (stream, client):
            client.send(b"unread")
            client.push()
            task = asyncio.ensure_future(farewell(stream))
            await all_that_it_reads(client)
            assert (client.got_end, client.got_reset) == (True, False)
            client.sock.close()
            await task

    play(story())


def test_a_client_that_neither_ends_nor_speaks_is_closed_after_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOMENT", 0.02)

    async def story() -> None:
        with a_client() as (stream, client):
            await refuse(stream)
            assert stream.closed
            await all_that_it_reads(client)
            assert client.received == ALERT

    play(story())


def test_a_client_that_trickles_is_closed_after_a_moment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOMENT", 0.05)

    async def story() -> None:
        with a_client() as (stream, client):
            task = asyncio.ensure_future(refuse(stream))
            while not task.done():
                client.send(b".")
                client.push()
                await asyncio.sleep(0.001)
            assert stream.closed

    play(story())


def test_a_client_that_sends_without_end_is_closed_after_so_many_bytes() -> None:
    async def story() -> int:
        with a_client(socket.AF_UNIX) as (stream, client):
            task = asyncio.ensure_future(refuse(stream))
            while not task.done():
                client.send(bytes(65_536))
                client.push()
                await asyncio.sleep(0)
            assert stream.closed
            return len(client.sent) - len(client.to_send)

    assert play(story()) < 2_000_000


def test_a_client_that_has_reset_raises_nothing() -> None:
    async def story() -> None:
        with a_client() as (stream, client):
            client.reset()
            await refuse(stream)
            assert stream.closed

    play(story())


def test_a_client_that_resets_meanwhile_raises_nothing() -> None:
    async def story() -> None:
        with a_client() as (stream, client):
            task = asyncio.ensure_future(refuse(stream))
            await asyncio.sleep(0)
            client.reset()
            await task
            assert stream.closed

    play(story())


def test_last_words_that_find_no_room_are_not_waited_for() -> None:
    async def story() -> None:
        with a_client() as (stream, _):
            sending = asyncio.ensure_future(stream.send_all(bytes(16 << 20)))
            for _ in range(20):
                await asyncio.sleep(0)
            sending.cancel()
            await farewell(stream, ALERT)
            assert stream.closed

    play(story())


def test_cancelling_closes_the_client() -> None:
    async def story() -> None:
        with a_client() as (stream, _):
            task = asyncio.ensure_future(farewell(stream))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert stream.closed

    play(story())
