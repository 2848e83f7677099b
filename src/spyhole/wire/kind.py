"""A kind of hello: a regular expression for what may differ from one hello of a client to the next.

That is random, session id, server name, key shares, tickets, GREASE values (RFC 8701), the content of
extensions that no check looks at, and in browsers the order of the extensions. The expression is made from
a hello that was sound, and has all else as it stood there. So what it matches is sound, too, but for what
`Kind.recall` looks at: the tickets, and the key share that a server would use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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
from spyhole.wire.message import GREASE, short_list, two_shorts

LONGEST: Final = 1280
"""Bytes of an expression; those of real clients have up to 860. It takes nine times as much memory.
Of extensions in any order, each of which is looked for among all, it has room for 60."""

_MOST_GREASE: Final = 2
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
    group_grease: int = 0
    """These two are the same: the group of a key share is among the supported ones."""


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
        found = self._match(raw)
        if found is None:
            return None
        name, tickets, share, share_grease, group_grease = self._groups
        if share:
            value = found[share]
            if value in self._weak_shares:
                return None
            if self._curve and bad_share(self._curve, value, 0, len(value)):
                return None
            if share_grease and found[share_grease] != found[group_grease]:
                return None
        if tickets:
            try:
                check_psk(found[tickets])
            except ClientHelloError:
                return None
        return (found[name] if name else None), self._common


def kind_of(
    raw: bytes, ciphers_at: int, found: Mapping[int, bytes], version: int, common: Common, *, permuted: bool
) -> Kind | None:
    """The kind of a sound hello; `permuted`: with its extensions in any order.

    `found` are its extensions, `version` the one that a server of TLS 1.0 to 1.3 would choose. None when
    there is too much of it, or an extension comes twice.
    """
    extensions = b"".join([kind.to_bytes(2) + _sized(content) for kind, content in found.items()])
    if not raw.endswith(extensions):
        return None
    pos = len(raw) - len(extensions)
    ciphers_end = ciphers_at + 2 + int.from_bytes(raw[ciphers_at : ciphers_at + 2])
    writer = _Writer(found, version)
    expression = b"".join([
        *(re.escape(raw[:6]), b".{32}", re.escape(raw[38:39]), b".{%d}" % (ciphers_at - 39)),
        *(re.escape(raw[ciphers_at : ciphers_at + 2]), writer.values(raw[ciphers_at + 2 : ciphers_end])),
        re.escape(raw[ciphers_end:pos]),
        writer.any_order() if permuted else writer.in_order(),
    ])  # fmt: skip
    if len(expression) > LONGEST:
        return None
    return Kind(re.compile(expression, re.DOTALL), _Groups(**writer.groups), writer.share_group, common)


class _Writer:
    """Writes the extensions as parts of an expression, and counts its groups."""

    def __init__(self, found: Mapping[int, bytes], version: int) -> None:
        self.groups: dict[str, int] = {}
        self.share_group = 0
        self._found = found
        self._count = 0
        self._tls13 = version == TLS13
        self._free_types = sum(kind in GREASE for kind in found) <= _MOST_GREASE
        # A key share's group has to be a supported one. With one GREASE value in either list, that is told
        # by comparing them; other numbers of them have to stay as they are.
        shares = [group for group, _ in _shares(found.get(KEY_SHARE, b""))] if self._tls13 else []
        in_shares = sum(group in GREASE for group in shares)
        in_groups = sum(group in GREASE for group in short_list(found.get(SUPPORTED_GROUPS)))
        self._same = in_shares == in_groups == 1
        self._free_groups = self._same or not in_shares

    def values(self, data: bytes, *, free: bool = True, name: str = "") -> bytes:
        """16-bit values. In the place of GREASE comes any other (`free`), in a group of this name."""
        written = []
        for at in range(0, len(data), 2):
            value = data[at : at + 2]
            if free and int.from_bytes(value) in GREASE:
                written.append(self._group(name, _ANY_GREASE) if name else _ANY_GREASE)
            else:
                written.append(re.escape(value))
        return b"".join(written)

    def in_order(self) -> bytes:
        """All extensions, as they stood."""
        return b"".join([self._extension(kind, content) for kind, content in self._found.items()])

    def any_order(self) -> bytes:
        """All of them in any order; but pre_shared_key is the last one always (RFC 8446, 4.2.11)."""
        found = dict(self._found)
        last = found.pop(PRE_SHARED_KEY, None)
        # Most types begin with a zero, and among themselves are told apart at once by their second byte.
        low = [self._once(kind, found[kind]) for kind in found if kind < 256]
        high = sorted((kind for kind in found if kind >= 256), key=GREASE.__contains__)
        anyone = [b"(?:%b)" % b"|".join(low)] if low else []
        anyone += [self._once(kind, found[kind]) for kind in high]
        written = b"(?:%b){%d}" % (b"|".join(anyone), len(found))
        return written if last is None else written + self._extension(PRE_SHARED_KEY, last)

    def _once(self, kind: int, content: bytes) -> bytes:
        """The extension, if it has not come before."""
        written = self._extension(kind, content)
        self._count += 1
        return written + b"(?(%d)(?!))()" % self._count

    def _extension(self, kind: int, content: bytes) -> bytes:
        written = self.values(kind.to_bytes(2), free=self._free_types) + re.escape(len(content).to_bytes(2))
        return written + self._content(kind, content)

    def _content(self, kind: int, content: bytes) -> bytes:
        if kind == SERVER_NAME:
            return re.escape(content[:5]) + self._group("name", b"[^\\0]{%d}" % (len(content) - 5))
        if kind == PRE_SHARED_KEY:
            return self._group("tickets", b".{%d}" % len(content))
        if kind == KEY_SHARE and self._tls13:
            return re.escape(content[:2]) + b"".join(map(self._share, _shares(content)))
        if kind == SUPPORTED_GROUPS:
            name = "group_grease" if self._same else ""
            return re.escape(content[:2]) + self.values(content[2:], free=self._free_groups, name=name)
        if kind == SUPPORTED_VERSIONS:
            return re.escape(content[:1]) + self.values(content[1:])
        return re.escape(content) if kind in LOOKED_AT else b".{%d}" % len(content)

    def _share(self, share: tuple[int, bytes]) -> bytes:
        group, value = share
        name = "share_grease" if self._same else ""
        written = self.values(group.to_bytes(2), free=self._free_groups, name=name)
        written += re.escape(len(value).to_bytes(2))
        if "share" in self.groups or bad_share(group, value, 0, len(value)) is None:
            return written + b".{%d}" % len(value)
        self.share_group = group
        return written + self._group("share", b".{%d}" % len(value))

    def _group(self, name: str, expression: bytes) -> bytes:
        self._count += 1
        self.groups[name] = self._count
        return b"(%b)" % expression


def _sized(content: bytes) -> bytes:
    return len(content).to_bytes(2) + content


def _shares(content: bytes) -> list[tuple[int, bytes]]:
    """The groups and values of a sound key_share."""
    shares = []
    pos = 2
    while pos < len(content):
        group, size = two_shorts(content, pos)
        pos += 4 + size
        shares.append((group, content[pos - size : pos]))
    return shares


_ANY_GREASE: Final = b"(?:%b)" % b"|".join(re.escape(value.to_bytes(2)) for value in sorted(GREASE))
