"""Laws of the builders: what is built is what OpenSSL reads, and a lie is the only thing that changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spyhole.conformance.cases.cuts import largest, sized
from spyhole.conformance.cases.plain import MESSAGE, NAME, WIRE
from spyhole.conformance.hello import (
    TLS13,
    browser,
    client_hello,
    encode,
    lengths,
    padded,
    plain,
    server_name,
)
from spyhole.conformance.oracle import OpenSsl, Outcome
from spyhole.conformance.records import alert_in, cut, records

NAMES = st.binary(min_size=1, max_size=255).filter(lambda name: 0 not in name)


@given(name=NAMES)
def test_the_name_that_is_built_is_the_name_that_openssl_sees(oracle: OpenSsl, name: bytes) -> None:
    for message in (browser(name, size=None), client_hello([*TLS13, server_name(name)])):
        verdict = oracle.judge(records(encode(message)))
        assert (verdict.outcome, verdict.name) == (Outcome.ACCEPTED, name)


@given(sizes=st.lists(st.integers(1, 600), min_size=1))
def test_a_cut_changes_nothing(oracle: OpenSsl, sizes: list[int]) -> None:
    verdict = oracle.judge(records(MESSAGE, sizes))
    assert (verdict.outcome, verdict.name) == (Outcome.ACCEPTED, NAME)


@given(places=st.sets(st.integers(1, len(MESSAGE) - 1)))
def test_a_cut_is_where_it_is_asked_for(places: set[int]) -> None:
    wire = cut(MESSAGE, *sorted(places))
    at, edges, content = 0, [], b""
    while at < len(wire):
        size = int.from_bytes(wire[at + 3 : at + 5])
        content += wire[at + 5 : at + 5 + size]
        edges.append(len(content))
        at += 5 + size
    assert content == MESSAGE
    assert edges == [*sorted(places), len(MESSAGE)]


@pytest.mark.parametrize("hello", [browser(b"a.test"), client_hello([server_name(b"a.test"), *TLS13])])
def test_a_length_says_what_is_behind_it_and_a_lie_changes_nothing_else(hello: tuple[bytes, ...]) -> None:
    truth = encode(hello)
    fields = list(lengths(hello))
    assert len({field.name for field in fields}) == len(fields), "each has a name of its own"
    assert {"message", "session id", "cipher suites", "extensions", "server_name: name"} <= {
        field.name for field in fields
    }
    for field in fields:
        stop = field.offset + field.size
        assert truth[field.offset : stop] == field.value.to_bytes(field.size), field
        assert stop + field.value <= len(truth)
        lie = encode(hello, {field.name: 1})
        assert lie[field.offset : stop] == (field.value + 1).to_bytes(field.size)
        assert lie[: field.offset] + lie[stop:] == truth[: field.offset] + truth[stop:]


def test_every_length_of_a_hello_is_known() -> None:
    """Take all of them away, and no byte is left that is a length: each was told apart from its content."""
    hello = client_hello([server_name(b"a.test"), plain(0x1234, "one", b"xyz")], session_id=b"")
    assert [(field.name, field.value) for field in lengths(hello)] == [
        *(("message", 95), ("session id", 0), ("cipher suites", 32), ("compression methods", 1)),
        *(("extensions", 22), ("server_name", 11), ("server_name: list", 9), ("server_name: name", 6)),
        ("one", 3),
    ]


@given(size=st.integers(300, 5000))
def test_padding_brings_a_hello_to_its_size(size: int) -> None:
    assert len(encode(padded([server_name(b"a.test"), *TLS13], size))) == size


def test_sizes() -> None:
    assert len(WIRE) == 517
    assert MESSAGE.count(NAME) == 1
    for last in (False, True):
        assert len(sized(30 << 10, last=last)) == 30 << 10
    assert len(largest()) == 131_400


@pytest.mark.parametrize("message", [sized(64 << 10, last=True), largest()], ids=["64 KiB", "the largest"])
def test_large_hellos_are_hellos(oracle: OpenSsl, message: bytes) -> None:
    verdict = oracle.judge(records(message))
    assert (verdict.outcome, verdict.name) == (Outcome.ACCEPTED, NAME)


@pytest.mark.parametrize(
    ("data", "alert"),
    [
        ("15030300020250", 80),
        ("15030100020232", 50),
        ("15030300020170", None),
        ("1503030002025000", None),
        ("150303000202", None),
        ("16030300020250", None),
        ("", None),
    ],
)
def test_an_alert_is_one_fatal_record(data: str, alert: int | None) -> None:
    assert alert_in(bytes.fromhex(data)) == alert
