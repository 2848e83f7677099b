"""Strategies for hellos that nobody wrote: real ones, changed so that they reach what is inside a parser.

`mutated(hellos)` keeps the frame whole, so the change is found by the check that it is meant for;
`changed_anywhere(hellos)` does not.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from spyhole.wire.extensions import ONCE
from spyhole.wire.message import take_apart
from support.hellos import Captured, alpn, rebuild, records, server_name, u16s, vector, versions

SMALL = st.one_of(st.binary(max_size=4), st.lists(st.sampled_from([0, 1, 2, 3, 4]), max_size=6).map(bytes))
_GROUPS = st.lists(st.sampled_from([29, 23, 24, 30, 256, 0x11EC, 0x0A0A]), max_size=4)
_SHARES = st.lists(
    st.tuples(st.sampled_from([29, 23, 24, 0x11EC, 0x0A0A]), st.sampled_from([0, 1, 32, 65, 97])),
    max_size=3,
)
_LIKELY = {
    0: st.one_of(SMALL, st.binary(max_size=260)).map(lambda name: server_name(name)[1]),
    5: st.one_of(SMALL, SMALL.map(lambda tail: b"\1\0\0\0\0" + tail)),
    10: _GROUPS.map(lambda groups: vector(u16s(*groups), 2)),
    16: st.lists(SMALL, max_size=3).map(lambda protocols: alpn(*protocols)[1]),
    41: SMALL.map(lambda key: vector(vector(key, 2) + bytes(4), 2) + vector(vector(bytes(32), 1), 2)),
    43: st.lists(st.sampled_from([0x304, 0x303, 0x302, 0x301, 0x300, 0x305, 0x2A2A]), max_size=3).map(
        lambda offered: versions(*offered)[1]
    ),
    45: SMALL.map(lambda modes: vector(modes, 1)),
    51: _SHARES.map(
        lambda shares: vector(b"".join(u16s(g) + vector(bytes(range(n)), 2) for g, n in shares), 2)
    ),
}
_KNOWN = st.sampled_from(sorted(ONCE))


@st.composite
def mutated(draw: st.DrawFn, hellos: Sequence[Captured]) -> bytes:
    """The wire of a hello whose extensions, versions or records are others, all outer lengths right."""
    real = draw(st.sampled_from(hellos))
    parts = take_apart(real.raw)
    extensions = [(e.kind, e.body) for e in parts.extensions]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(extensions) - 1, 0)))
        action = draw(st.sampled_from(["set", "byte", "byte", "drop", "repeat", "move"]))
        if action == "set" or not extensions:
            kind = draw(_KNOWN)
            body = draw(st.one_of(SMALL, _LIKELY.get(kind, SMALL)))
            extensions = [e for e in extensions if e[0] != kind]
            extensions.insert(at if kind != 41 else len(extensions), (kind, body))
        elif action == "byte":
            kind, body = extensions[at]
            where = draw(st.integers(0, min(len(body), 12)))
            extensions[at] = (kind, body[:where] + draw(SMALL) + body[where + draw(st.integers(0, 2)) :])
        elif action == "drop":
            del extensions[at]
        elif action == "repeat":
            extensions.append(extensions[at])
        else:
            extensions.append(extensions.pop(at))
    if draw(st.booleans()):
        parts = parts._replace(
            legacy_version=draw(st.sampled_from([0x0303, 0x0301, 0x0302, 0x0300, 0x0200, 0x0399])),
            compression=draw(st.sampled_from([b"\0", b"\0", b"\1\0", b"\1", b""])),
        )
    raw = rebuild(parts, extensions)
    if draw(st.integers(0, 7)) == 0:
        where = draw(st.integers(4, len(raw)))
        raw = raw[:where] + draw(SMALL) + raw[where:]
    return records(raw, [*draw(st.lists(st.integers(1, 400), max_size=4)), 16_384])


@st.composite
def changed_anywhere(draw: st.DrawFn, hellos: Sequence[Captured]) -> bytes:
    """The wire of a hello with some bytes put in, taken out or changed, anywhere."""
    wire = draw(st.sampled_from(hellos)).wire
    at = draw(st.integers(0, len(wire) - 1))
    return wire[:at] + draw(SMALL) + wire[at + draw(st.integers(0, 3)) :]
