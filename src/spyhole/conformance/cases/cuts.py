"""One hello, cut over segments and records in every way, and of every size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spyhole.conformance.case import Case, Group, Severity
from spyhole.conformance.cases.plain import HELLO, MESSAGE, NAME, WIRE
from spyhole.conformance.hello import (
    CIPHERS,
    TLS13,
    browser,
    client_hello,
    encode,
    lengths,
    padding,
    plain,
    server_name,
    supported_groups,
    u16s,
)
from spyhole.conformance.records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    EMPTY,
    HEARTBEAT,
    LARGEST,
    cut,
    record,
    records,
)
from spyhole.conformance.routes import BETA_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME_AT: Final = MESSAGE.index(NAME)
_SMALL_RECORDS: Final = cut(MESSAGE, 1, 2, 3, 4, *range(_NAME_AT, _NAME_AT + len(NAME) + 1))
_NAME_FIELD: Final = next(x.offset for x in lengths(HELLO) if x.name == "server_name")

_TCP: Final = "TCP is a stream: a segment ends anywhere (RFC 9293, 3.8)"
_RECORDS: Final = "a handshake message may be cut over any number of records (RFC 8446, 5.1)"
_TRAEFIK: Final = "CVE-2026-32305"
_EMPTY: Final = "empty handshake records are not to be sent (RFC 8446, 5.1); OpenSSL takes 32 in a row"
_INTERLEAVED: Final = "no other record may come inside the hello or before it (RFC 8446, 5.1)"
_OPENSSL_MOST: Final = 4 + 131_396
"""The largest message that OpenSSL takes for a hello."""


def cases() -> list[Case]:
    return [
        *_segments(),
        *_two_records(),
        *_many_records(),
        *_empty(),
        *_strangers(),
        *_sizes(),
        *_behind(),
    ]


def _segments() -> Iterator[Case]:
    def case(name: str, pieces: list[bytes], gap: float = 0.0, family: str = "") -> Case:
        wire = b"".join(pieces)
        return Case(
            Group.CUTS, name, _TCP, wire, Severity.HIGH, pieces=tuple(pieces), gap=gap, family=family
        )

    yield Case(
        Group.CUTS, "one record in one segment", "as nearly every client sends it", WIRE, Severity.HIGH
    )
    yield case("one segment for each byte", _bytes(WIRE))
    yield case("one segment for each byte of a hello in small records", _bytes(_SMALL_RECORDS))
    places = {
        "in the record's header": range(1, 5),
        "behind the record's header": [5],
        "in the message's header": range(6, 9),
        "behind the message's header": [9],
        "in the server_name extension": range(5 + _NAME_FIELD - 2, 5 + _NAME_AT),
        "at the name": [5 + _NAME_AT],
        "in the name": range(5 + _NAME_AT + 1, 5 + _NAME_AT + len(NAME)),
        "behind the name": [5 + _NAME_AT + len(NAME)],
        "before the last byte": [len(WIRE) - 1],
    }
    for where, listed in places.items():
        for at in listed:
            yield case(
                f"two segments, cut {where} ({at})",
                [WIRE[:at], WIRE[at:]],
                0.05,
                f"two segments, cut {where}",
            )


def _two_records() -> Iterator[Case]:
    for at in range(1, len(MESSAGE)):
        yield Case(
            Group.CUTS,
            f"two records, cut after byte {at}",
            _RECORDS,
            cut(MESSAGE, at),
            Severity.HIGH,
            _TRAEFIK,
            family=f"two records, cut {_place(at)}",
        )


def _place(at: int) -> str:
    if at < 4:
        return "in the message's header"
    if at < _NAME_AT:
        return "before the name"
    return "in the name" if at < _NAME_AT + len(NAME) else "behind the name"


def _many_records() -> Iterator[Case]:
    for size in [*range(1, 33), 64, 100, 128, 255, 256, 511]:
        yield Case(
            Group.CUTS,
            f"records of {size} bytes",
            _RECORDS,
            records(MESSAGE, [size]),
            Severity.HIGH,
            _TRAEFIK,
            family="records of n bytes",
        )
    yield Case(
        Group.CUTS,
        "records of one byte for the header and the name only",
        _RECORDS,
        _SMALL_RECORDS,
        Severity.HIGH,
        _TRAEFIK,
    )


def _empty() -> Iterator[Case]:
    for count in (1, 32, 33):
        for where, wire in {
            "first": EMPTY * count + WIRE,
            "inside the message's header": cut(MESSAGE, 2, between=EMPTY * count),
            "inside the name": cut(MESSAGE, _NAME_AT + 3, between=EMPTY * count),
        }.items():
            many = "an empty record" if count == 1 else f"{count} empty records"
            yield Case(Group.CUTS, f"{many} {where}", _EMPTY, wire, may_refuse=True)
    yield Case(
        Group.CUTS,
        "32 empty records before each of two pieces",
        _EMPTY,
        (EMPTY * 32).join([b"", records(MESSAGE[:100]), records(MESSAGE[100:])]),
        may_refuse=True,
    )
    yield Case(Group.CUTS, "10,000 empty records and no hello", _EMPTY, EMPTY * 10_000)


def _strangers() -> Iterator[Case]:
    strangers = {
        "change_cipher_spec": record(b"\1", CHANGE_CIPHER_SPEC),
        "an empty change_cipher_spec": record(b"", CHANGE_CIPHER_SPEC),
        "a warning alert": record(b"\1\0", ALERT),
        "a fatal alert": record(b"\2\x28", ALERT),
        "an empty alert": record(b"", ALERT),
        "application data": record(b"hello", APPLICATION_DATA),
        "empty application data": record(b"", APPLICATION_DATA),
        "a heartbeat": record(b"\1\0\0" + bytes(16), HEARTBEAT),
        "a record of no known type": record(b"?", 99),
    }
    for what, stranger in strangers.items():
        for where, wire in {
            "first": stranger + WIRE,
            "inside the message's header": cut(MESSAGE, 2, between=stranger),
            "inside the name": cut(MESSAGE, _NAME_AT + 3, between=stranger),
        }.items():
            # what begins with a byte that no record begins with is not owed an alert
            tls = wire[0] != 99
            yield Case(Group.CUTS, f"{what} {where}", _INTERLEAVED, wire, may_refuse=True, tls=tls)
    for kind, what in {ALERT: "an alert", APPLICATION_DATA: "application data"}.items():
        yield Case(
            Group.CUTS,
            f"the hello in a record of {what}",
            "RFC 8446, 5.1",
            record(MESSAGE, kind),
            server_name=NAME,
        )
    for size in (LARGEST + 1, LARGEST + 256, LARGEST + 257, 65_535):
        message = encode(browser(NAME, size=5 + size))
        yield Case(
            Group.CUTS,
            f"one record of {size:,} bytes",
            f"the most is {LARGEST:,} bytes (RFC 8446, 5.1): record_overflow",
            record(message),
        )
    yield Case(
        Group.CUTS,
        "a second message begins in the hello's record",
        "a message before a change of keys must end with its record (RFC 8446, 5.1)",
        record(MESSAGE + b"\1"),
        server_name=NAME,
    )
    yield Case(
        Group.CUTS,
        "the same without TLS 1.3",
        "before TLS 1.3 a record may go on (RFC 5246, 6.2.1)",
        record(encode(client_hello([server_name(NAME)])) + b"\1"),
        may_refuse=True,
    )


def _sizes() -> Iterator[Case]:
    why = "hellos grow: post-quantum key shares, tickets, certificate authorities"
    quantum = encode(browser(NAME, size=1_745, hybrid=True))
    yield Case(Group.CUTS, "a hello of 1.7 KiB, with a post-quantum share", why, records(quantum))
    sizes = {
        "5 KiB": 5 << 10,
        "16 KiB": 16 << 10,
        "16 KiB and a byte": (16 << 10) + 1,
        "30 KiB": 30 << 10,
        "64 KiB": 64 << 10,
    }
    for size, count in sizes.items():
        for last in (False, True):
            place = "last" if last else "first"
            yield Case(
                Group.CUTS, f"a hello of {size}, the name {place}", why, records(sized(count, last=last))
            )
    for size, message in {
        "64 KiB and a byte": sized((64 << 10) + 1, last=True),
        f"{_OPENSSL_MOST:,} bytes, the largest there is": largest(),
    }.items():
        why = "OpenSSL takes it; a proxy may set itself a cap, but it must not guess"
        yield Case(Group.CUTS, f"a hello of {size}", why, records(message), may_refuse=True)
    yield Case(
        Group.CUTS,
        f"a hello of {_OPENSSL_MOST + 1:,} bytes, one too many",
        "every buffer has a cap, and OpenSSL's is that of a hello with every list full",
        records(largest(b"\0")),
        server_name=NAME,
    )
    yield Case(
        Group.CUTS,
        "16 MiB announced, and one record of them sent",
        "the message's length is three bytes (RFC 8446, 4), and no promise to keep so much",
        record((b"\1\xff\xff\xff" + MESSAGE[4:]) + bytes(LARGEST - len(MESSAGE))),
        server_name=NAME,
    )


def sized(size: int, *, last: bool) -> bytes:
    """A message of `size` bytes for TLS 1.3, filled up in front of the name, or behind it."""
    name = server_name(NAME)
    filling = padding(size - len(encode(client_hello([name, *TLS13]))) - 4)
    return encode(client_hello([filling, *TLS13, name] if last else [name, *TLS13, filling]))


def largest(after: bytes = b"") -> bytes:
    """The hello with every list full; for TLS 1.2, since 1.3 allows one compression method only."""
    name, most = server_name(NAME), 65_535
    filling = padding(most - len(encode(name.content)) - 2 * 4)
    ciphers = (u16s(*CIPHERS) * (most // 2))[: most - 1]
    return encode(
        client_hello([filling, name], ciphers=ciphers, compression=bytes(range(255)), after=after)
    )


def _behind() -> Iterator[Case]:
    other = records(encode(browser(BETA_NAME.encode())))
    yield Case(
        Group.CUTS,
        "another hello behind the first, for another name",
        "a connection belongs to its first hello, and what follows belongs to the connection",
        WIRE + other,
        Severity.HIGH,
    )
    yield Case(
        Group.CUTS,
        "records of a client that does not wait",
        "what was read with the hello has to reach the backend, too",
        WIRE + record(b"\1", CHANGE_CIPHER_SPEC) + record(bytes(1000), APPLICATION_DATA),
        Severity.HIGH,
    )
    yield Case(
        Group.CUTS,
        "16 KiB behind a hello that is cut",
        "what was read with the hello has to reach the backend, too",
        cut(MESSAGE, _NAME_AT + 3) + record(bytes(LARGEST), APPLICATION_DATA),
        Severity.HIGH,
        _TRAEFIK,
    )
    decoy = [
        supported_groups(29, 23),
        plain(0x1234, "a decoy", encode(server_name(BETA_NAME.encode()).content)),
    ]
    yield Case(
        Group.CUTS,
        "a decoy: another name in a field that is none",
        "a name is where RFC 6066, 3 puts it, and nowhere else",
        records(encode(client_hello([*TLS13[:1], *decoy, *TLS13[2:], server_name(NAME)]))),
        Severity.HIGH,
    )


def _bytes(wire: bytes) -> list[bytes]:
    return [wire[at : at + 1] for at in range(len(wire))]
