"""The extensions of a ClientHello, held to OpenSSL's rules (3.0, a server that speaks TLS 1.0 to 1.3).

Each function here reads the content of one extension, and refuses what OpenSSL refuses whatever its
configuration is, with OpenSSL's alert. What it does not look at, it does not look at here: a rule of
RFC 8446 that OpenSSL does not enforce would make us refuse connections that work.

The order of the two tables below is the order in which OpenSSL looks at extensions: of two things
that are wrong in one hello, it decides which one is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Final, Protocol, TypeVar

from spyhole.wire.alerts import Alert
from spyhole.wire.asn1 import is_extensions, is_name, is_responder_id
from spyhole.wire.faults import ClientHelloError, Fault, refuse
from spyhole.wire.groups import bad_share
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

Extensions = Mapping[int, bytes]
Check = Callable[[bytes], object]
T = TypeVar("T")


class Remember(Protocol):
    """Turns a check into one that does the same, perhaps from memory."""

    def __call__(self, check: Callable[[bytes], T], /) -> Callable[[bytes], T]: ...


_name_header = Struct(">HBH").unpack_from
_two_shorts = Struct(">HH").unpack_from


# What routing reads, and the parsers that others share.


def parse_server_name(body: bytes) -> bytes:
    """The host_name, exactly as sent: one entry and of that type, as OpenSSL has it (RFC 6066, 3)."""
    size = len(body)
    if size < 5:
        refuse(Fault.BAD_EXTENSION, "server_name is empty or cut short")
    list_size, kind, name_size = _name_header(body)
    if kind != 0:
        refuse(Fault.BAD_EXTENSION, f"server_name has a name of type {kind}, not host_name")
    if list_size != size - 2 or name_size != size - 5:
        refuse(Fault.BAD_EXTENSION, "server_name's lengths disagree, or it has a second name")
    name = body[5:]
    if name_size > 255:
        refuse(Fault.BAD_SERVER_NAME, f"the server name has {name_size} bytes, over 255")
    if 0 in name:
        refuse(Fault.BAD_SERVER_NAME, f"the server name has a zero byte: {name!r}")
    return name


def parse_alpn(body: bytes) -> tuple[bytes, ...]:
    """The protocols offered, in the client's order (RFC 7301, 3.1)."""
    protocols = []
    pos, end = 2, len(body)
    if end < 4 or int.from_bytes(body[:2]) != end - 2:
        refuse(Fault.BAD_EXTENSION, "application_layer_protocol_negotiation's lengths disagree")
    while pos < end:
        stop = pos + 1 + body[pos]
        if stop > end or stop == pos + 1:
            refuse(
                Fault.BAD_EXTENSION, "a protocol of application_layer_protocol_negotiation is empty or cut"
            )
        protocols.append(body[pos + 1 : stop])
        pos = stop
    return tuple(protocols)


def parse_supported_versions(body: bytes) -> tuple[int, ...]:
    """The versions offered, in the client's order, without GREASE (RFC 8446, 4.2.1)."""
    if not body or body[0] != len(body) - 1 or body[0] % 2:
        refuse(Fault.BAD_SUPPORTED_VERSIONS, "supported_versions' lengths disagree")
    return tuple(v for v in _shorts(body[1:]) if v not in GREASE)


def parse_u16_list(body: bytes) -> tuple[int, ...]:
    """A list of 16-bit values behind its length, at least one: groups, signature algorithms."""
    if not _is_filled_list(body) or len(body) % 2:
        refuse(Fault.BAD_EXTENSION, "a list of 16-bit values is empty or its lengths disagree")
    return _shorts(body[2:])


# What OpenSSL checks besides.


def _check_max_fragment_length(body: bytes) -> None:
    if len(body) != 1:
        refuse(Fault.BAD_EXTENSION, f"max_fragment_length has {len(body)} bytes, not 1")
    if not 1 <= body[0] <= 4:
        refuse(Fault.BAD_EXTENSION_VALUE, f"max_fragment_length is {body[0]}, not 1 to 4")


def _check_srp(body: bytes) -> None:
    if not body or body[0] != len(body) - 1 or 0 in body[1:]:
        refuse(Fault.BAD_EXTENSION, "srp's lengths disagree, or it has a zero byte")


def _check_u8_list(body: bytes) -> None:
    if len(body) < 2 or body[0] != len(body) - 1:
        refuse(Fault.BAD_EXTENSION, "a list of 8-bit values is empty or its lengths disagree")


