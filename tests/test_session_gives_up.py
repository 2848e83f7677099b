"""Who waits for an upstream gives up with the client, also when that was gone before the wait began."""

from __future__ import annotations

import socket

from spyhole.net.fiber import Fiber
from spyhole.net.loop import ERROR, running_loop
from spyhole.session import _ClientGone, _give_up_with
from support.ends import End, pair, stream_on
from support.play import play, until


def test_a_reset_that_was_noticed_before_the_wait_ends_it_too() -> None:
    async def story() -> None:
        ours, theirs = pair(socket.AF_INET)
        client = stream_on(running_loop(), ours, "client")
        client.watch()
        End(theirs).reset()
        await until(lambda: client.events & ERROR)

        async def waits() -> None:
            _give_up_with(client)

        ends: list[Exception | None] = []
        Fiber(waits(), lambda _, defect: ends.append(defect)).start()
        assert [type(end) for end in ends] == [_ClientGone]
        client.close()

    play(story())
