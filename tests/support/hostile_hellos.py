"""Hellos that attack a parser, each by name: those OpenSSL refuses, and odd ones that it takes."""

from __future__ import annotations

from spyhole.wire.client_hello import Fault
from support.hellos import TLS13_NEEDS, alpn, hello, message, record, records, server_name, u16s, vector

NAMED = [*TLS13_NEEDS, server_name(b"a.test")]
RAW = hello(NAMED)
WIRE = records(RAW)
OLD = hello([server_name(b"a.test")])


def tls12(*extensions: tuple[int, bytes], legacy: int = 0x0303) -> bytes:
    return records(hello(extensions, legacy=legacy))


def tls13(*extra: tuple[int, bytes]) -> bytes:
    return records(hello([*NAMED, *extra]))


def without(kind: int) -> bytes:
    return records(hello([e for e in NAMED if e[0] != kind]))


def shares(*entries: bytes) -> bytes:
    """A TLS 1.3 hello with these entries of key_share; its groups are those of TLS13_NEEDS."""
    return records(hello([*NAMED[:3], (51, vector(b"".join(entries), 2))]))


def share(group: int, value: bytes) -> bytes:
    return u16s(group) + vector(value, 2)


def status_request(ids: bytes = b"", extensions: bytes = b"") -> tuple[int, bytes]:
    return 5, b"\1" + vector(ids, 2) + vector(extensions, 2)


_NAMES = b"".join(b"\0" + vector(name, 2) for name in (b"a.test", b"b.test"))
_OTHER_TYPE = b"\1" + vector(b"a.test", 2)
_NO_PSK: tuple[int, bytes] = (41, vector(b"", 2))
_EMPTY_PSK: tuple[int, bytes] = (41, vector(vector(b"", 2) + bytes(4), 2))
_BOTH_MODES: tuple[int, bytes] = (45, b"\2\0\1")
_AUTHORITY = bytes.fromhex("300d310b3009060355040613024445")  # C=DE

