"""Carry a connection's bytes both ways until it ends, and say how it ended.

Bytes out equal bytes in, each way, whatever the order of sends and half-closes. A FIN becomes a FIN (or a
close_notify, where TLS is served), a reset becomes a reset, and anything but a clean end on both sides
resets both: nobody takes a part for the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from spyhole.errors import SpyholeError
from spyhole.net.direction import FINISHED, STOPPED, Direction, events_of_socket
from spyhole.net.farewell import farewell
from spyhole.net.fiber import Fiber, Waiter, current_fiber
from spyhole.net.loop import ANYTHING_TO_READ, READABLE
from spyhole.net.plain import PlainDirection, plain_events
from spyhole.net.secure import DecryptDirection, EncryptDirection
from spyhole.outcome import EndedBy, Reason

if TYPE_CHECKING:
    from collections.abc import Generator

    from spyhole.net.stream import Stream

# An idle connection is found by looking this often per timeout whether it has moved a byte since, so
# moving a byte costs nothing for it: it ends between one timeout and one and an eighth.
_LOOKS = 8


class Ending(NamedTuple):
    """How a relay ended. Bytes are the client's and the upstream's own: plaintext where TLS was served."""

    ended_by: EndedBy
    reason: Reason
    detail: str | None
    bytes_up: int
    bytes_down: int

    def __str__(self) -> str:
        moved = f"{self.bytes_up} bytes up, {self.bytes_down} down"
        return f"{moved}, ended by the {self.ended_by}: {self.reason}"


class Cut(SpyholeError):
    """Raised into a connection's fiber to end it now, on the proxy's own account."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


async def relay(
    client: Stream,
    upstream: Stream,
    *,
    idle_timeout: float | None = 3600.0,
    half_close_timeout: float | None = 60.0,
) -> Ending:
    """Relay between `client` and `upstream` until the connection is over; both streams are closed then.

    What was read ahead on either goes first. Where TLS is served on the client (`client.tls`), the
    upstream gets the plaintext. `idle_timeout`: seconds in which no byte moved at all;
    `half_close_timeout`: the same once one side has ended; None for never. Nothing that a peer does
    raises. Cancelling resets both streams; `Cut` does too, and returns.
    """
    return await Relay(client, upstream, idle_timeout, half_close_timeout)


