"""Pipes for `splice`, kept and lent out: making one costs four system calls.

A pipe holds references to the kernel's own pages, a fixed number of them. On a real network a page has
one segment in it, so the default of 16 pages is 23 KB; 1 MiB of pipe is 256 pages. A user who is not root
may have only so much of that (`/proc/sys/fs/pipe-user-pages-soft`): then the default size does.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import NamedTuple

SIZE = 1_048_576
MOST_IDLE = 16


class Pipe(NamedTuple):
    """The two descriptors of a pipe, both non-blocking."""

    read_end: int
    write_end: int


_idle: list[Pipe] = []


def take() -> Pipe | None:
    """An empty pipe, or None when the process or the system has no descriptor left for one."""
    if _idle:
        return _idle.pop()
    try:
        pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return None
    with suppress(OSError):
        fcntl.fcntl(pipe.write_end, fcntl.F_SETPIPE_SZ, SIZE)
    return pipe


def give_back(pipe: Pipe, *, clean: bool) -> None:
    """Return a pipe. One with bytes left in it (not `clean`) is closed: they are not the next one's."""
    if clean and len(_idle) < MOST_IDLE:
        _idle.append(pipe)
    else:
        os.close(pipe.read_end)
        os.close(pipe.write_end)


def close_idle() -> None:
    """Close the pipes that nobody has borrowed."""
    while _idle:
        give_back(_idle.pop(), clean=False)
