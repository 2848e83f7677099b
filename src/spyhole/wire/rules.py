"""Which checks of extensions apply to a hello, in the order in which OpenSSL 3.0 makes them.

The order decides which of two things that are wrong is answered. It depends on the version that a
server of TLS 1.0 to 1.3 would choose: what belongs to TLS 1.3 alone is not looked at in an older hello,
and the other way about. What depends on a server's configuration or on its sessions is not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, Protocol, TypeVar

from spyhole.wire.alerts import Alert
from spyhole.wire.extensions import (
    ALPN,
    CERTIFICATE_AUTHORITIES,
    EARLY_DATA,
    EC_POINT_FORMATS,
    EXTENDED_MASTER_SECRET,
    KEY_SHARE,
    MAX_FRAGMENT_LENGTH,
    POST_HANDSHAKE_AUTH,
    PRE_SHARED_KEY,
    PSK_KEY_EXCHANGE_MODES,
    RENEGOTIATION_INFO,
    SERVER_NAME,
    SIGNATURE_ALGORITHMS,
    SIGNATURE_ALGORITHMS_CERT,
    SRP,
    STATUS_REQUEST,
    SUPPORTED_GROUPS,
    TLS12,
    TLS13,
    check_certificate_authorities,
    check_empty,
    check_key_share,
    check_max_fragment_length,
    check_psk,
    check_renegotiation_info,
    check_srp,
    check_status_request,
    check_u8_list,
    check_u16_list_loosely,
    parse_alpn,
    parse_server_name,
    parse_supported_versions,
    parse_u16_list,
)
from spyhole.wire.faults import ClientHelloError, Fault, refuse

Extensions = Mapping[int, bytes]
"""Contents by type, in the order sent."""
Table = tuple[tuple[int, Callable[[bytes], object]], ...]
T = TypeVar("T")


class Remember(Protocol):
    """Turns a function of bytes into one that does the same, perhaps from memory."""

    def __call__(self, function: Callable[[bytes], T], /) -> Callable[[bytes], T]: ...


class Rules:
    """The checks; `remember` may cache those that see the same bytes in one hello after another."""

    def __init__(self, remember: Remember) -> None:
        self.parse_versions = remember(parse_supported_versions)
        self.parse_protocols = remember(parse_alpn)
        self.parse_groups = u16_list = remember(parse_u16_list)
        u8_list = remember(check_u8_list)

        first = ((MAX_FRAGMENT_LENGTH, check_max_fragment_length),)
        old = ((SRP, check_srp), (EC_POINT_FORMATS, u8_list))
        then = (
            (SUPPORTED_GROUPS, u16_list),
            (STATUS_REQUEST, remember(check_status_request)),
            (ALPN, self.parse_protocols),
        )
        algorithms = ((SIGNATURE_ALGORITHMS_CERT, u16_list), (SIGNATURE_ALGORITHMS, u16_list))
        loosely = tuple((kind, check_u16_list_loosely) for kind, _ in algorithms)
        auth = ((POST_HANDSHAKE_AUTH, check_empty),)
        self._tls10: Table = (*first, *old, *then, *loosely)
        self._tls12: Table = (*first, *old, *then, *algorithms)
        self._tls13: Table = (*first, *then, *auth, *algorithms)
        self._psk_modes: Table = ((PSK_KEY_EXCHANGE_MODES, u8_list),)

    def check_resumption(self, found: Extensions, version: int) -> None:
        """What OpenSSL reads before it looks for a session to resume."""
        if version != TLS13:
            _run(_MASTER_SECRET, found)
            return
        modes = found.get(PSK_KEY_EXCHANGE_MODES)
        if modes is not None:
            _run(self._psk_modes, found)
            if PRE_SHARED_KEY in found and 1 in modes[1:]:
                _run(_PSK, found)

    def check_rest(self, found: Extensions, version: int) -> bytes | None:
        """Everything else, and what must not be absent; the server name, if one was sent."""
        if version != TLS13:
            _run(_RENEGOTIATION, found)
        sent = found.get(SERVER_NAME)
        name = None if sent is None else parse_server_name(sent)
        try:
            if version == TLS13:
                _run(self._tls13, found)
                self._check_tls13(found)
            else:
                _run(self._tls12 if version == TLS12 else self._tls10, found)
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
        weak = None
        if shares is not None:
            weak = check_key_share(shares, None if groups is None else self.parse_groups(groups))
        _run(_LAST_OF_TLS13, found)
        # without a certificate or without a key share: only by a pre-shared key (RFC 8446, 9.2)
        if shares is None or SIGNATURE_ALGORITHMS not in found:
            modes = found.get(PSK_KEY_EXCHANGE_MODES, b"")[1:] if PRE_SHARED_KEY in found else b""
            if SIGNATURE_ALGORITHMS not in found and 0 not in modes and 1 not in modes:
                refuse(Fault.MISSING_EXTENSION, "TLS 1.3 without signature_algorithms")
            if shares is None and 0 not in modes:
                refuse(Fault.MISSING_EXTENSION, "TLS 1.3 without key_share")
        if weak is not None:
            refuse(
                Fault.BAD_KEY_SHARE, f"a value of small order for group 0x{weak:04x}", extension=KEY_SHARE
            )


def rules_for(size: int) -> Rules:
    """The rules for a hello of `size` bytes."""
    return _REMEMBERING if size <= SMALL else _PLAIN


def _run(table: Table, found: Extensions) -> None:
    kind = -1
    try:
        for kind, check in table:
            body = found.get(kind)
            if body is not None:
                check(body)
    except ClientHelloError as error:
        error.extension = kind
        raise


def _as_it_is(function: Callable[[bytes], T], /) -> Callable[[bytes], T]:
    return function


_MASTER_SECRET: Final[Table] = ((EXTENDED_MASTER_SECRET, check_empty),)
_RENEGOTIATION: Final[Table] = ((RENEGOTIATION_INFO, check_renegotiation_info),)
_PSK: Final[Table] = ((PRE_SHARED_KEY, check_psk),)
_LAST_OF_TLS13: Final[Table] = (
    (EARLY_DATA, check_empty),
    (CERTIFICATE_AUTHORITIES, check_certificate_authorities),
)

# Most of what clients send is the same bytes each time: those lists are parsed once. A cache holds
# contents of at most SMALL bytes, so that strangers who fill it make it hold 128 × SMALL for each check.
SMALL: Final = 2048
_PLAIN: Final = Rules(_as_it_is)
_REMEMBERING: Final = Rules(lru_cache(maxsize=128))
