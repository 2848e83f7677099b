"""The fields of a ClientHello that routing does not need, read from its raw bytes when asked for.

For messages that the parser has accepted: the frame is known to be sound, the contents of extensions
that no server would look at may still be anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

two_shorts = Struct(">HH").unpack_from

GREASE: Final = frozenset(n * 0x1010 + 0x0A0A for n in range(16))  # RFC 8701


class Extension(NamedTuple):
    """One extension as sent; `offset` is where its type stands in the message, in bytes."""

    kind: int
    body: bytes
    offset: int


class Message(NamedTuple):
    """A ClientHello taken apart (RFC 8446, 4.1.2), everything as sent."""

    legacy_version: int
    random: bytes
    session_id: bytes
    ciphers: tuple[int, ...]
    compression: bytes
    extensions: tuple[Extension, ...]

    def body(self, kind: int) -> bytes | None:
        """The content of the first extension of this type."""
        return next((e.body for e in self.extensions if e.kind == kind), None)


class Frame(NamedTuple):
    """Where the parts of a raw message stand; `extensions` is the offset of the first one, or the end."""

    ciphers: bytes
    compression: bytes
    extensions: int


def frame(raw: bytes) -> Frame:
    """Find the variable parts of a raw message."""
    at = 39 + raw[38]
    size = raw[at] << 8 | raw[at + 1]
    after = at + 2 + size
    end = after + 1 + raw[after]
    return Frame(raw[at + 2 : after], raw[after + 1 : end], end + 2)


def take_apart(raw: bytes) -> Message:
    """All the fields of a raw message."""
    ciphers, compression, pos = frame(raw)
    extensions = []
    while pos < len(raw):
        kind, size = two_shorts(raw, pos)
        extensions.append(Extension(kind, raw[pos + 4 : pos + 4 + size], pos))
        pos += 4 + size
    return Message(
        legacy_version=int.from_bytes(raw[4:6]),
        random=raw[6:38],
        session_id=raw[39 : 39 + raw[38]],
        ciphers=shorts(ciphers),
        compression=compression,
        extensions=tuple(extensions),
    )


def shorts(data: bytes) -> tuple[int, ...]:
    """16-bit values; an odd byte at the end is left out."""
    return tuple(a << 8 | b for a, b in zip(data[::2], data[1::2], strict=False))


def key_shares(body: bytes | None) -> Iterator[tuple[int, int, bytes]]:
    """Of each entry of a key_share (RFC 8446, 4.2.8) the group, the size as said, and as much of the value
    as is there; none for an absent extension."""
    pos = 2
    while body and pos + 4 <= len(body):
        group, size = two_shorts(body, pos)
        pos += 4 + size
        yield group, size, body[pos - size : pos]


def short_list(body: bytes | None) -> tuple[int, ...]:
    """The 16-bit values behind a 16-bit length, as many as are there; none for an absent extension."""
    return shorts(body[2 : 2 + int.from_bytes(body[:2])]) if body else ()
