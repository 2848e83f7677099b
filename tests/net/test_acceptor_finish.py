"""Stopping to accept is over at some time, however many clients still come."""

from __future__ import annotations

import socket

from spyhole.net.acceptor import Acceptor, ConnectionLimit
from spyhole.net.listener import BACKLOG, bind
from spyhole.net.loop import run, running_loop
from spyhole.net.stream import Stream
from spyhole.upstreams.address import TcpAddress


def test_finish_ends_though_the_queue_never_does() -> None:
    accepted = 0

    async def world() -> None:
        ((listening,),) = bind(TcpAddress("127.0.0.1", 0))
        address = listening.getsockname()

        def another() -> None:
            with socket.socket() as client:
                client.connect(address)

        def on_stream(stream: Stream) -> None:
            nonlocal accepted
            accepted += 1
            stream.close()
            assert accepted <= BACKLOG, "it follows the queue without end"
            another()

        acceptor = Acceptor(
            running_loop(), listening, on_stream, ConnectionLimit(1_000_000, print), lambda error: None
        )
        another()
        acceptor.finish()

    run(world())
    assert accepted == BACKLOG