# For each: what the client sends, and the fault. Where a fault has an alert, OpenSSL sends the same.
HOSTILE: dict[str, tuple[bytes, Fault]] = {
    # records
    "a record over 2^14": (b"\x16\x03\x01\x40\x01", Fault.RECORD_OVERFLOW),
    "a later record of version 2": (record(RAW[:9]) + record(RAW[9:], 22, 0x0200), Fault.RECORD_VERSION),
    "33 empty records": (record(b"") * 33, Fault.TOO_MANY_EMPTY_RECORDS),
    "33 empty records inside": (record(RAW[:50]) + record(b"") * 33, Fault.TOO_MANY_EMPTY_RECORDS),
    "an alert first": (record(b"\1\0", 21) + WIRE, Fault.UNEXPECTED_RECORD),
    "application data first": (record(b"x", 23) + WIRE, Fault.UNEXPECTED_RECORD),
    "a heartbeat first": (record(bytes(19), 24) + WIRE, Fault.UNEXPECTED_RECORD),
    "a hello as application data": (record(RAW, 23), Fault.UNEXPECTED_RECORD),
    "a hello as an alert": (record(RAW, 21), Fault.UNEXPECTED_RECORD),
    "change_cipher_spec first": (record(b"\1", 20) + WIRE, Fault.UNEXPECTED_RECORD),
    "change_cipher_spec inside": (
        record(RAW[:50]) + record(b"\1", 20) + record(RAW[50:]),
        Fault.UNEXPECTED_RECORD,
    ),
    "an empty change_cipher_spec after the message's header": (
        record(RAW[:4]) + record(b"", 20) + record(RAW[4:]),
        Fault.UNEXPECTED_RECORD,
    ),
    "an alert inside": (record(RAW[:50]) + record(b"\1\0", 21) + record(RAW[50:]), Fault.UNEXPECTED_RECORD),
    "an SSLv2-format hello": (bytes.fromhex("802e0103010015000000100100800300800700c0"), Fault.SSLV2_HELLO),
    "the shortest of SSLv2": (bytes.fromhex("80090103010000000000ff"), Fault.SSLV2_HELLO),
    "SSLv2 itself": (bytes.fromhex("802e0100020015000000100100800300800700c0"), Fault.SSLV2_HELLO),
    "a ServerHello": (records(message(RAW[4:], 2)), Fault.UNEXPECTED_MESSAGE),
    "over the cap": (records(message(bytes(65_600))), Fault.HELLO_TOO_LARGE),
    "sixteen megabytes announced": (record(b"\1\xff\xff\xff"), Fault.HELLO_TOO_LARGE),
    "TLS 1.3 and a byte more in the record": (record(RAW + b"\1"), Fault.NOT_ON_RECORD_BOUNDARY),
    # the message
    "no body": (records(message(b"")), Fault.LENGTH_MISMATCH),
    "a session id of 33 bytes": (records(hello(NAMED, session_id=bytes(33))), Fault.LENGTH_MISMATCH),
    "bytes left over": (records(hello(NAMED, after=b"\0")), Fault.LENGTH_MISMATCH),
    "one byte instead of extensions": (records(hello(None, after=b"\0")), Fault.LENGTH_MISMATCH),
    "half a cipher": (records(hello(NAMED, ciphers=b"\x13\x01\x13")), Fault.LENGTH_MISMATCH),
    "no ciphers": (records(hello(NAMED, ciphers=b"")), Fault.NO_CIPHERS),
    "no compression methods": (records(hello(NAMED, compression=b"")), Fault.NO_NULL_COMPRESSION),
    "deflate alone": (records(hello(compression=b"\1")), Fault.NO_NULL_COMPRESSION),
    "TLS 1.3 with deflate": (records(hello(NAMED, compression=b"\1\0")), Fault.TLS13_COMPRESSION),
    "SSL 3.0": (tls12(legacy=0x0300), Fault.UNSUPPORTED_VERSION),
    "version 2.9": (tls12(legacy=0x0209), Fault.UNSUPPORTED_VERSION),
    "TLS 1.3 over SSL 3.0": (records(hello(NAMED, legacy=0x0300)), Fault.UNSUPPORTED_VERSION),
    "an odd supported_versions": (tls12((43, b"\3\3\4\3"), *NAMED[1:]), Fault.BAD_SUPPORTED_VERSIONS),
    # the list of extensions
    "the last extension runs over": (
        records(message(RAW[4:-12] + b"\0\x0e" + RAW[-10:])),
        Fault.BAD_EXTENSION,
    ),
    "two server_name extensions": (tls13(server_name(b"b.test")), Fault.DUPLICATE_EXTENSION),
    "the same server_name twice": (tls13(NAMED[-1]), Fault.DUPLICATE_EXTENSION),
    "two ALPN": (tls12(alpn(b"h2"), alpn(b"h2")), Fault.DUPLICATE_EXTENSION),
    "two paddings": (tls12((21, b""), (21, b"")), Fault.DUPLICATE_EXTENSION),
    "use_srtp": (tls12((14, b"\0\2\0\1\0")), Fault.FORBIDDEN_EXTENSION),
    "pre_shared_key before the end": (tls12(_BOTH_MODES, _NO_PSK, *NAMED), Fault.PSK_NOT_LAST),
    "pre_shared_key without its modes": (tls13(_NO_PSK), Fault.MISSING_EXTENSION),
    "the same in TLS 1.2": (tls12(_NO_PSK), Fault.MISSING_EXTENSION),
    "key_share without supported_groups": (without(10), Fault.MISSING_EXTENSION),
    "no key_share": (without(51), Fault.MISSING_EXTENSION),
    "no signature_algorithms": (without(13), Fault.MISSING_EXTENSION),
    # server_name
    "two names": (tls12((0, vector(_NAMES, 2))), Fault.BAD_EXTENSION),
    "a name of another type": (tls12((0, vector(_OTHER_TYPE, 2))), Fault.BAD_EXTENSION),
    "an empty server_name": (tls12((0, b"")), Fault.BAD_EXTENSION),
    "an empty list of names": (tls12((0, b"\0\0")), Fault.BAD_EXTENSION),
    "a name with a zero byte": (tls12(server_name(b"a.test\0.b")), Fault.BAD_SERVER_NAME),
    "a name of 256 bytes": (tls12(server_name(b"a" * 256)), Fault.BAD_SERVER_NAME),
    # the others
    "an empty protocol": (tls12(alpn(b"h2", b"")), Fault.BAD_EXTENSION),
    "no protocol": (tls12(alpn()), Fault.BAD_EXTENSION),
    "max_fragment_length 5": (tls12((1, b"\5")), Fault.BAD_EXTENSION_VALUE),
    "max_fragment_length of two bytes": (tls12((1, b"\1\1")), Fault.BAD_EXTENSION),
    "no groups": (tls12((10, b"\0\0")), Fault.BAD_EXTENSION),
    "half a group": (tls12((10, b"\0\3\0\x1d\0")), Fault.BAD_EXTENSION),
    "no point formats": (tls12((11, b"\0")), Fault.BAD_EXTENSION),
    "a zero in srp": (tls12((12, b"\2a\0")), Fault.BAD_EXTENSION),
    "half a signature algorithm": (tls12((13, b"\0\3\4\3\4")), Fault.BAD_EXTENSION),
    "status_request cut short": (tls12((5, b"\1\0\0\0")), Fault.BAD_EXTENSION),
    "a responder id that is none": (tls12(status_request(vector(b"\x30\0", 2))), Fault.BAD_EXTENSION),
    "request extensions that are none": (tls12(status_request(b"", b"\x04\0")), Fault.BAD_EXTENSION),
    "extended_master_secret with content": (tls12((23, b"\0")), Fault.BAD_EXTENSION),
    "renegotiation_info with content": (tls12((0xFF01, b"\1\0")), Fault.RENEGOTIATION),
    "renegotiation_info empty": (tls12((0xFF01, b"")), Fault.BAD_EXTENSION),
    "early_data with content": (tls13((42, b"\0")), Fault.BAD_EXTENSION),
    "post_handshake_auth with content": (tls13((49, b"\0")), Fault.BAD_EXTENSION),
    "no psk modes": (tls13((45, b"\0")), Fault.BAD_EXTENSION),
    "an empty identity": (tls13(_BOTH_MODES, _EMPTY_PSK), Fault.BAD_EXTENSION),
    "an authority that is no name": (tls13((47, vector(vector(b"\x31\0", 2), 2))), Fault.BAD_EXTENSION),
    "an authority cut short": (tls13((47, b"\0\2\0")), Fault.BAD_EXTENSION),
    "authorities and a byte more": (tls13((47, b"\0\0\0")), Fault.BAD_EXTENSION),
    "identities cut short": (tls13(_BOTH_MODES, (41, b"\0\7\0\1x")), Fault.BAD_EXTENSION),
    "an identity cut short": (tls13(_BOTH_MODES, (41, vector(b"\0\1x\0\0\0", 2))), Fault.BAD_EXTENSION),
    "key_share cut short": (tls12(*NAMED[:3], (51, b"\0\5\0")), Fault.BAD_EXTENSION),
    "key_share of another length": (
        tls12(*NAMED[:3], (51, b"\0\x23" + share(29, RAW[:32]))),
        Fault.BAD_EXTENSION,
    ),
    "key_share and a byte more": (tls12(*NAMED[:3], (51, b"\0\0\0")), Fault.BAD_EXTENSION),
    "half an entry of key_share": (shares(b"\0\x1d"), Fault.BAD_EXTENSION),
    "an entry of key_share runs over": (shares(b"\0\x1d\0\x20x"), Fault.BAD_EXTENSION),
    "a broken entry behind a good one": (shares(share(29, RAW[:32]), b"\0\x1d\0"), Fault.BAD_EXTENSION),
    "a share of a group not offered": (shares(share(0x4321, b"x")), Fault.BAD_KEY_SHARE),
    "no signature algorithms in TLS 1.0": (tls12((13, b"\0\0"), legacy=0x0301), Fault.BAD_EXTENSION),
    "max_fragment_length 0": (tls12((1, b"\0")), Fault.BAD_EXTENSION_VALUE),
    "an empty share": (shares(share(29, b"")), Fault.BAD_EXTENSION),
    "X25519 of 31 bytes": (shares(share(29, bytes(31))), Fault.BAD_KEY_SHARE),
    "a point off its curve": (shares(share(23, b"\4" + bytes(64))), Fault.BAD_KEY_SHARE),
    "an X25519 value of small order": (shares(share(29, bytes(32))), Fault.BAD_KEY_SHARE),
    # OpenSSL finds a small order when it derives the secret, after everything else
    "small order and no signature_algorithms": (
        records(hello([*NAMED[:2], (51, vector(share(29, bytes(32)), 2))])),
        Fault.MISSING_EXTENSION,
    ),
    "small order and early_data with content": (
        records(hello([*NAMED[:3], (51, vector(share(29, bytes(32)), 2)), (42, b"\0")])),
        Fault.BAD_EXTENSION,
    ),
    "a compressed point": (shares(share(23, b"\2" + bytes(32))), Fault.BAD_KEY_SHARE),
}

