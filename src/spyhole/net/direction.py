"""One way of a relay: the rules for back-pressure and for endings that every kind of direction keeps.

A direction flows until its sink takes less than it was given. Then it is `BLOCKED`: what was not taken is
kept, nothing more is read, and TCP slows the sender down. When the source ends, the end is passed on once
all that came before it was taken: the direction is `ENDED`, then `FINISHED`. A kind of direction may have
its own way to move one portion (`move`), to get rid of what is kept (`flush`), and to pass an end on
(`pass_end`).
"""

from __future__ import annotations

import errno
from socket import MSG_DONTWAIT, SHUT_WR, SO_ERROR, SOL_SOCKET
from typing import TYPE_CHECKING

from spyhole.net.loop import BROKEN, ERROR, WRITABLE
from spyhole.net.stream import RECEIVE_BUFFER, RECEIVE_SIZE, SEND_FLAGS
from spyhole.outcome import EndedBy, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from spyhole.net.relay import Relay
    from spyhole.net.stream import Stream

# The bits of a direction's state: none of them while bytes simply flow, so that an event asks one question.
BLOCKED = 1  # the sink is full
ENDED = 2  # the source has said that no more will come
FINISHED = 4  # and the sink was told
QUEUED = 8  # it has more to move, after the other connections have had their turn
BULK = 16  # it is spliced: see `plain`
STOPPED = BLOCKED | ENDED
MUCH_TO_DO = BLOCKED | QUEUED | BULK

# Bytes that one direction may move before the others have their turn: alone, and beside small requests,
# which wait for it. (A splice may be longer: see `plain`.)
LONG_TURN = 262_144
SHORT_TURN = RECEIVE_SIZE

# Whoever sends so many bytes at a time, a full TLS record's (RFC 8446, 5.1), has more than a request.
MUCH = 16_384

_RESETS = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN})


