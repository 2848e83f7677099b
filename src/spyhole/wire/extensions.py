"""The extensions of a ClientHello, each read as OpenSSL 3.0 reads it.

Every function here takes the content of one extension and refuses what OpenSSL refuses, with the
fault whose alert is OpenSSL's. What OpenSSL does not look at, these do not: a rule of RFC 8446 that it
does not enforce would make us refuse connections that work. In which hello they apply, and in which
order, is in `rules`.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from spyhole.wire.asn1 import is_extensions, is_name, is_responder_id
from spyhole.wire.faults import Fault, refuse
from spyhole.wire.groups import bad_share, is_weak
from spyhole.wire.message import GREASE

SSL3, TLS12, TLS13 = 0x0300, 0x0303, 0x0304

SERVER_NAME, MAX_FRAGMENT_LENGTH, STATUS_REQUEST, SUPPORTED_GROUPS, EC_POINT_FORMATS = 0, 1, 5, 10, 11
SRP, SIGNATURE_ALGORITHMS, USE_SRTP, ALPN, SIGNED_CERTIFICATE_TIMESTAMP, PADDING = 12, 13, 14, 16, 18, 21
ENCRYPT_THEN_MAC, EXTENDED_MASTER_SECRET, SESSION_TICKET, PRE_SHARED_KEY, EARLY_DATA = 22, 23, 35, 41, 42
SUPPORTED_VERSIONS, COOKIE, PSK_KEY_EXCHANGE_MODES, CERTIFICATE_AUTHORITIES = 43, 44, 45, 47
POST_HANDSHAKE_AUTH, SIGNATURE_ALGORITHMS_CERT, KEY_SHARE = 49, 50, 51
NEXT_PROTOCOL_NEGOTIATION, CRYPTOPRO_BUG, RENEGOTIATION_INFO = 13172, 0xFDE8, 0xFF01

# Those that OpenSSL knows may come once; it lets a client repeat any other, and so do we.
ONCE: Final = frozenset({
    SERVER_NAME, MAX_FRAGMENT_LENGTH, STATUS_REQUEST, SUPPORTED_GROUPS, EC_POINT_FORMATS, SRP,
    SIGNATURE_ALGORITHMS, USE_SRTP, ALPN, SIGNED_CERTIFICATE_TIMESTAMP, PADDING, ENCRYPT_THEN_MAC,
    EXTENDED_MASTER_SECRET, SESSION_TICKET, PRE_SHARED_KEY, EARLY_DATA, SUPPORTED_VERSIONS, COOKIE,
    PSK_KEY_EXCHANGE_MODES, CERTIFICATE_AUTHORITIES, POST_HANDSHAKE_AUTH, SIGNATURE_ALGORITHMS_CERT,
    KEY_SHARE, NEXT_PROTOCOL_NEGOTIATION, CRYPTOPRO_BUG, RENEGOTIATION_INFO,
})  # fmt: skip

# Those whose content a check of ours looks at.
LOOKED_AT: Final = frozenset({
    SERVER_NAME, MAX_FRAGMENT_LENGTH, STATUS_REQUEST, SUPPORTED_GROUPS, EC_POINT_FORMATS, SRP,
    SIGNATURE_ALGORITHMS, ALPN, EXTENDED_MASTER_SECRET, PRE_SHARED_KEY, EARLY_DATA, SUPPORTED_VERSIONS,
    PSK_KEY_EXCHANGE_MODES, CERTIFICATE_AUTHORITIES, POST_HANDSHAKE_AUTH, SIGNATURE_ALGORITHMS_CERT,
    KEY_SHARE, RENEGOTIATION_INFO,
})  # fmt: skip

_name_header = Struct(">HBH").unpack_from
_two_shorts = Struct(">HH").unpack_from


# What routing reads, and the parsers that others share.


def parse_server_name(body: bytes) -> bytes:
    """The host_name, exactly as sent: one entry and of that type, as OpenSSL has it (RFC 6066, 3)."""
    size = len(body)
    if size < 5:
        refuse(Fault.BAD_EXTENSION, "empty or cut short", extension=SERVER_NAME)
    list_size, kind, name_size = _name_header(body)
    if kind != 0:
        refuse(Fault.BAD_EXTENSION, f"a name of type {kind}, not host_name", extension=SERVER_NAME)
    if list_size != size - 2 or name_size != size - 5:
        refuse(Fault.BAD_EXTENSION, "lengths that disagree, or a second name", extension=SERVER_NAME)
    name = body[5:]
    if name_size > 255:
        refuse(Fault.BAD_SERVER_NAME, f"a name of {name_size} bytes, over 255", extension=SERVER_NAME)
    if 0 in name:
        refuse(Fault.BAD_SERVER_NAME, f"a name with a zero byte: {name!r}", extension=SERVER_NAME)
    return name


def parse_alpn(body: bytes) -> tuple[bytes, ...]:
    """The protocols offered, in the client's order (RFC 7301, 3.1)."""
    protocols = []
    pos, end = 2, len(body)
    if end < 4 or int.from_bytes(body[:2]) != end - 2:
        refuse(Fault.BAD_EXTENSION, "lengths that disagree")
    while pos < end:
        stop = pos + 1 + body[pos]
        if stop > end or stop == pos + 1:
            refuse(Fault.BAD_EXTENSION, "a protocol that is empty or cut short")
        protocols.append(body[pos + 1 : stop])
        pos = stop
    return tuple(protocols)


def parse_supported_versions(body: bytes) -> tuple[int, ...]:
    """The versions offered, in the client's order, without GREASE (RFC 8446, 4.2.1)."""
    if not body or body[0] != len(body) - 1 or body[0] % 2:
        refuse(Fault.BAD_SUPPORTED_VERSIONS, "lengths that disagree", extension=SUPPORTED_VERSIONS)
    return tuple(v for v in _shorts(body[1:]) if v not in GREASE)