ODD: dict[str, bytes] = {
    "32 empty records": record(b"") * 32 + WIRE,
    "32 empty records, twice": record(b"") * 32 + record(RAW[:1]) + record(b"") * 32 + record(RAW[1:]),
    "an empty change_cipher_spec first": record(b"", 20) + WIRE,
    "records of versions 3.0 and 3.255": record(RAW[:9], 22, 0x0300) + record(RAW[9:], 22, 0x03FF),
    "TLS 1.2 and a byte more in the record": record(OLD + b"\x10"),
    "no extensions at all": records(hello(None)),
    "an unknown extension twice": tls13((0x1234, b""), (0x1234, b"")),
    "GREASE twice": tls13((0x0A0A, b""), (0x0A0A, b"\0")),
    "an empty name": tls12(server_name(b"")),
    "an address for a name": tls12(server_name(b"192.0.2.1")),
    "a name of 255 bytes": tls12(server_name(b"a" * 255)),
    "a protocol of one byte": tls12(alpn(b"h")),
    "max_fragment_length 1": tls12((1, b"\1")),
    "max_fragment_length 4": tls12((1, b"\4")),
    "a login for srp": tls12((12, b"\1a")),
    "an identity that nobody knows": tls13(
        _BOTH_MODES, (41, vector(vector(b"key", 2) + bytes(4), 2) + vector(vector(bytes(32), 1), 2))
    ),
    "identities nobody can use": tls13((45, b"\1\7"), (41, b"")),
    "renegotiation_info with a tail": tls12((0xFF01, b"\0\0")),
    "encrypt_then_mac with content": tls12((22, b"\0")),
    "extensions of TLS 1.2 in TLS 1.3": tls13((23, b"\0"), (0xFF01, b"\1\0"), (11, b"")),
    "extensions of TLS 1.3 in TLS 1.2": tls12((51, b"\0"), (42, b"\0"), (45, b"")),
    "half a signature algorithm in TLS 1.0": tls12((13, b"\0\3\4\3\4"), legacy=0x0301),
    "a responder id": tls12(status_request(vector(b"\xa2\3\4\1x", 2))),
    "an authority": tls13((47, vector(vector(_AUTHORITY, 2), 2))),
    "a share of an unknown group first": shares(share(0x1234, b"x"), share(29, RAW[:32])),
    "a bad share after a good one": shares(share(29, RAW[:32]), share(24, b"x")),
    "no key share yet": shares(),
    "64 KiB in all": tls13((0x1234, bytes(65_536 - len(RAW) - 4))),
}
