"""The demo's client: one visit to the proxy by the standard library's TLS, and what it saw."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from spyhole.cli.demo_certificates import fingerprint
from spyhole.wire.alerts import Alert

_PATIENCE: Final = 10.0  # seconds
_ALERT_RECORD, _ALERT_SIZE = 21, 7


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client saw; what it did not come to is None."""

    source: str
    """Its own address, as the access log has it."""
    fingerprint: str | None = None
    holder: str | None = None
    """The organization in the certificate."""
    version: str | None = None
    answer: str | None = None
    alert: Alert | None = None


def visit(host: str, port: int, server_name: str, context: ssl.SSLContext) -> Seen:
    """Ask for `/` at `server_name`, whose certificate `context` verifies.

    Raises OSError when the connection fails, of which ssl.SSLError is one.
    """
    with socket.create_connection((host, port), _PATIENCE) as plain:
        source = _source(plain)
        with context.wrap_socket(plain, server_hostname=server_name) as tls:
            tls.sendall(f"GET / HTTP/1.1\r\nHost: {server_name}\r\nConnection: close\r\n\r\n".encode())
            response = _read_all(tls)
            certificate = tls.getpeercert(binary_form=True)
            assert certificate is not None
            seen = Seen(
                source,
                fingerprint=fingerprint(certificate),
                holder=_organization(tls.getpeercert() or {}),
                version=tls.version(),
                answer=response.partition(b"\r\n\r\n")[2].decode("utf-8", "replace").strip(),
            )
            tls.unwrap()
    return seen


def visit_refused(host: str, port: int, server_name: str) -> Seen:
    """Send the ClientHello for `server_name`, and read the alert that it should be answered with."""
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    with suppress(ssl.SSLWantReadError):  # the hello is written, and waits for its answer
        tls.do_handshake()
    with socket.create_connection((host, port), _PATIENCE) as plain:
        source = _source(plain)
        plain.sendall(outgoing.read())
        answer = _read_all(plain)
    if len(answer) != _ALERT_SIZE or answer[0] != _ALERT_RECORD:
        return Seen(source, answer=repr(answer[:40]))
    return Seen(source, alert=Alert(answer[-1]))


def _source(sock: socket.socket) -> str:
    host, port = sock.getsockname()
    return f"{host}:{port}"


def _read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65_536), b""))


def _organization(certificate: object) -> str | None:
    assert isinstance(certificate, dict)
    subject = dict(pair for names in certificate.get("subject", ()) for pair in names)
    return subject.get("organizationName")
