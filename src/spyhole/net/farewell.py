"""Say something to a client that is being refused, and make sure that it can be read.

Closing a socket that has unread bytes sends a reset, and a reset may take back what was sent just before:
the alert. So the bytes still coming are read and thrown away for a moment, until the client ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spyhole.net.stream import SEND_FLAGS
from spyhole.wire.alerts import Alert

if TYPE_CHECKING:
    from spyhole.net.stream import Stream

MOMENT = 1.0
_MOST_BYTES = 262_144


async def refuse(client: Stream, alert: int = Alert.UNRECOGNIZED_NAME) -> None:
    """Answer a ClientHello with a fatal TLS alert, and close the client.

    For a client that speaks TLS and has been sent nothing yet; the alert of a `ClientHelloError` is its
    `alert`. Nothing that the client does raises.
    """
    await farewell(client, Alert(alert).record())


async def farewell(client: Stream, last_words: bytes = b"") -> None:
    """Send `last_words` and a FIN, and close the client once it has ended, at the latest after a moment.

    Bytes that do not fit the socket's buffer are not sent. Nothing that the client does raises.
    """
    left = _MOST_BYTES
    client.take_back()
    try:
        if last_words:
            client.sock.send(last_words, SEND_FLAGS)
        client.send_eof()
        with client.within(MOMENT):
            while left > 0 and (data := await client.read_some()):
                left -= len(data)
    except OSError:  # TimeoutError is one
        pass
    finally:
        client.close()