def _check_u16_list_loosely(body: bytes) -> None:
    # before TLS 1.2 OpenSSL has no use for signature algorithms and looks at the length alone
    if not _is_filled_list(body):
        refuse(Fault.BAD_EXTENSION, "a list is empty or its lengths disagree")


def _check_empty(body: bytes) -> None:
    if body:
        refuse(Fault.BAD_EXTENSION, f"an extension that must be empty has {len(body)} bytes")


def _check_renegotiation_info(body: bytes) -> None:
    if not body or body[0] > len(body) - 1:
        refuse(Fault.BAD_EXTENSION, "renegotiation_info is cut short")
    if body[0]:
        refuse(Fault.RENEGOTIATION, f"renegotiation_info has {body[0]} bytes in a first hello, not 0")


def _check_status_request(body: bytes) -> None:
    if not body:
        refuse(Fault.BAD_EXTENSION, "status_request is empty")
    if body[0] != 1:
        return  # a status type other than ocsp is ignored
    ids = _vector(body, 1)
    extensions = None if ids is None else _vector(body, 3 + len(ids))
    if ids is None or extensions is None or len(body) != 5 + len(ids) + len(extensions):
        refuse(Fault.BAD_EXTENSION, "status_request's lengths disagree")
    _check_each(ids, "status_request's responder id", is_responder_id)
    if extensions and not is_extensions(extensions):
        refuse(Fault.BAD_EXTENSION, "status_request's extensions do not decode")


def _check_certificate_authorities(body: bytes) -> None:
    names = _vector(body, 0)
    if names is None or len(body) != 2 + len(names):
        refuse(Fault.BAD_EXTENSION, "certificate_authorities' lengths disagree")
    _check_each(names, "a name in certificate_authorities", is_name)


def _check_each(entries: bytes, what: str, is_valid: Callable[[bytes], bool]) -> None:
    pos = 0
    while pos < len(entries):
        entry = _vector(entries, pos)
        if not entry or not is_valid(entry):
            refuse(Fault.BAD_EXTENSION, f"{what} does not decode")
        pos += 2 + len(entry)


def _check_psk(body: bytes) -> None:
    """The identities; the binders are looked at by a server that knows one of them."""
    identities = _vector(body, 0)
    if identities is None:
        refuse(Fault.BAD_EXTENSION, "pre_shared_key is cut short")
    pos, end = 0, len(identities)
    while pos < end:
        identity = _vector(identities, pos)
        if not identity or pos + 6 + len(identity) > end:
            refuse(Fault.BAD_EXTENSION, "an identity of pre_shared_key is empty or cut short")
        pos += 6 + len(identity)


def _check_key_share(body: bytes, groups: tuple[int, ...] | None) -> None:
    """Every entry whole; and those that a server meets before one it can use, each in `groups`."""
    pos, end = 2, len(body)
    if end < 2 or int.from_bytes(body[:2]) != end - 2:
        refuse(Fault.BAD_EXTENSION, "key_share's lengths disagree")
    if groups is None:
        refuse(Fault.MISSING_EXTENSION, "key_share without supported_groups")
    usable = False
    while pos < end:
        if end - pos < 4:
            refuse(Fault.BAD_EXTENSION, "an entry of key_share is cut short")
        group, size = _two_shorts(body, pos)
        pos += 4 + size
        if pos > end or not size:
            refuse(Fault.BAD_EXTENSION, "an entry of key_share is empty or cut short")
        if not usable:
            if group not in groups:
                refuse(Fault.BAD_KEY_SHARE, f"key_share has group 0x{group:04x}, supported_groups does not")
            verdict = bad_share(group, body, pos - size, size)
            if verdict:
                refuse(Fault.BAD_KEY_SHARE, verdict)
            usable = verdict is not None


def _is_filled_list(body: bytes) -> bool:
    return len(body) > 2 and int.from_bytes(body[:2]) == len(body) - 2


def _vector(body: bytes, pos: int) -> bytes | None:
    """The bytes behind the 16-bit length at `pos`, or None if they are not all there."""
    start = pos + 2
    stop = start + int.from_bytes(body[pos:start])
    return None if start > len(body) or stop > len(body) else body[start:stop]


def _shorts(data: bytes) -> tuple[int, ...]:
    return tuple(a << 8 | b for a, b in zip(data[::2], data[1::2], strict=True))


