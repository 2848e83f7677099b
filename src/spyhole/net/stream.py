"""A stream: one connected socket, watched by the loop, and whatever was read from it ahead of its reader.

It is what `serve` hands out, `dial` returns and `relay` consumes. Its socket is a plain `_socket.socket`
(the C type below `socket.socket`); it may be blocking, since every call says `MSG_DONTWAIT` for itself.
"""

from __future__ import annotations

import errno
import struct
from contextlib import suppress
from socket import MSG_DONTWAIT, MSG_NOSIGNAL, SHUT_WR, SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Any

from spyhole.net.fiber import Waiter
from spyhole.net.loop import BROKEN, EDGE, READABLE, UNUSUAL, WRITABLE

if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from spyhole.net.loop import HotLoop
    from spyhole.net.tls import TlsEngine

SEND_FLAGS = MSG_DONTWAIT | MSG_NOSIGNAL
RECEIVE_SIZE = 65_536

# Every stream of a process reads into this one buffer, and hands on or copies what it got before anybody
# else can run: one process, one loop, one thread. It has room for the plaintext of that, too, and of the
# TLS record (RFC 8446, 5.1) that was begun before.
RECEIVE_BUFFER = memoryview(bytearray(RECEIVE_SIZE + 16_384))

_RESET = struct.pack("ii", 1, 0)


