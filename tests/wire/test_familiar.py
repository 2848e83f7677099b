"""The law of `wire.familiar`: what was seen before changes how long an answer takes, never the answer."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spyhole.conformance.oracle import OpenSsl
from spyhole.wire.client_hello import ClientHello
from spyhole.wire.familiar import forget, recall
from spyhole.wire.groups import _WEAK
from spyhole.wire.message import take_apart
from support.hellos import (
    TLS13_NEEDS,
    Captured,
    captured,
    hello,
    learnable,
    records,
    server_name,
    u16s,
    vector,
)
from support.parser_laws import Answer, answer, assert_agreement, comparable

TICKET = bytes(range(101, 133))
TICKETS = vector(vector(TICKET, 2) + bytes(4), 2) + vector(vector(bytes(32), 1), 2)
RESUMING = records(hello([*TLS13_NEEDS, server_name(b"a.test"), (45, b"\1\1"), (41, TICKETS)]))
SHARES = [b"\0" * 32, *sorted(_WEAK[29]), bytes(range(32)), b"\xff" * 32, b"\4" + bytes(64)]


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    forget()
    yield
    forget()


def learn(*wires: bytes) -> None:
    """See each so often that it is familiar."""
    forget()
    for wire in wires:
        for _ in range(3):
            answer(learnable(wire))


def changed(random: Random, wire: bytes) -> bytes:
    """Of the same length: bytes that differ, in the places that matter more often than elsewhere."""
    parts = take_apart(wire[5:])
    places: list[tuple[int, int]] = [(0, len(wire)), (43, 44)]
    for extension in parts.extensions:
        start = 5 + extension.offset
        places.append((start, start + 4 + len(extension.body)))
        if extension.kind in {0, 41, 51}:
            places += [(start + 4, start + 4 + len(extension.body))] * 4
        if extension.kind == 51:
            pos = start + 6
            while pos < start + 4 + len(extension.body):  # group, size, share
                size = int.from_bytes(wire[pos + 2 : pos + 4])
                places += [(pos + 4, pos + 4 + size)] * 2
                pos += 4 + size
    for _ in range(random.randint(1, 3)):
        start, stop = random.choice(places)
        at = random.choice([start, random.randint(start, max(start, stop - 1))])
        put = random.choice([random.randbytes(random.randint(1, 4)), random.choice(SHARES)])
        wire = (wire[:at] + put + wire[at + len(put) :])[: len(wire)]
    return wire


HELLOS = [*(real.wire for real in captured()), records(hello(TLS13_NEEDS)), RESUMING, RESUMING]


def pairs() -> st.SearchStrategy[tuple[bytes, bytes]]:
    """A hello, and one that is nearly the same, made of one number: to draw each choice takes long."""

    def pair(seed: int) -> tuple[bytes, bytes]:
        random = Random(seed)
        wire = random.choice(HELLOS)
        return wire, changed(random, wire)

    return st.integers(0, 2**48).map(pair)


def unfamiliar(wire: bytes) -> Answer:
    forget()
    return answer(wire)


@settings(max_examples=1000)
@given(pairs())
def test_a_familiar_hello_gets_the_answer_that_an_unfamiliar_one_gets(pair: tuple[bytes, bytes]) -> None:
    seen, other = pair
    learn(seen)
    said = answer(other)
    assert comparable(said) == comparable(unfamiliar(other)), other.hex()
    if isinstance(said, ClientHello):  # and so it is when both are familiar
        learn(seen, other)
        for wire in pair:
            assert comparable(answer(wire)) == comparable(unfamiliar(wire)), wire.hex()


@settings(max_examples=500)
@given(pairs())
def test_a_familiar_hello_agrees_with_openssl(oracle: OpenSsl, pair: tuple[bytes, bytes]) -> None:
    seen, other = pair
    learn(seen)
    assert_agreement(oracle, other)


@pytest.mark.parametrize("real", captured(), ids=str)
def test_real_clients_become_familiar(real: Captured) -> None:
    learn(real.wire)
    said = recall(real.raw)
    assert said is not None
    assert said[0] == real.server_name


def test_a_client_that_resumes_becomes_familiar_whatever_its_ticket(oracle: OpenSsl) -> None:
    learn(RESUMING)
    recalled = recall(RESUMING[5:].replace(TICKET, bytes(32)))
    assert recalled is not None
    name, common = recalled
    assert (name, common.alpn, common.versions) == (b"a.test", (), (0x0304, 0x0303))
    for size in (31, 33, 0):  # of a ticket that has 32 bytes
        bad = RESUMING.replace(b"\0\x20" + TICKET, bytes([0, size]) + TICKET)
        assert recall(bad[5:]) is None
        assert_agreement(oracle, bad)


def offering(group: int, share: bytes, name: bytes = b"a.test") -> bytes:
    """A TLS 1.3 hello with one key share."""
    shares = vector(u16s(group) + vector(share, 2), 2)
    return records(hello([*TLS13_NEEDS[:3], (51, shares), server_name(name)]))


@pytest.mark.parametrize("bad", sorted(_WEAK[29]))
def test_a_share_of_small_order_is_refused_of_a_familiar_client_too(oracle: OpenSsl, bad: bytes) -> None:
    learn(offering(29, bytes(range(1, 33))))
    assert_agreement(oracle, offering(29, bad))


def test_a_name_with_a_zero_byte_is_refused_of_a_familiar_client_too(oracle: OpenSsl) -> None:
    learn(offering(29, bytes(range(1, 33))))
    assert_agreement(oracle, offering(29, bytes(range(1, 33)), b"a\0test"))
