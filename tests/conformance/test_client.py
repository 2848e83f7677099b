"""One client against proxies of a few lines: what it sees of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from spyhole.conformance.backends import Backends
from spyhole.conformance.case import Case, Group, Then
from spyhole.conformance.cases.plain import WIRE
from spyhole.conformance.client import Stage, TooSlow, play
from spyhole.conformance.oracle import OpenSsl
from spyhole.conformance.scoring import Came

Proxy = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Backends], Awaitable[None]]
CASE = Case(Group.CUTS, "a hello", "a reason", WIRE)
ALERT = bytes.fromhex("15030300020232")


def came(
    proxy: Proxy, oracle: OpenSsl, case: Case = CASE, *, deadline: float = 0.05, patience: float = 30.0
) -> Came:
    async def story() -> Came:
        served = asyncio.Event()
        async with Backends(("alpha",)) as backends:

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    await proxy(reader, writer, backends)
                except ConnectionResetError:
                    pass
                finally:
                    writer.close()
                    served.set()

            async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
                host, port = server.sockets[0].getsockname()
                stage = Stage(host, port, backends, deadline, patience, asyncio.Semaphore(1))
                try:
                    return await play(case, stage, oracle)
                finally:
                    await served.wait()
                    await asyncio.sleep(0)

    return asyncio.run(story())


def forwarding(change: Callable[[bytes], bytes]) -> Proxy:
    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backends: Backends) -> None:
        host, port = backends.addresses["alpha"].split(":")
        upstream, to_upstream = await asyncio.open_connection(host, int(port))
        to_upstream.write(change(await reader.readexactly(len(WIRE))))
        to_upstream.write_eof()
        writer.write(await upstream.readline())
        await reader.read()
        to_upstream.close()
        await to_upstream.wait_closed()

    return proxy


def ending(with_what: bytes, *, reset: bool = False) -> Proxy:
    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Backends) -> None:
        await reader.read(65_536)
        if reset:
            writer.transport.abort()
        else:
            writer.write(with_what)

    return proxy


async def waiting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Backends) -> None:
    await reader.read()


def test_it_is_routed_and_arrives(oracle: OpenSsl) -> None:
    seen = came(forwarding(lambda data: data), oracle)
    assert seen._replace(seconds=0.0) == Came("alpha")


@pytest.mark.parametrize(
    "change",
    [lambda data: data + b"!", lambda data: b"!" + data[1:], lambda data: data[:-1]],
    ids=["a byte more", "another byte", "a byte less"],
)
def test_it_does_not_arrive_as_it_was_sent(oracle: OpenSsl, change: Callable[[bytes], bytes]) -> None:
    seen = came(forwarding(change), oracle)
    assert (seen.backend, seen.intact) == ("alpha", False)


def test_it_is_refused(oracle: OpenSsl) -> None:
    seen = came(ending(ALERT), oracle)
    assert (seen.backend, seen.ended, seen.alert, str(seen)) == (None, True, 50, "refused: decode_error")
    assert str(came(ending(b""), oracle)) == "refused, without an alert"


def test_the_proxy_answers_by_itself(oracle: OpenSsl) -> None:
    seen = came(ending(b"HTTP/1.1 400 Bad Request\r\n\r\n"), oracle)
    assert (seen.answered, seen.alert) == (True, None)
    assert seen.note.startswith("it said b'HTTP/1.1 400")


def test_it_is_left_open(oracle: OpenSsl) -> None:
    seen = came(waiting, oracle, patience=0.1)
    assert (seen.backend, seen.ended) == (None, False)
    assert seen.seconds >= 0.15


def test_it_is_ended_early_or_in_time(oracle: OpenSsl) -> None:
    async def in_time(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: Backends) -> None:
        await asyncio.sleep(0.05)

    part = replace(CASE, wire=WIRE[:40])
    assert came(ending(b""), oracle, part, deadline=600.0).early
    assert not came(in_time, oracle, part, deadline=0.05).early


def test_a_client_that_ends_or_resets(oracle: OpenSsl) -> None:
    part = replace(CASE, wire=WIRE[:40])
    assert came(waiting, oracle, replace(part, then=Then.FIN)).ended
    assert came(waiting, oracle, replace(part, then=Then.RESET)) == Came(ended=True)


def test_a_proxy_that_is_not_there(oracle: OpenSsl) -> None:
    async def story() -> Came:
        async with Backends(("alpha",)) as backends:
            stage = Stage("127.0.0.1", 1, backends, 1.0, 1.0, asyncio.Semaphore(1))
            return await play(CASE, stage, oracle)

    assert "can't connect" in asyncio.run(story()).note


def test_a_machine_that_is_too_slow_says_nothing_of_the_proxy(oracle: OpenSsl) -> None:
    pieces = tuple(WIRE[at : at + 1] for at in range(len(WIRE)))
    with pytest.raises(TooSlow):
        came(waiting, oracle, replace(CASE, pieces=pieces))
