"""Hellos that nobody wrote: real ones, changed so that they reach what is inside a parser.

`mutated(hellos)` keeps the frame whole, so the change is found by the check that it is meant for;
`changed_anywhere(hellos)` does not. Both draw one number, and make the rest of it: to draw every choice
takes six times as long, and a change is so small that there is nothing to shrink.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from hypothesis import strategies as st

from spyhole.wire.extensions import ONCE
from spyhole.wire.message import take_apart
from support.hellos import Captured, alpn, rebuild, records, server_name, u16s, vector, versions


def mutated(hellos: Sequence[Captured]) -> st.SearchStrategy[bytes]:
    """The wire of a hello whose extensions, versions or records are others, all outer lengths right."""
    return st.integers(0, _SEEDS).map(lambda seed: _mutated(Random(seed), hellos))


def changed_anywhere(hellos: Sequence[Captured]) -> st.SearchStrategy[bytes]:
    """The wire of a hello with some bytes put in, taken out or changed, anywhere."""
    return st.integers(0, _SEEDS).map(lambda seed: _changed_anywhere(Random(seed), hellos))


_SEEDS = 2**48


def _mutated(random: Random, hellos: Sequence[Captured]) -> bytes:
    real = random.choice(hellos)
    parts = take_apart(real.raw)
    extensions = [(e.kind, e.body) for e in parts.extensions]
    for _ in range(random.randint(1, 3)):
        at = random.randint(0, max(len(extensions) - 1, 0))
        action = random.choice(["set", "byte", "byte", "drop", "repeat", "move"])
        if action == "set" or not extensions:
            kind = random.choice(_KNOWN)
            body = random.choice([_small, _LIKELY.get(kind, _small)])(random)
            extensions = [e for e in extensions if e[0] != kind]
            extensions.insert(at if kind != 41 else len(extensions), (kind, body))
        elif action == "byte":
            kind, body = extensions[at]
            where = random.randint(0, min(len(body), 12))
            extensions[at] = (kind, body[:where] + _small(random) + body[where + random.randint(0, 2) :])
        elif action == "drop":
            del extensions[at]
        elif action == "repeat":
            extensions.append(extensions[at])
        else:
            extensions.append(extensions.pop(at))
    if random.random() < 0.5:
        parts = parts._replace(
            legacy_version=random.choice([0x0303, 0x0301, 0x0302, 0x0300, 0x0200, 0x0399]),
            compression=random.choice([b"\0", b"\0", b"\1\0", b"\1", b""]),
        )
    raw = rebuild(parts, extensions)
    if random.random() < 0.125:
        where = random.randint(4, len(raw))
        raw = raw[:where] + _small(random) + raw[where:]
    return records(raw, [*(random.randint(1, 400) for _ in range(random.randint(0, 4))), 16_384])


def _changed_anywhere(random: Random, hellos: Sequence[Captured]) -> bytes:
    wire = random.choice(hellos).wire
    at = random.randrange(len(wire))
    return wire[:at] + _small(random) + wire[at + random.randint(0, 3) :]


def _small(random: Random) -> bytes:
    """A few bytes, any or such as lengths are made of."""
    if random.random() < 0.5:
        return random.randbytes(random.randint(0, 4))
    return bytes(random.choices(range(5), k=random.randint(0, 6)))


def _some(random: Random, choices: Sequence[int], most: int) -> list[int]:
    return random.choices(choices, k=random.randint(0, most))


def _shares(random: Random) -> bytes:
    groups = _some(random, [29, 23, 24, 0x11EC, 0x0A0A], 3)
    sizes = random.choices([0, 1, 32, 65, 97], k=len(groups))
    return b"".join(u16s(g) + vector(bytes(range(n)), 2) for g, n in zip(groups, sizes, strict=True))


_KNOWN = sorted(ONCE)
_LIKELY: dict[int, Callable[[Random], bytes]] = {
    0: lambda random: server_name(
        random.choice([_small(random), random.randbytes(random.randint(0, 260))])
    )[1],
    5: lambda random: random.choice([b"", b"\1\0\0\0\0"]) + _small(random),
    10: lambda random: vector(u16s(*_some(random, [29, 23, 24, 30, 256, 0x11EC, 0x0A0A], 4)), 2),
    16: lambda random: alpn(*(_small(random) for _ in range(random.randint(0, 3))))[1],
    41: lambda random: vector(vector(_small(random), 2) + bytes(4), 2) + vector(vector(bytes(32), 1), 2),
    43: lambda random: versions(*_some(random, [0x304, 0x303, 0x302, 0x301, 0x300, 0x305, 0x2A2A], 3))[1],
    45: lambda random: vector(_small(random), 1),
    51: lambda random: vector(_shares(random), 2),
}
