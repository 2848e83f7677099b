"""The rule of the parser, with OpenSSL itself as the judge.

Whatever name we report, OpenSSL reports the same or rejects the hello; whatever it accepts, we accept;
what it refuses as malformed, we refuse with its alert.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spyhole.conformance.oracle import OpenSsl, Outcome
from spyhole.wire.client_hello import (
    NEED_MORE,
    ClientHello,
    ClientHelloError,
    ClientHelloParser,
    Fault,
    NotTls,
)
from spyhole.wire.extensions import ONCE
from spyhole.wire.message import take_apart
from support.hellos import (
    Captured,
    alpn,
    captured,
    rebuild,
    record,
    records,
    server_name,
    u16s,
    vector,
    versions,
)
from support.hostile_hellos import HOSTILE, ODD, status_request, tls12, tls13

# Ours before OpenSSL's: caps, and what is told at a record's header instead of at its end.
EARLIER = {Fault.HELLO_TOO_LARGE, Fault.RECORD_OVERFLOW, Fault.UNEXPECTED_RECORD}
# Refused by a server that does not know the key offered; one that does would go on.
NEEDS_A_SESSION = {"MISSING_SIGALGS_EXTENSION", "NO_SUITABLE_KEY_SHARE"}


@pytest.fixture(scope="module")
def oracle() -> OpenSsl:
    return OpenSsl()


def ours_of(wire: bytes) -> object:
    try:
        return ClientHelloParser().feed(wire)
    except ClientHelloError as error:
        return error


def assert_agreement(oracle: OpenSsl, wire: bytes) -> None:
    theirs = oracle.judge(wire)
    ours = ours_of(wire)
    context = (theirs, ours, wire.hex())
    fault = ours.reason if isinstance(ours, ClientHelloError) else None
    if fault is Fault.SSLV2_HELLO:
        return  # the one exception by choice
    if isinstance(ours, NotTls):  # said at the first byte that is wrong; OpenSSL reads on
        assert theirs.outcome in {Outcome.WAITING, Outcome.REFUSED}, context
        assert wire[0] not in range(20, 25) or wire[1] != 3, context
        return
    if isinstance(ours, ClientHello) and theirs.seen:
        assert ours.server_name == theirs.name, context
    if theirs.outcome is Outcome.ACCEPTED:
        assert isinstance(ours, ClientHello), context
    elif theirs.outcome is Outcome.WAITING:
        assert ours is NEED_MORE or fault in EARLIER, context
    elif theirs.outcome is Outcome.REFUSED:
        if isinstance(ours, ClientHello):
            assert theirs.reason in NEEDS_A_SESSION, context
            assert any(e.kind == 41 for e in take_apart(ours.raw).extensions), context
        else:
            assert isinstance(ours, ClientHelloError), context
            assert ours.alert == theirs.alert or fault is Fault.HELLO_TOO_LARGE, context
    else:  # it stopped before it had looked at everything
        assert isinstance(ours, ClientHello | ClientHelloError), context


@pytest.mark.parametrize("wire", [wire for wire, _ in HOSTILE.values()], ids=HOSTILE.keys())
def test_hostile_hellos(oracle: OpenSsl, wire: bytes) -> None:
    assert_agreement(oracle, wire)


@pytest.mark.parametrize("wire", ODD.values(), ids=ODD.keys())
def test_odd_hellos(oracle: OpenSsl, wire: bytes) -> None:
    assert oracle.judge(wire).outcome in {Outcome.ACCEPTED, Outcome.UNSUITED}
    assert_agreement(oracle, wire)


@pytest.mark.parametrize("real", captured(), ids=str)
def test_real_clients(oracle: OpenSsl, real: Captured) -> None:
    assert_agreement(oracle, real.wire)


def test_real_clients_from_outside(oracle: OpenSsl, vectors: Path) -> None:
    rows = [json.loads(line) for line in (vectors / "clienthellos.jsonl").read_text().splitlines()]
    rows += json.loads((vectors / "browsers.json").read_text())
    for row in rows:
        wire = bytes.fromhex(row["hex"])
        assert_agreement(oracle, wire)
        ours = ClientHelloParser().feed(wire)
        assert isinstance(ours, ClientHello)
        assert (ours.server_name or b"") == row["sni"].encode()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 100])
def test_real_clients_from_outside_in_small_records(oracle: OpenSsl, vectors: Path, size: int) -> None:
    lines = (vectors / "clienthellos.jsonl").read_text().splitlines()[size % 7 :: 7]
    for line in lines:
        whole = bytes.fromhex(json.loads(line)["hex"])
        wire = records(whole[5:], [size])
        assert_agreement(oracle, wire)
        assert ClientHelloParser().feed(wire) == ClientHelloParser().feed(whole)


def test_fuzz_seeds_from_outside(oracle: OpenSsl, vectors: Path) -> None:
    for line in (vectors / "boringssl_seeds.jsonl").read_text().splitlines():
        row = json.loads(line)
        wire = bytes.fromhex(row["hex"])
        assert_agreement(oracle, wire)
        if row["openssl"] == "accept":  # its stored verdict: it got as far as to report a name
            ours = ours_of(wire)
            if isinstance(ours, ClientHelloError):  # what OpenSSL finds after it has told the name
                assert ours.reason in {Fault.TLS13_COMPRESSION, Fault.MISSING_EXTENSION}
            else:
                assert isinstance(ours, ClientHello)
                assert (ours.server_name or b"").decode() == (row["sni"] or "")


# Mutations that keep the frame whole, so that they reach what is inside.

SMALL = st.one_of(st.binary(max_size=4), st.lists(st.sampled_from([0, 1, 2, 3, 4]), max_size=6).map(bytes))
GROUPS = st.lists(st.sampled_from([29, 23, 24, 30, 256, 0x11EC, 0x0A0A]), max_size=4)
SHARES = st.lists(
    st.tuples(st.sampled_from([29, 23, 24, 0x11EC, 0x0A0A]), st.sampled_from([0, 1, 32, 65, 97])),
    max_size=3,
)
LIKELY = {
    0: st.one_of(SMALL, st.binary(max_size=260)).map(lambda name: server_name(name)[1]),
    5: st.one_of(SMALL, SMALL.map(lambda tail: b"\1\0\0\0\0" + tail)),
    10: GROUPS.map(lambda groups: vector(u16s(*groups), 2)),
    16: st.lists(SMALL, max_size=3).map(lambda protocols: alpn(*protocols)[1]),
    41: SMALL.map(lambda key: vector(vector(key, 2) + bytes(4), 2) + vector(vector(bytes(32), 1), 2)),
    43: st.lists(st.sampled_from([0x304, 0x303, 0x302, 0x301, 0x300, 0x305, 0x2A2A]), max_size=3).map(
        lambda offered: versions(*offered)[1]
    ),
    45: SMALL.map(lambda modes: vector(modes, 1)),
    51: SHARES.map(
        lambda shares: vector(b"".join(u16s(g) + vector(bytes(range(n)), 2) for g, n in shares), 2)
    ),
}
KNOWN = st.sampled_from(sorted(ONCE))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    real = draw(st.sampled_from(captured()))
    parts = take_apart(real.raw)
    extensions = [(e.kind, e.body) for e in parts.extensions]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(extensions) - 1, 0)))
        action = draw(st.sampled_from(["set", "byte", "byte", "drop", "repeat", "move"]))
        if action == "set" or not extensions:
            kind = draw(KNOWN)
            body = draw(st.one_of(SMALL, LIKELY.get(kind, SMALL)))
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


@settings(max_examples=2000)
@given(wire=mutated())
def test_mutated_hellos(oracle: OpenSsl, wire: bytes) -> None:
    assert_agreement(oracle, wire)


# DER, which OpenSSL decodes while it reads the hello. 0x80 would be a length that BER has and DER has not.
NAME = bytes.fromhex("302331143012060a0992268993f22c640119160474657374310b300906035504030c025879")
DER = {
    "a key's hash": (5, b"\xa2\x16\x04\x14" + bytes(20)),
    "a responder's name": (5, b"\xa1\x25" + NAME),
    "request extensions": (6, bytes.fromhex("3011300f06092b06010505073001020402aabb")),
    "a critical one": (6, bytes.fromhex("300f300d0603551d130101ff0403300100")),
    "an authority": (47, NAME),
}
NO_80 = st.sampled_from([b for b in range(256) if b != 0x80])


@settings(max_examples=500)
@given(
    which=st.sampled_from(sorted(DER)),
    at=st.integers(0, 40),
    put=st.lists(NO_80, max_size=2).map(bytes),
    drop=st.integers(0, 2),
)
def test_der_in_extensions(oracle: OpenSsl, which: str, at: int, put: bytes, drop: int) -> None:
    kind, der = DER[which]
    der = der[:at] + put + der[at + drop :]
    if kind == 47:
        wire = tls13((47, vector(vector(der, 2), 2)))
    else:
        wire = tls12(status_request(vector(der, 2)) if kind == 5 else status_request(b"", der))
    assert_agreement(oracle, wire)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"\x07a",
        b"\x08a",
        b"\xff",
        b"abc",
        "aé".encode(),
        b"abcd",
        b"\0\1\0a",
        b"\xd8\0",
        b"\xd8\0\xdc\0",
        b"\0\0\xd8\0",
    ],
)
def test_every_kind_of_string_in_a_name(oracle: OpenSsl, content: bytes) -> None:
    for tag in {*range(256)} - set(range(0x20, 0x40)):  # strings in pieces are the gap that asn1 tells of
        pair = b"\x06\3\x55\4\6" + bytes([tag]) + vector(content, 1)
        name = b"\x30" + vector(b"\x31" + vector(b"\x30" + vector(pair, 1), 1), 1)
        assert_agreement(oracle, tls13((47, vector(vector(name, 2), 2))))


@pytest.mark.parametrize(
    "length", ["82000d", "83000000000d", "8400000000 0d", "84 0000000d", "810d", "81", "8500", "ff"]
)
def test_long_forms_of_a_length(oracle: OpenSsl, length: str) -> None:
    name = b"\x30" + bytes.fromhex(length) + bytes.fromhex("310b3009060355040613024445")
    assert_agreement(oracle, tls13((47, vector(vector(name, 2), 2))))


@settings(max_examples=300)
@given(real=st.sampled_from(captured()), at=st.integers(0), put=SMALL, drop=st.integers(0, 3))
def test_bytes_changed_anywhere(oracle: OpenSsl, real: Captured, at: int, put: bytes, drop: int) -> None:
    at %= len(real.wire)
    assert_agreement(oracle, real.wire[:at] + put + real.wire[at + drop :])


@settings(max_examples=300)
@given(
    real=st.sampled_from(captured()),
    sizes=st.lists(st.integers(0, 200), min_size=1, max_size=40),
    strange=st.lists(
        st.tuples(
            st.integers(0, 40),
            st.sampled_from([20, 20, 21, 22, 22, 23, 24]),
            st.sampled_from([b"", b"", b"\1", b"\1\0"]),
            st.sampled_from([0x0301, 0x0301, 0x0300, 0x03FF, 0x0200]),
        ),
        max_size=3,
    ),
)
def test_strange_records(
    oracle: OpenSsl, real: Captured, sizes: list[int], strange: list[tuple[int, int, bytes, int]]
) -> None:
    pieces, pos = [], 0
    for size in sizes:
        pieces.append(record(real.raw[pos : pos + size]))
        pos += size
    pieces.append(records(real.raw[pos:]))
    for at, kind, content, version in strange:
        pieces.insert(at % len(pieces), record(content, kind, version))
    assert_agreement(oracle, b"".join(pieces))
