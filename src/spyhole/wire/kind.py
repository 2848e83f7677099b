"""A kind of hello: a regular expression for what may differ from one hello of a client to the next.

That is random, session id, server name, key shares, tickets, GREASE values (RFC 8701), the content of
extensions that no check looks at, and in browsers the order of the extensions. The expression is made from
a hello that was sound, and has all else as it stood there. So what it matches is sound, too, but for what
`Kind.recall` looks at: the tickets, the key share that a server would use, and GREASE among the groups.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import starmap
from typing import Final, NamedTuple

from spyhole.wire.extensions import (
    KEY_SHARE,
    LOOKED_AT,
    PRE_SHARED_KEY,
    SERVER_NAME,
    SUPPORTED_GROUPS,
    SUPPORTED_VERSIONS,
    TLS13,
    check_psk,
)
from spyhole.wire.faults import ClientHelloError
from spyhole.wire.groups import CURVES, WEAK, bad_share
from spyhole.wire.message import GREASE, frame, key_shares, short_list

LONGEST: Final = 1280
"""Bytes of an expression, which takes nine times as much memory; those of real clients have up to 690."""

_MOST_FREE_TYPES: Final = 2
"""Extensions of GREASE types in whose place others may come, as in Chrome's. Many that can't be told apart
would be tried in very many orders."""


class Common:
    """What all hellos of a kind say."""

    __slots__ = ("alpn", "ja4", "versions")

    def __init__(self, alpn: tuple[bytes, ...], versions: tuple[int, ...]) -> None:
        self.alpn = alpn
        self.versions = versions
        self.ja4: str | None = None
        """Their fingerprint, once somebody has asked for it (`wire.ja4`)."""


class _Groups(NamedTuple):
    """Of the expression: by number, 0 where there is none."""

    name: int = 0
    tickets: int = 0
    share: int = 0
    """Of the key share that a server would use."""
    share_grease: int = 0
    """Half of the GREASE value that is a key share's group. It has to be among the supported groups:"""
    group_grease: int = 0
    """half of the one that is."""


class Kind:
    """A kind, and what its hellos have in common."""

    __slots__ = ("_common", "_curve", "_groups", "_match", "_weak_shares")

    def __init__(
        self, pattern: re.Pattern[bytes], groups: _Groups, share_group: int, common: Common
    ) -> None:
        self._match = pattern.fullmatch
        self._groups = groups
        self._curve = share_group if share_group in CURVES else 0
        self._weak_shares = WEAK.get(share_group, frozenset())
        self._common = common

    def recall(self, raw: bytes) -> tuple[bytes | None, Common] | None:
        """The server name and what is common, if this message is of the kind and sound."""
        match = self._match(raw)
        if match is None:
            return None
        name, tickets, share, share_grease, group_grease = self._groups
        if share:
            value = match[share]
            if value in self._weak_shares:
                return None
            if self._curve and bad_share(self._curve, value, 0, len(value)):
                return None
        if share_grease and match[share_grease] != match[group_grease]:
            return None
        if tickets:
            try:
                check_psk(match[tickets])
            except ClientHelloError:
                return None
        return (match[name] if name else None), self._common


def kind_of(
    raw: bytes, found: Mapping[int, bytes], version: int, common: Common, *, permuted: bool
) -> Kind | None:
    """The kind of a sound hello; `permuted`: with its extensions in any order.

    `found` are its extensions, `version` the one that a server of TLS 1.0 to 1.3 would choose. None when
    there is too much of it, or it would not be recalled itself: since an extension comes twice, or since
    something is odd that this version has no use for.
    """
    ciphers, _, extensions_at = frame(raw)
    ciphers_at = 41 + raw[38]
    writer = _Writer(found, version)
    expression = b"".join([
        *(re.escape(raw[:6]), b".{32}", re.escape(raw[38:39]), b".{%d}" % raw[38]),
        *(re.escape(raw[ciphers_at - 2 : ciphers_at]), writer.values(ciphers)),
        re.escape(raw[ciphers_at + len(ciphers) : extensions_at]),
        writer.any_order() if permuted else writer.in_order(),
    ])  # fmt: skip
    if len(expression) > LONGEST:
        return None
    kind = Kind(re.compile(expression, re.DOTALL), _Groups(**writer.groups), writer.share_group, common)
    return kind if kind.recall(raw) else None


