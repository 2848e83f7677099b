"""What a connection that is refused leaves behind in its process: nothing, whatever goes wrong."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from spyhole.config.loader import load
from spyhole.net.fiber import Fiber
from spyhole.net.loop import run, running_loop
from spyhole.net.stream import Stream
from spyhole.observe.record import ConnectionRecord
from spyhole.outcome import Reason
from spyhole.session import session
from spyhole.snapshot import Snapshot
from support.backends import BOUND
from support.clients import client_hello
from support.ends import pair, stream_on
from support.front import unused_port

Log = Callable[[ConnectionRecord], None]


@pytest.fixture
def snapshot(tmp_path: Path) -> Iterator[Snapshot]:
    with ExitStack() as stack:
        port = unused_port(stack)
        config = tmp_path / "spyhole.toml"
        config.write_text(f"""
            listeners = [{{ name = "front", bind = "127.0.0.1:0" }}]
            routes = [
                {{ sni = "dead.test", upstream = "127.0.0.1:{port}" }},
                {{ sni = "dead-name.test", upstream = "localhost:{port}" }},
                {{ sni = "dead-unix.test", upstream = "unix:{tmp_path}/nobody" }},
                {{ sni = "rejected.test", mode = "reject" }},
            ]
        """)
        yield Snapshot.build(load(config))


def visit(snapshot: Snapshot, first_bytes: bytes, log: Log) -> Exception | None:
    """One connection from its first bytes to the end that it is given; the defect, if there was one."""

    async def world() -> Exception | None:
        loop = running_loop()
        client, ours = pair(socket.AF_INET)
        client.setblocking(False)
        done: asyncio.Future[Exception | None] = loop.create_future()
        client.send(first_bytes)
        Fiber(
            session(stream_on(loop, ours, "client"), "front", snapshot, log),
            lambda _, defect: done.set_result(defect),
        ).start()
        try:
            async with asyncio.timeout(BOUND):
                while await loop.sock_recv(client, 4096):
                    pass
        except ConnectionError:
            pass
        client.close()
        return await done

    return run(world())


@pytest.mark.parametrize(
    "name", ["dead.test", "dead-name.test", "dead-unix.test", "rejected.test", "no.test"]
)
def test_nothing_is_left_to_the_collector(snapshot: Snapshot, name: str) -> None:
    records: list[ConnectionRecord] = []
    hello = client_hello(name)
    visit(snapshot, hello, records.append)
    gc.collect()
    gc.disable()
    try:
        assert visit(snapshot, hello, records.append) is None
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = [
            thing for thing in gc.garbage if isinstance(thing, (Stream, ConnectionRecord, BaseException))
        ]
        assert not left
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("first_bytes", [client_hello("dead.test"), b"GET / HTTP/1.1\r\n\r\n"])
def test_a_log_that_fails_leaves_no_client_open(snapshot: Snapshot, first_bytes: bytes) -> None:
    def log(record: ConnectionRecord) -> None:
        assert record.reason in {Reason.UPSTREAM_REFUSED, Reason.NOT_TLS}
        raise RuntimeError("a defect")

    defect = visit(snapshot, first_bytes, log)  # the client reads to the end of its connection
    assert isinstance(defect, RuntimeError)
