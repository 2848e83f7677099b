"""A proxy that refuses in every way, with short timeouts, and what a test of it asks each time.

A module's tests share one such proxy: `one_front = pytest.fixture(scope="module")(refusing_proxy)`; and
each closes what it opened: `front = pytest.fixture(closing)`.
"""

from __future__ import annotations

import errno
import re
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from spyhole.outcome import EndedBy, Reason
from spyhole.wire.alerts import Alert
from support.backends import BOUND
from support.certificates import TLS_1_2, Authority
from support.clients import Listener, TlsClient, client_hello, connect, read_to_end
from support.spyhole_process import SpyholeProcess

SHORT = 0.4
"""Seconds of the timeouts under test."""

KEYS = (
    *(
        "time",
        "client",
        "listener",
        "server_name",
        "alpn",
        "tls_versions",
        "ja4",
        "route",
        "mode",
        "upstream",
    ),
    *("bytes_in", "bytes_out", "hello_ms", "connect_ms", "handshake_ms", "total_ms", "ended_by"),
    *("reason", "detail", "alert", "tls_version", "cipher"),
)


@dataclass
class Front:
    """A proxy with a route for each way to be refused, and the listener behind those that carry."""

    proxy: SpyholeProcess
    authority: Authority
    listener: Listener
    dead: str
    blackhole: str
    opened: list[socket.socket] = field(default_factory=list)

    def accept(self) -> socket.socket:
        """The upstream's end of the next connection; closed after the test."""
        self.opened.append(self.listener.accept())
        return self.opened[-1]

    def connect(self, index: int = 0) -> socket.socket:
        """A connection to one of its two listeners; closed after the test."""
        self.opened.append(connect(self.proxy.sockaddr(index)))
        return self.opened[-1]


def closing(one_front: Front) -> Iterator[Front]:
    """A fixture: the module's `one_front`, and what the test opened is closed after it."""
    yield one_front
    while one_front.opened:
        one_front.opened.pop().close()


def refusing_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A fixture."""
    directory = tmp_path_factory.mktemp("front")
    authority = Authority(directory)
    leaf = authority.issue("end.test", "end-dead.test")
    with ExitStack() as stack:
        listener = stack.enter_context(Listener())
        dead = f"127.0.0.1:{unused_port(stack)}"
        blackhole = stack.enter_context(Listener(backlog=0))
        fill(blackhole, stack)
        proxy = SpyholeProcess(
            directory=directory,
            config=f"""
                workers = 1
                hello_timeout = {SHORT}
                connect_timeout = {SHORT}
                handshake_timeout = {SHORT}
                idle_timeout = {4 * SHORT}
                half_close_timeout = {SHORT}
                max_hello_size = 4096
                certificates = [{{ cert = {str(leaf.cert)!r}, key = {str(leaf.key)!r} }}]
                listeners = [
                    {{ name = "front", bind = "127.0.0.1:0" }},
                    {{ name = "any", bind = "127.0.0.1:0" }},
                ]
                [[routes]]
                sni = "pass.test"
                upstream = "{listener.address}"
                [[routes]]
                name = "end"
                sni = ["end.test", "uncertified.test"]
                mode = "terminate"
                upstream = "{listener.address}"
                [[routes]]
                name = "no entry"
                sni = "**.reject.test"
                mode = "reject"
                [[routes]]
                sni = "dead.test"
                upstream = "{dead}"
                [[routes]]
                sni = "end-dead.test"
                mode = "terminate"
                upstream = "{dead}"
                [[routes]]
                sni = "blackhole.test"
                upstream = "{blackhole.address}"
                [[routes]]
                sni = "unresolved.test"
                upstream = "no-such-host.invalid:443"
                [[routes]]
                name = "not tls"
                tls = false
                listener = "any"
                upstream = "{listener.address}"
            """,
        )
        stack.callback(proxy.finish)
        yield Front(proxy, authority, listener, dead, blackhole.address)


def unused_port(stack: ExitStack) -> int:
    """A port that is bound and never listened on: whoever connects is refused."""
    sock = stack.enter_context(socket.socket())
    sock.bind(("127.0.0.1", 0))
    return int(sock.getsockname()[1])


def fill(listener: Listener, stack: ExitStack) -> None:
    """Connect until its queue is full, and the kernel drops a further client's SYN."""
    while True:
        sock = stack.enter_context(socket.socket())
        sock.settimeout(SHORT)
        try:
            sock.connect(listener.sockaddr)
        except TimeoutError:
            return


def told(client: socket.socket) -> bytes:
    """All that the proxy says to a client, up to a clean end."""
    return read_to_end(client)


def refused(
    front: Front, client: socket.socket, reason: Reason, alert: Alert | None = None, **fields: Any
) -> dict[str, Any]:
    """What the client is told, and what the log says of it, is what it should be; its record."""
    expected = b"" if alert is None else bytes.fromhex("150303000202") + bytes([alert])
    assert told(client) == expected
    return logged(front, client, reason, alert, **fields)


def logged(
    front: Front,
    client: socket.socket,
    reason: Reason,
    alert: Alert | None = None,
    *,
    ended_by: EndedBy = EndedBy.PROXY,
    **fields: Any,
) -> dict[str, Any]:
    host, port = client.getsockname()
    record = front.proxy.record_of(client)
    client.close()
    assert tuple(record) == KEYS
    assert record["reason"] == reason
    assert record["ended_by"] == ended_by
    assert record["alert"] == (None if alert is None else alert.name.lower())
    assert record["client"] == f"{host}:{port}"
    assert record["listener"] in {"front", "any"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])
    assert record["hello_ms"] is not None
    assert 0 <= record["hello_ms"] <= record["total_ms"]
    for part in ("connect_ms", "handshake_ms"):
        assert record[part] is None or 0 <= record[part] <= record["total_ms"]
    for key, value in fields.items():
        assert record[key] == value, key
    mark = f'"client":"{host}:{port}"'
    assert sum(mark in line for line in front.proxy.access_log_lines(0)) == 1, "one record each"
    return record


NOT_CARRIED: dict[str, Any] = {"upstream": None, "bytes_in": 0, "bytes_out": 0, "connect_ms": None}
NO_HELLO: dict[str, Any] = {
    **NOT_CARRIED,
    "alpn": None,
    "tls_versions": None,
    "ja4": None,
    "route": None,
    "mode": None,
}


def opened(front: Front, tls: bool) -> tuple[socket.socket, socket.socket]:
    """A connection that is carried, both of its ends, with nothing left to read from either."""
    client = front.connect()
    if tls:
        TlsClient(client, front.authority.client_context(version=TLS_1_2), "end.test")
        return client, front.accept()
    wire = client_hello("pass.test")
    client.sendall(wire)
    upstream = front.accept()
    assert upstream.recv(65536) == wire
    return client, upstream


def wait_for_reset(sock: socket.socket) -> None:
    """What `recv` would say, also of a socket that has had the peer's FIN already."""
    poll = select.poll()
    poll.register(sock, 0)
    assert poll.poll(BOUND * 1000), "it is still open"
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in {errno.ECONNRESET, errno.EPIPE}
