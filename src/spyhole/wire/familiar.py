"""Hellos of a kind that was seen before: what is the same bytes in one hello after another is checked once.

The hellos of one client differ in random, session id, server name, key shares, tickets and what no check
looks at; all else is the client's own and stays as it is. A *layout* says where the one and the other stand
in a hello of that length and those first cipher suites. When what stays was sound before, it is sound now,
and the name, the tickets and the key share that a server would use are all that is looked at. Everything
else goes the long way: a layout that is new, a client that permutes its extensions (as Chrome does), and
whatever is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final, NamedTuple, TypeVar

from spyhole.wire.extensions import KEY_SHARE, LOOKED_AT, PRE_SHARED_KEY, SERVER_NAME, TLS13, check_psk
from spyhole.wire.faults import ClientHelloError
from spyhole.wire.groups import bad_share, is_weak

MOST: Final = 512
"""Layouts that are kept, the oldest going first: a stranger who fills the table makes it hold some 2 MB."""

_MOST_SOUND: Final = 64  # for one layout: GREASE values differ within it
_PREFIX: Final = 48
_LAST_OF_RANDOM: Final = 37
_BEFORE_SESSION: Final = 38


# What the parser reads from a hello: server name, ALPN, versions.
Said = tuple[bytes | None, tuple[bytes, ...], tuple[int, ...]]


class Common:
    """What all hellos say that differ only where a layout lets them."""

    __slots__ = ("alpn", "ja4", "versions")

    def __init__(self, alpn: tuple[bytes, ...], versions: tuple[int, ...]) -> None:
        self.alpn = alpn
        self.versions = versions
        self.ja4: str | None = None
        """Their fingerprint, once somebody has asked for it (`wire.ja4`)."""


class _Share(NamedTuple):
    """The key share that a server would use."""

    group: int
    at: int
    size: int


class _Layout:
    """Where what differs stands, and what was sound besides."""

    __slots__ = ("constants", "name", "psk", "share", "signature", "sound")

    def __init__(
        self,
        signature: tuple[int, ...],
        pattern: str,
        name: slice | None,
        psk: slice | None,
        share: _Share | None,
    ) -> None:
        self.signature = signature
        self.constants = Struct(pattern).unpack_from
        self.name = name
        self.psk = psk
        self.share = share
        self.sound: dict[tuple[bytes, ...], Common] = {}


_K = TypeVar("_K")
_V = TypeVar("_V")

_layouts: Final[dict[tuple[int, bytes], _Layout]] = {}
_seen_once: Final[dict[tuple[int, bytes], tuple[int, ...]]] = {}


def recall(raw: bytes) -> tuple[bytes | None, Common] | None:
    """A familiar hello's server name, and what it has in common; its record ends with it. None: read it."""
    if len(raw) <= _BEFORE_SESSION:
        return None
    ciphers_at = 39 + raw[_BEFORE_SESSION]
    layout = _layouts.get((len(raw), raw[ciphers_at : ciphers_at + _PREFIX]))
    if layout is None:
        return None
    common = layout.sound.get(layout.constants(raw))
    if common is None:
        return None
    share = layout.share
    if share is not None and (
        bad_share(share.group, raw, share.at, share.size)
        or is_weak(share.group, raw[share.at : share.at + share.size])
    ):
        return None
    if layout.psk is not None:
        try:
            check_psk(raw[layout.psk])
        except ClientHelloError:
            return None
    if layout.name is None:
        return None, common
    name = raw[layout.name]
    return None if 0 in name else (name, common)


def learn(raw: bytes, ciphers_at: int, found: Mapping[int, bytes], version: int, said: Said) -> None:
    """A hello was sound: remember it, if its layout was seen before.

    One in eight is, by its random: to learn costs a sixth of what a hello costs, and clients that permute
    their extensions would pay it each time for nothing. `version` is the one that a server of TLS 1.0 to
    1.3 would choose.
    """
    if raw[_LAST_OF_RANDOM] & 7:
        return
    sizes = tuple(map(len, found.values()))
    signature = (ciphers_at, version, *found, *sizes)
    place = len(raw), raw[ciphers_at : ciphers_at + _PREFIX]
    layout = _layouts.get(place)
    if layout is None:
        if _seen_once.get(place) != signature:
            _put(_seen_once, place, signature)
            return
        layout = _layout(raw, ciphers_at, found, version, signature)
        if layout is None:
            return
        _put(_layouts, place, layout)
    if layout.signature == signature:
        _put(layout.sound, layout.constants(raw), Common(said[1], said[2]), _MOST_SOUND)


def forget() -> None:
    """Forget everything: for tests."""
    _layouts.clear()
    _seen_once.clear()


def _put(table: dict[_K, _V], key: _K, value: _V, most: int = MOST) -> None:
    if len(table) >= most:
        del table[next(iter(table))]
    table[key] = value


def _layout(
    raw: bytes, ciphers_at: int, found: Mapping[int, bytes], version: int, signature: tuple[int, ...]
) -> _Layout | None:
    """The layout of a sound hello; None when an extension that may come twice does."""
    session = ciphers_at - _BEFORE_SESSION - 1
    # type, length and version; the session id's length; then from the cipher suites to the first extension
    pattern = _Pattern(f"6s32x1s{session}x", ciphers_at)
    pos = len(raw) - sum(map(len, found.values())) - 4 * len(found)
    name: slice | None = None
    psk: slice | None = None
    share: _Share | None = None
    for kind, body in found.items():
        if raw[pos : pos + 4] != kind.to_bytes(2) + len(body).to_bytes(2):
            return None
        pos += 4
        stop = pos + len(body)
        if kind == SERVER_NAME:
            name = slice(pos + 5, stop)
            pattern.skip(pos + 5, stop)
        elif kind == PRE_SHARED_KEY:
            psk = slice(pos, stop)
            pattern.skip(pos, stop)
        elif kind == KEY_SHARE and version == TLS13:
            pos += 2
            while pos < stop:
                group, size = int.from_bytes(raw[pos : pos + 2]), int.from_bytes(raw[pos + 2 : pos + 4])
                pos += 4
                if share is None and bad_share(group, raw, pos, size) is not None:
                    share = _Share(group, pos, size)
                pattern.skip(pos, pos + size)
                pos += size
        elif kind not in LOOKED_AT:
            pattern.skip(pos, stop)
        pos = stop
    return _Layout(signature, pattern.upto(pos), name, psk, share)


class _Pattern:
    """A format for `struct`, of bytes that are taken and bytes that are skipped."""

    def __init__(self, begin: str, pos: int) -> None:
        self._parts = begin
        self._pos = pos

    def skip(self, start: int, stop: int) -> None:
        self._parts += f"{start - self._pos}s{stop - start}x"
        self._pos = stop

    def upto(self, end: int) -> str:
        return f"{self._parts}{end - self._pos}s"
