"""The event loop: asyncio's own, over a selector that calls a connection's callback straight from the poll.

Theory of operation. `asyncio.SelectorEventLoop` takes any selector, and calls its `select` once a turn.
`HotSelector` is an ordinary selector for everything that asyncio registers (pipes, signals, other
people's transports): those go back to asyncio as usual. A *hot* descriptor, one of a proxied
connection, is registered once, edge-triggered, and its callback runs inside `select` itself: no
Handle, no Task, no `epoll_ctl` between one wake and the next.

Three rules keep that sound:

* A socket that ends while a batch of events is under way is closed after the batch (`retire`). Closed
  at once, its number could be given to a new connection, which would then receive the old one's events.
* A callback that has more to do than is fair to the others asks to be called again (`again`); the next
  poll then does not wait.
* A callback handles its own errors. One that escapes is a defect: it is handed to the loop's exception
  handler, and the loop goes on.
"""

from __future__ import annotations

import asyncio
import select
import selectors
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from spyhole.net.deadlines import DeadlinesBySeconds
from spyhole.net.resolver import Resolver

if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Coroutine, Mapping, Sequence

T = TypeVar("T")

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
# What a connection is watched for: nearly all never fill their socket's buffer, and to be told that each
# can be written to would cost every one of them a wake. See `Stream.want_writable`.
EDGE = READABLE | select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET
# Something besides "there is data": a FIN, a reset, urgent data. A reader then reads on until told
# that there is nothing more, since a short read no longer means that the queue is empty.
UNUSUAL = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLPRI
ERROR = select.EPOLLERR
BROKEN = select.EPOLLHUP | select.EPOLLERR
ANYTHING_TO_READ = READABLE | UNUSUAL

_BATCH = 512


class HotSelector(selectors.BaseSelector):
    """A selector for `asyncio.SelectorEventLoop` that also serves hot descriptors.

    Not thread-safe: one loop, one thread.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._cold: dict[int, selectors.SelectorKey] = {}
        self._hot: dict[int, Callable[[int], None]] = {}
        self._again: list[Callable[[], None]] = []
        self._retired: list[socket] = []
        self._dispatching = False
        self.turn = 0
        self.on_error: Callable[[BaseException], None] | None = None

    # hot descriptors

    def watch(self, fd: int, callback: Callable[[int], None], events: int = EDGE) -> None:
        """Register a descriptor once. `callback` gets the epoll event mask, from within the poll."""
        self._epoll.register(fd, events)
        self._hot[fd] = callback

    def redirect(self, fd: int, callback: Callable[[int], None]) -> None:
        """Give a watched descriptor another callback. No system call."""
        self._hot[fd] = callback

    def rearm(self, fd: int, events: int) -> None:
        """Change what a watched descriptor waits for; what is ready then is reported anew."""
        self._epoll.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor that stays open."""
        del self._hot[fd]
        self._epoll.unregister(fd)

    def retire(self, sock: socket) -> None:
        """Forget a socket and close it: now, or when the batch of events under way is done."""
        self._hot.pop(sock.fileno(), None)
        if self._dispatching:
            self._retired.append(sock)
        else:
            _close(sock)

    def again(self, callback: Callable[[], None]) -> None:
        """Call `callback` in the next turn, after whatever else is ready by then."""
        self._again.append(callback)

    # what asyncio asks of a selector

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Poll once: call the hot descriptors' callbacks, return the others to asyncio."""
        again: Sequence[Callable[[], None]] = ()
        if self._again:
            again, self._again = self._again, []
            timeout = 0
        elif timeout is None:
            timeout = -1
        elif timeout > 0:
            # epoll counts in milliseconds and asyncio's clock is finer: round up, or it spins.
            timeout = int(timeout * 1000 + 0.999) / 1000
        else:
            timeout = 0
        ready: list[tuple[selectors.SelectorKey, int]] = []
        hot = self._hot
        self.turn += 1
        self._dispatching = True
        try:
            for fd, events in self._poll(timeout, _BATCH):
                callback = hot.get(fd)
                if callback is not None:
                    try:
                        callback(events)
                    except Exception as error:
                        self._report(error)
                elif key := self._cold.get(fd):
                    mask = (selectors.EVENT_WRITE if events & ~READABLE else 0) | (
                        selectors.EVENT_READ if events & ~WRITABLE else 0
                    )
                    ready.append((key, mask & key.events))
            for call in again:
                try:
                    call()
                except Exception as error:
                    self._report(error)
        finally:
            self._dispatching = False
            if self._retired:
                retired, self._retired = self._retired, []
                for sock in retired:
                    _close(sock)
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See `selectors.BaseSelector`."""
        fd = _fileno(fileobj)
        if fd in self._cold or fd in self._hot:
            raise KeyError(f"{fileobj!r} (descriptor {fd}) is already registered")
        self._epoll.register(fd, _mask(events))
        key = self._cold[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """See `selectors.BaseSelector`."""
        key = self._cold.pop(_fileno(fileobj))
        with suppress(OSError):  # closed before it was unregistered: epoll has forgotten it already
            self._epoll.unregister(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See `selectors.BaseSelector`."""
        fd = _fileno(fileobj)
        old = self._cold[fd]
        if events != old.events:
            self._epoll.modify(fd, _mask(events))
        key = self._cold[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """The cold descriptors, by number."""
        return self._cold

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """See `selectors.BaseSelector`."""
        return self._cold[_fileno(fileobj)]

    def close(self) -> None:
        """Close the epoll instance. Hot sockets belong to their connections and are not closed here."""
        self._epoll.close()
        self._cold.clear()
        self._hot.clear()

    def _report(self, error: Exception) -> None:
        if self.on_error is None:
            raise error
        self.on_error(error)


class HotLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop that can watch hot descriptors. In every other way asyncio's own."""

    def __init__(self) -> None:
        self.hot = HotSelector()
        super().__init__(self.hot)
        self.hot.on_error = self.report
        self.resolver = Resolver(self)
        self.deadlines = DeadlinesBySeconds(self)

    def report(self, error: BaseException) -> None:
        """Tell the loop's exception handler of a defect in a connection's code."""
        self.call_exception_handler({"message": "a connection's code failed", "exception": error})


def running_loop() -> HotLoop:
    """The running loop, which has to be a `HotLoop`.

    Raises RuntimeError, the caller's fault, under another kind of loop.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, HotLoop):
        raise RuntimeError("spyhole's streams need spyhole's event loop: start with spyhole.run(main())")
    return loop


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run a coroutine on a new `HotLoop` to its end, as `asyncio.run` does, and return its result."""
    with asyncio.Runner(loop_factory=HotLoop, debug=debug) as runner:
        return runner.run(main)


def _fileno(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())


def _mask(events: int) -> int:
    return (select.EPOLLIN if events & selectors.EVENT_READ else 0) | (
        select.EPOLLOUT if events & selectors.EVENT_WRITE else 0
    )


def _close(sock: socket) -> None:
    try:  # noqa: SIM105  # suppress() costs, for every connection twice
        sock.close()
    except OSError:  # ECONNRESET from close(2): the descriptor is gone all the same
        pass
