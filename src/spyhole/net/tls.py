"""The TLS engine: bytes in, bytes out; no socket, no event loop, no clock.

Theory of operation. The session chooses an `ssl.SSLContext` from the peeked hello, makes one engine,
gives each call what the socket brought, and sends what `take` returns: after **every** call, also
one that raised, because the alert is there.

OpenSSL reads and writes memory BIOs, which never shrink: two for each engine would keep 2 KB of an idle
connection, and 150 KB of one that was busy once. But OpenSSL waits for more only when it has read all that
there is, and has written by then what it has to say. So a thread's engines share two, each for the time of
a call: it lays in what was received, and takes out what is left. What lies there is never plaintext but of
the handshake: the bytes of the wire.

Four facts about OpenSSL shape the rest:

* `SSL_shutdown` called twice, as `SSLObject.unwrap` does, reads: an application record that it meets is an
  error that ends the connection. So `send_close_notify` leaves nothing unread in OpenSSL's reach; reading
  then goes on until the peer's own close_notify (RFC 8446, 6.1).
* What OpenSSL says at the end of its input differs with `OP_IGNORE_UNEXPECTED_EOF`, under which a FIN
  passes for a close_notify; and a BIO that was told of its end is of no use to others. So OpenSSL is not
  told: the engine remembers, and a FIN without a close_notify is always `TlsTruncated`.
* An alert is OpenSSL's to send, since it has the keys, and it does so only for what it reads. So where the
  stream ends in the handshake, it is given a record that nobody may send. Where one was begun, that is the
  rest of it, which nobody sent either: a hello that it completes is nobody's.
* The name that OpenSSL saw may differ from the name that was routed: a second hello, after
  HelloRetryRequest, may name somebody else. So the engine is told the routed name, and compares in the
  `sni_callback`, which runs for each hello, before a certificate is chosen.

`ssl.SSLObject` is a layer of Python over the object in C, which adds nothing but a call to each. The engine
takes its place (`SSLContext._wrap_bio`, the same since Python 3.7): it owns the object in C, and what a
callback of the context gets is the engine itself.
"""

from __future__ import annotations

import copy
import re
import ssl
import threading
from typing import TYPE_CHECKING, Any, Final

from spyhole.errors import PeerError

if TYPE_CHECKING:
    from typing import TypeAlias

    Readable: TypeAlias = bytes | bytearray | memoryview


