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
from spyhole.wire.client_hello import ClientHello, ClientHelloError, ClientHelloParser, Fault
from support.hellos import Captured, captured, record, records, vector
from support.hostile_hellos import HOSTILE, ODD, status_request, tls12, tls13
from support.mutations import changed_anywhere, mutated
from support.openssl import LATER
from support.parser_laws import REFUSED_LATER, answer, assert_agreement


@pytest.mark.parametrize("wire", [wire for wire, _ in HOSTILE.values()], ids=HOSTILE.keys())
def test_hostile_hellos(oracle: OpenSsl, wire: bytes) -> None:
    assert_agreement(oracle, wire)


@pytest.mark.parametrize("wire", ODD.values(), ids=ODD.keys())
def test_odd_hellos(oracle: OpenSsl, wire: bytes) -> None:
    verdict = oracle.judge(wire)
    later = LATER and verdict.reason in REFUSED_LATER
    assert verdict.outcome in {Outcome.ACCEPTED, Outcome.UNSUITED} or later
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
            ours = answer(wire)
            if isinstance(ours, ClientHelloError):  # what OpenSSL finds after it has told the name
                assert ours.reason in {Fault.TLS13_COMPRESSION, Fault.MISSING_EXTENSION}
            else:
                assert isinstance(ours, ClientHello)
                assert (ours.server_name or b"").decode() == (row["sni"] or "")


@settings(max_examples=2000)
@given(wire=mutated(captured()))
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
@given(wire=changed_anywhere(captured()))
def test_bytes_changed_anywhere(oracle: OpenSsl, wire: bytes) -> None:
    assert_agreement(oracle, wire)


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
