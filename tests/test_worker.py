"""A worker, and the supervisor at the other end of its control socket."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import cast

import pytest

from spyhole.config.model import Config
from spyhole.net.loop import HotLoop
from spyhole.observe.access_log import AccessLog
from spyhole.observe.error_log import ErrorLog
from spyhole.observe.record import ConnectionRecord
from spyhole.snapshot import Snapshot
from spyhole.worker import DRAIN, ListeningSocket, Worker
from support.backends import BOUND


class BrokenLog(AccessLog):
    """Its defect is one of the connection that it is told of."""

    def write(self, record: ConnectionRecord) -> None:
        raise RuntimeError("a defect")


def test_a_connection_that_fails_by_a_defect_makes_room_for_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    config = Config.model_validate(
        {
            "listeners": [{"bind": ["127.0.0.1:443"]}],
            "routes": [{"sni": "a.test", "upstream": "127.0.0.1:443"}],
            "max_connections": 1,
        }
    )

    async def knock(address: tuple[str, int]) -> None:
        reader, writer = await asyncio.open_connection(*address)
        writer.write_eof()
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async def story() -> None:
        working = asyncio.ensure_future(worker.run())
        for _ in range(3):
            await asyncio.wait_for(knock(listener.getsockname()), BOUND)
        theirs.send(DRAIN)
        await asyncio.wait_for(working, BOUND)

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    log = BrokenLog("/dev/null", config.access_log_format)
    with ours, theirs, listener, asyncio.Runner(loop_factory=HotLoop) as runner:
        sockets = [ListeningSocket("front", listener)]
        worker = Worker(sockets, Snapshot.build(config), log, cast("ErrorLog", None), ours)
        runner.run(story())
    assert "a connection failed by a defect of spyhole: RuntimeError('a defect')" in caplog.text


def test_a_supervisor_that_died_with_messages_unread_is_gone_and_no_defect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    routes = [{"sni": "a.test", "upstream": "127.0.0.1:443"}]
    listeners = [{"bind": ["127.0.0.1:443"]}]
    config = Config.model_validate({"listeners": listeners, "routes": routes, "access_log": "off"})
    log = AccessLog(config.access_log, config.access_log_format)

    async def story() -> None:
        working = asyncio.ensure_future(worker.run())
        await asyncio.sleep(0)  # it has said that it is ready, and nobody reads that
        theirs.close()
        await asyncio.wait_for(working, BOUND)

    with ours, theirs, asyncio.Runner(loop_factory=HotLoop) as runner:
        worker = Worker([], Snapshot.build(config), log, cast("ErrorLog", None), ours)
        runner.run(story())
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "the supervisor is gone: draining"
    ]
