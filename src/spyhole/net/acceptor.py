"""The accept loop: never blocks, never dies, and stops by itself at the connection limit."""

from __future__ import annotations

import errno
from _socket import socket
from socket import AF_UNIX, SOCK_STREAM
from typing import TYPE_CHECKING, Any

from spyhole.net.listener import BACKLOG
from spyhole.net.loop import READABLE
from spyhole.net.stream import Stream

if TYPE_CHECKING:
    import socket as socket_module
    from collections.abc import Callable

    from spyhole.net.loop import HotLoop

_MOST_AT_ONCE = 64
_BACK_OFF = 0.1
_MOST_BACK_OFF = 1.0

# accept(2): "treat them like EAGAIN by retrying": the connection is gone, the listener is well
_GONE = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
        errno.EPERM,
        errno.ETIMEDOUT,
    }
)


class ConnectionLimit:
    """Counts the open connections of all acceptors that share it, and stops those at the limit."""

    __slots__ = ("_acceptors", "_on_full", "most", "open")

    def __init__(self, most: int, on_full: Callable[[int], None]) -> None:
        """`on_full` is called with the limit each time that it is reached: it says so, at most so often."""
        self.most = most
        self.open = 0
        self._on_full = on_full
        self._acceptors: list[Acceptor] = []

    def enter(self) -> bool:
        """A connection begins. False: it was the last for now."""
        self.open += 1
        if self.open < self.most:
            return True
        if self.open == self.most:
            self._on_full(self.most)
            for acceptor in self._acceptors:
                acceptor.pause()
        return False

    def leave(self) -> None:
        """A connection has ended."""
        self.open -= 1
        if self.open == self.most - 1:
            for acceptor in self._acceptors:
                acceptor.proceed()


class Acceptor:
    """Accepts the connections of one listening socket and hands each on as a `Stream`.

    `on_stream` owns the stream; `on_trouble` is told of an error that is ours (descriptors, memory), after
    which accepting rests for a moment. `close` ends it; the listening socket is closed then.
    """

    __slots__ = (
        "_accept",
        "_back_off",
        "_batch",
        "_family",
        "_limit",
        "_loop",
        "_on_stream",
        "_on_trouble",
        "_paused",
        "_sock",
        "_turn",
        "closed",
    )

    def __init__(
        self,
        loop: HotLoop,
        sock: socket_module.socket,
        on_stream: Callable[[Stream], None],
        limit: ConnectionLimit,
        on_trouble: Callable[[OSError], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._accept: Callable[[], tuple[int, Any]] = sock._accept  # type: ignore[attr-defined]
        self._family = sock.family
        self._on_stream = on_stream
        self._limit = limit
        self._on_trouble = on_trouble
        self._batch = 1
        self._turn = 0
        self._back_off = _BACK_OFF
        self._paused = limit.open >= limit.most
        self.closed = False
        limit._acceptors.append(self)
        loop.hot.watch(sock.fileno(), self._on_event, 0 if self._paused else READABLE)

    def pause(self) -> None:
        """Leave connections in the kernel's queue. Costs no wake until `proceed`."""
        if not self._paused and not self.closed:
            self._paused = True
            self._loop.hot.rearm(self._sock.fileno(), 0)

    def proceed(self) -> None:
        """Accept again."""
        if self._paused and not self.closed and self._limit.open < self._limit.most:
            self._paused = False
            self._loop.hot.rearm(self._sock.fileno(), READABLE)

    def finish(self) -> None:
        """Accept what is in the queue still, as far as the limit allows, then stop and close."""
        for _ in range(BACKLOG):  # bounded: new ones come as long as the socket is open
            if self.closed or self._paused or not self._accept_one():
                break
        self.close()

    def close(self) -> None:
        """Stop, and close the listening socket."""
        if not self.closed:
            self.closed = True
            self._limit._acceptors.remove(self)
            # Closing does not end it for epoll while another process holds the socket too, as ours do.
            self._loop.hot.unwatch(self._sock.fileno())
            self._loop.hot.retire(self._sock)

    def _on_event(self, _: int) -> None:
        # The call that says that the queue is empty costs as much as an accept. So one a wake, unless the
        # last poll left some in the queue: then more, since every wake is shared with all connections.
        turn = self._loop.hot.turn
        self._batch = min(2 * self._batch, _MOST_AT_ONCE) if turn == self._turn + 1 else 1
        self._turn = turn
        for _ in range(self._batch):
            if self._paused or self.closed or not self._accept_one():
                return

    def _accept_one(self) -> bool:
        try:
            fd, peer = self._accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _GONE:
                return True
            self._rest(error)
            return False
        self._back_off = _BACK_OFF
        family = self._family
        if family == AF_UNIX:
            peer = "unix:"
        stream = Stream(socket(family, SOCK_STREAM, 0, fd), self._loop, peer)
        proceed = self._limit.enter()
        self._on_stream(stream)
        return proceed

    def _rest(self, error: OSError) -> None:
        self._on_trouble(error)
        self.pause()
        self._loop.call_later(self._back_off, self.proceed)
        self._back_off = min(2 * self._back_off, _MOST_BACK_OFF)
