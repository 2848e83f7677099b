"""A worker process: one loop, its own listening sockets, its own connections.

It is forked with everything that it needs, tells the supervisor when it accepts connections, and is told
when to drain. When the supervisor is gone, it drains by itself: nobody would be left to replace it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from spyhole.net import pipes
from spyhole.net.acceptor import Acceptor, ConnectionLimit
from spyhole.net.fiber import Fiber
from spyhole.net.loop import HotLoop, running_loop
from spyhole.net.relay import Cut
from spyhole.observe.error_log import RateLimited
from spyhole.outcome import Reason
from spyhole.session import session

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from sys import UnraisableHookArgs

    from spyhole.net.deadlines import Deadlines
    from spyhole.net.stream import Stream
    from spyhole.observe.access_log import AccessLog
    from spyhole.observe.error_log import ErrorLog
    from spyhole.snapshot import Snapshot

# Messages between a worker and the supervisor, one a packet. A worker adds its number to `CUT`.
READY: Final = b"ready"
DRAIN: Final = b"drain"
END: Final = b"end"
REOPEN: Final = b"reopen"
CUT: Final = b"cut "

# Descriptors that a worker keeps free of connections: its loop, its logs, a resolver's sockets.
_SPARE: Final = 16
_PER_CONNECTION: Final = 2

_logger: Final = logging.getLogger(__name__)


class ListeningSocket(NamedTuple):
    """A socket to accept on, and the name of the listener in the configuration."""

    listener: str
    sock: socket.socket


def work(
    sockets: Sequence[ListeningSocket],
    snapshot: Snapshot,
    access_log: AccessLog,
    error_log: ErrorLog,
    control: socket.socket,
) -> None:
    """Serve until told to drain and drained. Runs a loop of its own; the caller ends the process."""
    # Everything from before the fork lives as long as the process, and its pages stay shared.
    gc.collect()
    gc.freeze()
    # A connection leaves no cycles behind, so there is little to find: look less often.
    gc.set_threshold(50_000, 20, 20)
    # The runner is not closed: that would wait for every name that is still being looked up.
    runner = asyncio.Runner(loop_factory=HotLoop)
    worker = Worker(sockets, snapshot, access_log, error_log, control)
    sys.unraisablehook = worker.on_unraisable
    runner.run(worker.run())


class Worker:
    """The connections of one process, from accept to the end of the drain."""

    def __init__(
        self,
        sockets: Sequence[ListeningSocket],
        snapshot: Snapshot,
        access_log: AccessLog,
        error_log: ErrorLog,
        control: socket.socket,
    ) -> None:
        self._sockets = sockets
        self._snapshot = snapshot
        self._log = access_log.write if access_log.enabled else None
        self._access_log = access_log
        self._error_log = error_log
        self._control = control
        self._say = RateLimited(_logger)
        self._settling = False
        self._live: dict[Fiber, _Lifetime | None] = {}
        self._limit = ConnectionLimit(self._most_connections(), self._full)
        self._drain = asyncio.Event()
        self._over = asyncio.Event()
        self._end_now = False
        self._acceptors: list[Acceptor] = []

    async def run(self) -> None:
        """Accept and serve; return when the drain is over."""
        loop = running_loop()
        loop.set_exception_handler(self._on_defect)
        loop.add_signal_handler(signal.SIGTERM, self._drain.set)
        self._access_log.attach(loop.call_later)
        self._control.setblocking(False)
        loop.add_reader(self._control.fileno(), self._on_message)
        self._acceptors = [
            Acceptor(loop, sock, partial(self._accepted, loop, listener), self._limit, self._on_trouble)
            for listener, sock in self._sockets
        ]
        self._tell(READY)
        await self._drain.wait()
        cut = await self._drained()
        self._tell(CUT + str(cut).encode())
        loop.remove_reader(self._control.fileno())
        self._say.settle(everything=True)
        self._access_log.close()

    def _most_connections(self) -> int:
        asked, room = self._snapshot.config.max_connections, descriptors_have_room_for()
        if asked is None:
            return room
        if asked > room:
            _logger.warning(
                "max_connections = %d, but the limit on open files (ulimit -Hn) has room for %d",
                asked,
                room,
            )
        return min(asked, room)

    def _accepted(self, loop: HotLoop, listener: str, client: Stream) -> None:
        snapshot = self._snapshot
        fiber = Fiber(session(client, listener, snapshot, self._log), self._ended)
        lifetime = snapshot.config.max_lifetime
        if lifetime is None:
            self._live[fiber] = None
        else:
            life = self._live[fiber] = _Lifetime(fiber, loop.deadlines[lifetime])
            life.queue.add(life)
        fiber.start()

    def _ended(self, fiber: Fiber, defect: Exception | None) -> None:
        life = self._live.pop(fiber)
        if life is not None:
            life.queue.discard(life)
        self._limit.leave()
        if defect is not None and not isinstance(defect, Cut):
            self._say_defect("a connection failed by a defect of spyhole", defect)
        if not self._live:
            self._over.set()

    async def _drained(self) -> int:
        """Let connections end by themselves until the deadline; how many had to be cut."""
        for acceptor in self._acceptors:
            acceptor.finish()
        self._over.clear()
        if self._live and not self._end_now:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), self._snapshot.config.drain_timeout)
        cut = len(self._live)
        for fiber in list(self._live):
            fiber.abort(Cut(Reason.DRAIN_TIMEOUT))
        return cut

    def _on_message(self) -> None:
        try:
            message = self._control.recv(64)
        except BlockingIOError:
            return
        except OSError:  # it died with messages of ours unread
            message = b""
        if message == DRAIN:
            self._drain.set()
        elif message == END:
            self._end_now = True
            self._drain.set()
            self._over.set()
        elif message == REOPEN:
            self._error_log.reopen()
            self._access_log.reopen()
        elif not message and not self._drain.is_set():
            _logger.error("the supervisor is gone: draining")
            self._drain.set()
        if not message:
            running_loop().remove_reader(self._control.fileno())

    def _tell(self, message: bytes) -> None:
        with suppress(OSError):  # the supervisor is gone, and `_on_message` knows
            self._control.send(message)

    # what the operator should know

    def _say_limited(self, level: int, key: str, message: str, *args: object) -> None:
        """Say it at most once a second, and what was left out when that second is over."""
        self._say.log(level, key, message, *args)
        if not self._settling:
            self._settling = True
            running_loop().call_later(1.0, self._settle)

    def _settle(self) -> None:
        self._settling = False
        self._say.settle()

    def _full(self, most: int) -> None:
        self._say_limited(
            logging.WARNING,
            "full",
            "%d connections are open, the most that max_connections allows: others wait to be accepted",
            most,
        )

    def _on_trouble(self, error: OSError) -> None:
        self._say_limited(
            logging.WARNING,
            "accept",
            "can't accept a connection: %s; trying again in a moment",
            error.strerror,
        )

    def _on_defect(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        self._say_defect(str(context.get("message")), error if isinstance(error, BaseException) else None)

    def on_unraisable(self, unraisable: UnraisableHookArgs) -> None:
        """For `sys.unraisablehook`: an exception that nobody can catch, which Python writes to stderr."""
        error = unraisable.exc_value
        if isinstance(error, UnicodeDecodeError) and isinstance(unraisable.object, bytes):
            # From ssl: see `net.tls._check_name`. A peer's doing, and the access log has it.
            self._say_limited(
                logging.DEBUG, "name", "a second ClientHello with a name that is not ASCII: %s", error
            )
        else:
            self._say_defect(unraisable.err_msg or "an exception that nobody can catch", error)

    def _say_defect(self, message: str, error: BaseException | None) -> None:
        self._say_limited(logging.ERROR, "defect", "%s: %r", message, error)
        _logger.debug("%s", message, exc_info=error)


class _Lifetime(NamedTuple):
    """A connection that may be open for so long only."""

    fiber: Fiber
    queue: Deadlines

    def expire(self) -> None:
        """Cut it."""
        self.fiber.abort(Cut(Reason.MAX_LIFETIME))


def descriptors_have_room_for() -> int:
    """How many connections the limit on open files has room for, at least one."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = descriptors - _open_descriptors() - _SPARE - pipes.reserve(descriptors)
    return max(1, room // _PER_CONNECTION)


def _open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
