"""Hellos of a kind that was seen before are checked by what differs in them, all else was checked then.

A `Kind` is learnt from the second hello of a shape. What no kind matches goes the long way: a client that
is new, and whatever is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from spyhole.wire.kind import Common, Kind, kind_of
from spyhole.wire.message import GREASE

MOST: Final = 512
"""Kinds that are kept, the oldest going first. Who fills the table, and with it the cache that `re` has,
makes them hold 10 MB."""

MOST_ALIKE: Final = 4
"""Kinds of one length with the same cipher suites, which are tried in turn: of clients that pad, each
length of a server name is one."""

MOST_EXTENSIONS: Final = 24
"""In any order each is looked for among all. Browsers have 18; a hello that is made for kinds that were
made for it can cost 60 µs."""

MOST_PROTOCOLS: Final = 16
"""Of ALPN; they are kept."""

LONG_WAYS: Final = 400
"""To learn a kind takes at most as long as to read so many hellos. So it is tried once for so many that
were read: to send ever new kinds makes them cost twice as much and no more."""

LEARNT_AT_ONCE: Final = 32
"""Kinds for which nothing has to be read before, as after the start."""

_LAST_OF_RANDOM: Final = 37
_GREASE: Final = min(GREASE)


# What the parser reads from a hello: server name, ALPN, versions.
Said = tuple[bytes | None, tuple[bytes, ...], tuple[int, ...]]


class _Shape(NamedTuple):
    """What is looked at to tell whether two hellos may be of one kind."""

    extensions: frozenset[tuple[int, int]]
    """Types and sizes."""
    order: tuple[int, ...]


_Place = tuple[int, bytes]

_learnt: Final[dict[_Place, list[Kind]]] = {}
_seen: Final[dict[_Place, _Shape]] = {}


class _Count:
    """Of kinds that are learnt, and of hellos that were read and for which none was learnt yet."""

    kinds = 0
    read = LEARNT_AT_ONCE * LONG_WAYS


def recall(raw: bytes) -> tuple[bytes | None, Common] | None:
    """A familiar hello's server name, and what it has in common; its record ends with it. None: read it."""
    try:
        place = _place(raw)
    except IndexError:
        return None
    for kind in _learnt.get(place, ()):
        recalled = kind.recall(raw)
        if recalled is not None:
            return recalled
    return None


def learn(raw: bytes, found: Mapping[int, bytes], version: int, said: Said) -> None:
    """A hello was read, and is sound: learn its kind, if its shape was seen before.

    One in eight is looked at, by its random, since that costs a sixth of what a hello costs. `found` are
    its extensions, `version` the one that a server of TLS 1.0 to 1.3 would choose.
    """
    _, protocols, versions = said
    _Count.read = min(_Count.read + 1, LEARNT_AT_ONCE * LONG_WAYS)
    if (
        raw[_LAST_OF_RANDOM] & 7 or _Count.read < LONG_WAYS
        or len(found) > MOST_EXTENSIONS or len(protocols) > MOST_PROTOCOLS
    ):  # fmt: skip
        return
    place = _place(raw)
    order = tuple(_GREASE if extension in GREASE else extension for extension in found)
    shape = _Shape(frozenset(zip(order, map(len, found.values()), strict=True)), order)
    before = _seen.get(place)
    if before is None or before.extensions != shape.extensions:
        _see(place, shape)
        return
    _Count.read -= LONG_WAYS
    kind = kind_of(raw, found, version, Common(protocols, versions), permuted=before.order != order)
    if kind is not None:
        _keep(place, kind)


def forget() -> None:
    """Forget everything: for tests."""
    _learnt.clear()
    _seen.clear()
    _Count.kinds, _Count.read = 0, LEARNT_AT_ONCE * LONG_WAYS


def _place(raw: bytes) -> _Place:
    """What is quickly compared: the length, and the cipher suites but the first, which may be GREASE."""
    ciphers_at = 39 + raw[38]
    return len(raw), raw[ciphers_at + 4 : ciphers_at + 2 + raw[ciphers_at + 1]]


def _see(place: _Place, shape: _Shape) -> None:
    if len(_seen) >= MOST:
        del _seen[next(iter(_seen))]
    _seen[place] = shape


def _keep(place: _Place, kind: Kind) -> None:
    alike = _learnt.setdefault(place, [])
    alike.append(kind)
    _Count.kinds += 1
    if len(alike) > MOST_ALIKE:
        del alike[0]
        _Count.kinds -= 1
    while _Count.kinds > MOST:
        _Count.kinds -= len(_learnt.pop(next(iter(_learnt))))