class Rules:
    """The checks, in OpenSSL's order; `remember` may cache one that depends on nothing but the bytes."""

    def __init__(self, remember: Remember) -> None:
        u16_list, u8_list = remember(parse_u16_list), remember(_check_u8_list)
        parse_protocols, status_request = remember(parse_alpn), remember(_check_status_request)
        self.parse_versions = remember(parse_supported_versions)
        self.parse_protocols = parse_protocols
        self.parse_groups = u16_list
        self._u8_list = u8_list

        head = ((MAX_FRAGMENT_LENGTH, _check_max_fragment_length),)
        ec_and_srp = ((SRP, _check_srp), (EC_POINT_FORMATS, u8_list))
        middle = ((SUPPORTED_GROUPS, u16_list), (STATUS_REQUEST, status_request), (ALPN, parse_protocols))
        cert, own = SIGNATURE_ALGORITHMS_CERT, SIGNATURE_ALGORITHMS
        loose = _check_u16_list_loosely
        self._tls10 = (*head, *ec_and_srp, *middle, (cert, loose), (own, loose))
        self._tls12 = (*head, *ec_and_srp, *middle, (cert, u16_list), (own, u16_list))
        self._tls13 = (
            *head,
            *middle,
            (cert, u16_list),
            (POST_HANDSHAKE_AUTH, _check_empty),
            (own, u16_list),
        )

    def check_resumption(self, found: Extensions, version: int) -> None:
        """What OpenSSL reads before it looks for a session to resume."""
        if version != TLS13:
            if found.get(EXTENDED_MASTER_SECRET):
                _check_empty(found[EXTENDED_MASTER_SECRET])
            return
        modes = found.get(PSK_KEY_EXCHANGE_MODES)
        if modes is not None:
            self._u8_list(modes)
            if PRE_SHARED_KEY in found and 1 in modes[1:]:
                _check_psk(found[PRE_SHARED_KEY])

    def check_rest(self, found: Extensions, version: int) -> bytes | None:
        """Everything else, and what must not be absent; the server name, if one was sent."""
        if version != TLS13 and RENEGOTIATION_INFO in found:
            _check_renegotiation_info(found[RENEGOTIATION_INFO])
        body = found.get(SERVER_NAME)
        name = None if body is None else parse_server_name(body)
        try:
            table = self._tls13 if version == TLS13 else self._tls12 if version == TLS12 else self._tls10
            for kind, check in table:
                body = found.get(kind)
                if body is not None:
                    check(body)
            if version == TLS13:
                self._check_tls13(found)
            if PRE_SHARED_KEY in found and PSK_KEY_EXCHANGE_MODES not in found:
                alert = (
                    None if version == TLS13 else Alert.HANDSHAKE_FAILURE
                )  # the older ones do not have it
                refuse(
                    Fault.MISSING_EXTENSION, "pre_shared_key without psk_key_exchange_modes", alert=alert
                )
        except ClientHelloError as error:
            error.server_name = name
            raise
        return name

    def _check_tls13(self, found: Extensions) -> None:
        shares, groups = found.get(KEY_SHARE), found.get(SUPPORTED_GROUPS)
        if shares is not None:
            _check_key_share(shares, None if groups is None else self.parse_groups(groups))
        if EARLY_DATA in found:
            _check_empty(found[EARLY_DATA])
        if CERTIFICATE_AUTHORITIES in found:
            _check_certificate_authorities(found[CERTIFICATE_AUTHORITIES])
        # without a certificate or without a key share: only by a pre-shared key (RFC 8446, 9.2)
        if shares is None or SIGNATURE_ALGORITHMS not in found:
            modes = found.get(PSK_KEY_EXCHANGE_MODES, b"")[1:] if PRE_SHARED_KEY in found else b""
            if SIGNATURE_ALGORITHMS not in found and 0 not in modes and 1 not in modes:
                refuse(Fault.MISSING_EXTENSION, "TLS 1.3 without signature_algorithms")
            if shares is None and 0 not in modes:
                refuse(Fault.MISSING_EXTENSION, "TLS 1.3 without key_share")


def _as_it_is(check: Callable[[bytes], T], /) -> Callable[[bytes], T]:
    return check


# Most of what clients send is the same bytes each time: the lists are parsed once. A cache holds
# contents of at most SMALL bytes, so that strangers who fill it hold 128 × SMALL for each check.
SMALL: Final = 2048
_PLAIN: Final = Rules(_as_it_is)
_REMEMBERING: Final = Rules(lru_cache(maxsize=128))


def rules_for(size: int) -> Rules:
    """The rules for a hello of `size` bytes."""
    return _REMEMBERING if size <= SMALL else _PLAIN