class _Writer:
    """Writes the extensions as parts of an expression, and counts its groups."""

    def __init__(self, found: Mapping[int, bytes], version: int) -> None:
        self.groups: dict[str, int] = {}
        self.share_group = 0
        self._found = found
        self._count = 0
        self._tls13 = version == TLS13
        self._free_types = sum(extension in GREASE for extension in found) <= _MOST_FREE_TYPES
        # A key share's group has to be a supported one. With one GREASE value in either list, that is told
        # by comparing them; other numbers of them have to stay as they are.
        shares = found.get(KEY_SHARE) if self._tls13 else None
        in_shares = sum(group in GREASE for group, _, _ in key_shares(shares))
        in_groups = sum(group in GREASE for group in short_list(found.get(SUPPORTED_GROUPS)))
        self._same = in_shares == in_groups == 1
        self._free_groups = self._same or not in_shares

    def in_order(self) -> bytes:
        """All extensions, as they stood."""
        return b"".join([self._extension(extension, content) for extension, content in self._found.items()])

    def any_order(self) -> bytes:
        """All of them in any order; but pre_shared_key is the last one always (RFC 8446, 4.2.11)."""
        found = dict(self._found)
        last = found.pop(PRE_SHARED_KEY, None)
        # Most types begin with a zero, and among themselves are told apart at once by their second byte.
        low = [self._once(extension, found[extension]) for extension in found if extension < 256]
        high = sorted((extension for extension in found if extension >= 256), key=GREASE.__contains__)
        anyone = [b"(?:%b)" % b"|".join(low)] if low else []
        anyone += [self._once(extension, found[extension]) for extension in high]
        written = b"(?:%b){%d}" % (b"|".join(anyone), len(found))
        return written if last is None else written + self._extension(PRE_SHARED_KEY, last)

    def values(self, data: bytes, *, free: bool = True, name: str = "") -> bytes:
        """16-bit values. In the place of GREASE comes any other (`free`), its first byte in a group."""
        written = []
        for at in range(0, len(data), 2):
            value = data[at : at + 2]
            if free and int.from_bytes(value) in GREASE:
                written.append(self._group(name, _BYTE_OF_GREASE) + b"(?:\\%d)" % self._count)
            else:
                written.append(re.escape(value))
        return b"".join(written)

    def _once(self, extension: int, content: bytes) -> bytes:
        """The extension, if it has not come before."""
        written = self._extension(extension, content)
        self._count += 1
        return written + b"(?(%d)(?!))()" % self._count

    def _extension(self, extension: int, content: bytes) -> bytes:
        written = self.values(extension.to_bytes(2), free=self._free_types)
        written += re.escape(len(content).to_bytes(2))
        return written + self._content(extension, content)

    def _content(self, extension: int, content: bytes) -> bytes:
        if extension == SERVER_NAME:
            return re.escape(content[:5]) + self._group("name", b"[^\\0]{%d}" % (len(content) - 5))
        if extension == PRE_SHARED_KEY:
            return self._group("tickets", b".{%d}" % len(content))
        if extension == KEY_SHARE and self._tls13:
            return re.escape(content[:2]) + b"".join(starmap(self._share, key_shares(content)))
        if extension == SUPPORTED_GROUPS:
            name = "group_grease" if self._same else ""
            return re.escape(content[:2]) + self.values(content[2:], free=self._free_groups, name=name)
        if extension == SUPPORTED_VERSIONS:
            return re.escape(content[:1]) + self.values(content[1:])
        return re.escape(content) if extension in LOOKED_AT else b".{%d}" % len(content)

    def _share(self, group: int, size: int, value: bytes) -> bytes:
        name = "share_grease" if self._same else ""
        written = self.values(group.to_bytes(2), free=self._free_groups, name=name)
        written += re.escape(size.to_bytes(2))
        if "share" in self.groups or bad_share(group, value, 0, size) is None:
            return written + b".{%d}" % size
        self.share_group = group
        return written + self._group("share", b".{%d}" % size)

    def _group(self, name: str, expression: bytes) -> bytes:
        self._count += 1
        if name:
            self.groups[name] = self._count
        return b"(%b)" % expression


_BYTE_OF_GREASE: Final = b"[%b]" % bytes(sorted(value & 0xFF for value in GREASE))
"""Both bytes of a GREASE value are the same."""
