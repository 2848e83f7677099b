"""The law of `wire.familiar`: what was seen before changes how long an answer takes, never the answer."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spyhole.conformance.oracle import OpenSsl
from spyhole.wire.client_hello import ClientHello
from spyhole.wire.familiar import LEARNT_AT_ONCE, LONG_WAYS, MOST, MOST_ALIKE, forget, recall
from spyhole.wire.groups import WEAK
from spyhole.wire.ja4 import ja4
from spyhole.wire.message import GREASE, take_apart
from support.hellos import (
    TLS13_NEEDS,
    Captured,
    alpn,
    captured,
    hello,
    learnable,
    message,
    rebuild,
    records,
    reordered,
    server_name,
    u16s,
    vector,
)
from support.parser_laws import Answer, answer, assert_agreement, comparable

TICKET = bytes(range(101, 133))
TICKETS = vector(vector(TICKET, 2) + bytes(4), 2) + vector(vector(bytes(32), 1), 2)
RESUMING = records(hello([*TLS13_NEEDS, server_name(b"a.test"), (45, b"\1\1"), (41, TICKETS)]))
SHARES = [b"\0" * 32, *sorted(WEAK[29]), bytes(range(32)), b"\xff" * 32, b"\4" + bytes(64)]


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


def one_twice(random: Random, wire: bytes) -> bytes:
    """An extension stands where another of the same size stood."""
    parts = take_apart(wire[5:])
    extensions = [(extension.kind, extension.body) for extension in parts.extensions]
    alike = [
        (i, j) for i, a in enumerate(extensions) for j, b in enumerate(extensions)
        if i != j and len(a[1]) == len(b[1])
    ]  # fmt: skip
    if alike:
        i, j = random.choice(alike)
        extensions[i] = extensions[j]
    return records(rebuild(parts, extensions))


def one_grease_differs(random: Random, wire: bytes) -> bytes:
    """A GREASE value stands alone where it stood in two places."""
    places = [at for at in range(43, len(wire) - 1) if int.from_bytes(wire[at : at + 2]) in GREASE]
    if not places:
        return wire
    at = random.choice(places)
    return wire[:at] + u16s(random.choice(sorted(GREASE))) + wire[at + 2 :]


def in_any_order(random: Random, wire: bytes) -> bytes:
    """Also where pre_shared_key is not the last one."""
    parts = take_apart(wire[5:])
    extensions = [(extension.kind, extension.body) for extension in parts.extensions]
    random.shuffle(extensions)
    return records(rebuild(parts, extensions))


def untouched(_: Random, wire: bytes) -> bytes:
    return wire


def greased(groups: list[int], shares: list[int]) -> bytes:
    entries = b"".join(u16s(group) + vector(bytes(range(1, 33)), 2) for group in shares)
    extensions = [(10, vector(u16s(*groups), 2)), (51, vector(entries, 2)), (0x2A2A, b""), (0x3A3A, b"")]
    return records(hello([TLS13_NEEDS[0], TLS13_NEEDS[2], server_name(b"a.test"), *extensions]))


GREASED = [
    greased([0x0A0A, 29, 0x1234], [0x0A0A, 0x1234]),
    greased([0x0A0A, 29], [29, 0x0A0A]),
    greased([0x0A0A, 29], [0x0A0A, 29]),
    greased([0x0A0A, 0x1A1A, 29], [0x0A0A, 0x1A1A, 29]),
    greased([0x0A0A, 0x1A1A, 29], [0x1A1A, 29]),
    greased([0x0A0A, 29], [29]),
]
HELLOS = [*(real.wire for real in captured()), records(hello(TLS13_NEEDS)), RESUMING, RESUMING, *GREASED]


def pairs() -> st.SearchStrategy[tuple[bytes, bytes]]:
    """A hello, and one that is nearly the same, made of one number: to draw each choice takes long."""

    def pair(seed: int) -> tuple[bytes, bytes]:
        random = Random(seed)
        wire = random.choice(HELLOS)
        return wire, changed(random, wire)

    return st.integers(0, 2**48).map(pair)


def permuted() -> st.SearchStrategy[tuple[bytes, bytes, bytes]]:
    """A hello, the same as a browser would send it next, and one that is nearly the same as that."""

    def three(seed: int) -> tuple[bytes, bytes, bytes]:
        random = Random(seed)
        wire = random.choice(HELLOS)
        other = reordered(random, wire)
        change = random.choice([changed, one_twice, one_grease_differs, in_any_order, untouched])
        return wire, reordered(random, wire), change(random, other)

    return st.integers(0, 2**48).map(three)


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


@settings(max_examples=1000)
@given(permuted())
def test_so_does_one_in_another_order(three: tuple[bytes, bytes, bytes]) -> None:
    seen, again, other = three
    learn(seen, again)
    said = answer(other)
    assert comparable(said) == comparable(unfamiliar(other)), other.hex()
    if isinstance(said, ClientHello):
        assert ja4(said) == ja4(ClientHello.parse(said.raw))


@settings(max_examples=500)
@given(pairs(), permuted())
def test_a_familiar_hello_agrees_with_openssl(
    oracle: OpenSsl, pair: tuple[bytes, bytes], three: tuple[bytes, bytes, bytes]
) -> None:
    for *seen, other in (pair, three):
        learn(*seen)
        assert_agreement(oracle, other)


@pytest.mark.parametrize("real", captured(), ids=str)
def test_real_clients_become_familiar(real: Captured) -> None:
    learn(real.wire)
    said = recall(real.raw)
    assert said is not None
    assert said[0] == real.server_name


@pytest.mark.parametrize("real", captured(), ids=str)
def test_real_clients_that_permute_become_familiar(real: Captured) -> None:
    random = Random(1)
    learn(real.wire, reordered(random, real.wire))
    for _ in range(20):
        said = recall(reordered(random, real.wire)[5:])
        assert said is not None
        assert said[0] == real.server_name
        assert recall(one_twice(random, real.wire)[5:]) is None


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


@pytest.mark.parametrize("bad", sorted(WEAK[29]))
def test_a_share_of_small_order_is_refused_of_a_familiar_client_too(oracle: OpenSsl, bad: bytes) -> None:
    learn(offering(29, bytes(range(1, 33))))
    assert_agreement(oracle, offering(29, bad))


def test_a_name_with_a_zero_byte_is_refused_of_a_familiar_client_too(oracle: OpenSsl) -> None:
    learn(offering(29, bytes(range(1, 33))))
    assert_agreement(oracle, offering(29, bytes(range(1, 33)), b"a\0test"))


def test_extensions_that_come_twice_hide_no_name() -> None:
    """The last of each type, one after the other, end as this message does, and begin elsewhere."""
    twice = bytes.fromhex("746d000d6e646900086e7671746d000d6e646900086e7671746d000d6e64690000")
    named = bytes.fromhex("746d000d6e646900086e7671746d000d6e00000008000600000361626364690000")
    body = hello(None)[4:]
    seen, other = (learnable(records(message(body + vector(block, 2)))) for block in (twice, named))
    learn(seen)
    said = answer(other)
    assert isinstance(said, ClientHello)
    assert said.server_name == b"abc"


def test_clients_that_differ_in_what_is_their_own_are_kinds_of_their_own() -> None:
    random = Random(1)
    clients = {
        protocol: records(hello([*TLS13_NEEDS, server_name(b"a.test"), alpn(protocol)]))
        for protocol in (b"h2", b"h3")
    }
    learn(*(wire for client in clients.values() for wire in (client, reordered(random, client))))
    for protocol, client in clients.items():
        for wire in (client, reordered(random, client)):
            said = recall(wire[5:])
            assert said is not None
            assert said[1].alpn == (protocol,)


def padded(name: bytes) -> bytes:
    return records(hello([*TLS13_NEEDS, server_name(name), (21, bytes(100 - len(name)))]))


def test_a_client_that_pads_is_familiar_whatever_the_length_of_its_name() -> None:
    names = [b"a" * length + b".test" for length in range(1, MOST_ALIKE + 1)]
    learn(*map(padded, names))
    for name in names:
        said = recall(padded(name.replace(b"a", b"b"))[5:])
        assert said is not None
        assert said[0] == name.replace(b"a", b"b")
    for _ in range(3):  # and one more, in the place of the oldest
        answer(learnable(padded(b"longer.than.the.others.test")))
    assert [recall(padded(name)[5:]) is None for name in names] == [True] + [False] * (MOST_ALIKE - 1)


def test_what_would_not_be_recalled_is_not_learnt() -> None:
    """Where a client resumes by psk_ke alone, OpenSSL looks at no identity."""
    odd = learnable(records(hello([*TLS13_NEEDS, (45, b"\1\0"), (41, b"\xff")])))
    others = [padded_to(len(odd) - 5, number) for number in range(MOST_ALIKE)]
    learn(*others)
    for _ in range(2 * MOST_ALIKE):
        assert isinstance(answer(odd), ClientHello)
    assert all(recall(wire[5:]) for wire in others)


def padded_to(size: int, number: int) -> bytes:
    extensions = [*TLS13_NEEDS, (0x4000 + number, b"")]
    return records(hello([*extensions, (21, bytes(size - len(hello([*extensions, (21, b"")]))))]))


def test_a_shape_that_comes_once_is_not_learnt() -> None:
    wires = [learnable(padded(b"a" * length)) for length in range(1, 9)]
    for wire in wires * 2:
        answer(wire)
    assert not any(recall(wire[5:]) for wire in wires)


def test_who_keeps_an_order_is_known_in_that_order() -> None:
    wire = padded(b"a.test")
    learn(wire)
    assert recall(wire[5:]) is not None
    assert recall(reordered(Random(1), wire)[5:]) is None


def test_no_more_kinds_are_kept_than_allowed() -> None:
    forget()
    for number in range(MOST + 1):
        for _ in range(LONG_WAYS + 2):  # of which the last two are learnt from
            answer(of_kind(number))
    assert recall(of_kind(MOST)[5:])
    assert recall(of_kind(1)[5:])
    assert recall(of_kind(0)[5:]) is None


def of_kind(number: int) -> bytes:
    return learnable(records(hello([*TLS13_NEEDS, (0x4000 + number, bytes(number))])))


def test_who_sends_ever_new_kinds_has_few_of_them_learnt() -> None:
    kinds = range(1, LEARNT_AT_ONCE + 1)
    learn(*map(of_kind, kinds))
    assert all(recall(of_kind(number)[5:]) for number in kinds)
    late = of_kind(LEARNT_AT_ONCE + 1)
    reads = 0
    while not recall(late[5:]):
        answer(late)
        reads += 1
    assert LONG_WAYS - 3 * LEARNT_AT_ONCE <= reads <= LONG_WAYS


TOO_LONG = (13, vector(u16s(*range(0x400, 0x700)), 2))


def test_to_try_in_vain_is_paid_for_too() -> None:
    tries = [records(hello([TOO_LONG, (0x4000, bytes(number))])) for number in range(LEARNT_AT_ONCE)]
    learn(*tries)
    assert not any(recall(wire[5:]) for wire in tries)
    for _ in range(2):
        answer(of_kind(1))
    assert recall(of_kind(1)[5:]) is None


@pytest.mark.parametrize(
    "extensions",
    [
        pytest.param([(kind, b"") for kind in range(0x4000, 0x4016)], id="many, each looked for among all"),
        pytest.param([(kind, b"") for kind in sorted(GREASE)[:5]], id="GREASE that can't be told apart"),
        pytest.param([TOO_LONG], id="much that is its own"),
        pytest.param([alpn(*[b"h2"] * 17)], id="many protocols, which are kept"),
    ],
)
def test_what_could_cost_much_is_not_familiar_in_any_order(extensions: list[tuple[int, bytes]]) -> None:
    wire = records(hello([*(one for one in TLS13_NEEDS if one[0] != extensions[0][0]), *extensions]))
    random = Random(1)
    learn(wire, reordered(random, wire))
    assert isinstance(answer(wire), ClientHello)
    assert recall(reordered(random, wire)[5:]) is None
