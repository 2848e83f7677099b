"""Spyhole: a TLS-aware TCP proxy, and the parts of one.

    import spyhole

    async def handle(client: spyhole.Stream) -> None:
        hello = await spyhole.peek(client, timeout=5)
        upstream = await spyhole.dial("127.0.0.1:9443")
        await spyhole.relay(client, upstream)

    spyhole.run(spyhole.serve("127.0.0.1:8443", handle))

`serve` accepts, `peek` reads the ClientHello and leaves it in place, `dial` connects, `serve_tls`
terminates TLS, `relay` carries the bytes both ways to the end. `run` starts the event loop that they need.
"""

from __future__ import annotations

from spyhole.net.dial import DialError, dial
from spyhole.net.handshake import serve_tls
from spyhole.net.loop import run
from spyhole.net.peek import ClosedEarly, peek
from spyhole.net.relay import Ending, relay
from spyhole.net.serve import serve
from spyhole.net.stream import Stream
from spyhole.outcome import EndedBy, Reason
from spyhole.wire.client_hello import ClientHello, ClientHelloError, ClientHelloParser, NotTls

__all__ = [
    "ClientHello",
    "ClientHelloError",
    "ClientHelloParser",
    "ClosedEarly",
    "DialError",
    "EndedBy",
    "Ending",
    "NotTls",
    "Reason",
    "Stream",
    "dial",
    "peek",
    "relay",
    "run",
    "serve",
    "serve_tls",
]
