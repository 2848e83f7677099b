"""Every length that says too much or too little, what is left over, and what comes twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spyhole.conformance.case import Case, Group, Severity
from spyhole.conformance.cases.plain import HELLO, MESSAGE, NAME
from spyhole.conformance.hello import (
    CIPHERS,
    PSK_MODES,
    TLS13,
    Extension,
    Node,
    Vector,
    alpn,
    client_hello,
    encode,
    key_share,
    lengths,
    plain,
    pre_shared_key,
    server_name,
    signature_algorithms,
    status_request,
    supported_groups,
    supported_versions,
    u16s,
)
from spyhole.conformance.records import record, records

if TYPE_CHECKING:
    from collections.abc import Iterator

_DISAGREE: Final = "lengths that disagree are a decode_error (RFC 8446, 6.2)"
_LEFT_OVER: Final = "nothing may be left over (RFC 8446, 3.4 and 4.1.2)"
_TWICE: Final = "an extension comes once (RFC 8446, 4.2); OpenSSL minds for those that it knows"

# Extensions that a browser's hello has not, and that have lengths inside.
_RARE: Final = (
    Extension(
        47,
        "certificate_authorities",
        (
            Vector(
                "certificate_authorities: list",
                2,
                (
                    Vector(
                        "certificate_authorities: name",
                        2,
                        (bytes.fromhex("300d310b3009060355040613024445"),),
                    ),
                ),
            ),
        ),
    ),
    Extension(
        50, "signature_algorithms_cert", (Vector("signature_algorithms_cert: list", 2, (u16s(0x0403),)),)
    ),
    Extension(44, "cookie", (Vector("cookie: cookie", 2, (b"crumbs",)),)),
    plain(1, "max_fragment_length", b"\1"),
    plain(42, "early_data"),
    plain(49, "post_handshake_auth"),
    PSK_MODES,
)


def cases() -> list[Case]:
    rare = client_hello([server_name(NAME), *TLS13, *_RARE, pre_shared_key()])
    seen = {length.name for length in lengths(HELLO)}
    return [
        *_lies(HELLO, set()),
        *_lies(rare, seen),
        *_record_lies(),
        *_lists(),
        *_left_over(),
        *_duplicates(),
    ]


def _case(
    name: str, why: str, message: bytes, *, family: str = "", severity: Severity = Severity.LOW
) -> Case:
    return Case(
        *(Group.LENGTHS, name, why, records(message), severity),
        server_name=NAME,
        may_refuse=True,
        family=family,
    )


def _lies(message: tuple[Node, ...], known: set[str]) -> Iterator[Case]:
    for length in lengths(message):
        if length.name in known:
            continue
        for by in (-100, -1, 1, 100):
            if 0 <= length.value + by < 256**length.size:
                yield _case(
                    f"{length.name}: {abs(by)} too {'many' if by > 0 else 'few'}",
                    _DISAGREE,
                    encode(message, {length.name: by}),
                    family=f"the length of {length.name}",
                )


def _record_lies() -> Iterator[Case]:
    for by in (-100, -1, 1, 100):
        yield Case(
            Group.LENGTHS,
            f"record: {abs(by)} too {'many' if by > 0 else 'few'}",
            "a record is as long as its header says (RFC 8446, 5.1)",
            record(MESSAGE, size=len(MESSAGE) + by),
            Severity.LOW,
            may_refuse=True,
            family="the length of record",
        )


def _lists() -> Iterator[Case]:
    whole = [server_name(NAME), *TLS13]
    for size in (33, 64, 255):
        yield _case(
            f"a session id of {size} bytes",
            "the most is 32 (RFC 8446, 4.1.2)",
            encode(client_hello(whole, session_id=bytes(size))),
        )
    for size in (0, 1, 31):
        yield Case(
            Group.LENGTHS,
            f"a session id of {size} bytes",
            "any length up to 32 is legal (RFC 8446, 4.1.2)",
            records(encode(client_hello(whole, session_id=bytes(size)))),
        )
    for name, ciphers in {
        "no ciphers": b"",
        "half a cipher": b"\x13",
        "an odd number of bytes of ciphers": u16s(*CIPHERS) + b"\0",
    }.items():
        yield _case(
            name,
            "a list of two-byte values, at least one (RFC 8446, 4.1.2)",
            encode(client_hello(whole, ciphers=ciphers)),
        )
    for name, methods in {
        "no compression methods": b"",
        "deflate alone": b"\1",
        "deflate besides null in TLS 1.3": b"\1\0",
    }.items():
        yield _case(
            name,
            "null must be offered, and in TLS 1.3 nothing else (RFC 8446, 4.1.2)",
            encode(client_hello(whole, compression=methods)),
        )
    empty = "the list may not be empty"
    for extension, section in {
        supported_versions(): "4.2.1",
        supported_groups(): "4.2.7",
        signature_algorithms(): "4.2.3",
        alpn(): "RFC 7301, 3.1",
        alpn(b"h2", b""): "RFC 7301, 3.1",
        key_share((29, b"")): "4.2.8",
        Extension(45, "psk_key_exchange_modes", (Vector("psk modes: list", 1, ()),)): "4.2.9",
        Extension(11, "ec_point_formats", (Vector("ec_point_formats: list", 1, ()),)): "RFC 8422, 5.1.2",
        pre_shared_key(identity=b""): "4.2.11",
    }.items():
        what = (
            f"{extension.name} with an empty entry"
            if len(encode(extension.content)) > 2
            else f"{extension.name}, empty"
        )
        others = [e for e in TLS13 if e.kind != extension.kind]
        tail = [PSK_MODES, extension] if extension.kind == 41 else [extension]
        yield _case(
            what,
            f"{empty} ({section if section.startswith('RFC') else f'RFC 8446, {section}'})",
            encode(client_hello([server_name(NAME), *others, *tail])),
        )
    for extension in (
        plain(43, "supported_versions", b"\3\3\4\3"),
        plain(10, "supported_groups", b"\0\3\0\x1d\0"),
        plain(13, "signature_algorithms", b"\0\3\4\3\4"),
    ):
        others = [e for e in TLS13 if e.kind != extension.kind]
        yield _case(
            f"half an entry in {extension.name}",
            "two-byte values come whole (RFC 8446, 3.4)",
            encode(client_hello([server_name(NAME), *others, extension])),
        )


def _left_over() -> Iterator[Case]:
    whole = [server_name(NAME), *TLS13]
    for count in (1, 4, 100):
        many = "a byte" if count == 1 else f"{count} bytes"
        yield _case(
            f"{many} behind the extensions", _LEFT_OVER, encode(client_hello(whole, after=bytes(count)))
        )
        yield _case(
            f"{many} behind the last extension, in their length",
            _LEFT_OVER,
            _message_with_tail(whole, bytes(count)),
        )
        for extension in (server_name(NAME), *TLS13, alpn(b"h2"), status_request(), PSK_MODES):
            longer = extension._replace(content=(*extension.content, bytes(count)))
            others = [e for e in whole if e.kind != extension.kind]
            yield _case(
                f"{many} behind the content of {extension.name}",
                _LEFT_OVER,
                encode(client_hello([*others, longer])),
                family=f"bytes left over in {extension.name}",
            )
    for name, tail in {
        "a byte instead of the extensions' length": b"\0",
        "extensions of one byte, and none there": b"\0\1",
        "extensions of no bytes, and one behind them": b"\0\0\0",
    }.items():
        message = encode(client_hello(None, after=tail))
        yield Case(Group.LENGTHS, name, _LEFT_OVER, records(message), Severity.LOW)
    yield Case(
        Group.LENGTHS,
        "extensions of no bytes",
        "the list may be empty (RFC 5246, 7.4.1.4)",
        records(encode(client_hello([]))),
    )
    yield _case("a hello without a body", _DISAGREE, b"\1\0\0\0")
    yield _case(
        "a hello that ends with its random",
        _DISAGREE,
        encode((b"\1", Vector("message", 3, (MESSAGE[4:38],)))),
    )


def _message_with_tail(extensions: list[Extension], tail: bytes) -> bytes:
    """A message with `tail` inside the extensions, where the next one would begin."""
    head, message = client_hello(extensions)
    assert isinstance(message, Vector)
    *fixed, listed, after = message.content
    assert isinstance(listed, Vector)
    longer = listed._replace(content=(*listed.content, tail))
    return encode((head, message._replace(content=(*fixed, longer, after))))


def _duplicates() -> Iterator[Case]:
    whole = [server_name(NAME), *TLS13]
    for extension in (
        *TLS13,
        alpn(b"h2"),
        status_request(),
        PSK_MODES,
        plain(23, "extended_master_secret"),
        plain(35, "session_ticket"),
        plain(21, "padding"),
        plain(18, "signed_certificate_timestamp"),
        plain(0x0A0A, "GREASE"),
        plain(0x1234, "an unknown extension"),
    ):
        others = [e for e in whole if e.kind != extension.kind]
        yield _case(
            f"{extension.name}, twice", _TWICE, encode(client_hello([*others, extension, extension]))
        )
