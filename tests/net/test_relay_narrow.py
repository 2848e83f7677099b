"""A sink that takes a little at a time: what a direction keeps goes out in pieces, and is all there."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl

import pytest
import trustme

from spyhole.net.handshake import serve_tls
from spyhole.net.loop import run, running_loop
from spyhole.net.peek import peek
from spyhole.net.relay import Ending, relay
from spyhole.outcome import Reason
from spyhole.wire.client_hello import ClientHello
from support.ends import End, TlsEnd, pair, stream_on

NARROW = 4608  # the kernel's least: it takes some 2 KiB of the 64 that one read brings


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("size", [60_000, 600_000], ids=["copied", "spliced"])
def test_every_byte_arrives_each_way(tls: bool, size: int) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("a.test", key_type=trustme.KeyType.ECDSA).configure_cert(server)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trusting)
    up, down = random.Random(1).randbytes(size), random.Random(2).randbytes(size)

    async def world() -> tuple[Ending, End, End]:
        loop = running_loop()
        one, ours = pair(socket.AF_UNIX)
        other, theirs = pair(socket.AF_UNIX)
        client = TlsEnd(one, trusting, "a.test") if tls else End(one)
        upstream = End(other)

        async def serve() -> Ending:
            stream = stream_on(loop, ours, "client")
            if tls:
                hello = await peek(stream)
                assert isinstance(hello, ClientHello)
                await serve_tls(stream, server, hello)
            other_stream = stream_on(loop, theirs, "upstream")
            for narrowed in (stream, other_stream):
                narrowed.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, NARROW)
            return await relay(stream, other_stream)

        serving = loop.create_task(serve())
        for end, data in ((client, up), (upstream, down)):
            end.send(data)
            end.send_eof()
        while not serving.done():
            for end in (client, upstream):
                end.push()
                end.pull(5000)
            await asyncio.sleep(0)
        for end in (client, upstream):
            while end.pull():
                pass
        return serving.result(), client, upstream

    ending, client, upstream = run(world())
    client.sock.close()
    upstream.sock.close()
    assert bytes(upstream.received) == up
    assert bytes(client.received) == down
    assert (ending.reason, ending.bytes_up, ending.bytes_down) == (Reason.CLOSED, size, size)
