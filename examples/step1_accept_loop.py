"""Step 1: accept connections, and never wait for one of them.

    python examples/step1_accept_loop.py [LISTEN]

Then `nc 127.0.0.1 8001` in as many terminals as you like, and type: each gets its own bytes back.
"""

import logging
import sys
from contextlib import suppress

import spyhole

(LISTEN,) = sys.argv[1:] or ["127.0.0.1:8001"]


async def handle(client: spyhole.Stream) -> None:
    print(client.peer, "came")
    while data := await client.receive():
        await client.send_all(data)
    print(client.peer, "left")


logging.basicConfig(level=logging.INFO, format="%(message)s")
with suppress(KeyboardInterrupt):
    spyhole.run(spyhole.serve(LISTEN, handle))
