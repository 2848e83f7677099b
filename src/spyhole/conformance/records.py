"""TLS records: how a handshake message travels (RFC 8446, 5.1)."""

from __future__ import annotations

from itertools import chain, pairwise, repeat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, HEARTBEAT = 20, 21, 22, 23, 24
LARGEST: Final = 2**14
EMPTY: Final = bytes.fromhex("1603010000")


def record(
    content: bytes, kind: int = HANDSHAKE, version: int = 0x0301, *, size: int | None = None
) -> bytes:
    """One record; `size` is a length that lies."""
    length = len(content) if size is None else size
    return bytes([kind]) + version.to_bytes(2) + length.to_bytes(2) + content


def records(message: bytes, sizes: Iterable[int] = (LARGEST,)) -> bytes:
    """The message in records of these sizes, in bytes of content; the last size again and again."""
    wire, at, listed = [], 0, list(sizes)
    for size in chain(listed, repeat(listed[-1])):
        wire.append(record(message[at : at + size]))
        at += size
        if at >= len(message):
            return b"".join(wire)
    raise AssertionError("a record of no bytes gets nowhere")


def cut(message: bytes, *places: int, between: bytes = b"") -> bytes:
    """The message in records that are cut at these offsets, with `between` at each cut."""
    edges = [0, *places, len(message)]
    return between.join(records(message[a:b]) for a, b in pairwise(edges))


def alert_in(data: bytes) -> int | None:
    """The description of the fatal alert that `data` is, alone and in the clear; None for anything else."""
    whole = len(data) == 7 and data[0] == ALERT and data[1] == 3 and data[3:6] == b"\0\2\2"
    return data[6] if whole else None
