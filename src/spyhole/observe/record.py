"""What is known of one accepted connection: filled by the session, read by the access log."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spyhole.outcome import EndedBy, Reason
from spyhole.wire.ja4 import ja4

if TYPE_CHECKING:
    from spyhole.wire.client_hello import ClientHello


class Greeting(NamedTuple):
    """What the log says of a hello. The hello itself, up to 64 KiB, is not kept for a connection's life."""

    alpn: tuple[bytes, ...]
    versions: tuple[int, ...]
    ja4: str

    @classmethod
    def of(cls, hello: ClientHello) -> Greeting:
        """Costs some 10 µs for a hello that is like no other: only for a log that is written."""
        return cls(hello.alpn, hello.versions, ja4(hello))


class ConnectionRecord:
    """One connection, from accept to its end.

    The `t_…` are moments of `time.monotonic()`; a phase that was not reached keeps None. Durations, ALPN,
    versions and JA4 are computed when the record is written, not before.

    Most of it is never set on most connections: so the defaults are the class's, where they cost nothing.
    """

    t_accept: float | None = None
    greeting: Greeting | None = None
    server_name: bytes | None = None
    """As sent; it may be no host name at all. Known for some hellos that were refused, too."""
    route: str | None = None
    mode: str | None = None
    upstream: str | None = None
    """The address that was dialled last."""

    bytes_in: int = 0
    """From client to upstream: of the stream in passthrough, of the plaintext in terminate."""
    bytes_out: int = 0

    t_hello: float | None = None
    """When the ClientHello was whole, or was refused."""
    t_connect_start: float | None = None
    t_connect: float | None = None
    t_handshake_start: float | None = None
    t_handshake: float | None = None
    t_end: float | None = None

    tls_version: str | None = None
    """Negotiated with the client, as `ssl` names it: `TLSv1.3`. Terminate only."""
    cipher: str | None = None
    alert: int | None = None
    """The alert that was sent to the client (RFC 8446, 6)."""

    # The end that a session writes which never gets to write another.
    ended_by: EndedBy = EndedBy.PROXY
    reason: Reason = Reason.INTERNAL_ERROR
    detail: str | None = None
    """What the reason leaves open, for people: the system's error, OpenSSL's reason, what was malformed."""

    def __init__(self, started: float, client: str, listener: str, t_accept: float | None = None) -> None:
        """`started`: wall clock at accept, as of `time.time()`; `client`: "192.0.2.1:5555", "[::1]:5555",
        "unix:"."""
        self.started = started
        self.client = client
        self.listener = listener
        self.t_accept = t_accept
