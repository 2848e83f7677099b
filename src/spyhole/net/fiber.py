"""Run a coroutine from the hot callbacks of its streams: no Task, no Future, no trip through the loop.

A connection's opening is straight-line `async` code that waits only for its own streams and deadlines.
`Fiber` steps such a coroutine: it runs in the very callback that reports the event. The awaitables of
`spyhole.net` work in both worlds: within a fiber they suspend it, within an asyncio Task they suspend
that. Anything else (`asyncio.sleep`, a lock, a queue) needs a Task.
"""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator


class Fiber:
    """One coroutine on its way.

    `start` runs it until it first waits. `abort` raises an exception where it waits. `on_done` is called
    with the fiber at the end, and with the exception if the coroutine raised one: that is a defect, since
    its own code is expected to handle what peers can cause.
    """

    __slots__ = ("_coroutine", "_on_done", "_running", "done")

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], on_done: Callable[[Fiber, Exception | None], None]
    ) -> None:
        self._coroutine = coroutine
        self._on_done = on_done
        self._running = False
        self.done = False

    def abort(self, error: Exception) -> None:
        """Raise `error` in the coroutine where it waits. Nothing happens to one that is done."""
        if not self.done and not self._running:
            self.resume(error)

    def resume(self, error: Exception | None = None) -> None:
        """Run until the coroutine waits or ends: from its beginning, or from where it waited."""
        global _current
        outer, _current = _current, self
        self._running = True
        try:
            foreign = self._coroutine.send(None) if error is None else self._coroutine.throw(error)
            if foreign is not None:  # a Future: nobody would ever wake us
                self._coroutine.throw(RuntimeError("a fiber waits for streams only: this needs a Task"))
        except StopIteration:
            self.done = True
            self._on_done(self, None)
        except Exception as defect:
            self.done = True
            self._on_done(self, defect)
        finally:
            self._running = False
            _current = outer

    start = resume


def current_fiber() -> Fiber | None:
    """The fiber whose coroutine is running; None within a Task and outside of both."""
    return _current


_current: Fiber | None = None


class Waiter:
    """A place to wait at: `wait` suspends the caller until somebody calls `wake`, from the loop's thread.

    Several tasks may wait; a wake resumes them all. A wake without anyone who waits is forgotten. So: look
    whether it has happened, wait, and look again.
    """

    __slots__ = ("_waits",)

    def __init__(self) -> None:
        self._waits: Fiber | _Tasks | None = None

    def wake(self) -> None:
        """Resume whoever waits."""
        waits = self._waits
        if waits is not None:
            self._waits = None
            waits.resume()

    def wait(self) -> Awaitable[None]:
        """Wait for `wake`; to be awaited at once."""
        if _current is None:
            return self._wait_in_task()
        assert self._waits is None, "a fiber's streams are its own"
        self._waits = _current
        return self

    # A fiber waits at the waiter itself: a generator would cost each open connection 200 bytes.

    def __await__(self) -> Generator[Any, Any, None]:
        return self  # type: ignore[return-value]  # what a coroutine asks of a generator it has

    def __iter__(self) -> Iterator[None]:
        return self

    def __next__(self) -> None:
        if self._waits is None:
            raise StopIteration

    def throw(self, error: BaseException, *_: object) -> None:
        """For the coroutine that waits here, when it is aborted."""
        self._waits = None
        raise error

    @types.coroutine
    def _wait_in_task(self) -> Generator[Any, None, None]:
        waiting = self._waits
        if waiting is None:
            waiting = self._waits = _Tasks()
        assert isinstance(waiting, _Tasks), "a fiber's streams are its own"
        future = asyncio.get_running_loop().create_future()
        waiting[future] = None
        try:
            yield from future
        finally:
            # One that is cancelled leaves nothing: a receive with a time limit may be repeated for ever.
            del waiting[future]
            if not waiting and self._waits is waiting:
                self._waits = None


class _Tasks(dict[asyncio.Future[None], None]):
    """The tasks that wait at one place, in the order in which they came."""

    def resume(self) -> None:
        for future in self:
            if not future.done():  # cancelled
                future.set_result(None)
