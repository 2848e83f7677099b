"""JA3 and JA4: FoxIO's own examples, what other tools say of the same bytes, and the odd cases."""

from __future__ import annotations

from hashlib import sha256
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spyhole.wire.client_hello import ClientHello, ClientHelloError, ClientHelloParser
from spyhole.wire.ja3 import ja3, ja3_raw
from spyhole.wire.ja4 import ja4, ja4_raw
from spyhole.wire.message import GREASE, take_apart
from support.hellos import (
    TLS13_NEEDS,
    Captured,
    alpn,
    captured,
    hello,
    learnable,
    rebuild,
    records,
    server_name,
    u16s,
    vector,
    versions,
)


def parsed(wire: bytes) -> ClientHello:
    said = ClientHelloParser().feed(wire)
    assert isinstance(said, ClientHello)
    return said


def of(
    *extensions: tuple[int, bytes], legacy: int = 0x0303, ciphers: bytes = u16s(0x1301, 0xC02F)
) -> ClientHello:
    return parsed(records(hello(extensions, legacy=legacy, ciphers=ciphers)))


# as published


@pytest.mark.parametrize("browser", ["chrome99", "edge101"])
def test_the_example_of_the_specification(browser: str) -> None:
    real = parsed(next(real for real in captured() if real.client.endswith(f" as {browser}")).wire)
    assert ja4(real) == "t13d1516h2_8daaf6152771_e5627efa2ab1"
    assert ja4_raw(real) == (
        "t13d1516h2_002f,0035,009c,009d,1301,1302,1303,c013,c014,c02b,c02c,c02f,c030,cca8,cca9_"
        "0005,000a,000b,000d,0012,0015,0017,001b,0023,002b,002d,0033,4469,ff01_"
        "0403,0804,0401,0503,0805,0501,0806,0601"
    )
    assert ja3(real) == "cd08e31494f9531f560d64c695473da9"


@pytest.mark.parametrize(
    ("protocol", "ends"),
    [
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"h", "hh"),
        (b"\xab", "ab"),
        (b"\xab\xcd", "ad"),
        (b"\x30\xab", "3b"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
        (b"\xba\xad", "bd"),
        (b"h2/", "6f"),
    ],
)
def test_the_ends_of_the_first_protocol(protocol: bytes, ends: str) -> None:
    assert ja4(of(alpn(protocol, b"x"))).startswith(f"t12i0201{ends}_")


# odd cases


def test_no_name_no_protocol_no_extensions() -> None:
    bare = parsed(records(hello(None)))
    assert ja4(bare) == f"t12i040000_{sha256(b'002f,1301,c02b,c02f').hexdigest()[:12]}_000000000000"
    assert ja3_raw(bare) == "771,4865-49195-49199-47,,,"


def test_only_grease_among_the_ciphers() -> None:
    assert ja4(of(ciphers=u16s(0x0A0A))).split("_")[1] == "000000000000"


def test_no_signature_algorithms_no_underscore() -> None:
    assert ja4_raw(of((23, b""))) == "t12i020100_1301,c02f_0017"


@pytest.mark.parametrize(
    ("legacy", "extensions", "code"),
    [
        (0x0301, [], "10"),
        (0x0302, [], "11"),
        (0x0303, [], "12"),
        (
            0x0304,
            [],
            "13",
        ),  # by the specification's text: what the field says, whatever a server makes of it
        (0x0399, [], "00"),
        (0x0303, [versions(0x1A1A, 0x0303, 0x0304)], "13"),
        (0x0303, [versions(0x0302, 0x0301)], "11"),
        (0x0303, [versions(0x1A1A)], "00"),
        (0x0303, [versions(0x7F1C)], "00"),
    ],
)
def test_the_version(legacy: int, extensions: list[tuple[int, bytes]], code: str) -> None:
    needs = TLS13_NEEDS[1:] if code == "13" and extensions else []
    assert ja4(of(*needs, *extensions, legacy=legacy))[1:3] == code


def test_counts_stop_at_99() -> None:
    many = [(0x4000 + n, b"") for n in range(120)]
    assert ja4(of(*many, ciphers=u16s(*range(0x100, 0x200))))[4:8] == "9999"


def test_an_extension_that_comes_twice_counts_twice() -> None:
    twice = of((0x4000, b""), (0x4000, b""))
    assert ja4(twice)[6:8] == "02"
    assert ja4_raw(twice).endswith("_4000,4000")
    assert ja4(twice) != ja4(of((0x4000, b"")))


def test_a_large_hello_has_the_same_fingerprint_as_a_small_one() -> None:
    small, large = (of((23, b""), (0x4000, bytes(size))) for size in (1, 10_000))
    assert ja4(small) == ja4(large)


# laws


@given(st.sampled_from(captured()), st.randoms(use_true_random=False), st.sampled_from(sorted(GREASE)))
def test_order_and_grease_do_not_change_ja4(real: Captured, random: Random, grease: int) -> None:
    parts = take_apart(real.raw)
    extensions = [(e.kind, e.body) for e in parts.extensions if e.kind not in GREASE]
    random.shuffle(extensions)
    shuffled = rebuild(
        parts._replace(ciphers=(grease, *reversed(parts.ciphers))), [(grease, b""), *extensions]
    )
    assert ja4(parsed(records(shuffled))) == ja4(parsed(real.wire))


@given(st.sampled_from(captured()), st.binary(min_size=1, max_size=50))
def test_the_server_name_changes_neither(real: Captured, name: bytes) -> None:
    name = name.replace(b"\0", b"0")
    parts = take_apart(real.raw)
    if real.server_name is not None:
        other = [(e.kind, server_name(name)[1] if e.kind == 0 else e.body) for e in parts.extensions]
        renamed = parsed(records(rebuild(parts, other)))
        assert ja4(renamed) == ja4(parsed(real.wire))
        assert ja3(renamed) == ja3(parsed(real.wire))


@pytest.mark.parametrize("real", captured()[::5], ids=str)
def test_a_familiar_hello_has_the_fingerprint_of_its_own_bytes(real: Captured) -> None:
    familiar = 0
    for at in range(9, len(real.wire)):
        changed = bytearray(learnable(real.wire))
        changed[at] ^= 1
        for wire in (learnable(real.wire), bytes(changed)):
            try:
                said = parsed(wire)
            except ClientHelloError:
                continue
            assert ja4(said) == ja4(ClientHello.parse(said.raw))
            familiar += said.common is not None
    assert familiar > 100


@given(
    st.lists(st.tuples(st.integers(0x4000, 0x40FF), st.binary(max_size=9)), max_size=9),
    st.binary(max_size=20),
)
def test_ja4_is_the_hash_of_ja4_raw(extensions: list[tuple[int, bytes]], algorithms: bytes) -> None:
    some = of(*extensions, (13, vector(algorithms + b"\4\3" + algorithms, 2)))
    first, ciphers, rest = ja4_raw(some).split("_", 2)
    hashes = (sha256(part.encode()).hexdigest()[:12] for part in (ciphers, rest))
    assert ja4(some) == "_".join((first, *hashes))
