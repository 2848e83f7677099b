"""Say something to a client that is being refused, and make sure that it can be read.

Closing a socket that has unread bytes sends a reset, and a reset may take back what was sent just before:
the alert. So the bytes still coming are read and thrown away for a moment, until the client ends.
"""

from __future__ import annotations

from socket import SHUT_WR
from typing import TYPE_CHECKING

from spyhole.net.fiber import Fiber
from spyhole.net.stream import SEND_FLAGS

if TYPE_CHECKING:
    from spyhole.net.stream import Stream

MOMENT = 1.0
_MOST_BYTES = 262_144


def farewell(client: Stream, last_words: bytes) -> None:
    """Send `last_words` and a FIN, then close the client once it has ended, at the latest after a moment.

    Returns at once and owns the client from then on. Bytes that do not fit the socket are not sent.
    """
    try:
        if last_words:
            client.sock.send(last_words, SEND_FLAGS)
        client.sock.shutdown(SHUT_WR)
    except OSError:
        client.close()
        return
    Fiber(_linger(client), client.loop.report).start()


async def _linger(client: Stream) -> None:
    left = _MOST_BYTES
    client.take_back()
    try:
        with client.within(MOMENT):
            while left > 0 and (data := await client.read_some()):
                left -= len(data)
    except (OSError, TimeoutError):
        pass
    finally:
        client.close()
