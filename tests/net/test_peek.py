"""Peeking takes nothing: whatever comes, however it is cut and however it ends, it is all still ahead."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import select
import socket
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spyhole.net.loop import running_loop
from spyhole.net.peek import ClosedEarly, peek
from spyhole.net.stream import Stream
from spyhole.wire.client_hello import ClientHello, ClientHelloError, Fault, NotTls
from support.ends import End, pair, stream_on
from support.hellos import TLS13_NEEDS, alpn, captured, hello, message, record, records, server_name, vector
from support.play import play, until

RAW = hello([server_name(b"a.test"), alpn(b"h2"), *TLS13_NEEDS])
WIRE = record(RAW)


@contextlib.contextmanager
def a_client(family: int = socket.AF_UNIX) -> Iterator[tuple[Stream, socket.socket]]:
    """The stream of a client, and the client's own socket."""
    ours, theirs = pair(family)
    theirs.setblocking(False)
    stream = stream_on(running_loop(), ours, "client")
    try:
        with theirs:
            yield stream, theirs
    finally:
        stream.close()


# the law

WIRES = st.one_of(
    st.sampled_from(
        [*(found.wire for found in captured()), WIRE, record(RAW, 23), b"GET / HTTP/1.1\r\n\r\n"]
    ),
    st.lists(st.integers(1, 100), min_size=1, max_size=5).map(lambda sizes: records(RAW, sizes)),
    st.tuples(st.integers(0, len(WIRE) - 1), st.integers(0, 255)).map(
        lambda change: WIRE[: change[0]] + bytes([change[1]]) + WIRE[change[0] + 1 :]
    ),
)


@given(
    wire=WIRES,
    cuts=st.lists(st.integers(0, 2000), max_size=12),
    after=st.binary(max_size=20),
    end=st.booleans(),
)
def test_any_cut_gives_the_same_answer_and_takes_nothing(
    wire: bytes, cuts: list[int], after: bytes, end: bool
) -> None:
    """`after`: what a client sends right behind its hello, as with TLS 1.3's early data."""
    wire += after

    async def told(cuts: list[int]) -> tuple[object, bytes]:
        with a_client() as (client, theirs):
            task = asyncio.ensure_future(peek(client))
            places = [0, *sorted(cut for cut in cuts if cut < len(wire)), len(wire)]
            for start, stop in itertools.pairwise(places):
                await asyncio.sleep(0)
                if stop > start:
                    theirs.send(wire[start:stop])
                await asyncio.sleep(0)
            theirs.shutdown(socket.SHUT_WR)
            answer: object
            try:
                answer = await task
            except ClientHelloError as error:
                answer = (error.reason, error.alert, error.server_name)
            except ClosedEarly:
                answer = ClosedEarly
            ahead = client.ahead
            rest = bytearray()
            client.ahead = b""
            while data := await client.receive():
                rest += data
            assert ahead + rest == wire
            return answer, ahead

    async def story() -> None:
        whole, _ = await told([])
        answer, _ = await told(cuts)
        assert answer == whole

    play(story())


# stories


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET], ids=["unix", "tcp"])
def test_a_hello_that_is_there_already(family: int) -> None:
    async def story() -> None:
        with a_client(family) as (client, theirs):
            theirs.send(WIRE)
            found = await peek(client)
            assert isinstance(found, ClientHello)
            assert (found.server_name, found.alpn, found.raw) == (b"a.test", (b"h2",), RAW)
            assert client.ahead == WIRE
            assert await client.receive() == WIRE, "the next reader gets it"

    play(story())


def test_peeking_twice_gives_the_same() -> None:
    async def story() -> None:
        with a_client() as (client, theirs):
            theirs.send(WIRE)
            assert await peek(client) == await peek(client)
            assert client.ahead == WIRE

    play(story())


def test_what_is_ahead_already_is_the_start_of_the_hello() -> None:
    async def story() -> None:
        with a_client() as (client, theirs):
            client.ahead = WIRE[:7]
            theirs.send(WIRE[7:])
            assert isinstance(await peek(client), ClientHello)
            assert client.ahead == WIRE

    play(story())


def test_not_tls_is_an_answer_and_no_error() -> None:
    async def story() -> None:
        with a_client() as (client, theirs):
            theirs.send(b"SSH-2.0-x\r\n")
            assert isinstance(await peek(client), NotTls)
            assert client.ahead == b"SSH-2.0-x\r\n"

    play(story())


def test_a_client_that_says_nothing_and_ends() -> None:
    async def story() -> None:
        with a_client() as (client, theirs):
            theirs.shutdown(socket.SHUT_WR)
            with pytest.raises(ClosedEarly):
                await peek(client)
            assert client.ahead == b""
            assert not client.closed, "that is for its owner to do"

    play(story())


def test_a_client_that_ends_within_its_hello() -> None:
    async def story() -> None:
        with a_client() as (client, theirs):
            task = asyncio.ensure_future(peek(client))
            await asyncio.sleep(0)
            theirs.send(WIRE[:-1])
            theirs.shutdown(socket.SHUT_WR)
            with pytest.raises(ClosedEarly):
                await task
            assert client.ahead == WIRE[:-1]

    play(story())