class TlsError(PeerError):
    """The TLS connection is dead, by the peer's fault. The alert, if there is one, is what `take` returns.

    `detail` is OpenSSL's reason, lower case and stable ("decryption failed or bad record mac"), or
    "peer sent alert certificate_unknown". `alert` is the number of the alert that we sent, None where we
    sent none or can't know it; `peer_alert` the name of the alert that the peer sent.
    """

    def __init__(self, detail: str, *, alert: int | None = None, peer_alert: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.alert = alert
        self.peer_alert = peer_alert


class TlsTruncated(TlsError):
    """The peer's stream ended without a close_notify: what came may be a part only (RFC 8446, 6.1)."""


class TlsEngine:
    """The server side of one TLS connection.

    `handshake` and `read_into` are given what the socket brought, and use it before they return, or copy
    it; `take` returns what is to be sent. The engine holds no more than what was received and not read, and
    what was written and not taken: the caller bounds both. It stays in the thread that made it.

    After the handshake, `peer_closed` becomes True when the peer's close_notify was read: there is no more
    plaintext than what the same `read_into` returned.
    """

    __slots__ = (
        "__weakref__",
        "_ended",
        "_expected",
        "_failure",
        "_full",
        "_held",
        "_incoming",
        "_object",
        "_outgoing",
        "_routed",
        "_unread",
        "_unsent",
        "closed",
        "peer_closed",
    )

    def __init__(self, context: ssl.SSLContext, *, server_name: bytes | None) -> None:
        """`context` went through `prepare_context`; `server_name` is the name that was routed, as sent
        (None: the hello had none). A hello that names anything else fails with `unrecognized_name`.
        """
        if context.sni_callback is not _check_name:  # it would check no name at all: fail closed
            raise RuntimeError("the TLS context does not check the server name")
        self._incoming, self._outgoing = incoming, outgoing = _shared.incoming, _shared.outgoing
        self._object: Any = context._wrap_bio(incoming, outgoing, True, owner=self)  # type: ignore[attr-defined]
        # latin-1 can't fail; OpenSSL's name comes decoded as ASCII, so one that is not ASCII matches none
        self._expected: str | object | None = None if server_name is None else server_name.decode("latin-1")
        self._routed: bool | None = None  # None: no hello yet; False: one named somebody else
        self._unread = b""  # ciphertext: only where OpenSSL was kept from reading it
        self._unsent = b""
        self._ended = False
        self._failure: TlsError | None = None
        self._full = False  # the last read filled its buffer: OpenSSL may hold the rest of a record
        self._held = b""  # plaintext taken out of OpenSSL by send_close_notify
        self.closed = False
        self.peer_closed = False

    def take(self) -> bytes:
        """All ciphertext that is to be sent; it is the caller's now."""
        unsent, self._unsent = self._unsent, b""
        return unsent

    @property
    def pending(self) -> int:
        """Bytes of ciphertext that `take` would return."""
        return len(self._unsent)

    @property
    def has_more(self) -> bool:
        """Whether `read_into` has something to say before anything else is received."""
        return bool(self._full or self.peer_closed or self._failure or self._held or self._unread)

    def receive_eof(self) -> None:
        """The socket ended (FIN): without a close_notify before it, that is a truncation."""
        self._ended = True

    def handshake(self, received: Readable = b"") -> bool:
        """True when the handshake is done; False when it needs more from the peer; raises TlsError."""
        self._lay_in(received)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            self._take_out()
            if self._ended:
                raise self._failed(self._cut_off()) from None
            return False
        except ssl.SSLError as error:
            raise self._failed(self._explain(error)) from None
        self._take_out()
        if self._routed is not True:  # no callback ran, so no name was compared: a defect, fail closed
            raise RuntimeError("the TLS context does not check the server name")
        self._expected = _NOBODY  # no other hello is expected, and an idle connection should hold little
        return True

    def _cut_off(self) -> TlsTruncated:
        """The peer ended in the middle of the handshake: have OpenSSL send an alert."""
        self._expected = _NOBODY
        reason = ""
        self._lay_in(_IMPOSSIBLE)
        try:
            self._object.do_handshake()
        except ssl.SSLError as error:
            reason = error.reason or ""
        self._take_out()
        self._unread = b""
        if self._alert_in_the_clear() is not None:
            self._unsent = self._unsent[:-7] + _DECODE_ERROR
        return TlsTruncated("the connection ended during the handshake", alert=self._alert_sent(reason))

    def read_into(self, buffer: memoryview, received: Readable = b"") -> int:
        """Put plaintext into `buffer` (not empty): how many bytes; 0: none now. Call it until it returns 0.

        Reads as many records as fit; `received` may lie in `buffer`. What was received before a truncation
        or a bad record is returned first; the call after that raises TlsTruncated or TlsError.
        """
        if received or self._unread or self._full or self._held:
            return self._read_records(buffer, received)
        if self._failure is not None:
            raise copy.copy(self._failure)
        if self._ended and not self.peer_closed:
            raise self._failed(TlsTruncated("the connection ended without close_notify"))
        return 0

    def write(self, data: Readable) -> None:
        """Encrypt all of `data`, for `take`. The peer may have sent its close_notify: it still reads.

        After a bad record there is nobody to write to: that failure is raised, even before `read_into` is.
        """
        if not data:
            return
        if self._failure is not None:
            raise copy.copy(self._failure)
        self._lay_in(b"")
        try:
            self._object.write(data)
        except ssl.SSLError as error:
            if self.closed:
                raise RuntimeError("write after send_close_notify") from None
            raise self._failed(self._explain(error)) from None
        self._unsent += self._outgoing.read()

    def send_close_notify(self) -> None:
        """Half-close: nothing is written after this; reading goes on until the peer closes. Idempotent.

        Before the end of the handshake, or after a failure, there is nothing to close and it does nothing.
        """
        if self.closed or self._failure is not None or self._object.version() is None:
            return
        tls_object = self._object
        if (decrypted := tls_object.pending()) > 0:
            self._held += tls_object.read(decrypted)
        self._lay_in(b"")
        try:
            tls_object.shutdown()
        except ssl.SSLWantReadError:
            pass  # sent; it would now wait for the peer's, which read_into does
        except ssl.SSLError as error:
            raise self._failed(self._explain(error)) from None
        finally:
            self._take_out()
            self.closed = True

    @property
    def version(self) -> str | None:
        """The negotiated version, "TLSv1.2" or "TLSv1.3"; None before there is one."""
        version: str | None = self._object.version()
        return version

    @property
    def cipher(self) -> str | None:
        """The negotiated cipher suite, by OpenSSL's name."""
        cipher = self._object.cipher()
        return cipher[0] if cipher else None

    @property
    def alpn(self) -> str | None:
        """The negotiated application protocol; None when client and route have none in common."""
        alpn: str | None = self._object.selected_alpn_protocol()
        return alpn

    @property
    def session_reused(self) -> bool:
        """Whether the handshake resumed a session (ticket), so that no certificate was sent."""
        return bool(self._object.session_reused)

    def _lay_in(self, received: Readable) -> None:
        """Begin a call of OpenSSL: `received` is what it may read."""
        incoming, outgoing = self._incoming, self._outgoing
        # Whoever was kept from taking out what is his, by want of memory, has failed: it is nobody's. In
        # small parts, for which there may be memory.
        while incoming.pending:
            incoming.read(4096)
        while outgoing.pending:
            outgoing.read(4096)
        if received:
            incoming.write(received)

    def _take_out(self) -> None:
        """End a call of OpenSSL: what it left, and what it wrote, is this engine's."""
        if self._outgoing.pending:
            said = self._outgoing.read()
            if not self.closed:  # nothing follows a close_notify (RFC 8446, 6.1), also no new keys or alert
                self._unsent += said
        if self._incoming.pending:
            self._unread = self._incoming.read()

    def _read_records(self, buffer: memoryview, received: Readable) -> int:
        if self._unread:
            received = self._unread + bytes(received)
            self._unread = b""
        if self._held:
            self._unread = bytes(received)
            return self._read_held(buffer)
        if self._failure is not None:
            raise copy.copy(self._failure)
        if self.peer_closed:
            return 0  # "any data received after a closure alert MUST be ignored" (RFC 8446, 6.1)
        self._lay_in(received)
        incoming = self._incoming
        read, size, count = self._object.read, len(buffer), 0
        # OpenSSL hands out one record a call; an exception for "no more" costs as much as a small record,
        # so the end of the BIO is asked for, not run into
        try:
            count = read(size, buffer)
            if not count:
                self.peer_closed = True
            while incoming.pending and 0 < count < size:
                got = read(size - count, buffer[count:])
                if not got:
                    self.peer_closed = True
                    break
                count += got
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # The first is the same as 0, once our own close_notify is out. The second is what OpenSSL from
            # 3.2 on makes of a close_notify behind a user_canceled (openssl/openssl#25254): of ends it is
            # told no other.
            self.peer_closed = True
        except ssl.SSLError as error:
            # not in a variable: its traceback leads here, and the cycle would keep the engine
            if not count:
                raise self._failed(self._explain(error)) from None
            self._failed(self._explain(error))
        self._take_out()
        self._full = count == size
        if not count and self._ended and not self.peer_closed:
            raise self._failed(TlsTruncated("the connection ended without close_notify"))
        return count

    def _read_held(self, buffer: memoryview) -> int:
        held = self._held
        count = min(len(held), len(buffer))
        buffer[:count] = held[:count]
        self._held = held[count:]
        return count

    def _failed(self, failure: TlsError) -> TlsError:
        # a copy: the one that is raised gets a traceback, whose frames hold this engine: a cycle
        self._failure = copy.copy(failure)
        return failure

    def _explain(self, error: ssl.SSLError) -> TlsError:
        """What OpenSSL's error means, whose call ends with it."""
        self._take_out()
        self._unread = b""
        reason = error.reason or ""
        if self._routed is False:
            detail = "the TLS library saw another server name than the one that was routed"
            return TlsError(detail, alert=ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME)
        if (received := _RECEIVED_ALERT.fullmatch(reason)) is not None:
            name = received[1].lower()
            return TlsError(f"peer sent alert {name}", peer_alert=name)
        detail = reason.replace("_", " ").lower() or _SOURCE_LINE.sub("", str(error)).lower()
        return TlsError(detail, alert=self._alert_sent(reason))

    def _alert_sent(self, reason: str) -> int | None:
        """The fatal alert that ends what is unsent: read where it is in the clear, else by the reason."""
        if (alert := self._alert_in_the_clear()) is not None:
            return alert
        return _ENCRYPTED_ALERTS.get(reason) if self._unsent else None

    def _alert_in_the_clear(self) -> int | None:
        last = self._unsent[-7:]
        return last[6] if len(last) == 7 and last[:2] == b"\x15\x03" and last[3:6] == b"\0\2\2" else None


class _Shared(threading.local):
    """The two memory BIOs of a thread's engines, empty but while one of these is in a call."""

    def __init__(self) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()


_shared: Final = _Shared()


def prepare_context(context: ssl.SSLContext) -> None:
    """Make `context` check, for each hello, that the name OpenSSL saw is the one its engine was told."""
    if context.sni_callback is not _check_name:
        context.sni_callback = _check_name


def _check_name(engine: Any, server_name: str | None, _: ssl.SSLContext) -> int | None:
    # a name that is not ASCII never comes here: ssl answers it with internal_error, and tells of it by
    # sys.unraisablehook, which a peer can therefore make speak
    engine._routed = routed = server_name == engine._expected
    return None if routed else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME


# OpenSSL's reasons for an alert that was received; a few of them lack the word
_RECEIVED_ALERT: Final = re.compile(
    r"(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?((?<=ALERT_)\w+|UNSUPPORTED_EXTENSION|CERTIFICATE_UNOBTAINABLE|"
    r"UNRECOGNIZED_NAME|BAD_CERTIFICATE_STATUS_RESPONSE|BAD_CERTIFICATE_HASH_VALUE)"
)
_SOURCE_LINE: Final = re.compile(r"^\[[^\]]*\] ?| ?\(_ssl\.c:\d+\)$")

# Equal to no server name, also to none.
_NOBODY: Final = object()

# An alert of one byte (it has two: RFC 8446, 6), with enough behind it to fill any record that was begun
_IMPOSSIBLE: Final = b"\x15\3\3\0\1\2" + bytes(17_000)
_DECODE_ERROR: Final = b"\x15\3\3\0\2\2\x32"

# the alerts that OpenSSL sends under encryption (RFC 8446, 6.2), by its reason
_ENCRYPTED_ALERTS: Final = {
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": ssl.ALERT_DESCRIPTION_BAD_RECORD_MAC,
    "UNEXPECTED_MESSAGE": ssl.ALERT_DESCRIPTION_UNEXPECTED_MESSAGE,
    "UNEXPECTED_RECORD": ssl.ALERT_DESCRIPTION_UNEXPECTED_MESSAGE,
    "BAD_RECORD_TYPE": ssl.ALERT_DESCRIPTION_UNEXPECTED_MESSAGE,
    "RECORD_TOO_SMALL": ssl.ALERT_DESCRIPTION_UNEXPECTED_MESSAGE,
    "TOO_MANY_WARN_ALERTS": ssl.ALERT_DESCRIPTION_UNEXPECTED_MESSAGE,
    "ENCRYPTED_LENGTH_TOO_LONG": ssl.ALERT_DESCRIPTION_RECORD_OVERFLOW,
    "DATA_LENGTH_TOO_LONG": ssl.ALERT_DESCRIPTION_RECORD_OVERFLOW,
    "PACKET_LENGTH_TOO_LONG": ssl.ALERT_DESCRIPTION_RECORD_OVERFLOW,
    "INVALID_ALERT": ssl.ALERT_DESCRIPTION_UNEXPECTED_MESSAGE,
    "INVALID_CCS_MESSAGE": ssl.ALERT_DESCRIPTION_ILLEGAL_PARAMETER,
    "DIGEST_CHECK_FAILED": ssl.ALERT_DESCRIPTION_DECRYPT_ERROR,
    "BAD_SIGNATURE": ssl.ALERT_DESCRIPTION_DECRYPT_ERROR,
}
