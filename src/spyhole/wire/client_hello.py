"""The ClientHello: what the first bytes of a connection say, and nothing but that.

`ClientHelloParser` is fed the bytes as they come and gives one of three answers: a `ClientHello`,
`NotTls`, or `NEED_MORE`. What speaks TLS and is malformed is none of them but a `ClientHelloError`.

The rule: whatever name we report, OpenSSL reports the same or rejects the hello; whatever OpenSSL
accepts, we accept; what OpenSSL rejects whatever its configuration, we refuse with the same alert.
OpenSSL is 3.0, as a server of TLS 1.0 to 1.3. Exceptions, and why:

* an SSLv2-format hello is refused (RFC 6176 lets us; it can't carry a name);
* a hello over `max_size` is refused where OpenSSL's own cap is 131,396 bytes;
* a record that is too long or of the wrong type is refused at its header, not at its end.

What a server makes of a hello by its settings is none of this: no version, cipher or group in common, a
key it does not know. SSL 3.0 is refused, as by every OpenSSL that was not built with it on purpose.

What is TLS: the first byte is a content type (20 to 23: RFC 8446, 5.1; 24: RFC 6520) and the second is 3.
The answer is `NotTls` at the first byte that rules this out.
"""

from __future__ import annotations

from enum import Enum
from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Final, final

from spyhole.wire.alerts import Alert
from spyhole.wire.extensions import (
    ALPN,
    ONCE,
    PRE_SHARED_KEY,
    SSL3,
    SUPPORTED_VERSIONS,
    TLS12,
    TLS13,
    USE_SRTP,
)  # fmt: skip
from spyhole.wire.familiar import Said, learn, recall
from spyhole.wire.faults import ClientHelloError, Fault, refuse
from spyhole.wire.message import take_apart
from spyhole.wire.rules import SMALL, rules_for

if TYPE_CHECKING:
    from spyhole.wire.kind import Common

__all__ = [
    "NEED_MORE",
    "ClientHello",
    "ClientHelloError",
    "ClientHelloParser",
    "Fault",
    "NeedMore",
    "NotTls",
]

_CHANGE_CIPHER_SPEC, _HANDSHAKE, _HEARTBEAT = 20, 22, 24
_MAX_RECORD = 2**14

_first_bytes = Struct(">BBxHBBH").unpack_from  # record type, major, length, message type and length
_record_header = Struct(">BBxH").unpack_from
_fixed_part = Struct(">H32xB").unpack_from  # legacy_version, random, session id's length
_two_shorts = Struct(">HH").unpack_from


class NeedMore(Enum):
    """The type of `NEED_MORE`."""

    NEED_MORE = "need more"


NEED_MORE: Final = NeedMore.NEED_MORE