def parse_u16_list(body: bytes) -> tuple[int, ...]:
    """A list of 16-bit values behind its length, at least one: groups, signature algorithms."""
    if not _is_filled_list(body) or len(body) % 2:
        refuse(Fault.BAD_EXTENSION, "an empty list, or lengths that disagree")
    return _shorts(body[2:])


# What OpenSSL checks besides.


def check_max_fragment_length(body: bytes) -> None:
    if len(body) != 1:
        refuse(Fault.BAD_EXTENSION, f"{len(body)} bytes, not 1")
    if not 1 <= body[0] <= 4:
        refuse(Fault.BAD_EXTENSION_VALUE, f"code {body[0]}, not 1 to 4")


def check_srp(body: bytes) -> None:
    if not body or body[0] != len(body) - 1 or 0 in body[1:]:
        refuse(Fault.BAD_EXTENSION, "lengths that disagree, or a zero byte")


def check_u8_list(body: bytes) -> None:
    if len(body) < 2 or body[0] != len(body) - 1:
        refuse(Fault.BAD_EXTENSION, "an empty list, or lengths that disagree")


def check_u16_list_loosely(body: bytes) -> None:
    # before TLS 1.2 OpenSSL has no use for signature algorithms and looks at the length alone
    if not _is_filled_list(body):
        refuse(Fault.BAD_EXTENSION, "an empty list, or lengths that disagree")


def check_empty(body: bytes) -> None:
    if body:
        refuse(Fault.BAD_EXTENSION, f"{len(body)} bytes, not none")


def check_renegotiation_info(body: bytes) -> None:
    if not body or body[0] > len(body) - 1:
        refuse(Fault.BAD_EXTENSION, "cut short")
    if body[0]:
        refuse(Fault.RENEGOTIATION, f"{body[0]} bytes of an earlier handshake in a first hello")


def check_status_request(body: bytes) -> None:
    if not body:
        refuse(Fault.BAD_EXTENSION, "empty")
    if body[0] != 1:
        return  # a status type other than ocsp is ignored
    ids = _vector(body, 1)
    extensions = None if ids is None else _vector(body, 3 + len(ids))
    if ids is None or extensions is None or len(body) != 5 + len(ids) + len(extensions):
        refuse(Fault.BAD_EXTENSION, "lengths that disagree")
    _check_each(ids, "a responder id", is_responder_id)
    if extensions and not is_extensions(extensions):
        refuse(Fault.BAD_EXTENSION, "request extensions that do not decode")


def check_certificate_authorities(body: bytes) -> None:
    names = _vector(body, 0)
    if names is None or len(body) != 2 + len(names):
        refuse(Fault.BAD_EXTENSION, "lengths that disagree")
    _check_each(names, "a name", is_name)


def _check_each(entries: bytes, what: str, is_valid: Callable[[bytes], bool]) -> None:
    pos = 0
    while pos < len(entries):
        entry = _vector(entries, pos)
        if not entry or not is_valid(entry):
            refuse(Fault.BAD_EXTENSION, f"{what} that does not decode")
        pos += 2 + len(entry)


def check_psk(body: bytes) -> None:
    """The identities; the binders are looked at by a server that knows one of them."""
    identities = _vector(body, 0)
    if identities is None:
        refuse(Fault.BAD_EXTENSION, "cut short")
    pos, end = 0, len(identities)
    while pos < end:
        identity = _vector(identities, pos)
        if not identity or pos + 6 + len(identity) > end:
            refuse(Fault.BAD_EXTENSION, "an identity that is empty or cut short")
        pos += 6 + len(identity)


def check_key_share(body: bytes, groups: tuple[int, ...] | None) -> int | None:
    """Every entry whole; and those that a server meets before one it can use, each in `groups`.

    Returns the group of the usable one if it is of small order: OpenSSL refuses that last of all.
    """
    pos, end = 2, len(body)
    if end < 2 or int.from_bytes(body[:2]) != end - 2:
        refuse(Fault.BAD_EXTENSION, "lengths that disagree", extension=KEY_SHARE)
    if groups is None:
        refuse(Fault.MISSING_EXTENSION, "without supported_groups", extension=KEY_SHARE)
    usable = False
    weak = None
    while pos < end:
        if end - pos < 4:
            refuse(Fault.BAD_EXTENSION, "an entry that is cut short", extension=KEY_SHARE)
        group, size = _two_shorts(body, pos)
        pos += 4 + size
        if pos > end or not size:
            refuse(Fault.BAD_EXTENSION, "an entry that is empty or cut short", extension=KEY_SHARE)
        if not usable:
            if group not in groups:
                refuse(
                    Fault.BAD_KEY_SHARE,
                    f"group 0x{group:04x} is not in supported_groups",
                    extension=KEY_SHARE,
                )
            verdict = bad_share(group, body, pos - size, size)
            if verdict:
                refuse(Fault.BAD_KEY_SHARE, verdict, extension=KEY_SHARE)
            usable = verdict is not None
            if usable and is_weak(group, body[pos - size : pos]):
                weak = group
    return weak


def _is_filled_list(body: bytes) -> bool:
    return len(body) > 2 and int.from_bytes(body[:2]) == len(body) - 2


def _vector(body: bytes, pos: int) -> bytes | None:
    """The bytes behind the 16-bit length at `pos`, or None if they are not all there."""
    start = pos + 2
    stop = start + int.from_bytes(body[pos:start])
    return None if start > len(body) or stop > len(body) else body[start:stop]


def _shorts(data: bytes) -> tuple[int, ...]:
    return tuple(a << 8 | b for a, b in zip(data[::2], data[1::2], strict=True))
