r"""Step 5: serve TLS on a connection whose hello was read already, and proxy the plaintext.

    openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost
    python examples/step5_serve_tls.py [LISTEN UPSTREAM CERT KEY]

With `python -m http.server 8080` as the upstream: `curl --cacert cert.pem https://localhost:8005/`.
"""

import logging
import ssl
import sys
from contextlib import suppress

import spyhole

LISTEN, UPSTREAM, *FILES = sys.argv[1:] or ["127.0.0.1:8005", "127.0.0.1:8080", "cert.pem", "key.pem"]
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain(*FILES)


async def handle(client: spyhole.Stream) -> None:
    hello = await spyhole.peek(client, timeout=5)
    if isinstance(hello, spyhole.NotTls):
        print(client.peer, "does not speak TLS")
        return
    tls = await spyhole.serve_tls(client, CONTEXT, hello, timeout=10)
    print(client.peer, "asks for", hello.server_name, "by", tls.version, tls.cipher)
    upstream = await spyhole.dial(UPSTREAM)
    ending = await spyhole.relay(client, upstream)  # decrypts what goes up, encrypts what comes down
    print(client.peer, ending)


logging.basicConfig(level=logging.INFO, format="%(message)s")
with suppress(KeyboardInterrupt):
    spyhole.run(spyhole.serve(LISTEN, handle))
