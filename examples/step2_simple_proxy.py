"""Step 2: a proxy. It copies both directions, and when one side ends, so does the other.

    python examples/step2_simple_proxy.py [LISTEN UPSTREAM]

With `python -m http.server 8080` as the upstream: `curl http://127.0.0.1:8002/`.
"""

import logging
import sys
from contextlib import suppress

import spyhole

LISTEN, UPSTREAM = sys.argv[1:] or ["127.0.0.1:8002", "127.0.0.1:8080"]


async def handle(client: spyhole.Stream) -> None:
    upstream = await spyhole.dial(UPSTREAM, timeout=5)
    ending = await spyhole.relay(client, upstream)
    print(client.peer, ending)


logging.basicConfig(level=logging.INFO, format="%(message)s")
with suppress(KeyboardInterrupt):
    spyhole.run(spyhole.serve(LISTEN, handle))
