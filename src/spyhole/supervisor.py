"""The supervisor: holds the listening sockets, forks the workers, replaces one that dies, drains them all.

Theory of operation. It is a single thread without an event loop, so that forking is safe, at the start as
much as years later. It sleeps in one `poll` on a pidfd and a control socket for each worker, and on the
descriptor that signals write to. What is slow or shared will live in a process of its own beside it.

The listening sockets of every worker's place are bound once and stay open here. So a worker that is killed
loses the connections that it had, and no other: those in its accept queue wait for the one that takes over.
A worker is forked from here with the certificates' contexts, so all have the same session-ticket keys.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Final

from spyhole.worker import CUT, DRAIN, END, READY, REOPEN, ListeningSocket, work

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from spyhole.observe.access_log import AccessLog
    from spyhole.observe.error_log import ErrorLog
    from spyhole.snapshot import Snapshot

# A worker that dies young is replaced after a pause, doubled each time, so a crash at start burns no CPU.
_YOUNG: Final = 5.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0

# How long a worker whose time is up may take to reset its connections.
_GRACE: Final = 2.0

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
_FOR_US_ALONE: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)

_logger: Final = logging.getLogger(__name__)


class _Place:
    """A worker's place: its listening sockets, and the process that serves them now, if one does."""

    def __init__(self, number: int, sockets: Sequence[ListeningSocket]) -> None:
        self.number = number
        self.sockets = sockets
        self.pid: int | None = None
        self.pidfd = -1
        self.control: socket.socket | None = None
        self.ready = False
        self.drained = False
        self.began = 0.0
        self.pause = _FIRST_PAUSE
        self.start_at: float | None = None

    def __repr__(self) -> str:
        return f"worker {self.number} (pid {self.pid})"


