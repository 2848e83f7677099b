"""Step 3: who is knocking? Read the ClientHello under a deadline, and log the server name.

    python examples/step3_server_name.py [LISTEN]

Then `curl https://localhost:8003/`, or `nc 127.0.0.1 8003` and nothing more for five seconds.
"""

import logging
import sys
from contextlib import suppress

import spyhole

(LISTEN,) = sys.argv[1:] or ["127.0.0.1:8003"]


async def handle(client: spyhole.Stream) -> None:
    try:
        hello = await spyhole.peek(client, timeout=5)
    except TimeoutError:
        print(client.peer, "said too little for too long:", client.ahead)
    except spyhole.ClientHelloError as error:
        print(client.peer, "speaks broken TLS:", error)
        await spyhole.refuse(client, error.alert)
    else:
        if isinstance(hello, spyhole.NotTls):
            print(client.peer, "does not speak TLS:", client.ahead)
        else:
            print(client.peer, "asks for", hello.server_name, "and offers", hello.alpn)
            await spyhole.refuse(client, spyhole.Alert.UNRECOGNIZED_NAME)


logging.basicConfig(level=logging.INFO, format="%(message)s")
with suppress(KeyboardInterrupt):
    spyhole.run(spyhole.serve(LISTEN, handle))
