"""The ClientHello parser: its laws, what it reads of real clients, and each hostile hello by name."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spyhole.wire.alerts import Alert
from spyhole.wire.client_hello import (
    ClientHello,
    ClientHelloError,
    ClientHelloParser,
    Fault,
    NotTls,
)
from support.hellos import (
    TLS13_NEEDS,
    Captured,
    captured,
    hello,
    message,
    record,
    records,
    server_name,
    versions,
)
from support.hostile_hellos import HOSTILE, ODD
from support.parser_laws import answer, assert_declared, assert_same_however_cut, comparable

NAMED = [*TLS13_NEEDS, server_name(b"a.test")]
RAW = hello(NAMED)
WIRE = records(RAW)


# Streams that reach every part of the record layer: a hello cut into records, with others between.
PIECES = st.one_of(
    st.integers(1, 40),
    st.just(4000),
    st.sampled_from([
        record(b""), record(b"", 20), record(b"\1", 20), record(b"\1\0", 21), record(b"x", 23),
        record(b"\0", 22, 0x0200), b"\x16\x03\x01\x40\x01", record(b"\2"), b"\x80",
    ]),
)  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    raw = draw(st.sampled_from([RAW, hello([server_name(b"b.test")]), captured()[0].raw, message(b"", 2)]))
    raw += draw(st.sampled_from([b"", b"", b"", b"\0", message(b"x", 16)]))
    wire = b""
    for piece in draw(st.lists(PIECES, max_size=12)):
        if isinstance(piece, bytes):
            wire += piece
        elif raw:
            wire, raw = wire + record(raw[:piece]), raw[piece:]
    return wire + records(raw) + draw(st.sampled_from([b"", record(b"early data", 23), b"\x17"]))


# laws


@given(streams(), st.lists(st.integers(0, 5000), max_size=12))
@example(WIRE, [])
def test_any_segmentation_gives_the_same_answer(wire: bytes, at: list[int]) -> None:
    assert_same_however_cut(wire, at)


@given(streams())
def test_one_byte_at_a_time_gives_the_same_answer(wire: bytes) -> None:
    assert_same_however_cut(wire, range(len(wire)))


@given(st.sampled_from(captured()), st.lists(st.integers(1, 300), max_size=30))
def test_any_cut_into_records_gives_the_same_hello(real: Captured, sizes: list[int]) -> None:
    assert comparable(answer(records(real.raw, [*sizes, 500]))) == comparable(answer(real.wire))


@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda tail: b"\x16\x03\x01" + tail),
        st.binary(max_size=200).map(lambda body: records(message(body))),
        st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=40)), max_size=8).map(
            lambda extensions: records(hello([versions(0x0304), *extensions]))
        ),
        st.tuples(st.sampled_from(captured()), st.integers(0), st.integers(0, 255)).map(
            lambda t: (
                t[0].wire[: t[1] % len(t[0].wire)] + bytes([t[2]]) + t[0].wire[t[1] % len(t[0].wire) + 1 :]
            )
        ),
    )
)
def test_any_bytes_give_one_of_the_declared_answers(wire: bytes) -> None:
    assert_declared(answer(wire))


@given(st.sampled_from(captured()), st.data())
def test_a_hello_cut_short_needs_more(real: Captured, data: st.DataObject) -> None:
    assert answer(real.wire[: data.draw(st.integers(0, len(real.wire) - 1))]) is None


# what it reads


@pytest.mark.parametrize("real", captured(), ids=str)
def test_reads_a_real_client(real: Captured) -> None:
    said = answer(real.wire)
    assert isinstance(said, ClientHello)
    assert said.server_name == real.server_name
    assert said.raw == real.raw
    if "TLS 1.2" in real.client:
        assert said.versions[0] == 0x0303
    elif "TLS 1.0" in real.client:
        assert said.versions == (0x0301,)
    else:
        assert 0x0304 in said.versions
    if " as " in real.client:
        assert said.alpn == (b"h2", b"http/1.1")


def test_takes_a_memoryview_and_keeps_none_of_it() -> None:
    buffer = bytearray(WIRE)
    said = ClientHelloParser().feed(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert isinstance(said, ClientHello)
    assert said.raw == RAW


def test_what_follows_the_hello_is_not_its_business() -> None:
    assert comparable(answer(WIRE + b"\xff" * 50_000)) == comparable(answer(WIRE))


def test_takes_nothing_after_its_answer() -> None:
    parser = ClientHelloParser()
    parser.feed(WIRE)
    with pytest.raises(RuntimeError):
        parser.feed(b"")


def test_the_name_is_what_was_sent() -> None:
    name = b"UPPER_case.\xc3\xa9 \n"
    said = answer(records(hello([server_name(name)])))
    assert isinstance(said, ClientHello)
    assert said.server_name == name


@pytest.mark.parametrize(
    ("extensions", "legacy", "expected"),
    [
        ([versions(0x2A2A, 0x0304, 0x0303)], 0x0303, (0x0304, 0x0303)),
        ([], 0x0303, (0x0303, 0x0302, 0x0301)),
        ([], 0x0301, (0x0301,)),
        ([], 0x0399, (0x0303, 0x0302, 0x0301)),
    ],
)
def test_versions_are_those_offered(
    extensions: list[tuple[int, bytes]], legacy: int, expected: tuple[int, ...]
) -> None:
    said = answer(records(hello([*(TLS13_NEEDS[1:] if extensions else []), *extensions], legacy=legacy)))
    assert isinstance(said, ClientHello)
    assert said.versions == expected


def test_a_refused_hello_still_tells_its_name() -> None:
    said = answer(records(hello([server_name(b"a.test"), (11, b"")])))
    assert isinstance(said, ClientHelloError)
    assert said.server_name == b"a.test"


# not TLS, decided at the first byte that says so


@pytest.mark.parametrize(
    ("wire", "decided_at"),
    [
        (b"GET / HTTP/1.1\r\n", 1),
        (b"SSH-2.0-OpenSSH", 1),
        (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", 1),
        (b"\x16\x00\x84\x01\x03", 2),
        (b"\x15\x02\x00", 2),
        (record(RAW, 22, 0x0203), 2),
        (b"\x80\x00\x00\x28", 2),
        (b"\x80\x2e\x02\x03", 3),
        (b"\x80\x2e\x01\x04", 4),
        (b"\x80\x2e\x01\x00\x03", 5),
        (b"\x18\x02\x03\x00\x01", 2),
        (b"\x19\x03\x03\x00\x01", 1),
    ],
)
def test_not_tls(wire: bytes, decided_at: int) -> None:
    assert answer(wire[: decided_at - 1]) is None
    assert isinstance(answer(wire[:decided_at]), NotTls)


# hostile hellos: each is refused, for its reason


@pytest.mark.parametrize(("wire", "fault"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_hello_is_refused(wire: bytes, fault: Fault) -> None:
    said = answer(wire)
    assert isinstance(said, ClientHelloError), said
    assert said.reason is fault


def test_every_fault_has_a_hostile_hello() -> None:
    assert {fault for _, fault in HOSTILE.values()} == set(Fault)


@pytest.mark.parametrize("wire", ODD.values(), ids=ODD.keys())
def test_odd_hello_is_taken(wire: bytes) -> None:
    assert isinstance(answer(wire), ClientHello)


def test_the_caps_are_settings() -> None:
    assert isinstance(answer(WIRE, max_size=len(RAW)), ClientHello)
    said = answer(WIRE, max_size=len(RAW) - 1)
    assert isinstance(said, ClientHelloError)
    assert said.reason is Fault.HELLO_TOO_LARGE
    with pytest.raises(ClientHelloError, match="1 empty records"):
        ClientHelloParser(max_empty_records=0).feed(record(b"") + WIRE)


def test_empty_records_between_single_bytes_are_bounded_too() -> None:
    # each byte of the message may come after 32 empty records: without a cap of its own, ten megabytes
    wire = b"".join(record(b"") * 32 + record(bytes([b])) for b in hello([(0x1234, bytes(4000))]))
    said = answer(wire, max_size=5000)
    assert isinstance(said, ClientHelloError)
    assert said.reason is Fault.HELLO_TOO_LARGE


def test_an_alert_is_one_fatal_record() -> None:
    assert Alert.UNRECOGNIZED_NAME.record() == bytes.fromhex("15 0303 0002 02 70")
    assert Alert.DECODE_ERROR.record(0x0301) == bytes.fromhex("15 0301 0002 02 32")
