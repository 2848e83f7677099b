"""A relay whose client speaks TLS with us: decrypt to the upstream, encrypt to the client.

Both copy through the process, so there is no splice; many records come in with one `recv` and go out with
one `send`. The receive buffer serves for the plaintext too: the engine has copied the ciphertext out of it.
"""

from __future__ import annotations

from socket import MSG_DONTWAIT
from typing import TYPE_CHECKING

from spyhole.net.direction import BLOCKED, FINISHED, MUCH, Direction
from spyhole.net.loop import READABLE
from spyhole.net.stream import RECEIVE_BUFFER, RECEIVE_SIZE
from spyhole.net.tls import TlsError, TlsTruncated
from spyhole.outcome import EndedBy, Reason

if TYPE_CHECKING:
    from spyhole.net.relay import Relay
    from spyhole.net.stream import Stream
    from spyhole.net.tls import TlsEngine


# Bytes for the client that may wait when more is read from it: a portion that it did not take, and answers.
_MOST_ANSWERS = 131_072


class SecureDirection(Direction):
    """What both directions have in common: `more` is whether the source may have more after a `move`."""

    __slots__ = ("_engine", "more")

    _engine: TlsEngine
    more: bool

    def on_event(self, events: int) -> bool:
        if events != READABLE or self.state:
            return super().on_event(events)
        count = self.move()
        # A read that leaves room has emptied the socket. To ask it again costs a call and an exception.
        if count and self.more and not (self.state & BLOCKED or self.relay.over):
            self.put_off()
        return count >= MUCH

    def _client_failed(self, error: TlsError, unsent: memoryview | bytes) -> None:
        """End the relay for what the client did. `unsent` goes before the alert, which is in the engine."""
        if isinstance(error, TlsTruncated):
            if self.relay.breaking:
                return  # it was no end, but what a reset leaves behind
            if self.relay.down.state & FINISHED:
                self.relay.end_late("the client ended without close_notify after the upstream had ended")
            else:
                self.relay.end(EndedBy.CLIENT, Reason.CLIENT_TRUNCATED)
            return
        alert = bytes(unsent) + self._engine.take()
        self.relay.end(EndedBy.CLIENT, Reason.CLIENT_BAD_RECORD, error.detail, last_words=alert)


class DecryptDirection(SecureDirection):
    """TLS from `source`, plaintext to `sink`. `moved` counts plaintext."""

    __slots__ = ("_replies",)

    def __init__(
        self, relay: Relay, source: Stream, sink: Stream, engine: TlsEngine, replies: EncryptDirection
    ) -> None:
        Direction.__init__(self, relay, source, sink)
        self._engine = engine
        self._replies = replies

    def move(self) -> int:
        if len(self._replies.kept) > _MOST_ANSWERS:
            # It asks for new keys without end (RFC 8446, 4.6.3) and reads no answer: `_replies` goes on.
            self.block()
            return 0
        engine = self._engine
        received = 0
        try:
            count = engine.read_into(RECEIVE_BUFFER)
            if not count and not engine.peer_closed:
                try:
                    received = self.source.sock.recv_into(RECEIVE_BUFFER, RECEIVE_SIZE, MSG_DONTWAIT)
                except BlockingIOError:
                    return 0
                except OSError as error:
                    self.source_failed(error)
                    return 0
                if not received:
                    engine.receive_eof()
                count = engine.read_into(RECEIVE_BUFFER, RECEIVE_BUFFER[:received])
        except TlsError as error:
            self._client_failed(error, self._replies.kept)
            return 0
        if count:
            # before anything else is sent: a send that fails reads the other way, into the same buffer
            self.push(RECEIVE_BUFFER[:count])
        if engine.pending and not self.relay.over:  # an answer to a KeyUpdate
            self._replies.send_pending()
        if not count and engine.peer_closed and not self.relay.over:
            self.source_ended()
            return 0
        # only a read that left room has emptied the socket; what the engine held says nothing of it
        self.more = engine.has_more or not 0 < received < RECEIVE_SIZE
        return count or received

    def release(self) -> None:
        del self._replies


class EncryptDirection(SecureDirection):
    """Plaintext from `source`, TLS to `sink`. `moved` counts plaintext, `kept` is ciphertext.

    What is kept while the direction is not `BLOCKED` waits for company: the session tickets.
    """

    __slots__ = ()

    def __init__(self, relay: Relay, source: Stream, sink: Stream, engine: TlsEngine) -> None:
        Direction.__init__(self, relay, source, sink)
        self._engine = engine
        self.kept = engine.take()

    def move(self) -> int:
        count = Direction.move(self)
        self.more = count == RECEIVE_SIZE
        return count

    def push(self, data: memoryview | bytes) -> None:
        try:
            self._engine.write(data)
        except TlsError as error:  # a bad record that the other direction has not come to yet
            self._client_failed(error, self.kept)
            return
        self.moved += len(data)
        self.send_pending()

    def send_pending(self) -> None:
        """Send what the engine wants sent, after what is kept already."""
        data = self._engine.take()
        if self.kept:
            data = bytes(self.kept) + data
            self.kept = data
            if self.state & BLOCKED:
                return
            self.kept = b""
        sent = self.send(data)
        if sent < len(data):
            self.keep(data[sent:])

    def flush(self) -> bool:
        if self.kept:
            self.kept = memoryview(self.kept)[self.send(self.kept) :]
        return not self.kept

    def resume(self) -> None:
        super().resume()
        if not self.relay.over and not self.state & BLOCKED and self.other.state & BLOCKED:
            self.other.resume()

    def pass_end(self, last: bool) -> bool:
        self._engine.send_close_notify()
        if self._engine.pending or self.kept:
            self.send_pending()
        return not self.kept and super().pass_end(last)