class Relay(Waiter):
    """A relay under way: two directions, and what concerns both. It begins when it is awaited.

    A fiber waits at the relay itself, as at any waiter: the frame of a coroutine would be a twelfth of all
    that an idle connection takes.
    """

    __slots__ = (
        "_first",
        "_half_close_timeout",
        "_looks",
        "_moved",
        "_quiet",
        "_speaking",
        "breaking",
        "client",
        "down",
        "ending",
        "over",
        "up",
        "upstream",
    )

    def __init__(
        self, client: Stream, upstream: Stream, idle_timeout: float | None, half_close_timeout: float | None
    ) -> None:
        self._waits = None
        self.client = client
        self.upstream = upstream
        self.ending: Ending | None = None
        self.over = False
        self.breaking = False  # one side's socket failed: what it had sent is being delivered
        self._first: EndedBy | None = None
        self._half_close_timeout = half_close_timeout
        self._looks = None if idle_timeout is None else client.loop.rounds[idle_timeout / _LOOKS]
        self._moved = 0
        self._quiet = -1
        self._speaking = False  # its last words, to a client that is still open
        engine = client.tls
        self.up: Direction
        self.down: Direction
        if engine is None:
            self.up = PlainDirection(self, client, upstream)
            self.down = PlainDirection(self, upstream, client)
        else:
            self.down = EncryptDirection(self, upstream, client, engine)
            self.up = DecryptDirection(self, client, upstream, engine, self.down)
        self.up.other, self.down.other = self.down, self.up

    # to be awaited

    def __await__(self) -> Generator[Any, Any, Ending]:  # type: ignore[override]
        fiber = current_fiber()
        if fiber is None:
            return self._in_task().__await__()
        try:
            self.start()
        except BaseException as error:
            self._abort(error)
        if not self._done():
            self._waits = fiber
        return self  # type: ignore[return-value]

    def __next__(self) -> None:
        if self._waits is None:
            raise StopIteration(self.ending)

    def throw(self, error: BaseException, *_: object) -> None:
        """For the coroutine that waits here, when it is aborted: `Cut` has a result, all else is raised."""
        self._waits = None
        self._abort(error)
        raise StopIteration(self.ending)

    async def _in_task(self) -> Ending:
        try:
            self.start()
            while not self._done():
                await self.wait()
        except BaseException as error:
            self._abort(error)
        assert self.ending is not None
        return self.ending

    def _done(self) -> bool:
        return self.over and not self._speaking

    def _abort(self, error: BaseException) -> None:
        if not isinstance(error, Cut):
            self.end(EndedBy.PROXY, Reason.INTERNAL_ERROR)
            raise error
        self.end(EndedBy.PROXY, error.reason)

    def start(self) -> None:
        """Send what was read ahead, then let the sockets' events drive everything."""
        client, upstream, up, down = self.client, self.upstream, self.up, self.down
        if self._looks is not None:
            self._looks.add(self)
        # A plain client's bytes go on as they came. With TLS they are in the engine already.
        if client.ahead:
            data, client.ahead = client.ahead, b""
            up.moved = upstream.sent
            if upstream.sent < len(data):
                up.push(data[upstream.sent :])
        if upstream.ahead and not self.over:
            data, upstream.ahead = upstream.ahead, b""
            down.push(data)
        if self.over:
            return
        if isinstance(up, PlainDirection) and isinstance(down, PlainDirection):
            on_client, on_upstream = plain_events(up, down), plain_events(down, up)
        else:
            on_client, on_upstream = events_of_socket(up, down), events_of_socket(down, up)
        # events from before are edges that will not be reported again
        if (before := client.hand_over(on_client)) & ANYTHING_TO_READ:
            on_client(before)
        if not self.over and (before := upstream.hand_over(on_upstream)) & ANYTHING_TO_READ:
            on_upstream(before)
        # The engine may hold plaintext from the handshake's last bytes, which no event will tell of. But
        # a direction that has just been blocked must not read: what it keeps would be overwritten.
        if client.tls is not None and client.tls.has_more and not (self.over or up.state & STOPPED):
            up.on_event(READABLE)

    # endings, told by the directions

    def note_end(self, side: EndedBy) -> None:
        """`side` has ended its direction."""
        if self._first is None:
            self._first = side

    def half_closed(self) -> None:
        """One direction is done with, the other goes on."""
        if self._looks is not None:
            self._looks.discard(self)
        self._quiet = -1
        timeout = self._half_close_timeout
        self._looks = None
        if timeout is not None:
            self._looks = self.client.loop.rounds[timeout / _LOOKS]
            self._looks.add(self)

    def end_cleanly(self) -> None:
        """Both directions are done with."""
        self.end(self._first or EndedBy.PROXY, Reason.CLOSED)

    def end_late(self, detail: str) -> None:
        """The upstream had ended and the client has it all; the client's own end was no clean one."""
        self.end(EndedBy.UPSTREAM, Reason.CLOSED, detail, clean=False)

    def fail(self, error: Exception) -> None:
        """A defect, or no memory. Bytes may be missing: nothing may follow them, least of all a FIN."""
        self.client.loop.report(error)
        self.end(EndedBy.PROXY, Reason.INTERNAL_ERROR)

    def end(
        self,
        ended_by: EndedBy,
        reason: Reason,
        detail: str | None = None,
        *,
        clean: bool | None = None,
        last_words: bytes = b"",
    ) -> None:
        """End the connection, once; later calls change nothing.

        Both sockets are closed, or reset unless the end is `clean` (by default: if it is CLOSED).
        `last_words`, an alert, are for the client, which is then given a moment to read them.
        """
        if self.over:
            return
        self.over = True
        if self._looks is not None:
            self._looks.discard(self)
        self.ending = Ending(ended_by, reason, detail, self.up.moved, self.down.moved)
        clean = reason is Reason.CLOSED if clean is None else clean
        if last_words:
            self._speaking = True
            Fiber(farewell(self.client, last_words), self._said).start()
        elif clean or ended_by is EndedBy.CLIENT:
            self.client.close()
        else:
            self.client.reset()
        if clean:
            self.upstream.close()
        else:
            self.upstream.reset()
        self.up.release()
        self.down.release()
        # a relay and its directions know each other: without this they would wait for the collector
        del self.up.other, self.down.other, self.up, self.down
        if not self._speaking:
            self.wake()

    def _said(self, _: Fiber, defect: Exception | None) -> None:
        self._speaking = False
        if defect is not None:
            self.client.loop.report(defect)
        self.wake()

    # idleness

    def look(self) -> None:
        """Look whether anything moved since the last time."""
        moved = self.up.moved + self.down.moved
        self._quiet = self._quiet + 1 if moved == self._moved else 0
        self._moved = moved
        if self._quiet == _LOOKS:
            half = (self.up.state | self.down.state) & FINISHED
            self.end(EndedBy.PROXY, Reason.HALF_CLOSE_TIMEOUT if half else Reason.IDLE_TIMEOUT)