class Stream(Waiter):
    """A connected stream socket, TCP or unix.

    `ahead` holds bytes that were read and not yet consumed, as `peek` leaves them: `receive`, `relay` and
    `serve_tls` take them first. `sent` is how much `dial` has sent already of what it was given. `tls` is
    the engine once TLS is served on the stream; `closed` says whether we have ended it.

    Whoever made the stream ends it, by `close` or `reset`; `relay` ends both of its streams. One task may
    receive while another sends.
    """

    __slots__ = (
        "_address",
        "_expired",
        "_mask",
        "_watched",
        "ahead",
        "closed",
        "events",
        "fd",
        "loop",
        "sent",
        "sock",
        "tls",
    )

    def __init__(self, sock: socket, loop: HotLoop, address: str | tuple[Any, ...]) -> None:
        """`address` is the other end's: as `accept` gave it for TCP, or the text that is to be `peer`."""
        self._waits = None
        self.sock = sock
        self.fd = sock.fileno()
        self.loop = loop
        self._address = address
        self.ahead = b""
        self.sent = 0
        self.events = 0
        self.tls: TlsEngine | None = None
        self._mask = EDGE
        self._watched = False
        self.closed = False
        self._expired = False

    @property
    def peer(self) -> str:
        """The other end's address as text: "192.0.2.1:5555", "[::1]:5555" or "unix:"."""
        address = self._address
        if isinstance(address, str):
            return address
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def host(self) -> str | None:
        """The client's IP address alone; None for a unix socket and for one that we dialled."""
        return None if isinstance(self._address, str) else self._address[0]

    def __repr__(self) -> str:
        return f"<Stream {self.fd} {self.peer}>"

    # bytes

    async def receive(self) -> bytes:
        """Return the next bytes, at most 64 KiB, or b"" when the peer has ended its direction.

        What was read ahead comes first. Carries the socket's bytes, not TLS's plaintext. Raises OSError
        when the connection broke, which is the peer's or the network's doing. Cancelling loses no bytes.
        """
        if self.ahead:
            data, self.ahead = self.ahead, b""
            return data
        return bytes(await self.read_some())

    async def send_all(self, data: bytes | memoryview) -> None:
        """Hand all of `data` to the kernel, waiting while the peer does not read.

        Raises OSError when the connection broke. After a cancellation it is not known how much was sent.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.sock.send(rest, SEND_FLAGS) :]
            except BlockingIOError:
                self.events &= ~WRITABLE
                await self.event(WRITABLE)

    def send_eof(self) -> None:
        """End our direction with a FIN; the peer may go on sending. Raises OSError if it is gone."""
        self.sock.shutdown(SHUT_WR)

    def close(self) -> None:
        """Close the socket: a clean end for the peer, if it has nothing more to say. Idempotent."""
        if not self.closed:
            self.closed = True
            self.loop.hot.retire(self.sock)
            self.wake()

    def reset(self) -> None:
        """Close the socket with a reset, so that the peer knows that it was cut off. Idempotent."""
        if not self.closed:
            with suppress(OSError):  # not connected
                self.sock.setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
            self.close()

    async def read_some(self) -> memoryview:
        """Read what is there into the shared buffer, and return that part of it: to be used at once.

        Empty when the peer has ended its direction.
        """
        while True:
            try:
                return self.read_now()
            except BlockingIOError:
                self.events &= BROKEN | WRITABLE
                await self.event(READABLE | UNUSUAL)

    def read_now(self) -> memoryview:
        """As `read_some`, but raise BlockingIOError when nothing is there."""
        return RECEIVE_BUFFER[: self.sock.recv_into(RECEIVE_BUFFER, RECEIVE_SIZE, MSG_DONTWAIT)]

    # events

    async def event(self, wanted: int) -> None:
        """Wait until one of the `wanted` events has happened, or the connection broke.

        The events are edges: clear from `events` those that you have exhausted, then wait. Raises
        TimeoutError when a deadline of `within` has passed, OSError when the stream was closed meanwhile.
        """
        if wanted & WRITABLE:
            self.want_writable()
        self.watch()
        while not self.events & (wanted | BROKEN):
            await self.pause()

    async def pause(self) -> None:
        """Wait until woken, by an event or by anybody else. Raises as `event` does."""
        if self._expired:
            raise TimeoutError("the peer took too long")
        await self.wait()
        if self.closed:
            raise OSError(errno.EBADF, "the stream was closed meanwhile")

    def watch(self) -> None:
        """Have the loop watch the socket, if it does not yet: `events` then collects what happens."""
        if not self._watched:
            self._watched = True
            self.loop.hot.watch(self.fd, self._note, self._mask)

    def want_writable(self) -> None:
        """Have the loop tell, from now on, when the socket takes bytes again.

        For a socket that has just taken none, or not all. If it does so by now, that is told, too.
        """
        self._wait_for(self._mask | WRITABLE)

    def want_readable(self, wanted: bool) -> None:
        """Have the loop tell, or not, when more bytes come; of an end or a break it tells in any case.

        To be told of bytes that nobody will read costs a wake each time. If some are there when they are
        wanted again, that is told, too.
        """
        self._wait_for(self._mask | READABLE if wanted else self._mask & ~READABLE)

    def _wait_for(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            if self._watched:
                self.loop.hot.rearm(self.fd, mask)

    def hand_over(self, callback: Callable[[int], object]) -> int:
        """Send all further events to `callback`, and return those collected so far."""
        if self._watched:
            self.loop.hot.redirect(self.fd, callback)
        else:
            self._watched = True
            self.loop.hot.watch(self.fd, callback, self._mask)
        return self.events

    def take_back(self) -> None:
        """Collect events in `events` again, after `hand_over`."""
        if self._watched:
            self.loop.hot.redirect(self.fd, self._note)
        self.events = 0

    def within(self, seconds: float) -> _Within:
        """A context in which whatever waits for this stream's events gets TimeoutError after `seconds`."""
        return _Within(self, seconds)

    def expire(self) -> None:
        """Give TimeoutError to the one that waits for events. For a queue of deadlines."""
        self._expired = True
        self.wake()

    def _note(self, events: int) -> None:
        self.events |= events
        self.wake()


class _Within:
    """A class, because a generator would cost each connection more than the deadline itself."""

    __slots__ = ("_queue", "_stream")

    def __init__(self, stream: Stream, seconds: float) -> None:
        self._stream = stream
        self._queue = stream.loop.deadlines[seconds]

    def __enter__(self) -> None:
        self._queue.add(self._stream)

    def __exit__(self, *_: object) -> None:
        self._stream._expired = False
        self._queue.discard(self._stream)
