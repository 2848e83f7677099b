"""The accept loop of the library: what a handler may do, what it may not, and who closes what."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import spyhole
from spyhole.errors import PeerError
from spyhole.net.listener import BindError
from spyhole.net.serve import serve
from spyhole.net.stream import Stream
from spyhole.routing.host_names import parse_server_name
from spyhole.wire.alerts import Alert
from spyhole.wire.client_hello import ClientHelloError
from spyhole.wire.faults import Fault
from support.ends import End
from support.play import play, until

Handler = Callable[[Stream], Awaitable[None]]


@asynccontextmanager
async def serving(
    handle: Handler, address: str = "127.0.0.1:0", *, max_connections: int = 100
) -> AsyncIterator[str]:
    """Where it listens; in the end it is cancelled."""
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = asyncio.ensure_future(
        serve(address, handle, max_connections=max_connections, on_listening=listening.set_result)
    )
    try:
        yield await listening
    finally:
        server.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server


@asynccontextmanager
async def a_client(address: str) -> AsyncIterator[End]:
    kind, _, path = address.partition("unix:")
    if path:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
    else:
        host, _, port = kind.rpartition(":")
        sock = socket.create_connection((host.strip("[]"), int(port)))
    with sock:
        yield End(sock)


async def ended(client: End) -> None:
    await until(lambda: client.pull() and (client.got_end or client.got_reset))


def served(handle: Handler, *, defects: list[BaseException | None] | None = None, says: bytes = b"") -> End:
    """A client, which has sent `says`, at the end of its connection."""

    async def story() -> End:
        async with serving(handle) as address, a_client(address) as client:
            client.send(says)
            client.push()
            await ended(client)
            return client

    return play(story(), defects=defects)


async def echo(client: Stream) -> None:
    while data := await client.receive():
        await client.send_all(data)


# addresses


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "unix"])
def test_it_says_where_it_listens(address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "spyhole")

    async def story() -> None:
        wanted = f"unix:{tmp_path}/s" if address == "unix" else address
        async with serving(echo, wanted) as where, a_client(where) as client:
            client.send(b"hi")
            client.push()
            await until(lambda: client.pull() and client.received == b"hi")
            assert f"listening on {where}" in caplog.messages
            assert where == wanted or not where.endswith(":0")
        assert not (tmp_path / "s").exists(), "the file of a unix socket is removed"

    play(story())


def test_every_socket_of_any_host_is_told() -> None:
    async def story() -> None:
        told: list[str] = []
        server = asyncio.ensure_future(serve("*:0", echo, on_listening=told.append))
        await until(lambda: told)
        assert {where.rpartition(":")[0] for where in told} == {"0.0.0.0", "[::]"}
        assert len({where.rpartition(":")[2] for where in told}) == 1
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)

    play(story())


def test_an_address_that_is_taken_and_one_that_is_none() -> None:
    async def story(port: int) -> None:
        with pytest.raises(BindError):
            await serve(f"127.0.0.1:{port}", echo)
        with pytest.raises(ValueError, match="expected 'host:port'"):
            await serve("nonsense", echo)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        play(story(taken.getsockname()[1]))


def test_an_error_of_on_listening_ends_it() -> None:
    async def story() -> None:
        def fail(_: str) -> None:
            raise RuntimeError("no")

        with pytest.raises(RuntimeError, match="no"):
            await serve("127.0.0.1:0", echo, on_listening=fail)

    play(story())


# handlers


def test_a_client_that_its_handler_leaves_open_is_closed() -> None:
    async def handle(client: Stream) -> None:
        await client.send_all(b"bye")

    client = served(handle)
    assert (bytes(client.received), client.got_end) == (b"bye", True)


def test_a_client_that_its_handler_closed_is_closed_once() -> None:
    async def handle(client: Stream) -> None:
        client.close()
        raise PeerError("although it is closed")

    assert served(handle).got_end


@pytest.mark.parametrize(
    "error", [PeerError("it lied"), TimeoutError("too slow"), ConnectionResetError("gone")], ids=repr
)
def test_what_a_peer_did_is_logged_and_the_client_is_reset(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spyhole")

    async def handle(client: Stream) -> None:
        raise error

    assert served(handle).got_reset
    (said,) = [record for record in caplog.records if "listening" not in record.message]
    assert said.levelno == logging.INFO
    assert said.message.endswith(f": {type(error).__name__}: {error}")


def test_a_defect_of_a_handler_is_reported_and_the_client_is_reset() -> None:
    async def handle(client: Stream) -> None:
        raise KeyError("a defect")

    defects: list[BaseException | None] = []
    assert served(handle, defects=defects).got_reset
    (defect,) = defects
    assert isinstance(defect, KeyError)


def test_a_malformed_hello_is_answered_with_its_alert() -> None:
    async def handle(client: Stream) -> None:
        await spyhole.peek(client)

    client = served(handle, says=b"\x16\x03\x01\x00\x04\x02\0\0\0")
    with pytest.raises(ClientHelloError) as caught:
        spyhole.ClientHelloParser().feed(b"\x16\x03\x01\x00\x04\x02\0\0\0")
    assert caught.value.reason is Fault.UNEXPECTED_MESSAGE
    assert client.received == caught.value.alert.record()
    assert client.got_end


def test_an_invalid_server_name_is_answered_with_its_alert() -> None:
    async def handle(client: Stream) -> None:
        parse_server_name(b"a b")

    client = served(handle, says=b"something that nobody reads")
    assert bytes(client.received) == Alert.UNRECOGNIZED_NAME.record()
    assert client.got_end


def test_a_handler_that_fails_takes_no_other_with_it() -> None:
    async def handle(client: Stream) -> None:
        if await client.receive() == b"fail":
            raise PeerError("as told")
        await client.send_all(b"well")

    async def story() -> None:
        async with serving(handle) as address, a_client(address) as one, a_client(address) as other:
            one.send(b"fail")
            one.push()
            await ended(one)
            other.send(b"do not")
            other.push()
            await ended(other)
            assert other.received == b"well"

    play(story())


# the limit


def test_at_the_limit_others_wait(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with serving(echo, max_connections=2) as address, AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(a_client(address)) for _ in range(3)]
            for client in clients:
                client.send(b"hi")
                client.push()
            for client in clients[:2]:
                await until(client.pull)
            await asyncio.sleep(0.01)
            assert not clients[2].pull()
            assert "2 connections are open, the most allowed: waiting for one to end" in caplog.messages
            clients[0].sock.close()
            await until(clients[2].pull)
            assert clients[2].received == b"hi"

    play(story())


# the end


def test_cancelling_stops_listening_and_cancels_the_handlers() -> None:
    async def story() -> None:
        cancelled: list[str] = []

        async def handle(client: Stream) -> None:
            await client.send_all(b"hello")
            try:
                await client.receive()
            except asyncio.CancelledError:
                await asyncio.sleep(0)  # it may need a turn to clean up
                cancelled.append(client.peer)
                raise

        async with AsyncExitStack() as stack:
            async with serving(handle) as address:
                clients = [await stack.enter_async_context(a_client(address)) for _ in range(3)]
                for client in clients:
                    await until(client.pull)
            assert len(cancelled) == 3
            for client in clients:
                await ended(client)
                assert client.got_reset
            with pytest.raises(ConnectionRefusedError):
                async with a_client(address):
                    pass

    play(story())


def test_a_handler_cancelled_before_it_began_leaves_no_client_open() -> None:
    async def story() -> None:
        begun: list[Stream] = []

        async def handle(client: Stream) -> None:
            begun.append(client)

        loop = asyncio.get_running_loop()
        create = loop.create_task

        def create_and_cancel(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            task = create(coroutine)
            task.cancel()
            return task

        async with serving(handle) as address, a_client(address) as client:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(loop, "create_task", create_and_cancel)
                await ended(client)
        assert begun == []

    play(story())