@final
class NotTls:
    """The first bytes are not TLS; what they are is none of this floor's business."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<NotTls>"


_NOT_TLS: Final = NotTls()


@final
class ClientHello:
    """A whole ClientHello that OpenSSL would not refuse as malformed.

    `server_name` is the raw host_name exactly as sent (RFC 6066, 3), None when there is none; whether
    it is a host name is `routing.host_names`' question. `alpn` and `versions` are as the client orders
    them; without supported_versions, `versions` counts down from the legacy version. `raw` is the
    handshake message (type, length, body) without record headers: all else is computed from it. `common`
    is what a familiar hello shares with others.
    """

    __slots__ = ("alpn", "common", "raw", "server_name", "versions")

    def __init__(
        self,
        server_name: bytes | None,
        alpn: tuple[bytes, ...],
        versions: tuple[int, ...],
        raw: bytes,
        common: Common | None = None,
    ) -> None:
        self.server_name = server_name
        self.alpn = alpn
        self.versions = versions
        self.raw = raw
        self.common = common

    def __eq__(self, other: object) -> bool:
        # the rest is computed from it
        return self.raw == other.raw if isinstance(other, ClientHello) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        versions = ", ".join(f"0x{v:04x}" for v in self.versions)
        return f"<ClientHello {self.server_name!r} alpn={list(self.alpn)!r} versions=[{versions}]>"

    @classmethod
    def parse(cls, raw: bytes, *, on_boundary: bool = True) -> ClientHello:
        """The hello in one whole handshake message; `on_boundary`: its last record ends with it."""
        try:
            server_name, alpn, versions = _read(raw, on_boundary)
            return cls(server_name, alpn, versions, raw)
        except ClientHelloError as error:
            if error.extension is not None and error.offset is None:
                error.offset = next(
                    e.offset for e in take_apart(raw).extensions if e.kind == error.extension
                )
            raise


def whole_hello(data: bytes | memoryview, max_size: int) -> ClientHello | None:
    """The hello, if `data` begins with one record that holds it all; None: it takes a `ClientHelloParser`.

    Raises `ClientHelloError`.
    """
    if len(data) < 9:
        return None
    kind, major, size, message_type, high, low = _first_bytes(data)
    total = 4 + (high << 16 | low)
    if (
        kind != _HANDSHAKE or major != 3 or message_type != 1
        or not total <= size <= _MAX_RECORD or size + 5 > len(data) or total > max_size
    ):  # fmt: skip
        return None
    raw = bytes(data[5 : 5 + total])
    if total == size:
        recalled = recall(raw)
        if recalled is not None:
            name, common = recalled
            return ClientHello(name, common.alpn, common.versions, raw, common)
    return ClientHello.parse(raw, on_boundary=total == size)


@final
class ClientHelloParser:
    """Finds the ClientHello at the start of a connection, however it is cut.

    Feed it each byte once; any cut of the same bytes gives the same answer. `max_size` bounds the
    handshake message in bytes, `max_empty_records` the records in a row that carry nothing (OpenSSL's
    own limit), and records may cost eight times `max_size` on the wire. It never holds more than one
    record and the message. After an answer or an error it takes no more.
    """

    __slots__ = (
        "_answered",
        "_consumed",
        "_empty_records",
        "_max_empty_records",
        "_max_size",
        "_message",
        "_wire",
    )

    def __init__(self, *, max_size: int = 65_536, max_empty_records: int = 32) -> None:
        self._max_size = max_size
        self._max_empty_records = max_empty_records
        self._wire: bytearray | None = None
        self._answered = False

    def feed(self, data: bytes | memoryview) -> ClientHello | NotTls | NeedMore:
        """Take what came since the last time. Raises `ClientHelloError`."""
        if self._answered:
            raise RuntimeError("this parser has given its answer")
        self._answered = True
        if self._wire is None:
            hello = whole_hello(data, self._max_size)
            if hello is not None:
                return hello
        answer = self._feed_pieces(data)
        self._answered = answer is not NEED_MORE
        return answer

    def _feed_pieces(self, data: bytes | memoryview) -> ClientHello | NotTls | NeedMore:
        wire = self._wire
        if wire is None:
            wire = self._wire = bytearray()
            self._message = bytearray()
            self._consumed = self._empty_records = 0
        wire += data
        if not self._consumed and not _may_be_tls(wire):
            return _NOT_TLS
        pos = 0
        while len(wire) - pos >= 5:
            kind, major, size = _record_header(wire, pos)
            self._check_record(kind, major, size)
            stop = pos + 5 + size
            if stop > len(wire):
                break
            self._consumed += 5 + size
            hello = self._take(wire[pos + 5 : stop])
            pos = stop
            if hello is not None:
                return hello
        del wire[:pos]
        return NEED_MORE

    def _check_record(self, kind: int, major: int, size: int) -> None:
        """Refuse a record by its header. It may be seen more than once: this changes nothing."""
        if major != 3:
            refuse(Fault.RECORD_VERSION, f"a record has version {major}.x, not 3.x")
        if size > _MAX_RECORD:
            refuse(Fault.RECORD_OVERFLOW, f"a record has {size} bytes, over {_MAX_RECORD}")
        # OpenSSL passes over an empty change_cipher_spec until it has the message's header
        if kind != _HANDSHAKE and not (
            kind == _CHANGE_CIPHER_SPEC and size == 0 and len(self._message) < 4
        ):
            refuse(Fault.UNEXPECTED_RECORD, f"a record of type {kind} before the end of the ClientHello")

    def _take(self, content: bytearray) -> ClientHello | None:
        """Add one record's content to the message; the hello, if that made it whole."""
        message = self._message
        if content:
            self._empty_records = 0
            message += content
        else:
            self._empty_records += 1
            if self._empty_records > self._max_empty_records:
                refuse(Fault.TOO_MANY_EMPTY_RECORDS, f"{self._empty_records} empty records in a row")
        if len(message) >= 4:
            if message[0] != 1:
                refuse(
                    Fault.UNEXPECTED_MESSAGE, f"the first handshake message has type {message[0]}, not 1", 0
                )
            total = 4 + int.from_bytes(message[1:4])
            if total > self._max_size:
                refuse(Fault.HELLO_TOO_LARGE, f"the hello has {total} bytes, over {self._max_size}", 1)
            if len(message) >= total:
                return ClientHello.parse(bytes(message[:total]), on_boundary=len(message) == total)
        if self._consumed > 8 * self._max_size:
            refuse(Fault.HELLO_TOO_LARGE, f"the hello is spread over {self._consumed} bytes of records")
        return None


def _may_be_tls(wire: bytearray) -> bool:
    """Whether the first bytes are TLS, as far as they are there. Refuses an SSLv2-format hello."""
    first = wire[0] if wire else _HANDSHAKE
    if _CHANGE_CIPHER_SPEC <= first <= _HEARTBEAT:
        return len(wire) < 2 or wire[1] == 3
    # SSLv2: a 15-bit length, the message type 1, and the version (RFC 5246, E.2)
    if first < 0x80 or (len(wire) > 1 and (first & 0x7F) << 8 | wire[1] < 9):
        return False
    start = bytes(wire[2:5])
    if start[:2] == b"\x01\x03" or start == b"\x01\x00\x02":
        refuse(Fault.SSLV2_HELLO, "an SSLv2-format ClientHello")
    return b"\x01\x03".startswith(start) or b"\x01\x00\x02".startswith(start)


