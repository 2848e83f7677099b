"""The law of the relay: bytes out equal bytes in, whatever the order of sends, reads and half-closes."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Callable

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from spyhole.net.handshake import serve_tls
from spyhole.net.loop import HotLoop, run, running_loop
from spyhole.net.peek import peek
from spyhole.net.relay import Ending, relay
from spyhole.outcome import EndedBy, Reason
from spyhole.wire.client_hello import ClientHello
from support.ends import End, TlsEnd, pair, stream_on

AUTHORITY = trustme.CA()
CERTIFICATE = AUTHORITY.issue_cert("a.test", key_type=trustme.KeyType.ECDSA)
# Sizes around the receive buffer and what a splice takes, and what no socket buffer holds.
SIZES = st.sampled_from([1, 2, 100, 16_384, 65_535, 65_536, 65_537, 262_144, 300_000, 1_500_000])
SIDES = st.sampled_from(["client", "upstream"])
STEP = st.one_of(
    st.tuples(st.just("send"), SIDES, SIZES),
    st.tuples(st.just("read"), SIDES, SIZES),
    st.tuples(st.just("end"), SIDES, st.just(0)),
    st.tuples(st.just("turn"), SIDES, st.just(0)),
)
NOISE = random.Random(1).randbytes(1 << 21)

World = Callable[[HotLoop], "tuple[End, End, asyncio.Task[Ending]]"]


def plain(family: int) -> World:
    def world(loop: HotLoop) -> tuple[End, End, asyncio.Task[Ending]]:
        client, ours = pair(family)
        upstream, theirs = pair(family)
        task = loop.create_task(relay(stream_on(loop, ours, "client"), stream_on(loop, theirs, "upstream")))
        return End(client), End(upstream), task

    return world


def terminated(version: ssl.TLSVersion) -> World:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CERTIFICATE.configure_cert(server)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    AUTHORITY.configure_trust(context)

    def world(loop: HotLoop) -> tuple[End, End, asyncio.Task[Ending]]:
        client, ours = pair(socket.AF_UNIX)
        upstream, theirs = pair(socket.AF_UNIX)

        async def serve() -> Ending:
            stream = stream_on(loop, ours, "client")
            hello = await peek(stream)
            assert isinstance(hello, ClientHello)
            await serve_tls(stream, server, hello)
            return await relay(stream, stream_on(loop, theirs, "upstream"))

        return TlsEnd(client, context, "a.test"), End(upstream), loop.create_task(serve())

    return world


WORLDS = {
    "unix": plain(socket.AF_UNIX),
    "tcp": plain(socket.AF_INET),
    "tls1.2": terminated(ssl.TLSVersion.TLSv1_2),
    "tls1.3": terminated(ssl.TLSVersion.TLSv1_3),
}


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS.keys())
@settings(max_examples=100)
@given(steps=st.lists(STEP, max_size=25))
def test_bytes_out_equal_bytes_in(world: World, steps: list[tuple[str, str, int]]) -> None:
    run(play(world, steps))


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS.keys())
@pytest.mark.parametrize("sender", ["client", "upstream"])
@settings(max_examples=10)
@given(reads=st.lists(st.integers(1, 400_000), min_size=20, max_size=60))
def test_bulk_to_a_slow_reader_arrives_whole(world: World, sender: str, reads: list[int]) -> None:
    reader = "upstream" if sender == "client" else "client"
    burst = [("send", sender, len(NOISE)), ("send", sender, len(NOISE)), ("end", sender, 0)]
    turns = [("turn", sender, 0)] * 8
    run(play(world, [*burst, *turns, *(("read", reader, size) for size in reads)]))


async def play(world: World, steps: list[tuple[str, str, int]]) -> None:
    client, upstream, task = world(running_loop())
    ends = {"client": client, "upstream": upstream}
    for what, side, size in steps:
        end = ends[side]
        if what == "send":
            end.send(NOISE[:size])
        elif what == "read":
            end.pull(size)
        elif what == "end":
            end.send_eof()
        for each in ends.values():
            each.push()
        await asyncio.sleep(0)
    for end in ends.values():
        end.send_eof()
    while not task.done() or not (client.got_end and upstream.got_end):
        for each in ends.values():
            each.push()
            each.pull()
            assert not each.got_reset
        await asyncio.sleep(0)
    ending = await task
    assert upstream.received == client.sent
    assert client.received == upstream.sent
    assert ending.reason is Reason.CLOSED
    assert (ending.bytes_up, ending.bytes_down) == (len(client.sent), len(upstream.sent))
    assert ending.ended_by in {EndedBy.CLIENT, EndedBy.UPSTREAM}
    client.sock.close()
    upstream.sock.close()