def readable(stream: Stream) -> bool:
    """Whether the kernel has something for it that nobody has taken."""
    return bool(select.select([stream.fd], [], [], 0)[0])


@pytest.mark.parametrize("first", [b"", WIRE[:50]], ids=["at once", "within its hello"])
def test_a_client_that_resets(first: bytes) -> None:
    async def story() -> None:
        with a_client(socket.AF_INET) as (client, theirs):
            task = asyncio.ensure_future(peek(client))
            theirs.send(first)
            await until(lambda: not readable(client))
            for _ in range(3):
                await asyncio.sleep(0)
            End(theirs).reset()
            with pytest.raises(ConnectionResetError):
                await task
            assert client.ahead == first

    play(story())


def test_a_malformed_hello_knows_its_alert_and_is_still_ahead() -> None:
    wire = record(message(b"\x03\x03nonsense"))

    async def story() -> None:
        with a_client() as (client, theirs):
            theirs.send(wire)
            with pytest.raises(ClientHelloError) as caught:
                await peek(client)
            assert caught.value.reason is Fault.LENGTH_MISMATCH
            assert client.ahead == wire

    play(story())


@pytest.mark.parametrize("size", [len(RAW), len(RAW) - 1])
def test_the_largest_hello_is_the_callers_to_say(size: int) -> None:
    async def story() -> None:
        with a_client() as (client, theirs):
            theirs.send(WIRE)
            if size == len(RAW):
                assert isinstance(await peek(client, max_size=size), ClientHello)
            else:
                with pytest.raises(ClientHelloError) as caught:
                    await peek(client, max_size=size)
                assert caught.value.reason is Fault.HELLO_TOO_LARGE

    play(story())


def test_empty_records_without_end_are_refused() -> None:
    async def story() -> None:
        with a_client() as (client, theirs):
            theirs.send(record(b"") * 4 + WIRE)
            with pytest.raises(ClientHelloError) as caught:
                await peek(client, max_empty_records=3)
            assert caught.value.reason is Fault.TOO_MANY_EMPTY_RECORDS

    play(story())


# the deadline


def test_silence_ends_at_the_deadline() -> None:
    async def story() -> None:
        with a_client() as (client, _):
            with pytest.raises(TimeoutError):
                await peek(client, 0.01)
            assert client.ahead == b""

    play(story())


def test_a_byte_now_and_then_does_not_extend_it() -> None:
    wire = records(hello([server_name(b"a.test"), (0x4321, bytes(50_000))]))

    async def story() -> None:
        with a_client() as (client, theirs):
            sent = bytearray()

            async def trickle() -> None:
                for byte in wire:  # would take some minutes
                    sent.append(byte)
                    theirs.send(bytes([byte]))
                    await asyncio.sleep(0.002)

            trickling = asyncio.ensure_future(trickle())
            with pytest.raises(TimeoutError):
                await peek(client, 0.05)
            trickling.cancel()
            assert sent.startswith(client.ahead)
            assert not trickling.done() or trickling.cancelled()

    play(story())


def test_cancelling_takes_nothing_either() -> None:
    async def story() -> None:
        with a_client() as (client, theirs):
            theirs.send(WIRE[:20])
            task = asyncio.ensure_future(peek(client))
            await until(lambda: not readable(client))
            theirs.send(WIRE[20:30])
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            theirs.send(WIRE[30:])
            assert isinstance(await peek(client), ClientHello)
            assert client.ahead == WIRE

    play(story())


# cost


class ByteByByte:
    """A stream in memory that has one byte for whoever reads; it counts what is written to `ahead`."""

    def __init__(self, wire: bytes) -> None:
        self._bytes = iter([wire[at : at + 1] for at in range(len(wire))])
        self._ahead = b""
        self.written = 0

    @property
    def ahead(self) -> bytes:
        return self._ahead

    @ahead.setter
    def ahead(self, value: bytes) -> None:
        self.written += len(value)
        self._ahead = value

    def read_now(self) -> memoryview:
        return memoryview(next(self._bytes))

    async def read_some(self) -> memoryview:
        return self.read_now()

    def within(self, _: float) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def cost_of(size: int) -> tuple[int, int]:
    """Calls made for a hello of about `size` bytes that comes in single bytes, and bytes written."""
    wire = records(hello([server_name(b"a.test"), (0x4321, vector(bytes(size), 2))]))
    stream = ByteByByte(wire)
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    coroutine = peek(cast("Stream", stream))
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        coroutine.send(None)
    except StopIteration as end:
        found = end.value
    finally:
        sys.setprofile(before)
    assert isinstance(found, ClientHello)
    assert stream.ahead == wire
    return calls, stream.written - len(wire)


def test_a_hello_in_single_bytes_costs_linear_time() -> None:
    few_calls, few_bytes = cost_of(4_000)
    many_calls, many_bytes = cost_of(64_000)
    assert many_calls < 16.5 * few_calls
    assert few_bytes <= many_bytes <= 64, "the bytes are put together once"
