"""What the kernel knows of processes and of their connections, read from /proc."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Queues(NamedTuple):
    """Bytes that the kernel holds for one socket: sent and not acknowledged, received and not read."""

    outgoing: int
    incoming: int
    inode: int


def cpu_ticks(pid: int) -> int:
    """User and system time of a process, in clock ticks (10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process lead to: "socket:[123]", "pipe:[45]", a path."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.append(str(entry.readlink()))
    return found


def queues(local_port: int, remote_port: int) -> Queues:
    """The queues of the IPv4 socket on this machine that has these two ports."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{local_port:04X}") and fields[2].endswith(f":{remote_port:04X}"):
            outgoing, incoming = fields[4].split(":")
            return Queues(int(outgoing, 16), int(incoming, 16), int(fields[9]))
    raise AssertionError(f"no socket has port {local_port} and the peer's port {remote_port}")


def holder_of(sock: socket.socket, pids: list[int]) -> int | None:
    """Which of these processes has accepted the connection whose client is `sock`; None: none yet."""
    inode = queues(sock.getpeername()[1], sock.getsockname()[1]).inode
    return next((pid for pid in pids if f"socket:[{inode}]" in open_files(pid)), None)
