"""Serve TLS on a stream whose hello was peeked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spyhole.net.loop import READABLE, UNUSUAL
from spyhole.net.stream import RECEIVE_SIZE
from spyhole.net.tls import TlsEngine, TlsError, prepare_context

if TYPE_CHECKING:
    import ssl

    from spyhole.net.stream import Stream
    from spyhole.wire.client_hello import ClientHello


async def serve_tls(
    client: Stream, context: ssl.SSLContext, hello: ClientHello, timeout: float = 10.0
) -> TlsEngine:
    """Do the server's side of the TLS handshake on `client`, whose `hello` was peeked and is still ahead.

    Choose `context` by the hello, before this (swapping contexts in an SNI callback does not carry
    `verify_mode` over). The handshake fails if OpenSSL sees another server name than the peek did; for
    this the context's `sni_callback` is replaced. `timeout` is in seconds, for the whole handshake.

    Returns the engine, which is `client.tls` from then on: `relay` carries the plaintext. It still holds
    the session tickets of TLS 1.3, which go with the first bytes that are sent. By themselves they would
    take a packet, and undo a client that only writes: closing a socket with unread bytes is a reset, which
    may overtake what it wrote. Raises `TlsError` (the alert is sent), TimeoutError and OSError, all the
    client's doing; the caller closes.
    """
    prepare_context(context)
    engine = TlsEngine(context, server_name=hello.server_name)
    received: bytes | memoryview
    received, client.ahead = client.ahead, b""
    with client.within(timeout):
        await client.loop.handshakes.take(client)
        while True:
            try:
                done = engine.handshake(received)
            except TlsError:
                await client.send_all(engine.take())
                raise
            if engine.pending and not (done and engine.version == "TLSv1.3"):
                await client.send_all(engine.take())
            if done:
                client.tls = engine
                return engine
            # Not read_some at once: what is there was read, and asking again costs a call and an exception.
            await client.event(READABLE | UNUSUAL)
            received = await client.read_some()
            if len(received) < RECEIVE_SIZE:  # that has emptied the socket
                client.events &= ~READABLE
            if not received:
                engine.receive_eof()
