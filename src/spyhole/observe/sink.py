"""A descriptor for logs that is never waited for, whatever it is: a file, a pipe, a terminal, a socket.

Theory of operation. A log must not stop the loop when its reader does. `O_NONBLOCK` belongs to the open
file description, which an inherited stdout shares with the shell and everybody else, so it is not ours to
set there. Instead:

* a path is opened by us, non-blocking;
* an inherited pipe or terminal is opened again through /proc/self/fd: the same pipe, in a description of
  our own;
* where that is denied (the pipe belongs to another user) it is polled before each piece. Of two processes
  that both saw room for one piece, one may then wait for the reader: the one case that is left;
* an inherited socket (systemd's journal) takes MSG_DONTWAIT with each send;
* an inherited regular file is written as it is: its offset is shared, too, so nobody overwrites anybody.

A pipe takes pieces of whole lines of at most PIPE_BUF bytes all or not at all (pipe(7)), so that lines of
several processes don't interleave. A regular file has O_APPEND.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
from pathlib import Path
from typing import Final

from spyhole.errors import OperatorError

PIECE: Final = select.PIPE_BUF
"""Bytes that a pipe takes all or not at all: 4096."""

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY


class Sink:
    """Where a log goes. `key` is the configuration key to name in errors.

    `target` is a path, or a descriptor that stays its owner's. Raises OperatorError if it can't be opened.
    """

    def __init__(self, target: str | Path | int, *, key: str) -> None:
        self.key = key
        self._target = target
        self._socket: socket.socket | None = None
        self._poll: select.poll | None = None
        self._owned = not isinstance(target, int)
        try:
            self._fd = target if isinstance(target, int) else os.open(target, _FLAGS, 0o640)
            self._adapt()
        except OSError as error:
            raise OperatorError(f"{key} = {self.name!r} can't be opened: {_explain(error)}") from error

    @property
    def name(self) -> str:
        if isinstance(self._target, int):
            return {1: "stdout", 2: "stderr"}.get(self._target, f"descriptor {self._target}")
        return str(self._target)

    def fileno(self) -> int:
        return self._fd

    def write(self, data: bytes) -> int:
        """How many bytes of `data` it took, perhaps not all.

        Raises BlockingIOError when it takes none now, another OSError when it is broken: later it may work.
        """
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if self._poll is not None and not self._poll.poll(0):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return os.write(self._fd, data)

    def wait(self, seconds: float) -> None:
        """Until it may take more, or the time is over. For the end of a process, not for a loop."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.poll(seconds * 1000)

    def size(self) -> int:
        """Bytes in the file, 0 when it is no regular file: changed means that somebody else wrote."""
        return os.fstat(self._fd).st_size if self.is_file else 0

    def reopen(self) -> None:
        """Open the path again, after a rotation. A descriptor has no path and stays.

        Raises OSError when that fails; then the old file stays in use.
        """
        if isinstance(self._target, int):
            return
        fd = os.open(self._target, _FLAGS, 0o640)
        # dup2 and not a new number: whoever else in this process holds the descriptor goes along
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)
        self._adapt()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._owned:
            os.close(self._fd)

    def _adapt(self) -> None:
        mode = os.fstat(self._fd).st_mode
        self.is_file = stat.S_ISREG(mode)
        if self._owned or self.is_file:
            return
        if stat.S_ISSOCK(mode):
            self._socket = socket.socket(fileno=os.dup(self._fd))
            return
        try:
            self._fd = os.open(f"/proc/self/fd/{self._fd}", _FLAGS & ~os.O_CREAT)
            self._owned = True
        except OSError:
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLOUT)


def _explain(error: OSError) -> str:
    if error.errno == errno.ENXIO:
        return "it is a FIFO that nobody reads, or a socket"
    if error.errno == errno.EBADF:
        return "it is closed"
    return (error.strerror or str(error)).lower()
