"""What is fuzzed: for each target a function of bytes, which raises when something that must hold does not.

The oracle for a hello is OpenSSL's verdict on the same bytes, by the rule in `spyhole.wire.client_hello`.
"""

from __future__ import annotations

import functools
import json
import re
import zlib
from collections.abc import Callable
from hashlib import sha256
from random import Random
from typing import Final, NamedTuple

from fuzz.engine import tls
from spyhole.conformance.oracle import OpenSsl, Outcome
from spyhole.errors import PeerError
from spyhole.observe.formats import MAX_LINE, human_line, json_line
from spyhole.observe.record import ConnectionRecord, Greeting
from spyhole.outcome import EndedBy, Reason
from spyhole.routing.host_names import MAX_LABEL, MAX_NAME, InvalidServerName, parse_server_name
from spyhole.routing.idna import AmbiguousLabelError, to_ascii
from spyhole.routing.patterns import NamePattern, PatternError, PatternKind
from spyhole.wire.asn1 import is_extensions, is_name, is_responder_id
from spyhole.wire.client_hello import ClientHello, ClientHelloError, Fault
from spyhole.wire.describe import describe
from spyhole.wire.extensions import CERTIFICATE_AUTHORITIES, ONCE, STATUS_REQUEST
from spyhole.wire.familiar import forget
from spyhole.wire.ja3 import ja3
from spyhole.wire.ja4 import ja4, ja4_raw
from support.hellos import TLS13_NEEDS, captured, hello, learnable, records, reordered, vector
from support.hellos import server_name as server_name_of
from support.parser_laws import answer, assert_agreement, assert_same_however_cut, comparable


def first_bytes(data: bytes) -> None:
    """All that a client sends, from its first byte: fed whole and in pieces, against OpenSSL."""
    forget()  # so that an input does the same each time
    random = Random(zlib.crc32(data))
    cuts = range(len(data)) if len(data) <= 80 else [random.randrange(len(data)) for _ in range(5)]
    said = assert_same_however_cut(data, cuts)
    _assert_agreement(data)
    if isinstance(said, ClientHello):
        _read(said)


KINDS: Final = (*sorted(ONCE), 0x0A0A, 0x1234, 0x4469, 0xFE0D, 27, 28, 34)
LEGACY: Final = (0x0303, 0x0301, 0x0302, 0x0300)
COMPRESSION: Final = (b"\0", b"\1\0", b"\1", b"")


def extensions(data: bytes) -> None:
    """The inside of a hello whose frame is sound: a byte of choices, then kind, size, content of each."""
    forget()
    choices, pos = data[0] if data else 0, 1
    listed: list[tuple[int, bytes]] = []
    while pos + 2 <= len(data):
        kind, size = KINDS[data[pos] % len(KINDS)], data[pos + 1]
        listed.append((kind, data[pos + 2 : pos + 2 + size]))
        pos += 2 + size
    if choices & 1:
        named = {kind for kind, _ in listed}
        listed = [e for e in TLS13_NEEDS if e[0] not in named] + listed
    raw = hello(listed, legacy=LEGACY[choices >> 1 & 3], compression=COMPRESSION[choices >> 3 & 3])
    wire = records(raw, [1 + (choices >> 5) * 30] if choices >> 5 else [16_384])
    _assert_agreement(wire)
    said = answer(wire)
    if isinstance(said, ClientHello):
        _read(said)


def der(data: bytes) -> None:
    """What two extensions carry in DER: a byte that chooses where, then the element."""
    forget()
    which, element = data[:1], data[1:]
    for decodes in (is_name, is_responder_id, is_extensions):
        assert decodes(element) in {True, False}
    if which and which[0] % 3 == 0:
        inside = CERTIFICATE_AUTHORITIES, vector(vector(element, 2), 2)
    elif which and which[0] % 3 == 1:
        inside = STATUS_REQUEST, b"\1" + vector(vector(element, 2), 2) + b"\0\0"
    else:
        inside = STATUS_REQUEST, b"\1\0\0" + vector(element, 2)
    _assert_agreement(records(hello([*TLS13_NEEDS, inside])))


def familiar(data: bytes) -> None:
    """A hello much like one seen before: a byte says which, and whether also in another order, then places,
    sizes, and bytes to put there.
    """
    choice = data[0] if data else 0
    wire = SEEN[choice % 128 % len(SEEN)]
    again = learnable(reordered(Random(choice), wire)) if choice & 128 else wire
    other, pos = bytearray(wire), 1
    while pos + 3 <= len(data):
        at, size = int.from_bytes(data[pos : pos + 2]) % len(wire), data[pos + 2]
        put = data[pos + 3 : pos + 3 + size][: len(wire) - at]
        other[at : at + len(put)] = put
        pos += 3 + size
    forget()
    for seen in (wire, again, again):
        answer(seen)
    said = answer(bytes(other))
    _assert_agreement(bytes(other))
    forget()
    assert comparable(said) == comparable(answer(bytes(other))), other.hex()


