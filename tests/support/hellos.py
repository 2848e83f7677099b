"""ClientHellos for tests: the ones captured, and building others, whole or broken."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from spyhole.wire.message import GREASE, Message, take_apart

RANDOM = bytes(range(32))


def vector(data: bytes, size: int) -> bytes:
    """`data` behind its length in `size` bytes."""
    return len(data).to_bytes(size) + data


def u16s(*values: int) -> bytes:
    return b"".join(v.to_bytes(2) for v in values)


def server_name(name: bytes) -> tuple[int, bytes]:
    return 0, vector(b"\0" + vector(name, 2), 2)


def alpn(*protocols: bytes) -> tuple[int, bytes]:
    return 16, vector(b"".join(vector(p, 1) for p in protocols), 2)


def versions(*values: int) -> tuple[int, bytes]:
    return 43, vector(u16s(*values), 1)


# What a server needs to answer with TLS 1.3: X25519, P-256 and a group that nobody has.
TLS13_NEEDS: list[tuple[int, bytes]] = [
    versions(0x0304, 0x0303),
    (10, vector(u16s(29, 23, 0x1234), 2)),
    (13, vector(u16s(0x0403, 0x0804, 0x0401), 2)),
    (51, vector(u16s(29) + vector(bytes(range(1, 33)), 2), 2)),
]


def hello(
    extensions: Sequence[tuple[int, bytes]] | None = (),
    *,
    legacy: int = 0x0303,
    session_id: bytes = b"",
    ciphers: bytes = u16s(0x1301, 0xC02B, 0xC02F, 0x002F),
    compression: bytes = b"\0",
    after: bytes = b"",
) -> bytes:
    """A handshake message; `extensions` None leaves out even their length, `after` follows them inside."""
    body = u16s(legacy) + RANDOM + vector(session_id, 1) + vector(ciphers, 2) + vector(compression, 1)
    if extensions is not None:
        body += vector(b"".join(u16s(kind) + vector(content, 2) for kind, content in extensions), 2)
    return message(body + after)


def rebuild(parts: Message, extensions: Sequence[tuple[int, bytes]]) -> bytes:
    """A message with other extensions and all lengths right."""
    return message(
        u16s(parts.legacy_version)
        + parts.random
        + vector(parts.session_id, 1)
        + vector(u16s(*parts.ciphers), 2)
        + vector(parts.compression, 1)
        + vector(b"".join(u16s(kind) + vector(content, 2) for kind, content in extensions), 2)
    )


def message(body: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + vector(body, 3)


def record(content: bytes, kind: int = 22, version: int = 0x0301) -> bytes:
    return bytes([kind]) + u16s(version) + vector(content, 2)


def records(raw: bytes, sizes: Iterable[int] = (16384,)) -> bytes:
    """Cut a message into records of these sizes, the last one again and again."""
    wire = []
    pos, size = 0, 16384
    remaining = iter(sizes)
    while pos < len(raw):
        size = next(remaining, size)
        wire.append(record(raw[pos : pos + size]))
        pos += size
    return b"".join(wire)


@dataclass(frozen=True, slots=True)
class Captured:
    """A real client's hello, as scripts/capture_hellos.py took it down."""

    client: str
    server_name: bytes | None
    wire: bytes

    @property
    def raw(self) -> bytes:
        """The handshake message: every client sent it as one record."""
        return self.wire[5:]

    def __str__(self) -> str:
        return self.client


@functools.cache
def captured() -> tuple[Captured, ...]:
    rows = json.loads((Path(__file__).parents[1] / "wire" / "hellos.json").read_text())
    return tuple(
        Captured(
            row["client"],
            None if row["server_name"] is None else row["server_name"].encode(),
            bytes.fromhex(row["hex"]),
        )
        for row in rows
    )


def learnable(wire: bytes) -> bytes:
    """The same hello, in one record, with a random by which `wire.familiar` learns it: one in eight is."""
    return wire[:42] + b"\0" + wire[43:]


def reordered(random: Random, wire: bytes) -> bytes:
    """As a browser's next hello: the extensions in another order, and other GREASE values."""
    parts = take_apart(wire[5:])
    old = sorted(GREASE)
    new = dict(zip(old, random.sample(old, len(old)), strict=True))

    def values(data: bytes) -> bytes:
        pairs = (data[at : at + 2] for at in range(0, len(data), 2))
        return b"".join(u16s(new.get(int.from_bytes(pair), int.from_bytes(pair))) for pair in pairs)

    extensions = []
    for extension in parts.extensions:
        kind, body = new.get(extension.kind, extension.kind), extension.body
        if kind in {10, 43}:  # supported groups, versions
            start = 2 if kind == 10 else 1
            body = body[:start] + values(body[start:])
        elif kind == 51:
            entries, pos = b"", 2
            while pos < len(body):
                size = 4 + int.from_bytes(body[pos + 2 : pos + 4])
                entries += values(body[pos : pos + 2]) + body[pos + 2 : pos + size]
                pos += size
            body = body[:2] + entries
        extensions.append((kind, body))
    last = [extension for extension in extensions if extension[0] == 41]
    others = [extension for extension in extensions if extension[0] != 41]
    random.shuffle(others)
    ciphers = tuple(new.get(cipher, cipher) for cipher in parts.ciphers)
    return records(rebuild(parts._replace(ciphers=ciphers), others + last))
