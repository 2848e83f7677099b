"""Many deadlines of one duration.

Whoever waits for the same length of time is due in the order of arrival: a queue, not a heap. Adding and
discarding is one dictionary operation each, and one timer of the loop serves all that wait.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Protocol

_MOST_DURATIONS = 64

if TYPE_CHECKING:
    import asyncio


class Expires(Protocol):
    """What can wait in a queue of deadlines."""

    def expire(self) -> None:
        """Called once, when the deadline has passed."""


class Deadlines:
    """A queue of those whose deadline is `seconds` after they were added, on a loop's thread."""

    __slots__ = ("_due", "_loop", "_timer", "seconds")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.seconds = seconds
        self._loop = loop
        self._due: dict[Expires, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, waiting: Expires) -> None:
        """Call `waiting.expire()` once, `seconds` from now. It must not be in the queue already."""
        due = monotonic() + self.seconds
        self._due[waiting] = due
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._expire)

    def discard(self, waiting: Expires) -> None:
        """Forget `waiting`, if it is there. The timer is left to find out by itself."""
        self._due.pop(waiting, None)

    def __len__(self) -> int:
        return len(self._due)

    def _expire(self) -> None:
        self._timer = None
        now = monotonic()
        due: list[Expires] = []
        for waiting, when in self._due.items():
            if when > now:
                self._timer = self._loop.call_at(when, self._expire)
                break
            due.append(waiting)
        for waiting in due:
            if self._due.get(waiting, inf) > now:
                continue  # one that was called just before has discarded it, or even added it anew
            del self._due[waiting]
            try:
                waiting.expire()
            except Exception as error:
                self._loop.call_exception_handler(
                    {"message": "a deadline's callback failed", "exception": error}
                )


class DeadlinesBySeconds(dict[float, Deadlines]):
    """The queues of one loop, by their seconds; one that is not there yet is made."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop

    def __missing__(self, seconds: float) -> Deadlines:
        if len(self) >= _MOST_DURATIONS:
            for other in [other for other, queue in self.items() if not queue]:
                del self[other]
        queue = self[seconds] = Deadlines(self._loop, seconds)
        return queue
