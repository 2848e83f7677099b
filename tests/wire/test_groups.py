"""Key shares: made by cryptography they are good, changed they are bad, and OpenSSL says the same."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from spyhole.conformance.oracle import OpenSsl, Outcome
from spyhole.wire.groups import WEAK, bad_share, is_weak
from support.hellos import TLS13_NEEDS, hello, records, u16s, vector

CURVES = {23: ec.SECP256R1(), 24: ec.SECP384R1(), 25: ec.SECP521R1()}


def point(group: int) -> bytes:
    key = ec.generate_private_key(CURVES[group]).public_key()
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def judged(group: int, value: bytes) -> str | None:
    return bad_share(group, b"??" + value + b"??", 2, len(value))


@pytest.mark.parametrize("group", CURVES)
def test_points(group: int) -> None:
    good = point(group)
    assert judged(group, good) == ""
    assert judged(group, good[:-1] + bytes([good[-1] ^ 1]))
    assert judged(group, good[:-1])
    assert judged(group, b"\2" + good[1 : 1 + len(good) // 2])
    assert judged(group, b"\4" + b"\xff" * (len(good) - 1))


def test_montgomery_curves() -> None:
    assert judged(29, x25519.X25519PrivateKey.generate().public_key().public_bytes_raw()) == ""
    assert judged(30, x448.X448PrivateKey.generate().public_key().public_bytes_raw()) == ""
    assert not is_weak(29, bytes([2] * 32))
    assert not is_weak(23, bytes(32))
    assert judged(29, bytes(31))
    assert judged(30, bytes(57))


@pytest.mark.parametrize("group", WEAK)
def test_values_of_small_order_are_those_that_give_no_secret(group: int) -> None:
    oracle = OpenSsl()
    for value in WEAK[group]:
        assert judged(group, value) == ""
        assert is_weak(group, value)
        extensions = [
            TLS13_NEEDS[0],
            (10, vector(u16s(group), 2)),
            TLS13_NEEDS[2],
            (51, vector(u16s(group) + vector(value, 2), 2)),
        ]
        verdict = oracle.judge(records(hello(extensions)))
        assert (verdict.outcome, verdict.alert) == (Outcome.REFUSED, 47), value.hex()


def test_an_unknown_group_is_not_judged() -> None:
    assert judged(0x11EC, b"x") is None
    assert judged(0x0A0A, b"\0") is None