SEEN: Final = [learnable(real.wire) for real in captured()] + [
    learnable(records(hello([*TLS13_NEEDS, server_name_of(b"a.test")])))
]


_NAME: Final = re.compile(r"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
PATTERNS: Final = [NamePattern.parse(text) for text in ("a.test", "*.a.test", "**.a.test", "*")]


def server_name(data: bytes) -> None:
    """A server name as sent: refused, no name, or one that is safe to match, log and use."""
    try:
        name = parse_server_name(data)
    except InvalidServerName as error:
        assert str(error).isprintable()
        assert len(str(error)) < 500
        return
    if name is None:
        return
    assert _NAME.fullmatch(name)
    assert len(name) <= MAX_NAME
    assert max(map(len, name.split("."))) <= MAX_LABEL
    assert name.encode() in {data.lower(), data.lower().removesuffix(b".")}
    assert parse_server_name(name.encode()) == name
    labels = name.split(".")
    under = labels[-2:] == ["a", "test"]
    expected = [name == "a.test", under and len(labels) == 3, under and len(labels) > 2, True]
    assert [pattern.matches(name) for pattern in PATTERNS] == expected


def pattern(data: bytes) -> None:
    """The operator's name for a route, in any script: one that a client can ask for, or an error."""
    text = data.decode(errors="ignore")
    try:
        parsed = NamePattern.parse(text)
    except PatternError as error:
        assert str(error)
        return
    assert NamePattern.parse(str(parsed)) == parsed
    if parsed.kind is PatternKind.EXACT:
        assert parse_server_name(parsed.name.encode()) == parsed.name
        assert parsed.matches(parsed.name)
    try:
        assert to_ascii(to_ascii(text)) == to_ascii(text)
    except AmbiguousLabelError:
        raise AssertionError(f"a pattern that has no A-label was taken: {text!r}") from None


class Target(NamedTuple):
    """`run` raises for what is wrong; `longest` input in bytes; its `share` of the executions asked for."""

    run: Callable[[bytes], None]
    longest: int
    share: float = 1.0


TARGETS: Final = {
    "first_bytes": Target(first_bytes, 4096),
    "extensions": Target(extensions, 1024),
    "der": Target(der, 256),
    "familiar": Target(familiar, 300),
    "server_name": Target(server_name, 300),
    "pattern": Target(pattern, 300),
    "tls": Target(tls, 512, 0.2),
}


def _assert_agreement(wire: bytes) -> None:
    try:
        assert_agreement(_oracle(), wire)
    except AssertionError:
        if not _is_the_gap(wire):
            raise


def _is_the_gap(wire: bytes) -> bool:
    """Whether it is what `spyhole.wire.asn1` leaves out: BER that is no DER, which OpenSSL takes."""
    said = answer(wire)
    return (
        isinstance(said, ClientHelloError)
        and said.reason is Fault.BAD_EXTENSION
        and said.extension in {STATUS_REQUEST, CERTIFICATE_AUTHORITIES}
        and _oracle().judge(wire).outcome is not Outcome.REFUSED
        and (b"\x80" in wire or any(0x20 <= byte < 0x40 and byte not in b"\x30\x31" for byte in wire))
    )


@functools.cache
def _oracle() -> OpenSsl:
    return OpenSsl()


_JA4: Final = re.compile(r"t(1[0-3]|s[23]|00)[di]\d{4}[0-9A-Za-z]{2}_[0-9a-f]{12}_[0-9a-f]{12}")


def _read(said: ClientHello) -> None:
    """Everything that is made of an accepted hello, besides the decision."""
    fingerprint = ja4(said)
    assert _JA4.fullmatch(fingerprint)
    first, ciphers, rest = ja4_raw(said).split("_", 2)
    hashes = [sha256(part.encode()).hexdigest()[:12] if part else "0" * 12 for part in (ciphers, rest)]
    assert fingerprint == "_".join((first, *hashes))
    assert re.fullmatch("[0-9a-f]{32}", ja3(said))
    described = describe(said)
    json.dumps(described.as_dict())
    assert all(line.isprintable() for line in described.as_text().split("\n"))
    record = ConnectionRecord(0.0, "192.0.2.1:1", "front", 0.0)
    record.greeting, record.server_name = Greeting.of(said), said.server_name
    record.ended_by, record.reason = EndedBy.PROXY, Reason.NO_ROUTE
    for line in (json_line(record), human_line(record)):
        assert len(line) <= MAX_LINE
        assert line.endswith(b"\n")
        assert line[:-1].decode().isprintable()
    json.loads(json_line(record))
    try:
        parse_server_name(said.server_name or b"")
    except PeerError as error:
        assert str(error).isprintable()
