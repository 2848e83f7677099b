"""Serve TLS on a stream whose hello was peeked."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

    Returns the engine, which is `client.tls` from then on: `relay` carries the plaintext. Raises
    `TlsError` (the alert is sent), TimeoutError and OSError, all the client's doing; the caller closes.
    """
    prepare_context(context)
    engine = TlsEngine(context, server_name=hello.server_name)
    ahead, client.ahead = client.ahead, b""
    engine.receive(ahead)
    with client.within(timeout):
        while True:
            try:
                done = engine.handshake()
            except TlsError:
                await client.send_all(engine.take())
                raise
            if engine.pending:
                await client.send_all(engine.take())
            if done:
                client.tls = engine
                return engine
            data = await client.read_some()
            if data:
                engine.receive(data)
            else:
                engine.receive_eof()
