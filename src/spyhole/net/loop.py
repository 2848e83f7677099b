"""The event loop: asyncio's own, over a selector that calls a connection's callback straight from the poll.

Theory of operation. `asyncio.SelectorEventLoop` takes any selector, and calls its `select` once a turn.
`HotSelector` is an ordinary selector for everything that asyncio registers (pipes, signals, other
people's transports): those go back to asyncio as usual. A *hot* descriptor, one of a proxied
connection, is registered once, edge-triggered, and its callback runs inside `select` itself: no
Handle, no Task, no `epoll_ctl` between one wake and the next.

Three rules keep that sound:

* A socket that ends while a batch of events is under way is closed after the batch (`retire`). Closed
  at once, its number could be given to a new connection, which would then receive the old one's events.
* A callback that has more to do than is fair to the others puts it off (`pieces`); the next poll then does
  not wait.
* A callback handles its own errors. One that escapes is a defect: it is handed to the loop's exception
  handler, and the loop goes on.
"""

from __future__ import annotations

import asyncio
import select
import selectors
from contextlib import suppress
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from spyhole.net.deadlines import BySeconds, Deadlines, Rounds
from spyhole.net.pieces import Pieces
from spyhole.net.resolver import Resolver
from spyhole.net.turns import Turns

if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from contextvars import Context

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
        self._hot: dict[int, Callable[[int], object]] = {}
        self.pieces = Pieces()
        self._retired: list[socket] = []
        self._dispatching = False
        self.turn = 0
        self.recalled = False
        """Set while hot callbacks run, when asyncio is to have its turn after the batch."""
        self.on_error: Callable[[BaseException], None] | None = None

    # hot descriptors

    def watch(self, fd: int, callback: Callable[[int], object], events: int = EDGE) -> None:
        """Register a descriptor once. `callback` gets the epoll event mask, from within the poll.

        It returns something true if the event is of somebody's with much to do: see `pieces`.
        """
        self._epoll.register(fd, events)
        self._hot[fd] = callback

    def redirect(self, fd: int, callback: Callable[[int], object]) -> None:
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

    # what asyncio asks of a selector

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Call the hot descriptors' callbacks, and return once there is something for asyncio to do.

        That is: one of its own descriptors is ready, it was given a callback or a timer (`recalled`), or
        its `timeout` is over. A trip through asyncio for each poll would cost as much as the callbacks do.
        """
        left = inf if timeout is None else timeout
        ends = monotonic() + left
        self.recalled = left <= 0
        ready: list[tuple[selectors.SelectorKey, int]] = []
        while True:
            if self.pieces.waiting:
                wait = 0.0
            elif left == inf:
                wait = -1.0
            else:
                # epoll counts in milliseconds and asyncio's clock is finer: round up, or it spins.
                wait = int(left * 1000 + 0.999) / 1000
            happened = self._dispatch(self._poll(wait, _BATCH), ready)
            left = ends - monotonic()
            if ready or self.recalled or left <= 0 or not happened:
                return ready

    def _dispatch(
        self,
        events: Sequence[tuple[int, int]],
        ready: list[tuple[selectors.SelectorKey, int]],
    ) -> bool:
        """One batch, and some of what was put off. False: nothing has happened."""
        hot = self._hot
        pieces = self.pieces
        waited = len(pieces.waiting)
        small = len(events)
        self.turn += 1
        self._dispatching = True
        try:
            for fd, mask in events:
                callback = hot.get(fd)
                if callback is not None:
                    try:
                        if callback(mask):
                            small -= 1
                    except Exception as error:
                        self._report(error)
                elif key := self._cold.get(fd):
                    wanted = (selectors.EVENT_WRITE if mask & ~READABLE else 0) | (
                        selectors.EVENT_READ if mask & ~WRITABLE else 0
                    )
                    ready.append((key, wanted & key.events))
            if pieces.waiting:
                for piece in pieces.next_ones(waited, len(events), small):
                    try:
                        piece()
                    except Exception as error:
                        self._report(error)
        finally:
            self._dispatching = False
            if self._retired:
                retired, self._retired = self._retired, []
                for sock in retired:
                    _close(sock)
        return bool(events or waited)

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
        self.deadlines = BySeconds(Deadlines, self)
        self.rounds = BySeconds(Rounds, self)
        self.handshakes = Turns(self.hot)

    # What gives asyncio something to do ends the poll that it waits in.

    def call_soon(  # type: ignore[override]  # typeshed spells it with a TypeVarTuple
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """See asyncio."""
        self.hot.recalled = True
        return super().call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        self.hot.recalled = True
        return super().call_at(when, callback, *args, context=context)

    def stop(self) -> None:
        """See asyncio."""
        self.hot.recalled = True
        super().stop()

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
