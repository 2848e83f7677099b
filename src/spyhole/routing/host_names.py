"""What counts as a server name: the one check that every name passes before it is matched or used.

The rule: labels of letters, digits, hyphen and underscore, 1–63 bytes each, 253 bytes in all, not counting
one trailing dot (RFC 1035, 2.3.4; RFC 6066, 3). That is wider than RFC 1123 in two ways that real hosts
need: the underscore, and a hyphen at either end of a label.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from spyhole.errors import PeerError

MAX_NAME: Final = 253
MAX_LABEL: Final = 63


class InvalidServerName(PeerError):
    """The client's server name is not a host name. `problem` says what is wrong, without the name."""

    def __init__(self, raw: bytes, problem: str) -> None:
        super().__init__(f"server name {shortened(raw)}: {problem}")
        self.raw = raw
        self.problem = problem


def shortened(raw: bytes) -> str:
    """A name as sent, escaped, and not so long that a peer could fill a log with it."""
    return repr(raw) if len(raw) <= 80 else f"{raw[:64]!r}… ({len(raw)} bytes)"


# Possessive, so that a hostile name costs one pass. Every use is a fullmatch: `$` would take b"a.test\n".
_fullmatch: Final = re.compile(rb"(?:[A-Za-z0-9_-]{1,63}+\.)*+[A-Za-z0-9_-]{1,63}+").fullmatch


def parse_server_name(raw: bytes) -> str | None:
    """The name to route by: lower case, no trailing dot. None for an IP literal, which is no name.

    Raises `InvalidServerName`, the client's fault, for everything else: such a name is never matched,
    and must not fall through to a default route.
    """
    # the last byte sorts digits, "." and "-" out of the common path: only those can be an address or
    # end in the dot that is to be dropped
    if len(raw) <= MAX_NAME and _fullmatch(raw) and raw[-1] > 0x39:
        return raw.lower().decode("ascii")
    return _parse_uncommon(raw)


def name_problem(raw: bytes) -> str | None:
    """What keeps `raw` (no trailing dot) from being a host name, in words; None when nothing does."""
    if len(raw) <= MAX_NAME and _fullmatch(raw):
        return None
    if not raw:
        return "it is empty"
    # not a loop over the bytes: a peer may send 64 KiB of them
    strange = raw.translate(None, _ALLOWED)[:1]
    if strange:
        position = raw.index(strange)
        if strange >= b"\x80":
            return f"byte {strange!r} at {position} is not ASCII; other scripts travel as A-labels, 'xn--…'"
        return f"byte {strange!r} at {position} is not a letter, a digit, '-', '_' or '.'"
    if len(raw) > MAX_NAME:
        return f"{len(raw)} bytes, where {MAX_NAME} is the most"
    longest = max(map(len, raw.split(b".")))
    if longest > MAX_LABEL:
        return f"a label of {longest} bytes, where {MAX_LABEL} is the most"
    return "a label is empty: it begins with a dot, or has two in a row"


def is_ip_literal(text: str) -> bool:
    """An IPv4 address in four decimal parts, or an IPv6 address, bare or in brackets, zone id or not."""
    try:
        IPv4Address(text)
    except ValueError:
        pass
    else:
        return True
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    address, percent, zone = text.partition("%")
    if percent and not _ZONE.fullmatch(zone):
        return False
    try:
        IPv6Address(address)
    except ValueError:
        return False
    return True


_ALLOWED: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
_ZONE: Final = re.compile(r"[A-Za-z0-9._~-]{1,15}")
_LONGEST_LITERAL: Final = 2 + 45 + 1 + 15  # brackets, an IPv6 address with an IPv4 tail, a zone id


def _parse_uncommon(raw: bytes) -> str | None:
    bare = raw[:-1] if raw.endswith(b".") else raw
    if len(bare) <= _LONGEST_LITERAL and bare.isascii() and is_ip_literal(bare.decode("ascii")):
        return None
    problem = name_problem(bare) if bare or not raw else "it is the root, '.'"
    if problem is not None:
        raise InvalidServerName(raw, problem)
    return bare.lower().decode("ascii")