class Direction:
    """What comes from `source` goes to `sink`; `moved` is what the sink took of it."""

    __slots__ = ("kept", "moved", "other", "relay", "sink", "source", "state")

    other: Direction

    def __init__(self, relay: Relay, source: Stream, sink: Stream) -> None:
        self.relay = relay
        self.source = source
        self.sink = sink
        self.moved = 0
        self.state = 0
        self.kept: bytes | memoryview = b""

    @property
    def side(self) -> EndedBy:
        """The source's."""
        return EndedBy.CLIENT if self.source is self.relay.client else EndedBy.UPSTREAM

    # what a kind of direction may do in its own way

    def move(self) -> int:
        """Move one portion: how many bytes were read; 0 when nothing is there, or the direction stopped."""
        try:
            count = self.source.sock.recv_into(RECEIVE_BUFFER, RECEIVE_SIZE, MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.source_failed(error)
            return 0
        if not count:
            self.source_ended()
            return 0
        self.push(RECEIVE_BUFFER[:count])
        return count

    def flush(self) -> bool:
        """Give the sink what is kept; True when nothing is left."""
        if self.kept:
            sent = self.send(self.kept)
            self.moved += sent
            self.kept = memoryview(self.kept)[sent:]
        return not self.kept

    def pass_end(self, last: bool) -> bool:
        """End the sink's side. `last`: the connection closes right after this. False: the sink is full."""
        if not last:
            self.sink.sock.shutdown(SHUT_WR)
        return True

    def release(self) -> None:
        """The relay is over: let go of whatever is not the streams'."""

    # what the events of a socket lead to

    def turn(self) -> int:
        """How many bytes this may move before the others have their turn."""
        return SHORT_TURN if self.source.loop.hot.pieces.hurry else LONG_TURN

    def run(self) -> None:
        """Move until the source has no more, the sink takes no more, or this turn is spent."""
        left = self.turn()
        while left > 0:
            count = self.move()
            if not count or self.state & BLOCKED or self.relay.over:
                return
            left -= count
        self.put_off()

    def put_off(self) -> None:
        """Go on when the other connections have had their turn."""
        if not self.state & QUEUED:
            self.state |= QUEUED
            self.source.loop.hot.pieces.put_off(self._go_on)

    def resume(self) -> None:
        """The sink has room again."""
        if self.flush() and not self.relay.over:
            self.state &= ~BLOCKED
            if self.state & ENDED:
                self.finish()
            else:
                self.source.want_readable(True)
                self.run()

    def on_event(self, events: int) -> bool:
        """Handle the source's events when there is something else to them than data to be moved.

        True if it has much to do: see `pieces`.
        """
        if self.relay.over:
            return False
        if not self.state & STOPPED:
            self.run()
        elif self.state & BLOCKED:
            self.source.want_readable(False)
        if events & ERROR:
            self.look_for_reset()
        return bool(self.state & MUCH_TO_DO)

    def look_for_reset(self) -> None:
        """Find out what no read will: nobody reads while the sink is full, or after the end."""
        if not self.relay.over and self.state & STOPPED:
            code = self.source.sock.getsockopt(SOL_SOCKET, SO_ERROR)
            if code:
                self.source_failed(OSError(code, "socket error"))

    def _go_on(self) -> None:
        self.state &= ~QUEUED
        if self.relay.over:
            return
        try:
            if self.state & BLOCKED:
                self.resume()
            elif not self.state & ENDED:
                self.run()
            self.look_for_reset()  # its event may have come meanwhile
        except Exception as error:
            self.relay.fail(error)

    # bytes

    def push(self, data: memoryview | bytes) -> None:
        """Give the sink `data`, and keep a copy of what it does not take."""
        sent = self.send(data)
        self.moved += sent
        if sent < len(data):
            self.keep(data[sent:])

    def keep(self, rest: memoryview | bytes) -> None:
        """The sink did not take `rest`: stop reading until it has."""
        self.kept = bytes(rest)
        self.block()

    def block(self) -> None:
        """Read nothing more until the sink's socket takes bytes again, if it is there to do so."""
        if not self.relay.over:
            self.state |= BLOCKED
            self.sink.want_writable()

    def send(self, data: memoryview | bytes) -> int:
        """How much of `data` the sink's socket took; nothing once it has failed."""
        try:
            return self.sink.sock.send(data, SEND_FLAGS)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.sink_failed(error)
            return 0

    # endings

    def source_ended(self) -> None:
        """The source said that no more will come."""
        self.state |= ENDED
        self.relay.note_end(self.side)
        self.finish()

    def finish(self) -> None:
        """Pass the source's end on to the sink, after everything that came before it."""
        if self.relay.breaking:
            return  # it was no end, but what a reset leaves behind
        last = bool(self.other.state & FINISHED)
        try:
            passed = self.pass_end(last)
        except OSError as error:
            self.sink_failed(error)
            return
        if self.relay.over:
            return
        if not passed:
            self.block()
            return
        self.state |= FINISHED
        if last:
            self.relay.end_cleanly()
        else:
            self.relay.half_closed()

    def source_failed(self, error: OSError) -> None:
        """The source's connection broke."""
        self._broke(self.side, error)

    def sink_failed(self, error: OSError) -> None:
        """The sink's connection broke. What it sent before that is still delivered."""
        if self.relay.over or self.relay.breaking:
            return
        self.relay.breaking = True
        back = self.other
        while not back.state & STOPPED and not self.relay.over and back.move():
            pass
        back._broke(back.side, error)

    def _broke(self, side: EndedBy, error: OSError) -> None:
        client = side is EndedBy.CLIENT
        if self.relay.over:
            return
        if client and self.relay.down.state & FINISHED:
            # the client has all that there was to have: many then close with something left unread
            self.relay.end_late("the client reset the connection after the upstream had ended")
        elif error.errno in _RESETS:
            self.relay.end(side, Reason.CLIENT_RESET if client else Reason.UPSTREAM_RESET)
        else:
            self.relay.end(
                side, Reason.CLIENT_LOST if client else Reason.UPSTREAM_LOST, str(error.strerror)
            )


def events_of_socket(inward: Direction, outward: Direction) -> Callable[[int], bool]:
    """The callback of a socket that `inward` reads from and `outward` writes to."""

    def on_event(events: int) -> bool:
        try:
            room = bool(outward.state & BLOCKED and events & (WRITABLE | BROKEN))
            if room:
                outward.resume()
            # A socket that was waited for once, also for its dial, can be written to with all that happens.
            events &= ~WRITABLE
            return inward.on_event(events) if events else room
        except Exception as error:
            inward.relay.fail(error)
            return False

    return on_event
