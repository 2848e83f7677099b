"""Many deadlines of one duration, and rounds in which many are looked at.

Whoever waits for the same length of time is due in the order of arrival: a queue, not a heap. Adding and
discarding is one dictionary operation each, and one timer of the loop serves all that wait.
"""

from __future__ import annotations

from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Protocol, TypeVar

_MOST_DURATIONS = 64

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sized


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


class Looks(Protocol):
    """What can be looked at now and then."""

    def look(self) -> None:
        """Called at each round, until it is discarded."""


class Rounds:
    """Looks at all that were added, every so many seconds; at each of them for the first time sooner.

    For what nearly never comes to its end by the clock: to add and to discard is one operation on a set.
    """

    __slots__ = ("_loop", "_members", "_timer", "discard", "seconds")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.seconds = seconds
        self._loop = loop
        self._members: set[Looks] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.discard = self._members.discard
        """Forget one, if it is there."""

    def add(self, one: Looks) -> None:
        """Look at it from the next round on."""
        self._members.add(one)
        if self._timer is None:
            self._timer = self._loop.call_later(self.seconds, self._go_round)

    def __len__(self) -> int:
        return len(self._members)

    def _go_round(self) -> None:
        self._timer = self._loop.call_later(self.seconds, self._go_round) if self._members else None
        for one in tuple(self._members):
            if one in self._members:
                try:
                    one.look()
                except Exception as error:
                    self._loop.call_exception_handler({"message": "a look failed", "exception": error})


Q = TypeVar("Q", bound="Sized")


class BySeconds(dict[float, Q]):
    """The queues of one kind that a loop has, by their seconds; one that is not there yet is made."""

    def __init__(
        self, make: Callable[[asyncio.AbstractEventLoop, float], Q], loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__()
        self._make: Callable[[asyncio.AbstractEventLoop, float], Q] = make
        self._loop = loop

    def __missing__(self, seconds: float) -> Q:
        if len(self) >= _MOST_DURATIONS:
            for other in [other for other, queue in self.items() if not queue]:
                del self[other]
        queue = self[seconds] = self._make(self._loop, seconds)
        return queue
