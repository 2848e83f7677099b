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
from spyhole.snapshot import Snapshot
from spyhole.worker import Worker


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
        await asyncio.wait_for(working, 60)

    with ours, theirs, asyncio.Runner(loop_factory=HotLoop) as runner:
        worker = Worker([], Snapshot.build(config), log, cast("ErrorLog", None), ours)
        runner.run(story())
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "the supervisor is gone: draining"
    ]
