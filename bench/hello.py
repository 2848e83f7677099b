"""The ClientHellos that the load generator sends: as a browser's, of a given size."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

_GREASE = 0x0A0A
_CIPHERS = (
    0x1301,
    0x1302,
    0x1303,
    0xC02B,
    0xC02F,
    0xC02C,
    0xC030,
    0xCCA9,
    0xCCA8,
    0xC013,
    0xC014,
    0x009C,
    0x009D,
)
_SIGNATURES = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)
_X25519, _P256, _P384, _X25519_MLKEM768 = 29, 23, 24, 4588
_RANDOM_AT = 5 + 4 + 2
_SESSION_AT = _RANDOM_AT + 32 + 1
TLS_AES_128_GCM_SHA256 = 0x1301


class Hello(NamedTuple):
    """The record, and the ranges (offset, size) whose bytes differ from one client to the next."""

    wire: bytes
    vary: tuple[tuple[int, int], ...]
    share_at: int
    """Where the 32 bytes of the X25519 share begin."""
    permuted: tuple[int, int] | None
    """Where the extensions begin that are permuted, and how many they are."""

    def word(self, path: Path) -> str:
        """What the load generator is told of it, if it stands in this file."""
        parts = [str(path), *(f"{start}:{size}" for start, size in self.vary)]
        if self.permuted:
            parts.append("@{}:{}".format(*self.permuted))
        return ",".join(parts)


def hello(
    name: str,
    *,
    post_quantum: bool = False,
    ciphers: tuple[int, ...] = _CIPHERS,
    grease: int | None = None,
) -> Hello:
    """The hello for a server name: 517 bytes, or about 1.7 KB with an ML-KEM key share.

    `grease` is the seed of other GREASE values (RFC 8701): Chrome has new ones for each connection, and
    since version 110 permutes its extensions, too, which is then the load generator's to do.
    """
    values = [_GREASE] * 4 + [_GREASE + 0x1010]
    if grease is not None:
        values = random.Random(grease).sample([0x0A0A + 0x1010 * step for step in range(16)], 5)
    shares = [(values[0], b"\0")]
    if post_quantum:
        shares.append((_X25519_MLKEM768, b"\7" * (1184 + 32)))
    shares.append((_X25519, b"\7" * 32))  # zeros would be refused: a point of small order
    groups = [group for group, _ in shares] + [_P256, _P384]
    encoded_shares = b"".join(_u16(group) + _vector(share, 2) for group, share in shares)
    extensions = [
        (0, _vector(b"\0" + _vector(name.encode(), 2), 2)),
        (23, b""),
        (0xFF01, b"\0"),
        (10, _vector(_u16(*groups), 2)),
        (11, b"\1\0"),
        (35, b""),
        (16, _vector(_vector(b"h2", 1) + _vector(b"http/1.1", 1), 2)),
        (5, b"\1\0\0\0\0"),
        (13, _vector(_u16(*_SIGNATURES), 2)),
        (18, b""),
        (51, _vector(encoded_shares, 2)),
        (45, b"\1\1"),
        (43, _vector(_u16(values[1], 0x0304, 0x0303), 1)),
        (27, b"\2\0\2"),
    ]
    ciphers = values[2], *ciphers
    permuted_at = len(_record(ciphers, [(values[3], b"")]))
    permuted = None if grease is None else (permuted_at, len(extensions))
    extensions = [(values[3], b""), *extensions, (values[4], b"\0")]
    missing = (1700 if post_quantum else 517) - len(_record(ciphers, extensions)) - 4
    wire = _record(ciphers, [*extensions, (21, bytes(max(0, missing)))])
    # the shares end the key_share extension: the last one's 32 bytes, and before it those of ML-KEM
    end = wire.index(encoded_shares) + len(encoded_shares)
    vary = [(_RANDOM_AT, 32), (_SESSION_AT, 32), (end - 32, 32)]
    if post_quantum:
        vary.append((end - 36 - 1216, 1216))
    return Hello(wire, tuple(vary), end - 32, permuted)


def _record(ciphers: tuple[int, ...], extensions: list[tuple[int, bytes]]) -> bytes:
    body = _u16(0x0303) + bytes(32) + _vector(bytes(32), 1) + _vector(_u16(*ciphers), 2) + b"\1\0"
    body += _vector(b"".join(_u16(kind) + _vector(content, 2) for kind, content in extensions), 2)
    return b"\x16\3\1" + _vector(b"\1" + _vector(body, 3), 2)


def _vector(data: bytes, size: int) -> bytes:
    return len(data).to_bytes(size, "big") + data


def _u16(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)
