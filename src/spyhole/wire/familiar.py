"""Hellos of a kind that was seen before are checked by what differs in them, all else was checked then.

A `Kind` is learnt from the second hello of a shape; what it does not match goes the long way: a client that
is new, and whatever is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from spyhole.wire.kind import Common, Kind, kind_of
from spyhole.wire.message import GREASE

MOST: Final = 512
"""Kinds that are kept, the oldest going first: a stranger who fills the table makes it hold 6 MB."""

MOST_ALIKE: Final = 8
"""Kinds of one length with the same cipher suites, which are tried in turn: of clients that pad, each
length of a server name is one."""

LONG_WAYS: Final = 100
"""To learn a kind takes as long as to read so many hellos. So it is done once for so many that were read:
who sends ever new kinds makes his hellos cost twice as much, and no more."""

LEARNT_AT_ONCE: Final = 16
"""Kinds for which nothing has to be read before, as after the start."""

_LAST_OF_RANDOM: Final = 37
_ANY_GREASE: Final = min(GREASE)


# What the parser reads from a hello: server name, ALPN, versions.
Said = tuple[bytes | None, tuple[bytes, ...], tuple[int, ...]]


class _Shape(NamedTuple):
    """What is looked at to tell whether two hellos may be of one kind."""

    version: int
    extensions: frozenset[tuple[int, int]]
    """Types and sizes."""
    order: tuple[int, ...]

    def is_as(self, other: _Shape) -> bool:
        """Whether they are the same, perhaps in another order."""
        return self[:2] == other[:2]


class _Learnt(NamedTuple):
    kind: Kind
    shape: _Shape
    permuted: bool


_Place = tuple[int, bytes]

_learnt: Final[dict[_Place, list[_Learnt]]] = {}
_seen_once: Final[dict[_Place, _Shape]] = {}


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
    for learnt in _learnt.get(place, ()):
        recalled = learnt.kind.recall(raw)
        if recalled is not None:
            return recalled
    return None


def learn(raw: bytes, ciphers_at: int, found: Mapping[int, bytes], version: int, said: Said) -> None:
    """A hello was read, and is sound: learn its kind, if its shape was seen before.

    One in eight is looked at, by its random, since that costs a sixth of what a hello costs. `version` is
    the one that a server of TLS 1.0 to 1.3 would choose.
    """
    _Count.read = min(_Count.read + 1, LEARNT_AT_ONCE * LONG_WAYS)
    if raw[_LAST_OF_RANDOM] & 7 or _Count.read < LONG_WAYS:
        return
    place = _place(raw)
    order = tuple(_ANY_GREASE if kind in GREASE else kind for kind in found)
    shape = _Shape(version, frozenset(zip(order, map(len, found.values()), strict=True)), order)
    alike = _learnt.get(place, [])
    same = [learnt for learnt in alike if learnt.shape.is_as(shape)]
    before = same[0].shape if same else _seen_once.get(place)
    if before is None or not before.is_as(shape):
        _see(place, shape)
        return
    permuted = before.order != order
    # One that is the same, and was not recalled, differs in what a kind has of its own, or in its order.
    if len(alike) == MOST_ALIKE or (same and (same[-1].permuted or not permuted)):
        return
    kind = kind_of(raw, ciphers_at, found, version, Common(said[1], said[2]), permuted=permuted)
    if kind is not None:
        _Count.read -= LONG_WAYS
        _keep(place, _Learnt(kind, shape, permuted))


def forget() -> None:
    """Forget everything: for tests."""
    _learnt.clear()
    _seen_once.clear()
    _Count.kinds, _Count.read = 0, LEARNT_AT_ONCE * LONG_WAYS


def _place(raw: bytes) -> _Place:
    """What is quickly compared: the length, and the cipher suites but the first, which may be GREASE."""
    ciphers_at = 39 + raw[38]
    return len(raw), raw[ciphers_at + 4 : ciphers_at + 2 + raw[ciphers_at + 1]]


def _see(place: _Place, shape: _Shape) -> None:
    if len(_seen_once) >= MOST:
        del _seen_once[next(iter(_seen_once))]
    _seen_once[place] = shape


def _keep(place: _Place, learnt: _Learnt) -> None:
    _learnt.setdefault(place, []).append(learnt)
    _Count.kinds += 1
    while _Count.kinds > MOST:
        _Count.kinds -= len(_learnt.pop(next(iter(_learnt))))