class Supervisor:
    """Runs workers until SIGTERM or SIGINT; a second signal ends them at once."""

    def __init__(
        self,
        places: Sequence[Sequence[ListeningSocket]],
        snapshot: Snapshot,
        access_log: AccessLog,
        error_log: ErrorLog,
        on_ready: Callable[[], None],
    ) -> None:
        """One worker for each of `places`, the listening sockets of each. `on_ready`: all accept now."""
        self._places = [_Place(number, sockets) for number, sockets in enumerate(places, start=1)]
        self._snapshot = snapshot
        self._access_log = access_log
        self._error_log = error_log
        self._on_ready: Callable[[], None] | None = on_ready
        self._draining = False
        self._ending = False
        self._kill_at: float | None = None
        self._cut = 0
        self._lost = 0
        self._signals, self._wakeup = socket.socketpair()
        self._poll = select.poll()

    def run(self) -> int:
        """Supervise until all workers have ended: 0 when every connection could end by itself, else 1."""
        self._signals.setblocking(False)
        self._wakeup.setblocking(False)
        for number in _SIGNALS:
            signal.signal(number, _noted)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        self._poll.register(self._signals, select.POLLIN)
        for place in self._places:
            self._start(place)
        while not self._draining or any(place.pid is not None for place in self._places):
            timeout = self._do_due()
            ready = {fd for fd, _ in self._poll.poll(timeout)}
            if self._signals.fileno() in ready:
                self._on_signals()
            for place in self._places:
                if place.control is not None and place.control.fileno() in ready:
                    self._on_message(place)
                if place.pidfd in ready:
                    self._on_end(place)
        if self._cut:
            _logger.warning("connections that were still open and have been cut: %d", self._cut)
        self._access_log.close()
        return 1 if self._cut or self._lost else 0

    # workers

    def _start(self, place: _Place) -> None:
        place.start_at = None
        place.ready = place.drained = False
        place.began = time.monotonic()
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            self._start_later(place, error)
            return
        with theirs:
            place.control = ours
            sys.stdout.flush()
            sys.stderr.flush()
            try:
                pid = os.fork()
            except OSError as error:  # a limit on processes, or on memory: the other workers go on
                place.control = None
                ours.close()
                self._start_later(place, error)
                return
            if pid == 0:
                self._become_worker(place, theirs)
        place.pid = pid
        place.pidfd = os.pidfd_open(pid)
        ours.setblocking(False)
        self._poll.register(ours, select.POLLIN)
        self._poll.register(place.pidfd, select.POLLIN)

    def _start_later(self, place: _Place, error: OSError) -> None:
        _logger.error(
            "worker %d can't be started: %s; trying again in %g s",
            place.number,
            (error.strerror or str(error)).lower(),
            place.pause,
        )
        self._pause(place)

    def _pause(self, place: _Place) -> None:
        place.start_at = time.monotonic() + place.pause
        place.pause = min(2 * place.pause, _LONGEST_PAUSE)

    def _become_worker(self, place: _Place, control: socket.socket) -> None:
        """Never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                # These may go to the whole process group; what they mean is ours to say.
                signal.signal(number, signal.SIG_IGN if number in _FOR_US_ALONE else signal.SIG_DFL)
            self._error_log.who = f"worker[{place.number}]"
            # A worker that held another's sockets would keep them open after the other is gone.
            for other in self._places:
                if other.control is not None:
                    other.control.close()
                if other is not place:
                    for listening in other.sockets:
                        listening.sock.close()
                    if other.pidfd >= 0:
                        os.close(other.pidfd)
            self._signals.close()
            self._wakeup.close()
            for upstream in self._snapshot.upstreams.values():
                upstream.begin_with(place.number - 1)
            work(place.sockets, self._snapshot, self._access_log, self._error_log, control)
            status = 0
        except BaseException:
            _logger.exception("the worker fails by a defect of spyhole")
        finally:
            # not sys.exit: nothing of the supervisor's stack may run here
            os._exit(status)

    def _on_message(self, place: _Place) -> bool:
        """Take one message; False when there is none."""
        if place.control is None:
            return False
        try:
            message = place.control.recv(64)
        except BlockingIOError:
            return False
        except OSError:
            message = b""
        if message == READY:
            place.ready = True
            place.pause = _FIRST_PAUSE
            self._maybe_ready()
        elif message.startswith(CUT):
            self._cut += int(message[len(CUT) :])
            place.drained = True
        elif not message:
            self._poll.unregister(place.control)
            place.control.close()
            place.control = None
        return True

    def _maybe_ready(self) -> None:
        if self._on_ready is not None and all(place.ready for place in self._places):
            self._on_ready()
            self._on_ready = None

    def _on_end(self, place: _Place) -> None:
        assert place.pid is not None
        while self._on_message(place):
            pass  # its last words
        _, status = os.waitpid(place.pid, 0)
        self._poll.unregister(place.pidfd)
        os.close(place.pidfd)
        worker, place.pid, place.pidfd = repr(place), None, -1
        if self._draining:
            if not place.drained:
                self._lost += 1
                _logger.error("%s %s before it had drained: its connections are lost", worker, _end(status))
            return
        if place.drained:
            _logger.warning("%s was told to drain and has ended; another takes its place", worker)
        else:
            _logger.error(
                "%s %s; another takes its place, its open connections are lost", worker, _end(status)
            )
        if time.monotonic() - place.began < _YOUNG:
            self._pause(place)
        else:
            place.pause = _FIRST_PAUSE
            self._start(place)

    def _do_due(self) -> float | None:
        """Do what has waited for its time; the milliseconds to the next, None when nothing waits."""
        now = time.monotonic()
        for place in self._places:
            if place.start_at is not None and place.start_at <= now:
                self._start(place)
        waiting = [place.start_at for place in self._places if place.start_at is not None]
        if self._kill_at is not None:
            if self._kill_at <= now:
                self._kill()
                self._kill_at = now + _GRACE
            waiting.append(self._kill_at)
        return max(0.0, min(waiting) - now) * 1000 + 1 if waiting else None

    # signals

    def _on_signals(self) -> None:
        try:
            received = self._signals.recv(64)
        except BlockingIOError:
            return
        for number in received:
            if number == signal.SIGHUP:
                _logger.warning(
                    "SIGHUP changes nothing: reloading is not there yet, restart to reconfigure"
                )
            elif number == signal.SIGUSR1:
                self._reopen_logs()
            elif number in {signal.SIGTERM, signal.SIGINT}:
                self._end_now() if self._draining else self._begin_drain(signal.Signals(number).name)

    def _begin_drain(self, why: str) -> None:
        self._draining = True
        timeout = self._snapshot.config.drain_timeout
        self._kill_at = time.monotonic() + timeout + _GRACE
        _logger.info("%s: accepting no more, draining for up to %g s; once more ends at once", why, timeout)
        # Ours first: as long as one of us holds a listening socket, the kernel lets clients queue there.
        for place in self._places:
            for listening in place.sockets:
                listening.sock.close()
            place.start_at = None
        self._tell_all(DRAIN)

    def _reopen_logs(self) -> None:
        opened = [self._error_log.reopen(), self._access_log.reopen()]
        self._tell_all(REOPEN)
        if all(opened):
            _logger.info("SIGUSR1: access_log and error_log are opened again")

    def _tell_all(self, message: bytes) -> None:
        for place in self._places:
            if place.control is not None:
                with contextlib.suppress(OSError):
                    place.control.send(message)

    def _end_now(self) -> None:
        if self._ending:
            self._kill()
        else:
            # so that both sides of a connection get a reset, and the log its line
            self._ending = True
            self._tell_all(END)
            self._kill_at = time.monotonic() + _GRACE

    def _kill(self) -> None:
        for place in self._places:
            if place.pid is not None:
                os.kill(place.pid, signal.SIGKILL)


def _noted(_number: int, _frame: FrameType | None) -> None:
    """The wake-up descriptor has it already."""


def _end(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"ended with status {os.waitstatus_to_exitcode(status)}"
