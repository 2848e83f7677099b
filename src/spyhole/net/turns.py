"""Heavy work, one piece a turn of the loop: what the other connections wait for is that piece, not a flood.

A full TLS handshake takes half a millisecond. When many clients come at once, their handshakes would all be
done within one batch of events, and a request on another connection would wait for every one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spyhole.net.loop import HotSelector
    from spyhole.net.stream import Stream


class Turns:
    """Lets one stream a turn do its work, in the order in which they came."""

    __slots__ = ("_hot", "_taken", "_waiting")

    def __init__(self, hot: HotSelector) -> None:
        self._hot = hot
        self._taken = -1
        self._waiting: dict[Stream, None] = {}

    async def take(self, stream: Stream) -> None:
        """Return at once if nobody has this turn yet, else when it is the stream's.

        Raises as `Stream.pause` does: TimeoutError when a deadline of the stream has passed meanwhile,
        OSError when it was closed.
        """
        if self._taken != self._hot.turn and not self._waiting:
            self._taken = self._hot.turn
            return
        if not self._waiting:
            self._hot.pieces.put_off(self._next)
        self._waiting[stream] = None
        try:
            while stream in self._waiting:
                await stream.pause()
        finally:
            self._waiting.pop(stream, None)

    def _next(self) -> None:
        if not self._waiting:
            return  # they gave up
        stream = next(iter(self._waiting))
        del self._waiting[stream]
        self._taken = self._hot.turn
        if self._waiting:
            self._hot.pieces.put_off(self._next)
        stream.wake()
