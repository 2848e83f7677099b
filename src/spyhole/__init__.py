"""Spyhole: a TLS-aware TCP proxy, and the parts of one.

    import spyhole

    async def handle(client: spyhole.Stream) -> None:
        hello = await spyhole.peek(client, timeout=5)
        upstream = await spyhole.dial("127.0.0.1:9443")
        await spyhole.relay(client, upstream)

    spyhole.run(spyhole.serve("127.0.0.1:8443", handle))

`serve` accepts, `peek` reads the ClientHello and leaves it in place, `dial` connects, `serve_tls`
terminates TLS, `relay` carries the bytes both ways to the end, `refuse` answers with an alert. `run` starts
the event loop that they need. `docs/library.md` says who closes what; `examples/` are whole programs.
"""

from __future__ import annotations

from spyhole.errors import OperatorError, PeerError, SpyholeError
from spyhole.net.dial import DialError, dial
from spyhole.net.farewell import refuse
from spyhole.net.handshake import serve_tls
from spyhole.net.listener import BindError
from spyhole.net.loop import run
from spyhole.net.peek import ClosedEarly, peek
from spyhole.net.relay import Ending, relay
from spyhole.net.serve import serve
from spyhole.net.stream import Stream
from spyhole.net.tls import TlsEngine, TlsError
from spyhole.outcome import EndedBy, Reason
from spyhole.routing.decision import Decision
from spyhole.routing.host_names import InvalidServerName, parse_server_name
from spyhole.routing.patterns import NamePattern
from spyhole.routing.route import Mode, Route
from spyhole.routing.table import RouteTable
from spyhole.wire.alerts import Alert
from spyhole.wire.client_hello import NEED_MORE, ClientHello, ClientHelloError, ClientHelloParser, NotTls

__all__ = [
    "NEED_MORE",
    "Alert",
    "BindError",
    "ClientHello",
    "ClientHelloError",
    "ClientHelloParser",
    "ClosedEarly",
    "Decision",
    "DialError",
    "EndedBy",
    "Ending",
    "InvalidServerName",
    "Mode",
    "NamePattern",
    "NotTls",
    "OperatorError",
    "PeerError",
    "Reason",
    "Route",
    "RouteTable",
    "SpyholeError",
    "Stream",
    "TlsEngine",
    "TlsError",
    "dial",
    "parse_server_name",
    "peek",
    "refuse",
    "relay",
    "run",
    "serve",
    "serve_tls",
]
