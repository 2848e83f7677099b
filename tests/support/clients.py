"""Clients on real sockets, one step at a time: what `socket` and `ssl` do at once, tests want to see.

with connect(proxy.sockaddr()) as sock:         # blocking, no wait longer than BOUND
    sock.sendall(client_hello("git.test"))      # a real ClientHello, and nothing after it
    read_to_end(sock)

tls = TlsClient(sock, context, "www.test")      # TLS whose close_notify and FIN are separate
tls.close_notify(); tls.receive_all(); tls.fin()
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from support.backends import BOUND

STUCK = 0.5
"""Seconds without room after which a socket counts as stuck: what is under way needs a thousandth of it."""

RESET = struct.pack("ii", 1, 0)


def connect(sockaddr: Any, *, any_port: bool = False) -> socket.socket:
    """A blocking connection to what `SpyholeProcess.sockaddr` or `Backend.sockaddr` gave.

    `any_port`: also from one that an earlier client had. There are 28,000, and a heavy test needs more.
    """
    family = family_of(sockaddr)
    sock = socket.socket(family) if any_port else client_socket(family)
    sock.settimeout(BOUND)
    try:
        sock.connect(sockaddr)
    except OSError:
        sock.close()
        raise
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def client_socket(family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """A socket on a port that no client of this process has had, so the log's `client` says which it was.

    On loopback the kernel gives a port out again after a second.
    """
    while True:
        sock = socket.socket(family)
        if family == socket.AF_UNIX:
            return sock
        sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        port = sock.getsockname()[1]
        if port not in _ports:
            _ports.add(port)
            return sock
        sock.close()


_ports: set[int] = set()


def family_of(sockaddr: Any) -> socket.AddressFamily:
    if isinstance(sockaddr, str):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in sockaddr[0] else socket.AF_INET


def read_to_end(sock: socket.socket) -> bytes:
    """All that comes until the peer's FIN. Raises ConnectionResetError when it is a reset."""
    read = bytearray()
    while data := sock.recv(65536):
        read += data
    return bytes(read)


def read_exactly(sock: socket.socket, count: int) -> bytes:
    read = bytearray()
    while len(read) < count:
        data = sock.recv(count - len(read))
        if not data:
            raise EndError(f"an end after {len(read)} of {count} bytes")
        read += data
    return bytes(read)


class EndError(Exception):
    """A FIN where more should have come."""


def reset(sock: socket.socket) -> None:
    """Close with a reset instead of a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def client_hello(
    name: str | None, *, alpn: tuple[str, ...] = (), version: ssl.TLSVersion | None = None
) -> bytes:
    """The ClientHello that Python's ssl sends for a server name, as one record."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if version is not None:
        context.minimum_version = context.maximum_version = version
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake without a peer")


def send_until_stuck(sock: socket.socket, data: bytes | memoryview) -> int:
    """Send until nobody takes any more for a while: how much was taken."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    sent = 0
    with memoryview(data) as view:
        while sent < len(view) and poll.poll(STUCK * 1000):
            with suppress(BlockingIOError):
                sent += sock.send(view[sent : sent + 65536], socket.MSG_DONTWAIT)
    return sent


class Listener:
    """An upstream that a test works by hand: it accepts when told to, and the socket is the test's own.

    `options` are set before it listens; accepted sockets inherit them.
    """

    def __init__(
        self,
        *,
        at: str | Path = "127.0.0.1",
        backlog: int = 1024,
        options: Sequence[tuple[int, int, int]] = (),
    ) -> None:
        sockaddr: Any = str(at) if isinstance(at, Path) else (at, 0)
        self.sock = socket.socket(family_of(sockaddr))
        self.sock.settimeout(BOUND)
        for option in options:
            self.sock.setsockopt(*option)
        self.sock.bind(sockaddr)
        self.sock.listen(backlog)
        self.sockaddr = self.sock.getsockname()
        if isinstance(at, Path):
            self.address = f"unix:{at}"
        else:
            self.address = f"[{at}]:{self.sockaddr[1]}" if ":" in at else f"{at}:{self.sockaddr[1]}"

    def accept(self) -> socket.socket:
        """The next connection, with the same bound on every wait."""
        sock, _ = self.sock.accept()
        sock.settimeout(BOUND)
        return sock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


class TruncatedError(Exception):
    """The server's FIN came without its close_notify."""


class TlsClient:
    """TLS over a connected socket, shaken hands when the constructor returns.

    With `hold`, the last flight of the handshake (TLS 1.3) waits to be sent together with the first data.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        name: str,
        *,
        session: ssl.SSLSession | None = None,
        hold: bool = False,
    ) -> None:
        self.sock = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name, session=session)
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                self._fill()
            except ssl.SSLError:
                self.flush()  # the alert
                raise
            else:
                if not hold:
                    self.flush()
                return

    def encrypt(self, data: bytes) -> bytes:
        """The records for `data`; the caller sends them."""
        self.tls.write(data)
        return self._outgoing.read()

    def send(self, data: bytes) -> None:
        self.sock.sendall(self.encrypt(data))

    def receive(self) -> bytes:
        """The next plaintext, b"" at the server's close_notify. Raises TruncatedError."""
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                self.flush()
                self._fill()
            except ssl.SSLZeroReturnError:
                return b""

    def receive_all(self) -> bytes:
        """All plaintext until the server's close_notify."""
        read = bytearray()
        while data := self.receive():
            read += data
        return bytes(read)

    def close_notify(self) -> None:
        """Say that no more will come. Nothing unread may be in the client; reading goes on after it."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.flush()

    def fin(self) -> None:
        """End the socket's direction, whatever TLS has said."""
        self.sock.shutdown(socket.SHUT_WR)

    def flush(self) -> None:
        if data := self._outgoing.read():
            self.sock.sendall(data)

    def _fill(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise TruncatedError
        self._incoming.write(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
