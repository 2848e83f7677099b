"""What the kernel says of the proxy: who holds which connection, and what a process at rest has open.

There is no way to ask a worker for its gauges, so they are read off what it does: its connections are its
sockets, by /proc; its limit counts right if it stops accepting at exactly that many of them; its fibers are
gone if a drain has nothing to wait for.
"""

from __future__ import annotations

import re
import select
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from soak.tally import Name
from support.backends import BOUND
from support.proc import open_files

_SYN_RECEIVED, _ESTABLISHED = "03", "01"


class Accepted(NamedTuple):
    """A client's connection at the proxy's port; `inode` is 0 while it waits in an accept queue."""

    client: Name
    inode: int


def accepted(port: int) -> list[Accepted]:
    """Every connection that clients have to a port of this machine, by the kernel's table."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split(None, 10)
        if fields[1].endswith(f":{port:04X}") and fields[2] != "00000000:0000":
            host, _, remote = fields[2].partition(":")
            name = ".".join(str(byte) for byte in reversed(bytes.fromhex(host))), int(remote, 16)
            if fields[3] in {_ESTABLISHED, _SYN_RECEIVED, "08"} or int(fields[9]):
                found.append(Accepted(name, int(fields[9])))
    return found


def held_by(pid: int, connections: Sequence[Accepted]) -> set[Name]:
    """The clients whose connections a process has accepted and not closed."""
    held = set(open_files(pid))
    return {each.client for each in connections if f"socket:[{each.inode}]" in held}


class Rest(NamedTuple):
    """A process at rest. `files` counts its descriptors by kind; idle pipes, kept on purpose, are apart."""

    files: dict[str, int]
    pipes: int
    threads: int
    memory: int
    """Private memory, in bytes: what it shares with its parent from the fork is not counted."""

    def __str__(self) -> str:
        files = ", ".join(f"{count} {kind}" for kind, count in sorted(self.files.items()))
        return f"{files}, {self.pipes} pipe ends; {self.threads} threads; {self.memory / 1e6:.1f} MB"


def rest_of(pid: int) -> Rest:
    """Look at it once."""
    kinds: Counter[str] = Counter()
    for name in open_files(pid):
        kinds["file" if name.startswith("/") else re.sub(r":?\[?\d+\]?$", "", name)] += 1
    pipes = kinds.pop("pipe", 0)
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    private = sum(int(kb) for kb in re.findall(r"^Private_\w+:\s+(\d+) kB", rollup, re.MULTILINE))
    threads = sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())
    return Rest(dict(kinds), pipes, threads, private * 1024)


def wait_until(true: Callable[[], object], what: str) -> None:
    """Poll until it holds. Raises AssertionError that says `what` does not."""
    deadline = time.monotonic() + BOUND
    while not true():
        assert time.monotonic() < deadline, f"in vain: {what}"
        select.select([], [], [], 0.02)


def is_stopped(pid: int) -> bool:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False