def _read(raw: bytes, on_boundary: bool) -> Said:
    """Check a whole message in OpenSSL's order."""
    found, legacy, ciphers_at, ciphers_size, compression = _split(raw)
    rules = rules_for(len(raw))
    listed = found.get(SUPPORTED_VERSIONS)
    if legacy <= SSL3:
        # SSL 3.0 has no protocol_version alert
        alert = Alert.HANDSHAKE_FAILURE if legacy == SSL3 else None
        refuse(Fault.UNSUPPORTED_VERSION, f"the hello is of version 0x{legacy:04x}", 4, alert=alert)
    if listed is None:
        versions = _COUNTDOWN.get(legacy, _COUNTDOWN[TLS12])
        version = min(legacy, TLS12)
    else:
        versions = rules.parse_versions(listed)
        # what a server that has 1.0 to 1.3 would choose: OpenSSL looks at some extensions in one only
        version = (
            TLS13 if TLS13 in versions else max((v for v in versions if SSL3 < v < TLS13), default=TLS12)
        )
    if version == TLS13 and not on_boundary:
        refuse(
            Fault.NOT_ON_RECORD_BOUNDARY, "the record goes on after a hello that offers TLS 1.3", len(raw)
        )
    if not ciphers_size:
        refuse(Fault.NO_CIPHERS, "no cipher suite is offered", ciphers_at)
    if ciphers_size % 2:
        refuse(
            Fault.LENGTH_MISMATCH, f"the cipher suites have {ciphers_size} bytes, an odd number", ciphers_at
        )
    rules.check_resumption(found, version)
    if 0 not in compression:
        refuse(Fault.NO_NULL_COMPRESSION, "null compression is not offered", ciphers_at + 2 + ciphers_size)
    server_name = rules.check_rest(found, version)
    if version == TLS13 and len(compression) != 1:
        refuse(
            Fault.TLS13_COMPRESSION,
            "TLS 1.3 together with a compression method",
            ciphers_at + 2 + ciphers_size,
        )
    offered = found.get(ALPN)
    protocols = () if offered is None else rules.parse_protocols(offered)
    said = server_name, protocols, versions
    if on_boundary and len(raw) <= SMALL:
        learn(raw, found, version, said)
    return said


def _split(raw: bytes) -> tuple[dict[int, bytes], int, int, int, bytes]:
    """Take the message apart: extensions, legacy version, ciphers' offset and size, compression methods."""
    end = len(raw)
    try:
        legacy, session = _fixed_part(raw, 4)
        ciphers_at = 39 + session
        ciphers_size = raw[ciphers_at] << 8 | raw[ciphers_at + 1]
        pos = ciphers_at + 2 + ciphers_size
        compression = raw[pos + 1 : pos + 1 + raw[pos]]
        pos += 1 + raw[pos]
    except (struct_error, IndexError):
        refuse(Fault.LENGTH_MISMATCH, f"a hello of {end} bytes is cut short in its fixed part")
    if session > 32:
        refuse(Fault.LENGTH_MISMATCH, f"the session id has {session} bytes, over 32", 38)
    found: dict[int, bytes] = {}
    if pos == end:
        return found, legacy, ciphers_at, ciphers_size, compression
    first = pos = pos + 2
    if pos > end or int.from_bytes(raw[pos - 2 : pos]) != end - pos:
        refuse(Fault.LENGTH_MISMATCH, "the extensions do not end where the hello ends", min(pos - 2, end))
    count = kind = 0
    try:
        while pos < end:
            kind, size = _two_shorts(raw, pos)
            start = pos + 4
            pos = start + size
            found[kind] = raw[start:pos]
            count += 1
    except struct_error:
        pos = -1
    if (
        pos != end or count != len(found) or USE_SRTP in found
        or (PRE_SHARED_KEY in found and kind != PRE_SHARED_KEY)
    ):  # fmt: skip
        _refuse_extensions(raw, first)
    return found, legacy, ciphers_at, ciphers_size, compression


def _refuse_extensions(raw: bytes, pos: int) -> None:
    """Something is wrong with the list of extensions: find what OpenSSL would meet first, if it minds."""
    end = len(raw)
    seen = set()
    while pos < end:
        kind = int.from_bytes(raw[pos : pos + 2])
        stop = pos + 4 + int.from_bytes(raw[pos + 2 : pos + 4])
        if pos + 4 > end or stop > end:
            refuse(Fault.BAD_EXTENSION, "the last extension is cut short", pos)
        if kind in seen and kind in ONCE:
            refuse(Fault.DUPLICATE_EXTENSION, "comes twice", pos, extension=kind)
        if kind == USE_SRTP:
            refuse(Fault.FORBIDDEN_EXTENSION, "for DTLS only", pos, extension=kind)
        if kind == PRE_SHARED_KEY and stop != end:
            refuse(Fault.PSK_NOT_LAST, "not the last extension", pos, extension=kind)
        seen.add(kind)
        pos = stop


_COUNTDOWN: Final = {0x0301: (0x0301,), 0x0302: (0x0302, 0x0301), TLS12: (TLS12, 0x0302, 0x0301)}
