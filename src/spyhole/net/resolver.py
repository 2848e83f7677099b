"""Host names to addresses, as the machine resolves them (/etc/hosts, nsswitch, DNS), off the loop.

`getaddrinfo` does not say how long an answer holds, so an answer is kept for `FRESH` seconds. When a
renewal fails the old answer serves for `STALE` more: a name server that is away takes nobody down.
"""

from __future__ import annotations

import asyncio
import socket
from time import monotonic
from typing import Any, NamedTuple

from spyhole.net.fiber import Waiter

FRESH = 30.0
STALE = 3600.0
_MOST_NAMES = 1024


class Resolved(NamedTuple):
    """One address of a name: the socket family, and what `connect` takes."""

    family: int
    sockaddr: Any


class _Answer(NamedTuple):
    addresses: tuple[Resolved, ...]
    at: float


class Resolver:
    """The names that one loop has resolved. Look-ups of the same name at the same time are one look-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._answers: dict[tuple[str, int], _Answer] = {}
        self._under_way: dict[tuple[str, int], asyncio.Future[tuple[Resolved, ...]]] = {}

    async def resolve(self, host: str, port: int, timeout: float) -> tuple[Resolved, ...]:
        """Return the addresses of `host`, in the system's order of preference, at least one.

        Raises TimeoutError after `timeout` seconds and OSError (`socket.gaierror`) when it does not
        resolve: the operator's or the name server's fault. An old answer takes their place where there is
        one, and that after half of `timeout`. The look-up goes on when the caller gives up.
        """
        key = (host, port)
        answer = self._answers.get(key)
        if answer is not None and monotonic() - answer.at < FRESH:
            return answer.addresses
        serves = answer is not None and monotonic() - answer.at < STALE
        look_up = self._under_way.get(key) or self._begin(key)
        waiter = Waiter()
        # Who falls back on an old answer has to have time left to connect to it.
        timer = self._loop.call_later(timeout / 2 if serves else timeout, waiter.wake)

        def wake(_: object) -> None:
            waiter.wake()

        look_up.add_done_callback(wake)
        try:
            await waiter.wait()
        finally:
            timer.cancel()
            look_up.remove_done_callback(wake)
        if answer is not None and serves and (not look_up.done() or look_up.exception()):
            return answer.addresses
        if not look_up.done():
            raise TimeoutError(f"no answer for {host!r} within {timeout:g} s")
        return look_up.result()

    def _begin(self, key: tuple[str, int]) -> asyncio.Future[tuple[Resolved, ...]]:
        future = self._under_way[key] = self._loop.run_in_executor(None, _look_up, *key)

        def done(_: object) -> None:
            del self._under_way[key]
            if future.cancelled() or future.exception() is not None:
                return
            self._answers.pop(key, None)
            if len(self._answers) >= _MOST_NAMES:
                del self._answers[next(iter(self._answers))]
            self._answers[key] = _Answer(future.result(), monotonic())

        future.add_done_callback(done)
        return future


def _look_up(host: str, port: int) -> tuple[Resolved, ...]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(Resolved(family, sockaddr) for family, _, _, _, sockaddr in found)
