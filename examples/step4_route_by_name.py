"""Step 4: proxy a connection whose first bytes were read already, to where its server name says.

    python examples/step4_route_by_name.py [LISTEN NAME=UPSTREAM ...]

With step 5 running: `curl --cacert cert.pem https://localhost:8004/`. Nothing is decrypted here.
"""

import logging
import sys
from contextlib import suppress

import spyhole

LISTEN, *ROUTES = sys.argv[1:] or ["127.0.0.1:8004", "localhost=127.0.0.1:8005"]
UPSTREAMS = dict(route.split("=") for route in ROUTES)


async def handle(client: spyhole.Stream) -> None:
    hello = await spyhole.peek(client, timeout=5)  # malformed, or silent: it raises, and `serve` says so
    if isinstance(hello, spyhole.NotTls):
        print(client.peer, "does not speak TLS")
        return
    name = spyhole.parse_server_name(hello.server_name) if hello.server_name else None
    if name not in UPSTREAMS:
        print(client.peer, "asks for", name, "and is refused")
        await spyhole.refuse(client, spyhole.Alert.UNRECOGNIZED_NAME)
        return
    upstream = await spyhole.dial(UPSTREAMS[name])
    ending = await spyhole.relay(client, upstream)  # the hello goes first, byte for byte
    print(client.peer, name, "to", UPSTREAMS[name], ending)


logging.basicConfig(level=logging.INFO, format="%(message)s")
with suppress(KeyboardInterrupt):
    spyhole.run(spyhole.serve(LISTEN, handle))
