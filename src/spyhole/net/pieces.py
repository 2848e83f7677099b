"""Work that is put off: whoever has much to do does it in pieces, and whoever has little goes first.

A request on a quiet connection would otherwise wait for all the bulk that is ready at the same time, each
at its longest. So pieces are done between polls, few at a time, and short ones while somebody may be
waiting for them. However much else there is, what is put off still gets a share in proportion to it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# One more piece for so many events of a batch, so that nothing starves. Other numbers were not measured.
_EVENTS_PER_PIECE = 8
# As many between two polls while nobody with little to do would have to wait for them: a poll costs, too.
_AT_ONCE = 2
# Who had an event so few turns ago may well have another: a round trip is a few turns.
_SOON = 64


class Pieces:
    """The pieces of work that were put off, in their order, and whether they are to be short."""

    __slots__ = ("_since", "hurry", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], None]] = deque()
        self.hurry = False
        """Somebody with little to do had an event of late: a piece is to be a short one."""
        self._since = _SOON

    def put_off(self, piece: Callable[[], None]) -> None:
        """Call `piece` when it is its turn: not before the next poll and what is ready by then."""
        self.waiting.append(piece)

    def next_ones(self, waited: int, events: int, small: int) -> list[Callable[[], None]]:
        """Take out those to be done now, of the `waited` that were there when so many `events` came.

        `small` is how many of these were for somebody with little to do.
        """
        self._since = 0 if small else self._since + 1
        self.hurry = self._since < _SOON
        most = (1 if self.hurry else _AT_ONCE) + events // _EVENTS_PER_PIECE
        return [self.waiting.popleft() for _ in range(min(waited, most))]
