"""Many deadlines of one duration.

Whoever waits for the same length of time is due in the order of arrival: a queue, not a heap. Adding and
discarding is one dictionary operation each, and one timer of the loop serves all that wait.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Deadlines:
    """A queue of callbacks that are due `seconds` after each was added, on a loop's thread."""

    __slots__ = ("_due", "_loop", "_timer", "seconds")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.seconds = seconds
        self._loop = loop
        self._due: dict[Callable[[], None], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, `seconds` from now. Adding what waits already moves it to the end."""
        due = monotonic() + self.seconds
        self._due.pop(callback, None)
        self._due[callback] = due
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._expire)

    def discard(self, callback: Callable[[], None]) -> None:
        """Forget `callback`, if it still waits. The timer is left to find out by itself."""
        self._due.pop(callback, None)

    def __len__(self) -> int:
        return len(self._due)

    def _expire(self) -> None:
        self._timer = None
        now = monotonic()
        due: list[Callable[[], None]] = []
        for callback, when in self._due.items():
            if when > now:
                self._timer = self._loop.call_at(when, self._expire)
                break
            due.append(callback)
        for callback in due:
            if self._due.pop(callback, None) is None:
                continue  # one that was called just before has discarded it
            try:
                callback()
            except Exception as error:
                self._loop.call_exception_handler(
                    {"message": "a deadline's callback failed", "exception": error}
                )
