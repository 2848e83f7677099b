"""A direction between two plain sockets: small traffic by `recv_into` and `send`, bulk by `splice`.

The callback of `plain_events` is the hottest code of Spyhole: one wake is one `recv_into` and one `send`,
bound once. Whatever is not that common case is left to the methods.
"""

from __future__ import annotations

import os
from socket import MSG_DONTWAIT
from typing import TYPE_CHECKING

from spyhole.net.direction import BLOCKED, BULK, MUCH, STOPPED, Direction
from spyhole.net.loop import ANYTHING_TO_READ, BROKEN, ERROR, READABLE, UNUSUAL, WRITABLE
from spyhole.net.pipes import SIZE, Pipe, few_lent, give_back, take
from spyhole.net.stream import RECEIVE_BUFFER, RECEIVE_SIZE, SEND_FLAGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from spyhole.net.relay import Relay
    from spyhole.net.stream import Stream

# A direction is spliced until no more than this comes at a time. Less than what it begins with, or one that
# is read as fast as it is filled would change its way all the time.
_LITTLE = 16_384
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class PlainDirection(Direction):
    """Bytes as they are. A direction that fills the receive buffer is `BULK` until little comes."""

    __slots__ = ("_pipe",)

    def __init__(self, relay: Relay, source: Stream, sink: Stream) -> None:
        Direction.__init__(self, relay, source, sink)  # super() costs, for each connection twice
        self._pipe: Pipe | None = None

    def move(self) -> int:
        return self._splice() if self.state & BULK else self._copy()

    def _copy(self) -> int:
        count = Direction.move(self)
        if count == RECEIVE_SIZE and not self.relay.over:
            self.begin_bulk()
        return count

    def begin_bulk(self) -> None:
        """The source fills the buffer: let the kernel carry the bytes from here."""
        for sock in (self.source.sock, self.sink.sock):
            # splice goes by the descriptor's own mode, there is no flag for one call
            if sock.gettimeout() != 0:
                sock.setblocking(False)
        self.state |= BULK

    def flush(self) -> bool:
        if not super().flush():
            return False
        pipe = self._pipe
        if pipe is not None and pipe.held:
            if not self._drain(pipe):
                return False
            if not self.state & BULK:
                self.release()
        return True

    def release(self) -> None:
        if self._pipe is not None:
            give_back(self._pipe)
            self._pipe = None

    def _splice(self) -> int:
        pipe = self._pipe
        if pipe is None:
            pipe = self._pipe = take()
            if pipe is None:  # out of descriptors or pipe memory: copying needs neither
                self.state &= ~BULK
                return self._copy()
        try:
            count = os.splice(self.source.fd, pipe.write_end, self._portion(), flags=_FLAGS)
        except BlockingIOError:
            count = 0
        except OSError as error:
            self.release()
            self.source_failed(error)
            return 0
        if not count:
            # Nothing there, or the end, or urgent data: splice stops short of that for ever, and with a FIN
            # behind it calls it the end. recv knows which, and gets past it.
            self.release()
            return self._copy()
        if count < _LITTLE:
            self.state &= ~BULK
        pipe.held = count
        if not self._drain(pipe):
            self.block()
        elif count < _LITTLE:
            self.release()
        return count

    def _portion(self) -> int:
        """How much to take at once: alone, all that a pipe holds, but where many readers may stall."""
        alone = not self.source.loop.hot.pieces.hurry
        return SIZE if alone and few_lent() else self.turn()

    def _drain(self, pipe: Pipe) -> bool:
        try:
            while pipe.held:
                sent = os.splice(pipe.read_end, self.sink.fd, pipe.held, flags=_FLAGS)
                self.moved += sent
                pipe.held -= sent
        except BlockingIOError:
            return False
        except OSError as error:
            self.sink_failed(error)
            return False
        return True


def plain_events(inward: PlainDirection, outward: Direction) -> Callable[[int], bool]:
    """The callback of a plain socket that `inward` reads from and `outward` writes to."""

    # As defaults, since what a closure refers to is a cell each: 300 bytes for each connection.
    def on_event(
        events: int,
        inward: PlainDirection = inward,
        outward: Direction = outward,
        recv_into: Callable[[memoryview, int, int], int] = inward.source.sock.recv_into,
        send: Callable[[memoryview, int], int] = inward.sink.sock.send,
    ) -> bool:
        try:
            if events != READABLE:
                room = bool(outward.state & BLOCKED and events & (WRITABLE | BROKEN))
                if room:
                    outward.resume()
                if inward.relay.over or not events & ANYTHING_TO_READ:
                    return room
            if inward.state:
                if inward.state & (BULK | STOPPED) == BULK:
                    inward.put_off()
                    return True
                return inward.on_event(events)
            try:
                count = recv_into(RECEIVE_BUFFER, RECEIVE_SIZE, MSG_DONTWAIT)
            except BlockingIOError:
                return False
            except OSError as error:
                inward.source_failed(error)
                return False
            if not count:
                inward.source_ended()
                return False
            try:
                sent = send(RECEIVE_BUFFER[:count], SEND_FLAGS)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                inward.sink_failed(error)
                return False
            inward.moved += sent
            if sent < count:
                inward.keep(RECEIVE_BUFFER[sent:count])
                if events & ERROR:
                    inward.look_for_reset()
                return True
            if count == RECEIVE_SIZE:
                inward.begin_bulk()
                inward.put_off()
            elif events & UNUSUAL:
                inward.run()
            return count >= MUCH
        except Exception as error:
            inward.relay.fail(error)
            return False

    return on_event
