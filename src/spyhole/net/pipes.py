"""Pipes for `splice`, kept and lent out: making one costs four system calls.

A pipe holds references to the kernel's own pages, a fixed number of them. On a real network a page has
one segment in it, so the default of 16 pages is 23 KB; 1 MiB of pipe is 256 pages. A user who is not root
may have only so much of that (`/proc/sys/fs/pipe-user-pages-soft`): then the default size does.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

SIZE = 1_048_576
MOST_IDLE = 16
FEW = 64  # so many stalled readers may hold `SIZE` each, any more a long turn: `SECURITY.md` promises it


class Pipe:
    """The two descriptors of a pipe, both non-blocking, and how many bytes its borrower has left in it."""

    __slots__ = ("held", "read_end", "write_end")

    def __init__(self, read_end: int, write_end: int) -> None:
        self.read_end = read_end
        self.write_end = write_end
        self.held = 0


_idle: list[Pipe] = []
_lent = 0
_most_lent = 1024


def reserve(descriptors: int) -> int:
    """Keep pipes to their share of so many descriptors: the share, which connections may not count on.

    Readers that stall each hold a pipe. Without a bound they would take the descriptors that the
    connection limit has promised to others.
    """
    global _most_lent
    share = max(min(2 * MOST_IDLE, descriptors // 8), descriptors // 16)
    _most_lent = share // 2
    return share


def few_lent() -> bool:
    """Whether so few are lent that each may be filled, which its reader may never empty."""
    return _lent <= FEW


def take() -> Pipe | None:
    """An empty pipe; None when the pipes have their share, or nobody has a descriptor left for one."""
    global _lent
    if _lent >= _most_lent:
        return None
    if _idle:
        _lent += 1
        return _idle.pop()
    try:
        pipe = Pipe(*os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return None
    with suppress(OSError):
        fcntl.fcntl(pipe.write_end, fcntl.F_SETPIPE_SZ, SIZE)
    _lent += 1
    return pipe


def give_back(pipe: Pipe) -> None:
    """Return a pipe. One with bytes left in it is closed: they are not the next one's."""
    global _lent
    _lent -= 1
    if not pipe.held and len(_idle) < MOST_IDLE and len(_idle) + _lent < _most_lent:
        _idle.append(pipe)
    else:
        _close(pipe)


def close_idle() -> None:
    """Close the pipes that nobody has borrowed."""
    while _idle:
        _close(_idle.pop())


def _close(pipe: Pipe) -> None:
    os.close(pipe.read_end)
    os.close(pipe.write_end)
