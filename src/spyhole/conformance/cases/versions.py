"""Versions: of records, of hellos, of TLS; and messages that are no ClientHello."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spyhole.conformance.case import Case, Group, Severity
from spyhole.conformance.cases.plain import MESSAGE, NAME
from spyhole.conformance.hello import (
    RANDOM,
    SESSION_ID,
    TLS10,
    TLS11,
    TLS12,
    TLS13,
    TLS13_VERSION,
    Extension,
    Vector,
    client_hello,
    encode,
    server_name,
    supported_versions,
    u16s,
)
from spyhole.conformance.records import record, records

if TYPE_CHECKING:
    from collections.abc import Iterator

_GREASE: Final = (0x0A0A, 0x1A1A, 0xFAFA)
_RECORD: Final = "a record's version is 3.x, and which is not looked at (RFC 8446, 5.1)"
_HELLO: Final = "a hello's version is there for older servers (RFC 8446, 4.1.2)"
_LISTED: Final = "supported_versions decides when it is there (RFC 8446, 4.2.1)"
_MESSAGES: Final = "a connection begins with a ClientHello (RFC 8446, 4)"


def cases() -> list[Case]:
    return [*_records(), *_hellos(), *_listed(), *_messages(), *_other_formats()]


def _case(
    name: str,
    why: str,
    wire: bytes,
    severity: Severity = Severity.MEDIUM,
    cve: str = "",
    *,
    may_refuse: bool = False,
    tls: bool = True,
) -> Case:
    return Case(Group.VERSIONS, name, why, wire, severity, cve, NAME, may_refuse=may_refuse, tls=tls)


def _records() -> Iterator[Case]:
    for version in (0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x03FF):
        yield _case(f"a record of version {_dotted(version)}", _RECORD, record(MESSAGE, version=version))
    for version in (0x0000, 0x0200, 0x0400, 0x1603, 0xFEFF, 0xFEFD):
        yield _case(
            f"a record of version {_dotted(version)}", _RECORD, record(MESSAGE, version=version), tls=False
        )
    for version in (0x0300, 0x0303, 0x03FF, 0x0200, 0x0400):
        wire = record(MESSAGE[:100]) + record(MESSAGE[100:], version=version)
        yield _case(f"the second record of version {_dotted(version)}", _RECORD, wire)


def _hellos() -> Iterator[Case]:
    for version in (TLS10, TLS11, TLS12, TLS13_VERSION, 0x03FF):
        yield _case(
            f"a hello of version {_dotted(version)}, without supported_versions",
            _HELLO,
            records(encode(client_hello([server_name(NAME), *TLS13[1:3]], legacy=version))),
        )
    for version in (0x0301, 0x0304, 0x0300, 0x0002, 0x0200, 0x0400, 0xFEFD, 0xFFFF):
        yield _case(
            f"a hello of version {_dotted(version)}, with TLS 1.3 in supported_versions",
            _HELLO,
            records(encode(client_hello([server_name(NAME), *TLS13], legacy=version))),
            may_refuse=version not in (0x0301, 0x0304),
        )
    for version in (0x0300, 0x0002, 0x0200):
        yield _case(
            f"a hello of version {_dotted(version)}",
            "SSL 3.0 and older are gone (RFC 7568, RFC 6176)",
            records(encode(client_hello([server_name(NAME)], legacy=version))),
        )
    yield Case(
        Group.VERSIONS,
        "a hello without extensions",
        "TLS 1.0 has none (RFC 2246, 7.4.1.2)",
        records(encode(client_hello(None, legacy=TLS10))),
    )


def _listed() -> Iterator[Case]:
    def hello(versions: Extension) -> bytes:
        return records(encode(client_hello([server_name(NAME), versions, *TLS13[1:]])))

    only = "a client of TLS 1.3 alone is a client of TLS"
    yield _case(
        "TLS 1.3 only",
        only,
        hello(supported_versions(TLS13_VERSION)),
        cve="CVE-2020-8660",
        severity=Severity.HIGH,
    )
    yield _case("TLS 1.2 only", _LISTED, hello(supported_versions(TLS12)))
    yield _case("TLS 1.0 and 1.1", _LISTED, hello(supported_versions(TLS11, TLS10)))
    yield _case("TLS 1.4 and 1.3", _LISTED, hello(supported_versions(0x0305, TLS13_VERSION)))
    yield _case("GREASE and TLS 1.3", "RFC 8701, 3.1", hello(supported_versions(*_GREASE, TLS13_VERSION)))
    yield _case("GREASE only", _LISTED, hello(supported_versions(*_GREASE)))
    yield _case("TLS 1.4 only", _LISTED, hello(supported_versions(0x0305)))
    yield _case("SSL 3.0 only", _LISTED, hello(supported_versions(0x0300)))
    yield _case("a draft of TLS 1.3", _LISTED, hello(supported_versions(0x7F1C)))
    yield _case("127 versions", _LISTED, hello(supported_versions(*[TLS13_VERSION, *[0x0A0A] * 126])))


def _messages() -> Iterator[Case]:
    body = u16s(TLS12) + RANDOM + bytes([len(SESSION_ID)]) + SESSION_ID + u16s(0x1301) + b"\0"
    versions = Extension(43, "supported_versions", (u16s(TLS13_VERSION),))
    listed = u16s(versions.kind) + encode(Vector("", 2, versions.content))
    hello = (b"\2", Vector("message", 3, (body, Vector("extensions", 2, (listed,)))))
    yield _case("a ServerHello", _MESSAGES, records(encode(hello)))
    yield _case("a ServerHello with the body of a ClientHello", _MESSAGES, records(b"\2" + MESSAGE[1:]))
    for kind, what in {
        0: "a HelloRequest",
        4: "a NewSessionTicket",
        8: "EncryptedExtensions",
        11: "a Certificate",
        16: "a ClientKeyExchange",
        20: "a Finished",
        24: "a KeyUpdate",
        254: "a message_hash",
        255: "a message of no known type",
    }.items():
        yield _case(
            f"{what} with the body of a ClientHello", _MESSAGES, records(bytes([kind]) + MESSAGE[1:])
        )
    yield _case("an empty HelloRequest", _MESSAGES, records(b"\0\0\0\0"))


def _other_formats() -> Iterator[Case]:
    v2 = "the format of SSL 2.0 has no server name (RFC 6176): refused, or as if there were none"
    ciphers = bytes.fromhex("010080 0700c0 00002f 000035 00c013".replace(" ", ""))
    for name, version in {"SSL 2.0": 0x0002, "TLS 1.0": TLS10, "TLS 1.2": TLS12}.items():
        body = b"\1" + u16s(version, len(ciphers), 0, 16) + ciphers + RANDOM[:16]
        yield Case(
            Group.VERSIONS,
            f"a hello in the format of SSL 2.0, for {name}",
            v2,
            (0x8000 | len(body)).to_bytes(2) + body,
            Severity.LOW,
            may_refuse=True,
        )
    datagram = MESSAGE[:4] + bytes(2) + bytes(3) + MESSAGE[1:4] + b"\xfe\xfd" + MESSAGE[6:]
    for name, record_version in {"1.0": b"\xfe\xff", "1.2": b"\xfe\xfd"}.items():
        yield _case(
            f"a hello of DTLS {name}",
            "DTLS is for datagrams (RFC 9147)",
            b"\x16" + record_version + bytes(8) + len(datagram).to_bytes(2) + datagram,
            tls=False,
            severity=Severity.LOW,
        )


def _dotted(version: int) -> str:
    return f"{version >> 8}.{version & 0xFF}"
