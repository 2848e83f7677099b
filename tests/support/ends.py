"""The two ends of a relay, held by a test: it plays the client and the upstream on them."""

from __future__ import annotations

import _socket
import contextlib
import socket
import ssl
import struct

from spyhole.net.loop import HotLoop
from spyhole.net.stream import Stream


def pair(family: int) -> tuple[socket.socket, socket.socket]:
    """Two connected stream sockets of a family, AF_UNIX or AF_INET."""
    if family == socket.AF_UNIX:
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = socket.create_connection(listening.getsockname())
        other, _ = listening.accept()
    return one, other


def stream_on(loop: HotLoop, sock: socket.socket, name: str) -> Stream:
    """Give a socket to the loop, as a plain `_socket.socket`, which is what streams are made of."""
    family = sock.family
    return Stream(_socket.socket(family, socket.SOCK_STREAM, 0, sock.detach()), loop, name)


class End:
    """One end: what it wants to send, what it has received, and how the other side ended."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.to_send = bytearray()
        self.sent = bytearray()
        self.received = bytearray()
        self.closing = False
        self.closed = False
        self.got_end = False
        self.got_reset = False
        self._failed = False

    def send(self, data: bytes) -> None:
        """Send, now or when there is room."""
        if not self.closing:
            self.to_send += data
            self.sent += data

    def send_urgent(self) -> None:
        """Send a byte out of band, if there is room: nobody's data."""
        try:
            self.sock.send(b"!", socket.MSG_OOB)
        except BlockingIOError:
            pass
        except OSError:
            self._failed = True

    def send_eof(self) -> None:
        """End this direction once everything is sent."""
        self.closing = True

    def reset(self) -> None:
        """Close with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def push(self) -> bool:
        """Send what there is room for; whether anything moved."""
        moved = 0
        try:
            while self.to_send:
                count = self.sock.send(self.to_send)
                moved += count
                del self.to_send[:count]
            if self.closing and not self.closed:
                self.closed = True
                self._end()
                return True
        except BlockingIOError:
            pass
        except OSError:  # ConnectionError, or ENOTCONN from shutdown
            self._failed = True
        return bool(moved)

    def pull(self, most: int = 1 << 20) -> bool:
        """Receive up to so many bytes; whether anything came."""
        if self.got_end or self.got_reset:
            return False
        try:
            data = self.sock.recv(most)
        except BlockingIOError:
            return False
        except ConnectionError:
            self.got_reset = True
            return True
        return self._take(data)

    def _take(self, data: bytes) -> bool:
        self.received += data
        if not data:
            # the kernel tells of a reset once: when a send was told, recv has nothing but an end to say
            self.got_reset, self.got_end = self._failed, not self._failed
        return True

    def _end(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)


class TlsEnd(End):
    """A client that speaks TLS. Its end is a close_notify; it is told the other's end by one."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_name: str) -> None:
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self.failure: str | None = None
        self._established = False
        self._wire = bytearray()

    @property
    def session(self) -> ssl.SSLSession | None:
        """What it could resume."""
        return self._tls.session

    def push(self) -> bool:
        self._shake_hands()
        if self._established:
            if self.to_send:
                self._tls.write(bytes(self.to_send))
                self.to_send.clear()
            if self.closing and not self.closed:
                self.closed = True
                self._read()  # or unwrap, which reads, would take what is unread for a violation
                with contextlib.suppress(ssl.SSLWantReadError):
                    self._tls.unwrap()
        self._wire += self._outgoing.read()
        moved = 0
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while self._wire:
                count = self.sock.send(self._wire)
                moved += count
                del self._wire[:count]
        return bool(moved)

    def _take(self, data: bytes) -> bool:
        self._incoming.write(data)
        self._shake_hands()
        self._read()
        if not data and not self.got_end:
            self.got_reset = True  # no close_notify came before: cut off
        return True

    def _shake_hands(self) -> None:
        if not self._established:
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
                self._established = True

    def _read(self) -> None:
        if not self._established or self.got_end:
            return
        try:
            while plain := self._tls.read(65_536):
                self.received += plain
            self.got_end = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.got_end = True
        except ssl.SSLError as error:
            self.failure = error.reason
            self.got_reset = True
